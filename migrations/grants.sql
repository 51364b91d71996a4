-- Who may do what. Applied after the migrations, each time, where the roles are there (ops/postgres/roles.sql); where they are
-- not, one role owns everything and this is passed over. Whatever is not granted here is not allowed: tests/flows/roles
-- compares it with the catalogue, so a new table fails until somebody decides. Processes of the release before run on during a
-- rollout, so a right that they need is taken away a release later.

REVOKE ALL ON SCHEMA public, look, restricted FROM PUBLIC, drop_api, drop_worker, drop_retention, drop_readonly;
REVOKE ALL ON ALL TABLES IN SCHEMA public, look, restricted FROM PUBLIC, drop_api, drop_worker, drop_retention, drop_readonly;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public, restricted FROM PUBLIC, drop_api, drop_worker, drop_retention, drop_readonly;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public, restricted FROM PUBLIC, drop_api, drop_worker, drop_retention, drop_readonly;

GRANT USAGE ON SCHEMA public TO drop_api, drop_worker;
GRANT USAGE ON SCHEMA restricted TO drop_retention;
GRANT USAGE ON SCHEMA look TO drop_readonly;
GRANT SELECT ON _sqlx_migrations TO drop_api, drop_worker;

-- The API: writes wishes, and jobs for what follows of them. It deletes nothing.
GRANT SELECT (id, state_hash, channel, binding_hash, app_challenge, login_code_hash, login_code_expires_at, return_to, status,
              failure, user_id, overtaken, bankid_unreachable, created_at, expires_at, consumed_at, finished_at, handed_out_at),
      INSERT, UPDATE (status, failure, bankid_unreachable, consumed_at, finished_at, nonce_sealed, verifier_sealed, code_sealed, overtaken,
                      login_code_hash, login_code_expires_at, handed_out_at)
   ON logins TO drop_api;
-- Neither the hash of the national id nor the address. What Sumsub is told of a person is written, and read by nobody here.
GRANT SELECT (id, first_name, last_name, kyc_status, erased_at), UPDATE (email_sealed, updated_at) ON users TO drop_api;
GRANT SELECT, INSERT, UPDATE (idle_expires_at, refreshed_at, revoked_at, revoked_because) ON sessions TO drop_api;
GRANT SELECT, INSERT, UPDATE (used_at, successor_sealed) ON refresh_tokens TO drop_api;
GRANT SELECT, INSERT, UPDATE (status, failure, request_id, updated_at) ON kyc_applicants TO drop_api;
GRANT SELECT, INSERT, UPDATE (status, failure, token_sealed) ON kyc_sdk_tokens TO drop_api;
GRANT SELECT (id, user_id, comment, created_at) ON screening_results TO drop_api;
GRANT SELECT (id, provider, event_key), INSERT ON webhook_events TO drop_api;
GRANT SELECT, INSERT, UPDATE (status, sca_redirect, callback_state_sealed, callback_at, psu_ip, psu_user_agent, version, updated_at)
   ON bank_consents TO drop_api;
GRANT SELECT, UPDATE (status, balance, balance_type, balance_at, balance_synced_at, balance_failed_at, held, updated_at)
   ON bank_accounts TO drop_api;
GRANT SELECT, INSERT ON balance_refreshes TO drop_api;
-- What the bank said is among them, because a payment that never left has its last word here; the rules of a payment hold.
GRANT SELECT, INSERT, UPDATE (status, reason, bank_status, bank_final, bank_change, cancellation, hold, callback_at, version, updated_at)
   ON transactions TO drop_api;
GRANT SELECT (id, transaction_id, outcome) ON payment_attempts TO drop_api;
GRANT SELECT ON forgotten_orders TO drop_api;
GRANT SELECT, UPDATE (read_at) ON notifications TO drop_api;
GRANT INSERT ON audit_log TO drop_api;
GRANT SELECT, INSERT ON jobs TO drop_api;
GRANT SELECT ON lanes TO drop_api;
GRANT SELECT ON breaker TO drop_api;
GRANT SELECT, INSERT, UPDATE (hits) ON rate_bucket TO drop_api;
GRANT SELECT, INSERT, UPDATE (told_at) ON alerts_told TO drop_api;
GRANT SELECT, INSERT, UPDATE (free_at) ON alert_turns TO drop_api;
GRANT EXECUTE ON FUNCTION jobs_enqueue(smallint, text, text, jsonb, integer, bigint, uuid, bigint) TO drop_api;
GRANT EXECUTE ON FUNCTION jobs_hasten(text, text) TO drop_api;
GRANT EXECUTE ON FUNCTION jobs_hasten_spaced(text, text, interval) TO drop_api;
GRANT EXECUTE ON FUNCTION lane_admission(smallint, integer) TO drop_api;
GRANT EXECUTE ON FUNCTION owner_of_payment(uuid) TO drop_api;
GRANT EXECUTE ON FUNCTION owner_of_payment_at_bank(text) TO drop_api;
GRANT EXECUTE ON FUNCTION owner_of_consent(uuid) TO drop_api;

-- The worker, and the operator's commands: runs the queue and writes what comes of it. It deletes what has a short life.
GRANT SELECT, UPDATE, DELETE ON logins TO drop_worker;
GRANT SELECT, INSERT, UPDATE ON users TO drop_worker;
GRANT SELECT, UPDATE, DELETE ON sessions TO drop_worker;
GRANT SELECT, INSERT, UPDATE ON kyc_applicants TO drop_worker;
GRANT SELECT, INSERT ON kyc_former_applicants TO drop_worker;
GRANT SELECT, UPDATE, DELETE ON kyc_sdk_tokens TO drop_worker;
GRANT SELECT, INSERT ON screening_results TO drop_worker;
GRANT SELECT, INSERT, UPDATE ON webhook_events TO drop_worker;
GRANT SELECT, INSERT, UPDATE ON aml_cases TO drop_worker;
GRANT SELECT, UPDATE ON bank_consents TO drop_worker;
GRANT SELECT, INSERT, UPDATE ON bank_accounts TO drop_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON balance_reads TO drop_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON balance_refreshes TO drop_worker;
GRANT SELECT, UPDATE ON transactions TO drop_worker;
GRANT SELECT, INSERT, UPDATE ON payment_attempts TO drop_worker;
GRANT SELECT, INSERT, DELETE ON forgotten_orders TO drop_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON notifications TO drop_worker;
GRANT SELECT, INSERT ON audit_log TO drop_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO drop_worker;
GRANT SELECT, INSERT ON job_attempts TO drop_worker;
GRANT SELECT, UPDATE ON lanes TO drop_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON breaker TO drop_worker;
GRANT SELECT, INSERT, DELETE ON breaker_transitions TO drop_worker;
GRANT SELECT, INSERT, DELETE ON cron_slots TO drop_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO drop_worker;
GRANT SELECT, INSERT, DELETE ON operator_sign_outs TO drop_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON rate_bucket TO drop_worker;
GRANT SELECT, INSERT, UPDATE (told_at) ON alerts_told TO drop_worker;
GRANT SELECT, UPDATE (listed_at) ON retention_runs TO drop_worker;
GRANT SELECT, INSERT, UPDATE (free_at), DELETE ON alert_turns TO drop_worker;
GRANT EXECUTE ON FUNCTION breaker_fail(text, bigint, uuid, interval) TO drop_worker;
GRANT EXECUTE ON FUNCTION breaker_probe(text, uuid, interval) TO drop_worker;
GRANT EXECUTE ON FUNCTION breaker_release(text, uuid) TO drop_worker;
GRANT EXECUTE ON FUNCTION breaker_close(text, uuid) TO drop_worker;
GRANT EXECUTE ON FUNCTION breaker_set(text, boolean) TO drop_worker;
GRANT EXECUTE ON FUNCTION jobs_enqueue(smallint, text, text, jsonb, integer, bigint, uuid, bigint) TO drop_worker;
GRANT EXECUTE ON FUNCTION jobs_hasten(text, text) TO drop_worker;
GRANT EXECUTE ON FUNCTION jobs_hasten_spaced(text, text, interval) TO drop_worker;
GRANT EXECUTE ON FUNCTION died_of(text) TO drop_worker;

-- Retention: one function for each class, which know themselves what is due, one that says that all of it was done, and the two
-- that read what is kept.
GRANT EXECUTE ON FUNCTION restricted.to_move() TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.move_erased(uuid) TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.purge() TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.to_forget() TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.forget(uuid) TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.empty_webhooks() TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.prune_audit() TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.note_run() TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.note_reading(uuid, text, text) TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.read(bigint) TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.sealed_otherwise(integer, bigint) TO drop_retention;
GRANT EXECUTE ON FUNCTION restricted.reseal(bigint, bytea, bytea) TO drop_retention;

-- People who look.
GRANT SELECT ON look.jobs TO drop_readonly;
GRANT SELECT ON look.job_attempts TO drop_readonly;
GRANT SELECT ON look.lanes TO drop_readonly;
GRANT SELECT ON look.breaker TO drop_readonly;
GRANT SELECT ON look.cron_slots TO drop_readonly;
GRANT SELECT ON look.logins TO drop_readonly;
GRANT SELECT ON look.kyc_applicants TO drop_readonly;
GRANT SELECT ON look.screening_results TO drop_readonly;
GRANT SELECT ON look.webhook_events TO drop_readonly;
GRANT SELECT ON look.bank_consents TO drop_readonly;
GRANT SELECT ON look.bank_accounts TO drop_readonly;
GRANT SELECT ON look.balance_reads TO drop_readonly;
GRANT SELECT ON look.transactions TO drop_readonly;
GRANT SELECT ON look.payment_attempts TO drop_readonly;
GRANT SELECT ON look.notifications TO drop_readonly;
