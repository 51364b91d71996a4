-- Since when the bank has said, each time that it was asked to withdraw an order once more, that it knows no such order.
ALTER TABLE transactions ADD COLUMN forgotten_at timestamptz;
