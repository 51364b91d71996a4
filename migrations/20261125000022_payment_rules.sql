-- The database repeats the payments' state machine (common/src/domain/payment_status.rs): a mistake of the code's meets it
-- next, whoever makes it. What a row may say is a CHECK, what may become of it a trigger. Each trigger is decided by its WHEN,
-- after the update and without a lock of its own; a function is called only to refuse.

ALTER TABLE transactions
  ADD CONSTRAINT a_reason_that_we_know CHECK (reason IN
    ('bank_rejected', 'not_sent', 'sca_timeout', 'rate_limited', 'refused', 'consent_expired', 'kyc_required')),
  -- The order that the timeout withdrew stays a timeout: its person has been told.
  ADD CONSTRAINT the_banks_last_word_is_the_status CHECK (CASE bank_status
    WHEN 'ACSC' THEN status = 'completed'
    WHEN 'ACCC' THEN status = 'completed'
    WHEN 'RJCT' THEN status = 'failed' AND reason IS NOT DISTINCT FROM 'bank_rejected'
    WHEN 'CANC' THEN status = 'cancelled' OR status = 'failed' AND reason IS NOT DISTINCT FROM 'sca_timeout'
    ELSE true END),
  ADD CONSTRAINT only_the_bank_rejects CHECK (reason IS DISTINCT FROM 'bank_rejected' OR bank_status IS NOT DISTINCT FROM 'RJCT'),
  ADD CONSTRAINT only_settlement_completes_for_good CHECK (
    NOT (status = 'completed' AND bank_final) OR coalesce(bank_status IN ('ACSC', 'ACCC'), false)),
  ADD CONSTRAINT a_refusal_leaves_nothing_at_the_bank CHECK (
    reason IS NULL OR reason IN ('bank_rejected', 'sca_timeout') OR bank_final AND bank_status IS NULL),
  ADD CONSTRAINT what_the_bank_accepted_has_not_timed_out CHECK (
    reason IS DISTINCT FROM 'sca_timeout' OR bank_status IS NULL OR bank_status IN ('RCVD', 'PDNG', 'PATC', 'ACTC', 'CANC')),
  ADD CONSTRAINT a_timeout_is_final_once_it_is_withdrawn CHECK (
    reason IS DISTINCT FROM 'sca_timeout' OR NOT bank_final OR withdrawn_at IS NOT NULL OR bank_status IS NOT DISTINCT FROM 'CANC'),
  ADD CONSTRAINT cancelled_by_the_bank_or_before_it_had_it CHECK (
    status <> 'cancelled' OR withdrawn_at IS NOT NULL OR bank_status IS NOT DISTINCT FROM 'CANC'
    OR bank_final AND payment_id IS NULL AND bank_status IS NULL);

CREATE FUNCTION refuse_the_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION '% refuses this change of %', TG_NAME, OLD.id
    USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;

-- What was ordered, by whom and under which key (PSD2, art. 66(3)), and how long it may be sent: anew where somebody who
-- looked at it lets it be sent again.
CREATE TRIGGER what_was_ordered_stays AFTER UPDATE ON transactions FOR EACH ROW WHEN (
  (OLD.id, OLD.user_id, OLD.account_id, OLD.client_key, OLD.idempotency_key, OLD.fingerprint, OLD.amount, OLD.currency,
   OLD.creditor_name, OLD.creditor_scheme, OLD.creditor_account_sealed, OLD.creditor_account_index,
   OLD.creditor_account_masked, OLD.remittance_information, OLD.product, OLD.callback_state_hash,
   OLD.confirmed_duplicate_of)
  IS DISTINCT FROM
  (NEW.id, NEW.user_id, NEW.account_id, NEW.client_key, NEW.idempotency_key, NEW.fingerprint, NEW.amount, NEW.currency,
   NEW.creditor_name, NEW.creditor_scheme, NEW.creditor_account_sealed, NEW.creditor_account_index,
   NEW.creditor_account_masked, NEW.remittance_information, NEW.product, NEW.callback_state_hash,
   NEW.confirmed_duplicate_of)
  OR OLD.expires_at - OLD.created_at <> NEW.expires_at - NEW.created_at AND (NEW.needs_review OR NOT OLD.needs_review))
  EXECUTE FUNCTION refuse_the_change();

-- What is written once: the bank's id and its one link, that its person came back, that it was withdrawn. What only the bank
-- is told may be emptied; a hold only goes, and whole; a version only grows.
CREATE TRIGGER what_happened_stays AFTER UPDATE ON transactions FOR EACH ROW WHEN (
  OLD.payment_id <> NEW.payment_id OR OLD.payment_id IS NOT NULL AND NEW.payment_id IS NULL
  OR OLD.sca_redirect <> NEW.sca_redirect OR OLD.sca_redirect IS NOT NULL AND NEW.sca_redirect IS NULL
  OR OLD.callback_at IS NOT NULL AND NEW.callback_at IS NULL
  OR OLD.withdrawn_at IS NOT NULL AND NEW.withdrawn_at IS NULL
  OR OLD.sca_deadline IS NOT NULL AND NEW.sca_deadline IS NULL
  OR OLD.callback_state_sealed IS DISTINCT FROM NEW.callback_state_sealed AND NEW.callback_state_sealed IS NOT NULL
  OR OLD.psu_ip IS DISTINCT FROM NEW.psu_ip AND NEW.psu_ip IS NOT NULL
  OR OLD.psu_user_agent IS DISTINCT FROM NEW.psu_user_agent AND NEW.psu_user_agent IS NOT NULL
  OR NEW.hold <> OLD.hold AND NEW.hold <> 0
  OR NEW.version < OLD.version)
  EXECUTE FUNCTION refuse_the_change();

-- The bank's last word is its last: only "settled" may go on to "settled at the creditor".
CREATE TRIGGER the_last_word_stays AFTER UPDATE OF status, reason, bank_status, bank_final ON transactions FOR EACH ROW WHEN (
  OLD.bank_final
  AND ((OLD.status, OLD.reason, OLD.bank_final) IS DISTINCT FROM (NEW.status, NEW.reason, NEW.bank_final)
       OR OLD.bank_status IS DISTINCT FROM NEW.bank_status
          AND (OLD.bank_status IS DISTINCT FROM 'ACSC' OR NEW.bank_status IS DISTINCT FROM 'ACCC')))
  EXECUTE FUNCTION refuse_the_change();

-- A word behind the one that we have, or none, is never taken.
CREATE TRIGGER the_bank_goes_forward AFTER UPDATE OF bank_status ON transactions FOR EACH ROW WHEN (
  OLD.bank_status IS DISTINCT FROM NEW.bank_status
  AND (OLD.bank_status IS NOT NULL AND NEW.bank_status IS NULL
       OR array_position('{RCVD,PDNG,PATC,ACTC,ACCP,ACFC,ACWC,ACSP,ACWP,ACSC,ACCC}'::text[], NEW.bank_status)
          < array_position('{RCVD,PDNG,PATC,ACTC,ACCP,ACFC,ACWC,ACSP,ACWP,ACSC,ACCC}'::text[], OLD.bank_status)))
  EXECUTE FUNCTION refuse_the_change();

-- Everything that can happen to a payment before the bank's last word.
CREATE TRIGGER a_payment_moves_by_its_rules AFTER UPDATE OF status, reason, bank_status, bank_final ON transactions
  FOR EACH ROW WHEN (
  NOT OLD.bank_final
  AND (OLD.status, OLD.reason, OLD.bank_status, OLD.bank_final) IS DISTINCT FROM (NEW.status, NEW.reason, NEW.bank_status, NEW.bank_final)
  AND (
    -- the bank settles or rejects it, or cancels it; a timeout whose order is cancelled stays one
    NEW.bank_final AND NEW.bank_status IN ('ACSC', 'ACCC', 'RJCT')
    OR NEW.bank_final AND NEW.bank_status = 'CANC' AND (NEW.status = 'failed') = (OLD.status = 'failed')
    -- another word on its way; whoever was told that it ended hears nothing new of one that is not yet accepted
    OR NOT NEW.bank_final AND NEW.status = OLD.status AND NEW.reason IS NOT DISTINCT FROM OLD.reason
       AND (OLD.status IN ('processing', 'completed') OR NEW.bank_status IN ('RCVD', 'PDNG', 'PATC', 'ACTC'))
    -- a word that shows it as completed (PISP_PROVISIONAL_COMPLETED)
    OR NOT NEW.bank_final AND OLD.status = 'processing' AND NEW.status = 'completed'
    -- not approved in time, or withdrawn
    OR NOT NEW.bank_final AND OLD.status = 'processing' AND (NEW.reason = 'sca_timeout' OR NEW.status = 'cancelled')
       AND NEW.bank_status IS NOT DISTINCT FROM OLD.bank_status
    -- accepted after its person was told that it ended
    OR OLD.status IN ('failed', 'cancelled') AND NEW.status = 'processing'
       AND NEW.bank_status IN ('ACCP', 'ACFC', 'ACWC', 'ACSP', 'ACWP')
    -- never at the bank: refused, not sent, or taken back before
    OR NEW.bank_final AND OLD.status = 'processing' AND OLD.bank_status IS NULL AND NEW.bank_status IS NULL
       AND NEW.reason IS DISTINCT FROM 'sca_timeout'
    -- gone at the bank after it was withdrawn
    OR NEW.bank_final AND OLD.status IN ('failed', 'cancelled') AND NEW.status = OLD.status
       AND NEW.reason IS NOT DISTINCT FROM OLD.reason AND NEW.bank_status IS NOT DISTINCT FROM OLD.bank_status
  ) IS NOT TRUE)
  EXECUTE FUNCTION refuse_the_change();

-- An attempt is what was written before it left, and ends once.
CREATE TRIGGER an_attempt_stays AFTER UPDATE ON payment_attempts FOR EACH ROW WHEN (
  (OLD.id, OLD.transaction_id, OLD.job_attempt, OLD.body_hash) IS DISTINCT FROM (NEW.id, NEW.transaction_id, NEW.job_attempt, NEW.body_hash)
  OR OLD.outcome <> 'sending' AND (OLD.outcome, OLD.http_status) IS DISTINCT FROM (NEW.outcome, NEW.http_status))
  EXECUTE FUNCTION refuse_the_change();

-- Whoever looks at an open payment, or comes back with it again and again, wants its poll soon: at once where the last one began
-- long enough ago. Found by the unique key, it locks and writes only a row that comes forward, and waits for no other's lock.
CREATE FUNCTION jobs_hasten_spaced(p_kind text, p_unique_key text, p_spacing interval) RETURNS boolean LANGUAGE sql AS $$
  WITH hastened AS (
    UPDATE jobs SET run_at = greatest(clock_timestamp(), coalesce(claimed_at, created_at) + p_spacing)
     WHERE id = (SELECT id FROM jobs
                  WHERE kind = p_kind AND unique_key = p_unique_key AND state = 'ready'
                    AND run_at > greatest(clock_timestamp(), coalesce(claimed_at, created_at) + p_spacing)
                    FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING 1)
  SELECT EXISTS (SELECT 1 FROM hastened) $$;

-- Wishes to take a payment back that nobody has answered; the minute's reconciliation looks for them.
CREATE INDEX transactions_wished_back ON transactions (updated_at) WHERE cancellation = 'requested';

ALTER TABLE transactions
  ADD COLUMN withdrawing_at timestamptz,          -- committed before the withdrawal of an order that was not approved in time
  ADD CONSTRAINT only_what_the_bank_knows_is_being_withdrawn CHECK (withdrawing_at IS NULL OR payment_id IS NOT NULL);
