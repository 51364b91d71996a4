-- no-transaction
-- What operators did, newest first.
CREATE INDEX CONCURRENTLY audit_log_of_operators ON audit_log (id) WHERE actor = 'operator';
