-- Payments: the transaction the user sees, and every attempt to tell the bank about it.

CREATE TABLE transactions (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  account_id uuid NOT NULL REFERENCES bank_accounts (id),
  client_key text NOT NULL CHECK (char_length(client_key) BETWEEN 1 AND 255),   -- the client's Idempotency-Key
  idempotency_key uuid NOT NULL UNIQUE,           -- X-Request-ID of every attempt
  fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
  amount bigint NOT NULL CHECK (amount > 0),      -- øre (minor units of the currency)
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  creditor_name text NOT NULL CHECK (char_length(creditor_name) BETWEEN 1 AND 70),
  creditor_scheme text NOT NULL CHECK (creditor_scheme IN ('iban', 'bban')),
  creditor_account_sealed bytea NOT NULL,
  creditor_account_index bytea NOT NULL,
  creditor_account_masked text NOT NULL,
  remittance_information text NOT NULL CHECK (char_length(remittance_information) <= 140),
  product text NOT NULL,
  status text NOT NULL DEFAULT 'processing' CHECK (status IN ('processing', 'completed', 'failed', 'cancelled')),
  reason text,
  bank_status text,                               -- the bank's last code, as it gave it
  bank_final boolean NOT NULL DEFAULT false,
  needs_review boolean NOT NULL DEFAULT false,
  payment_id text,                                -- the provider's paymentId
  sca_redirect text,
  sca_deadline timestamptz,
  callback_state_hash bytea NOT NULL CHECK (octet_length(callback_state_hash) = 32),
  callback_state_sealed bytea,                    -- goes into the redirect address; emptied once the bank has it
  callback_at timestamptz,
  hold bigint NOT NULL DEFAULT 0 CHECK (hold >= 0),   -- øre held on the account for this payment
  psu_ip text,
  psu_user_agent text,
  confirmed_duplicate_of uuid REFERENCES transactions (id),
  version int NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,                -- never sent after this
  UNIQUE (user_id, client_key),
  CONSTRAINT failed_has_reason CHECK ((status = 'failed') = (reason IS NOT NULL)),
  CONSTRAINT settled_is_final CHECK (bank_status IS NULL OR bank_status NOT IN ('ACSC', 'ACCC', 'RJCT', 'CANC') OR bank_final),
  CONSTRAINT only_the_bank_completes CHECK (status <> 'completed' OR bank_status IS NOT NULL),
  CONSTRAINT a_link_names_its_payment CHECK (sca_redirect IS NULL OR payment_id IS NOT NULL),
  CONSTRAINT processing_is_open CHECK (status <> 'processing' OR NOT bank_final)
);
CREATE UNIQUE INDEX transactions_by_payment_id ON transactions (payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX transactions_of_user ON transactions (user_id, id DESC);
CREATE INDEX transactions_open ON transactions (created_at) WHERE NOT bank_final;
CREATE INDEX transactions_lookalike ON transactions (user_id, creditor_account_index, amount) WHERE NOT bank_final;

-- An attempt's row is committed before its request leaves: it makes "never sent" decidable after a crash.
CREATE TABLE payment_attempts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  transaction_id uuid NOT NULL REFERENCES transactions (id),
  job_attempt int NOT NULL,
  body_hash bytea NOT NULL CHECK (octet_length(body_hash) = 32),
  outcome text NOT NULL DEFAULT 'sending' CHECK (outcome IN ('sending', 'accepted', 'transient', 'not_sent', 'ambiguous', 'refused')),
  http_status int,
  sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  CONSTRAINT finished_unless_sending CHECK ((outcome = 'sending') = (finished_at IS NULL))
);
CREATE INDEX payment_attempts_of ON payment_attempts (transaction_id, id);
