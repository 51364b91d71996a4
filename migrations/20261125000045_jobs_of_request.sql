-- no-transaction
-- And by the request that caused it.
CREATE INDEX CONCURRENTLY jobs_of_request ON jobs (request_id) WHERE request_id IS NOT NULL;
