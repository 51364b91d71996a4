-- What the roles need besides their rights (grants.sql): ways to what they may not touch themselves.

-- The API may not update jobs: this it may.
ALTER FUNCTION jobs_hasten(text, text) SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION jobs_hasten_spaced(text, text, interval) SECURITY DEFINER SET search_path = public, pg_temp;

-- Whoever comes back from the bank may be in no session. Their payment or consent is found by what the bank's address holds,
-- before it is known whose it is; what proves that it may be shown is asked for afterwards, among its owner's rows.
CREATE FUNCTION owner_of_payment(p_id uuid) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ SELECT user_id FROM transactions WHERE id = p_id $$;
CREATE FUNCTION owner_of_payment_at_bank(p_payment_id text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = public, pg_temp AS $$ SELECT user_id FROM transactions WHERE payment_id = p_payment_id $$;
CREATE FUNCTION owner_of_consent(p_id uuid) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ SELECT user_id FROM bank_consents WHERE id = p_id $$;

-- What people may read: no names, numbers, amounts or addresses, nothing sealed, and not whose a row is.
CREATE SCHEMA look;
CREATE VIEW look.jobs AS SELECT id, kind, unique_key, lane, request_id, state, run_at, expires_at, attempt, unused, max_attempts,
  owner, claimed_at, lease_until, finished_at, last_error, untold, created_at FROM public.jobs;
CREATE VIEW look.job_attempts AS SELECT job_id, attempt, owner, result, started_at, ended_at, error FROM public.job_attempts;
CREATE VIEW look.lanes AS SELECT * FROM public.lanes;
CREATE VIEW look.breaker AS SELECT * FROM public.breaker;
CREATE VIEW look.cron_slots AS SELECT * FROM public.cron_slots;
CREATE VIEW look.logins AS SELECT channel, status, failure, bankid_unreachable, created_at, expires_at, consumed_at, finished_at,
  handed_out_at FROM public.logins;
CREATE VIEW look.kyc_applicants AS SELECT id, level_name, status, applicant_id, failure, last_decision, last_event_at,
  review_began_at, status_read_at, created_at, updated_at FROM public.kyc_applicants;
CREATE VIEW look.screening_results AS SELECT result, reject_labels, provider_at, created_at FROM public.screening_results;
CREATE VIEW look.webhook_events AS SELECT id, provider, event_type, state, note, received_at, applied_at FROM public.webhook_events;
CREATE VIEW look.bank_consents AS SELECT id, bank, status, failure, request_id, consent_id_sealed IS NOT NULL AS id_is_kept,
  callback_at, valid_until, authorised_at, renewal_asked_at, taken_over_by, version, created_at, updated_at FROM public.bank_consents;
CREATE VIEW look.bank_accounts AS SELECT id, consent_id, bank, currency, status, balance_type, balance_at, balance_synced_at,
  balance_failed_at, next_sync_at, paused_until, created_at, updated_at FROM public.bank_accounts;
CREATE VIEW look.balance_reads AS SELECT id, account_id, attended, read_at, outcome FROM public.balance_reads;
CREATE VIEW look.transactions AS SELECT id, account_id, idempotency_key, currency, product, status, reason, bank_status, bank_final,
  needs_review, payment_id, sca_deadline, callback_at, cancellation, withdrawing_at, withdrawn_at, forgotten_at, authorisation,
  bank_change, version, created_at, updated_at, expires_at FROM public.transactions;
CREATE VIEW look.payment_attempts AS SELECT id, transaction_id, job_attempt, outcome, http_status, sent_at, finished_at
  FROM public.payment_attempts;
CREATE VIEW look.notifications AS SELECT id, kind, created_at, delivered_at FROM public.notifications;
