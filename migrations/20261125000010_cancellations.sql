-- Taking a payment back: what the person asked for, and what the bank took.

ALTER TABLE transactions
  ADD COLUMN cancellation text CHECK (cancellation IN ('requested', 'done', 'refused', 'unconfirmed')),
  ADD COLUMN withdrawn_at timestamptz,            -- the bank took our withdrawal of the order
  ADD CONSTRAINT only_what_the_bank_knows_is_withdrawn CHECK (withdrawn_at IS NULL OR payment_id IS NOT NULL);

-- Until now the audit row of the timeout was the record of it.
UPDATE transactions t SET withdrawn_at = a.at FROM audit_log a
 WHERE a.object = 'tx_' || replace(t.id::text, '-', '') AND a.action = 'payment.sca_timeout'
   AND a.detail -> 'withdrawn' = 'true'::jsonb;
