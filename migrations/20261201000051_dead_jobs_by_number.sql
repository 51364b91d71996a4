-- no-transaction
-- The dead, the newest first, however many jobs there are beside them.
CREATE INDEX CONCURRENTLY jobs_dead_by_number ON jobs (id) WHERE state = 'dead';
