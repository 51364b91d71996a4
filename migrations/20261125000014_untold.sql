-- A dead job whose on_dead could not be written with its death: why not. From run_at on it is tried again, and until it
-- works the job's row, a payment say, does not know that nobody works for it any more.
ALTER TABLE jobs ADD COLUMN untold text, ADD CHECK (untold IS NULL OR state = 'dead');
CREATE INDEX jobs_untold ON jobs (lane, run_at) WHERE untold IS NOT NULL;
