-- When all that was due was last moved and deleted: one row, for an alert when nobody does it. As if it had been done now, so that
-- nobody is told before there was time.
CREATE TABLE retention_runs (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  ended_at timestamptz NOT NULL
);
INSERT INTO retention_runs (ended_at) VALUES (clock_timestamp());

CREATE FUNCTION restricted.note_run() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE retention_runs SET ended_at = clock_timestamp() $$;
