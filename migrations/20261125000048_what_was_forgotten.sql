-- What the bank says of an order that a restore has forgotten: whoever asks for it again under its key asks for this, or for something
-- else. Empty in those that were noted before: they cannot be compared, and are given to nobody.
ALTER TABLE forgotten_orders
  ADD COLUMN amount bigint,                       -- minor units of the currency
  ADD COLUMN currency text,
  ADD COLUMN creditor_account_masked text;
