-- A sealed value of a payment may be sealed with another key, and until now by whatever statement wrote one that begins with another
-- key's id. It may by a transaction that says that it does nothing else (storage::reseal), of a row of which nothing else changes. A
-- `reseal` of the release before is refused, and changes nothing.

-- The rules of a payment, as before but for that.
CREATE OR REPLACE FUNCTION a_payment_keeps_its_rules() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  broken text;
  resealed boolean := false;
BEGIN
  -- The same values sealed with another key, whose id is their first byte, by whoever does nothing else.
  IF TG_OP = 'UPDATE' AND current_setting('drop.reseal', true) = 'on' THEN
    resealed := to_jsonb(OLD) - '{creditor_account_sealed,creditor_account_index,callback_state_sealed}'::text[]
              = to_jsonb(NEW) - '{creditor_account_sealed,creditor_account_index,callback_state_sealed}'::text[]
      AND ((OLD.creditor_account_sealed, OLD.creditor_account_index) = (NEW.creditor_account_sealed, NEW.creditor_account_index)
           OR substr(OLD.creditor_account_sealed, 1, 1) <> substr(NEW.creditor_account_sealed, 1, 1))
      AND (OLD.callback_state_sealed IS NOT DISTINCT FROM NEW.callback_state_sealed
           OR substr(OLD.callback_state_sealed, 1, 1) <> substr(NEW.callback_state_sealed, 1, 1));
  END IF;

  -- What a row may say. As with a CHECK, what cannot be told breaks no rule.
  broken := CASE
    WHEN NOT ((NEW.status = 'failed') = (NEW.reason IS NOT NULL)) THEN 'failed_has_reason'
    WHEN NOT (NEW.bank_status IS NULL OR NEW.bank_status NOT IN ('ACSC', 'ACCC', 'RJCT', 'CANC') OR NEW.bank_final)
      THEN 'settled_is_final'
    WHEN NEW.status = 'completed' AND NEW.bank_status IS NULL THEN 'only_the_bank_completes'
    WHEN NEW.status = 'processing' AND NEW.bank_final THEN 'processing_is_open'
    WHEN NEW.sca_redirect IS NOT NULL AND NEW.payment_id IS NULL THEN 'a_link_names_its_payment'
    WHEN NEW.withdrawn_at IS NOT NULL AND NEW.payment_id IS NULL THEN 'only_what_the_bank_knows_is_withdrawn'
    WHEN NEW.withdrawing_at IS NOT NULL AND NEW.payment_id IS NULL THEN 'only_what_the_bank_knows_is_being_withdrawn'
    WHEN NEW.authorisation IS NOT NULL AND NEW.payment_id IS NULL THEN 'only_what_the_bank_knows_is_authorised'
    WHEN coalesce(NEW.bank_change IN ('same', 'differs'), false) <> (NEW.bank_amount IS NOT NULL)
      OR (NEW.bank_amount IS NULL) <> (NEW.bank_currency IS NULL)
      OR NEW.bank_execution_date IS NOT NULL AND NEW.bank_amount IS NULL
      THEN 'a_change_that_was_read_has_an_amount'
    WHEN NEW.status = 'completed' AND NEW.bank_final AND NOT coalesce(NEW.bank_status IN ('ACSC', 'ACCC'), false)
      THEN 'only_settlement_completes_for_good'
    -- The order that the timeout withdrew stays a timeout: its person has been told.
    WHEN NOT CASE NEW.bank_status
        WHEN 'ACSC' THEN NEW.status = 'completed'
        WHEN 'ACCC' THEN NEW.status = 'completed'
        WHEN 'RJCT' THEN NEW.status = 'failed' AND NEW.reason IS NOT DISTINCT FROM 'bank_rejected'
        WHEN 'CANC' THEN NEW.status = 'cancelled' OR NEW.status = 'failed' AND NEW.reason IS NOT DISTINCT FROM 'sca_timeout'
        ELSE true END
      THEN 'the_banks_last_word_is_the_status'
    WHEN NEW.reason IS NOT DISTINCT FROM 'bank_rejected' AND NEW.bank_status IS DISTINCT FROM 'RJCT' THEN 'only_the_bank_rejects'
    WHEN NOT (NEW.reason IS NULL OR NEW.reason IN ('bank_rejected', 'sca_timeout') OR NEW.bank_final AND NEW.bank_status IS NULL)
      THEN 'a_refusal_leaves_nothing_at_the_bank'
    WHEN NEW.reason IS NOT DISTINCT FROM 'sca_timeout' AND NEW.bank_status NOT IN ('RCVD', 'PDNG', 'PATC', 'ACTC', 'CANC')
      THEN 'what_the_bank_accepted_has_not_timed_out'
    WHEN NEW.reason IS NOT DISTINCT FROM 'sca_timeout' AND NEW.bank_final AND NEW.withdrawn_at IS NULL
      AND NEW.bank_status IS DISTINCT FROM 'CANC'
      THEN 'a_timeout_is_final_once_it_is_withdrawn'
    WHEN NOT (NEW.status <> 'cancelled' OR NEW.withdrawn_at IS NOT NULL OR NEW.bank_status IS NOT DISTINCT FROM 'CANC'
              OR NEW.bank_final AND NEW.payment_id IS NULL AND NEW.bank_status IS NULL)
      THEN 'cancelled_by_the_bank_or_before_it_had_it'
  END;

  -- What may become of it.
  IF broken IS NULL AND TG_OP = 'UPDATE' THEN
    broken := CASE
      -- What was ordered, by whom and under which key (PSD2, art. 66(3)), and how long it may be sent: anew where somebody
      -- who looked at it lets it be sent again.
      WHEN (OLD.id, OLD.user_id, OLD.account_id, OLD.client_key, OLD.idempotency_key, OLD.fingerprint, OLD.amount,
            OLD.currency, OLD.creditor_name, OLD.creditor_scheme, OLD.creditor_account_masked, OLD.remittance_information,
            OLD.product, OLD.callback_state_hash, OLD.confirmed_duplicate_of)
        IS DISTINCT FROM
           (NEW.id, NEW.user_id, NEW.account_id, NEW.client_key, NEW.idempotency_key, NEW.fingerprint, NEW.amount,
            NEW.currency, NEW.creditor_name, NEW.creditor_scheme, NEW.creditor_account_masked, NEW.remittance_information,
            NEW.product, NEW.callback_state_hash, NEW.confirmed_duplicate_of)
        OR (OLD.creditor_account_sealed, OLD.creditor_account_index)
           IS DISTINCT FROM (NEW.creditor_account_sealed, NEW.creditor_account_index) AND resealed IS NOT TRUE
        OR OLD.expires_at - OLD.created_at <> NEW.expires_at - NEW.created_at AND (NEW.needs_review OR NOT OLD.needs_review)
        THEN 'what_was_ordered_stays'
      -- What is written once: the bank's id and its one link, that its person came back, that it was withdrawn. What only
      -- the bank is told may be emptied; a hold only goes, and whole; a version only grows.
      WHEN OLD.payment_id <> NEW.payment_id OR OLD.payment_id IS NOT NULL AND NEW.payment_id IS NULL
        OR OLD.sca_redirect <> NEW.sca_redirect OR OLD.sca_redirect IS NOT NULL AND NEW.sca_redirect IS NULL
        OR OLD.callback_at IS NOT NULL AND NEW.callback_at IS NULL
        OR OLD.withdrawn_at IS NOT NULL AND NEW.withdrawn_at IS NULL
        OR OLD.sca_deadline IS NOT NULL AND NEW.sca_deadline IS NULL
        OR OLD.callback_state_sealed IS DISTINCT FROM NEW.callback_state_sealed AND NEW.callback_state_sealed IS NOT NULL
           AND resealed IS NOT TRUE
        OR OLD.psu_ip IS DISTINCT FROM NEW.psu_ip AND NEW.psu_ip IS NOT NULL
        OR OLD.psu_user_agent IS DISTINCT FROM NEW.psu_user_agent AND NEW.psu_user_agent IS NOT NULL
        OR NEW.hold <> OLD.hold AND NEW.hold <> 0
        OR NEW.version < OLD.version
        THEN 'what_happened_stays'
      -- The bank's last word is its last: only "settled" may go on to "settled at the creditor".
      WHEN OLD.bank_final
        AND ((OLD.status, OLD.reason, OLD.bank_final) IS DISTINCT FROM (NEW.status, NEW.reason, NEW.bank_final)
             OR OLD.bank_status IS DISTINCT FROM NEW.bank_status
                AND (OLD.bank_status IS DISTINCT FROM 'ACSC' OR NEW.bank_status IS DISTINCT FROM 'ACCC'))
        THEN 'the_last_word_stays'
      -- A word behind the one that we have, or none, is never taken.
      WHEN OLD.bank_status IS DISTINCT FROM NEW.bank_status
        AND (OLD.bank_status IS NOT NULL AND NEW.bank_status IS NULL
             OR array_position('{RCVD,PDNG,PATC,ACTC,ACCP,ACFC,ACWC,ACSP,ACWP,ACSC,ACCC}'::text[], NEW.bank_status)
                < array_position('{RCVD,PDNG,PATC,ACTC,ACCP,ACFC,ACWC,ACSP,ACWP,ACSC,ACCC}'::text[], OLD.bank_status))
        THEN 'the_bank_goes_forward'
      -- Everything that can happen to a payment before the bank's last word.
      WHEN NOT OLD.bank_final
        AND (OLD.status, OLD.reason, OLD.bank_status, OLD.bank_final)
            IS DISTINCT FROM (NEW.status, NEW.reason, NEW.bank_status, NEW.bank_final)
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
        ) IS NOT TRUE
        THEN 'a_payment_moves_by_its_rules'
    END;
  END IF;

  IF broken IS NOT NULL THEN
    RAISE EXCEPTION '% refuses this of %', broken, NEW.id
      USING ERRCODE = 'check_violation', CONSTRAINT = broken, TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NULL;
END $$;
