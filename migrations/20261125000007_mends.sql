-- What the first release of the tables lacked.

-- Unattended reads may probe too, after the reads that somebody waits for: at night there is nothing else, and a
-- circuit that nobody probes stays open.
UPDATE lanes SET probe_rank = 2 WHERE name = 'balance.batch';

-- psu_ip holds the address of the request that the person made last: the wish to link, then the return from the bank.
-- Only a call that this request caused, or closely followed, may carry it.
ALTER TABLE bank_consents
  ADD COLUMN callback_at timestamptz,             -- when the person last came back from the bank
  ADD COLUMN renewal_asked_at timestamptz;        -- when they were asked to renew it
CREATE INDEX bank_consents_ending ON bank_consents (valid_until) WHERE status = 'valid';

-- Whom an event is about, in the sender's words: an event that came before its applicant is found again by them.
ALTER TABLE webhook_events
  ADD COLUMN applicant_id text,
  ADD COLUMN external_user_id text;
CREATE INDEX webhook_events_unmatched_applicant ON webhook_events (applicant_id) WHERE state = 'unmatched';
CREATE INDEX webhook_events_unmatched_user ON webhook_events (external_user_id) WHERE state = 'unmatched';

-- The holds that a new balance takes over.
CREATE INDEX transactions_holding ON transactions (account_id) WHERE hold > 0;

-- Retention goes by time.
CREATE INDEX balance_reads_by_time ON balance_reads (read_at);
CREATE INDEX balance_refreshes_by_time ON balance_refreshes (created_at);
