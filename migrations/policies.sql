-- Whose rows the API's role sees. Applied after grants.sql, each time, where the roles are there. One statement, which commits after each
-- table: a policy needs a table for itself, and whoever waits for one must not hold another meanwhile. Cut off, it goes on where it was.
--
-- The API's transactions name the one person whom they are about (storage::begin_for), and the rows of others are not there. A
-- statement about nobody fails: current_setting knows no app.user_id, or the empty one that the last transaction left is no uuid.
-- Sessions, logins and users are found by what somebody proves, before it is known who they are.
DO $$
DECLARE
  own text := 'user_id = current_setting(''app.user_id'')::uuid';
  -- Whose a row is that does not say it itself: its payment's, of which the API sees its person's alone.
  by_payment text := 'EXISTS (SELECT FROM transactions t WHERE t.id = transaction_id)';
  owned regclass;
BEGIN
  FOREACH owned IN ARRAY '{bank_consents,bank_accounts,balance_refreshes,transactions,payment_attempts,kyc_applicants,kyc_sdk_tokens,
                           screening_results,notifications}'::regclass[] LOOP
    -- Once only, by its name: the lock that this takes waits for every transaction that uses the table.
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = owned AND polname = 'rows_of_its_person') THEN
      EXECUTE format('DROP POLICY IF EXISTS own_rows ON %s', owned);
      EXECUTE format('DROP POLICY IF EXISTS every_row ON %s', owned);
      EXECUTE format('CREATE POLICY rows_of_its_person ON %s TO drop_api USING (%s)', owned,
                     CASE owned WHEN 'payment_attempts'::regclass THEN by_payment ELSE own END);
      EXECUTE format('CREATE POLICY every_row ON %s TO drop_worker USING (true)', owned);
      EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', owned);
      COMMIT;
    END IF;
  END LOOP;
END $$;
