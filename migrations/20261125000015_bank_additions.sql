-- What a bank may add to a payment's status: an approval that has to be started by a call of its own, and an order that it
-- accepted with a change.

ALTER TABLE transactions
  ADD COLUMN authorisation text CHECK (authorisation IN ('wanted', 'starting', 'started', 'failed')),
  ADD COLUMN bank_change text CHECK (bank_change IN ('unread', 'same', 'differs')),   -- set once the bank reported ACWC
  ADD COLUMN bank_amount bigint,                  -- what the bank will pay, in minor units of bank_currency
  ADD COLUMN bank_currency text CHECK (bank_currency ~ '^[A-Z]{3}$'),
  ADD COLUMN bank_execution_date date,            -- on which day, where the bank names one
  ADD CONSTRAINT only_what_the_bank_knows_is_authorised CHECK (authorisation IS NULL OR payment_id IS NOT NULL),
  ADD CONSTRAINT a_change_that_was_read_has_an_amount CHECK (
    coalesce(bank_change IN ('same', 'differs'), false) = (bank_amount IS NOT NULL)
    AND (bank_amount IS NULL) = (bank_currency IS NULL)
    AND (bank_execution_date IS NULL OR bank_amount IS NOT NULL));

-- Those under way are read with their next poll.
UPDATE transactions SET bank_change = 'unread' WHERE bank_status = 'ACWC' AND NOT bank_final;
