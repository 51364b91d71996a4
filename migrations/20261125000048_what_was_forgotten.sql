-- What the bank says of an order that a restore has forgotten: whoever asks for it again under its key asks for this, or for something
-- else. Empty in those that were noted before: they cannot be compared, and are given to nobody.
ALTER TABLE forgotten_orders
  ADD COLUMN amount bigint,                       -- minor units of the currency
  ADD COLUMN currency text,
  ADD COLUMN creditor_account_masked text;

-- When the list of those who were erased was last written where a restore leaves it alone, for an alert when nobody does it. As if it had
-- been done now, so that nobody is told before there was time.
ALTER TABLE retention_runs ADD COLUMN listed_at timestamptz NOT NULL DEFAULT clock_timestamp();
