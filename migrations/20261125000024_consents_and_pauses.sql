-- A pause that a bank asked for holds every read without the owner, also one that was planned before it.
ALTER TABLE bank_accounts ADD COLUMN paused_until timestamptz;

-- A consent that is over keeps its id at the bank only until the bank knows, and nothing of its owner's visit.
ALTER TABLE bank_consents
  DROP CONSTRAINT known_at_the_bank,
  ADD CONSTRAINT known_at_the_bank CHECK (status NOT IN ('received', 'valid') OR consent_id_sealed IS NOT NULL);
UPDATE bank_consents
   SET consent_id_sealed = NULL, sca_redirect = NULL, callback_state_sealed = NULL, psu_ip = NULL, psu_user_agent = NULL
 WHERE status IN ('rejected', 'expired', 'revoked', 'terminated', 'replaced', 'failed');
UPDATE bank_consents SET psu_user_agent = NULL WHERE psu_user_agent IS NOT NULL AND status <> 'requested';
