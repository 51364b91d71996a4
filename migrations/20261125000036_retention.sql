-- People who want to be forgotten, what the law wants to be kept of them all the same, and for how long (ops/retention.md).

ALTER TABLE users
  ADD COLUMN held_at timestamptz,                 -- a legal hold: nothing of this person's is deleted or moved
  ADD COLUMN moved_at timestamptz,                -- what is kept of somebody erased lies apart
  ADD CONSTRAINT only_the_erased_are_moved CHECK (moved_at IS NULL OR erased_at IS NOT NULL);
CREATE INDEX users_erased ON users (erased_at) WHERE erased_at IS NOT NULL;

-- Whose an event is, for whoever moves it.
CREATE INDEX webhook_events_of_applicant ON webhook_events (applicant_id) WHERE raw IS NOT NULL;
CREATE INDEX webhook_events_of_user ON webhook_events (external_user_id) WHERE raw IS NOT NULL;
CREATE INDEX webhook_events_by_time ON webhook_events USING brin (received_at);
CREATE INDEX audit_log_by_time ON audit_log USING brin (at);

-- Whoever is moved or deleted is looked for through every key that points at them. A check of a key finds a partial index only
-- where its condition follows from the comparison.
CREATE INDEX transactions_of_account ON transactions (account_id);
CREATE INDEX transactions_duplicates ON transactions (confirmed_duplicate_of) WHERE confirmed_duplicate_of IS NOT NULL;
CREATE INDEX bank_consents_taken_over ON bank_consents (taken_over_by) WHERE taken_over_by IS NOT NULL;
CREATE INDEX balance_reads_of_account ON balance_reads (account_id);
CREATE INDEX balance_refreshes_of_user ON balance_refreshes (user_id);
CREATE INDEX kyc_former_applicants_of_user ON kyc_former_applicants (user_id);
CREATE INDEX aml_cases_of_user ON aml_cases (user_id);

-- Read by nobody but through restricted.read, which says who did and why. A row of another table as it was, but for what only a
-- call to its bank needed.
CREATE SCHEMA restricted;
CREATE TABLE restricted.records (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id uuid NOT NULL,
  class text NOT NULL,                            -- the table that it was a row of
  record jsonb NOT NULL,
  moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  retention_until timestamptz NOT NULL
);
CREATE INDEX records_of_user ON restricted.records (user_id, id);
CREATE INDEX records_by_end ON restricted.records (retention_until);

-- How long each class is kept after the end of the relation, or after its own last change where that is later: the one place. All
-- that is kept of one person ends with the last of it.
CREATE FUNCTION restricted.kept_for(p_class text) RETURNS interval LANGUAGE sql IMMUTABLE SET search_path = public, pg_temp AS $$
  SELECT CASE WHEN p_class IN ('users', 'kyc_applicants', 'kyc_former_applicants', 'screening_results', 'aml_cases', 'webhook_events',
                               'bank_accounts', 'transactions', 'payment_attempts', 'audit_log') THEN interval '5 years' END $$;

-- Whether nothing of a person is under way: the bank has said its last word on every payment, and knows that every consent is
-- over, or it has ended with its last day; and no compliance officer has a case of theirs open.
CREATE FUNCTION restricted.is_at_rest(p_user uuid) RETURNS boolean LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  SELECT NOT EXISTS (SELECT FROM transactions t WHERE t.user_id = p_user AND NOT t.bank_final)
     AND NOT EXISTS (SELECT FROM bank_consents c WHERE c.user_id = p_user
                        AND (c.consent_id_sealed IS NOT NULL
                             AND coalesce(c.valid_until, c.created_at::date + 180) >= clock_timestamp()::date
                             OR c.updated_at > clock_timestamp() - interval '5 minutes'))
     AND NOT EXISTS (SELECT FROM kyc_applicants a WHERE a.user_id = p_user AND a.status = 'requested'
                        AND a.updated_at > clock_timestamp() - interval '1 hour')
     AND NOT EXISTS (SELECT FROM aml_cases c WHERE c.user_id = p_user AND c.closed_at IS NULL) $$;

-- Those of whom something is to be moved: all of it, or what was told of them since.
CREATE FUNCTION restricted.to_move() RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = public, pg_temp AS $$
  SELECT u.id FROM users u
   WHERE u.erased_at IS NOT NULL AND u.held_at IS NULL
     AND (u.moved_at IS NULL
          OR EXISTS (SELECT FROM kyc_former_applicants f JOIN webhook_events w ON w.applicant_id = f.applicant_id
                      WHERE f.user_id = u.id AND w.raw IS NOT NULL AND w.state <> 'received')
          OR EXISTS (SELECT FROM webhook_events w WHERE w.external_user_id = 'usr_' || replace(u.id::text, '-', '')
                        AND w.raw IS NOT NULL AND w.state <> 'received'))
     AND restricted.is_at_rest(u.id)
   ORDER BY u.erased_at $$;

-- Moves what is kept of one erased person, and deletes the rest, once nothing of theirs is under way. False: it is not their turn.
CREATE FUNCTION restricted.move_erased(p_user uuid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = public, pg_temp AS $$
DECLARE
  p users;
  p_name text := 'usr_' || replace(p_user::text, '-', '');
  applicants text[];
  events uuid[];
  last_end timestamptz;
BEGIN
  SELECT u.* INTO p FROM users u WHERE u.id = p_user AND u.erased_at IS NOT NULL AND u.held_at IS NULL FOR UPDATE SKIP LOCKED;
  -- Asked under the lock, for which whoever opens a case waits.
  IF NOT FOUND OR NOT restricted.is_at_rest(p_user) THEN RETURN false; END IF;
  applicants := ARRAY(SELECT applicant_id FROM kyc_applicants WHERE user_id = p.id AND applicant_id IS NOT NULL
                      UNION SELECT applicant_id FROM kyc_former_applicants WHERE user_id = p.id);
  -- One that is applied between two of these statements is moved the next time.
  events := ARRAY(SELECT id FROM webhook_events WHERE raw IS NOT NULL AND state <> 'received'
                     AND (applicant_id = ANY (applicants) OR external_user_id = p_name) FOR NO KEY UPDATE);

  INSERT INTO restricted.records (user_id, class, record, retention_until)
  SELECT p.id, r.class, r.record, greatest(r.ended, p.erased_at) + restricted.kept_for(r.class) FROM (
    SELECT 'users', to_jsonb(p), p.erased_at WHERE p.moved_at IS NULL
    UNION ALL
    SELECT 'transactions', to_jsonb(t) - '{psu_ip,psu_user_agent,client_key,sca_redirect,callback_state_hash,callback_state_sealed}'::text[],
           t.updated_at FROM transactions t WHERE t.user_id = p.id
    UNION ALL
    SELECT 'payment_attempts', to_jsonb(a), a.finished_at FROM payment_attempts a JOIN transactions t ON t.id = a.transaction_id
     WHERE t.user_id = p.id
    UNION ALL  -- the number that a payment left from belongs to the payment
    SELECT 'bank_accounts', jsonb_build_object('id', a.id, 'bank', a.bank, 'currency', a.currency, 'account_sealed', a.account_sealed,
           'account_masked', a.account_masked), max(t.updated_at)
      FROM bank_accounts a JOIN transactions t ON t.account_id = a.id WHERE t.user_id = p.id GROUP BY a.id
    UNION ALL
    SELECT 'kyc_applicants', to_jsonb(a), a.updated_at FROM kyc_applicants a WHERE a.user_id = p.id
    UNION ALL
    SELECT 'kyc_former_applicants', to_jsonb(f), f.unlinked_at FROM kyc_former_applicants f WHERE f.user_id = p.id AND p.moved_at IS NULL
    UNION ALL
    SELECT 'screening_results', to_jsonb(s), s.created_at FROM screening_results s WHERE s.user_id = p.id
    UNION ALL
    SELECT 'aml_cases', to_jsonb(c), coalesce(c.closed_at, c.opened_at) FROM aml_cases c WHERE c.user_id = p.id
    UNION ALL
    SELECT 'webhook_events', to_jsonb(w), w.received_at FROM webhook_events w WHERE w.id = ANY (events)
  ) r (class, record, ended);
  -- Who they were, and each of the rest, is kept for as long as the last of it: apart it shows little.
  SELECT max(retention_until) INTO last_end FROM restricted.records WHERE user_id = p.id;
  UPDATE restricted.records SET retention_until = last_end WHERE user_id = p.id AND retention_until < last_end;

  DELETE FROM payment_attempts WHERE transaction_id IN (SELECT id FROM transactions WHERE user_id = p.id);
  DELETE FROM transactions WHERE user_id = p.id;
  DELETE FROM balance_reads WHERE account_id IN (SELECT id FROM bank_accounts WHERE user_id = p.id);
  DELETE FROM balance_refreshes WHERE user_id = p.id;
  DELETE FROM bank_accounts WHERE user_id = p.id;
  DELETE FROM bank_consents WHERE user_id = p.id;
  DELETE FROM screening_results WHERE user_id = p.id;
  DELETE FROM aml_cases WHERE user_id = p.id;
  -- Their keys stay: an event that is sent again stays a duplicate.
  UPDATE webhook_events SET raw = NULL, applicant_id = NULL, external_user_id = NULL, note = NULL,
         state = CASE WHEN applied_at IS NULL THEN 'recorded' ELSE state END, applied_at = coalesce(applied_at, clock_timestamp())
   WHERE id = ANY (events);
  -- So that what Sumsub still tells is known to be about nobody's check.
  INSERT INTO kyc_former_applicants (applicant_id, user_id, level_name)
  SELECT DISTINCT ON (applicant_id) applicant_id, user_id, level_name FROM kyc_applicants
   WHERE user_id = p.id AND applicant_id IS NOT NULL ON CONFLICT (applicant_id) DO NOTHING;
  UPDATE kyc_former_applicants SET last_decision = NULL, last_event_at = NULL WHERE user_id = p.id;
  DELETE FROM kyc_applicants WHERE user_id = p.id;
  DELETE FROM kyc_sdk_tokens WHERE user_id = p.id;
  DELETE FROM notifications WHERE user_id = p.id;
  DELETE FROM sessions WHERE user_id = p.id;
  DELETE FROM logins WHERE user_id = p.id;
  -- The keyed hash stays, so that nobody is made of them anew.
  UPDATE users SET first_name = '', last_name = '', email_sealed = NULL, kyc_status = 'pending',
         moved_at = coalesce(moved_at, clock_timestamp()) WHERE id = p.id;
  RETURN true;
END $$;

-- Deletes records whose time is over. How many; 0: there are none left.
CREATE FUNCTION restricted.purge() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH purged AS (
    DELETE FROM restricted.records WHERE id = ANY (ARRAY(
      SELECT r.id FROM restricted.records r
       WHERE r.retention_until < clock_timestamp() AND NOT EXISTS (SELECT FROM users u WHERE u.id = r.user_id AND u.held_at IS NOT NULL)
         AND NOT EXISTS (SELECT FROM aml_cases c WHERE c.user_id = r.user_id AND c.closed_at IS NULL)
       ORDER BY r.retention_until LIMIT 1000)) RETURNING 1)
  SELECT count(*) FROM purged $$;

-- Whether no record of somebody is kept any more, and nothing is left that could become one.
CREATE FUNCTION restricted.is_over(p_user uuid) RETURNS boolean LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  SELECT NOT EXISTS (SELECT FROM restricted.records r WHERE r.user_id = p_user)
     AND NOT EXISTS (SELECT FROM aml_cases c WHERE c.user_id = p_user) $$;

-- Those of whom nothing is kept any more.
CREATE FUNCTION restricted.to_forget() RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = public, pg_temp AS $$
  SELECT u.id FROM users u
   WHERE u.moved_at IS NOT NULL AND u.held_at IS NULL AND u.erased_at + restricted.kept_for('users') < clock_timestamp()
     AND restricted.is_over(u.id)
   ORDER BY u.erased_at $$;

-- Deletes what is left of one of them. Their ids at Sumsub, which is to delete them too; NULL: it is not their turn.
CREATE FUNCTION restricted.forget(p_user uuid) RETURNS text[] LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = public, pg_temp AS $$
DECLARE
  gone uuid;
  applicants text[];
BEGIN
  SELECT u.id INTO gone FROM users u
   WHERE u.id = p_user AND u.moved_at IS NOT NULL AND u.held_at IS NULL
     AND u.erased_at + restricted.kept_for('users') < clock_timestamp() FOR UPDATE SKIP LOCKED;
  IF NOT FOUND OR NOT restricted.is_over(p_user) THEN RETURN NULL; END IF;
  WITH former AS (DELETE FROM kyc_former_applicants WHERE user_id = gone RETURNING applicant_id)
  SELECT coalesce(array_agg(applicant_id), '{}') INTO applicants FROM former;
  DELETE FROM notifications WHERE user_id = gone;
  DELETE FROM sessions WHERE user_id = gone;
  DELETE FROM logins WHERE user_id = gone;
  DELETE FROM users WHERE id = gone;
  INSERT INTO audit_log (actor, user_id, action, object, detail)
  VALUES ('worker', gone, 'user.forgotten', 'usr_' || replace(gone::text, '-', ''), jsonb_build_object('applicants', applicants));
  RETURN applicants;
END $$;

-- Empties webhooks that were about nobody of ours. How many. Whoever is named by either of the two is somebody, held or not.
CREATE FUNCTION restricted.empty_webhooks() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH emptied AS (
    UPDATE webhook_events SET raw = NULL, applicant_id = NULL, external_user_id = NULL, note = NULL WHERE id = ANY (ARRAY(
      SELECT w.id FROM webhook_events w
       WHERE w.raw IS NOT NULL AND w.state <> 'received' AND w.received_at < clock_timestamp() - restricted.kept_for('webhook_events')
         AND NOT EXISTS (SELECT FROM kyc_applicants a WHERE a.applicant_id = w.applicant_id)
         AND NOT EXISTS (SELECT FROM kyc_former_applicants f WHERE f.applicant_id = w.applicant_id)
         AND NOT EXISTS (SELECT FROM screening_results s WHERE s.webhook_event_id = w.id)
         AND NOT EXISTS (SELECT FROM users u WHERE u.id = CASE WHEN w.external_user_id ~ '^usr_[0-9a-f]{32}$'
                                                               THEN substr(w.external_user_id, 5)::uuid END)
       ORDER BY w.received_at LIMIT 1000)) RETURNING 1)
  SELECT count(*) FROM emptied $$;

-- Deletes audit rows whose time is over. How many.
CREATE FUNCTION restricted.prune_audit() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  pruned bigint;
BEGIN
  PERFORM set_config('app.retention', 'on', true);
  DELETE FROM audit_log WHERE id = ANY (ARRAY(
    SELECT a.id FROM audit_log a
     WHERE a.at < clock_timestamp() - restricted.kept_for('audit_log')
       AND NOT EXISTS (SELECT FROM users u WHERE u.id = a.user_id AND u.held_at IS NOT NULL)
     LIMIT 5000));
  GET DIAGNOSTICS pruned = ROW_COUNT;
  PERFORM set_config('app.retention', 'off', true);
  RETURN pruned;
END $$;

CREATE OR REPLACE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_OP = 'DELETE' AND current_setting('app.retention', true) = 'on' THEN RETURN NULL; END IF;
  RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = '42501';
END $$;

-- What is kept of somebody. Who asks and why is written with it.
CREATE FUNCTION restricted.read(p_user uuid, p_operator text, p_reason text)
  RETURNS TABLE (class text, record jsonb, retention_until timestamptz)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$ BEGIN
  INSERT INTO audit_log (actor, user_id, action, object, detail)
  VALUES ('operator', p_user, 'restricted.read', 'usr_' || replace(p_user::text, '-', ''),
          jsonb_build_object('operator', p_operator, 'reason', p_reason));
  RETURN QUERY SELECT r.class, r.record, r.retention_until FROM restricted.records r WHERE r.user_id = p_user ORDER BY r.id;
END $$;
