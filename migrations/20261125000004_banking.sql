-- Consents at the user's bank, the accounts they open, cached balances and the ledger of reads.

CREATE TABLE bank_consents (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  bank text NOT NULL,
  client_key text NOT NULL CHECK (char_length(client_key) BETWEEN 1 AND 255),   -- the client's Idempotency-Key
  status text NOT NULL DEFAULT 'requested' CHECK (status IN
    ('requested', 'received', 'valid', 'rejected', 'expired', 'revoked', 'terminated', 'replaced', 'failed', 'deleted')),
  failure text,
  request_id uuid NOT NULL,                       -- X-Request-ID of the consent call
  consent_id_sealed bytea,
  sca_redirect text,
  callback_state_hash bytea NOT NULL CHECK (octet_length(callback_state_hash) = 32),
  callback_state_sealed bytea,                    -- goes into the redirect address; emptied once the consent was created
  psu_ip text,                                    -- the user's address while they are present
  psu_user_agent text,
  valid_until date,
  authorised_at timestamptz,
  version int NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (user_id, client_key),
  CONSTRAINT failed_says_why CHECK ((status = 'failed') = (failure IS NOT NULL)),
  CONSTRAINT known_at_the_bank CHECK (status IN ('requested', 'failed', 'deleted') OR consent_id_sealed IS NOT NULL),
  CONSTRAINT valid_since CHECK (status <> 'valid' OR authorised_at IS NOT NULL)
);
CREATE INDEX bank_consents_live ON bank_consents (user_id, bank) WHERE status = 'valid';

CREATE TABLE bank_accounts (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  consent_id uuid NOT NULL REFERENCES bank_consents (id),
  bank text NOT NULL,
  resource_id text NOT NULL,                      -- the bank's handle, constant within one consent only
  account_sealed bytea NOT NULL,                  -- IBAN
  account_index bytea NOT NULL,                   -- keyed hash of the canonical account number
  account_masked text NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  status text NOT NULL DEFAULT 'linked' CHECK (status IN ('linked', 'unlinked')),
  balance bigint,                                 -- øre (minor units of the currency); NULL until first read
  balance_type text,
  balance_at timestamptz,                         -- the bank's own time, where it gives one
  balance_synced_at timestamptz,
  balance_failed_at timestamptz,                  -- last failed read since the last good one
  held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),                   -- øre on hold for payments under way
  next_sync_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (user_id, account_index),
  CONSTRAINT a_balance_is_dated CHECK ((balance IS NULL) = (balance_synced_at IS NULL))
);
CREATE INDEX bank_accounts_of_consent ON bank_accounts (consent_id);
CREATE INDEX bank_accounts_due ON bank_accounts (next_sync_at) WHERE status = 'linked';

-- One row per balance read, written before the call: four unattended reads per account in any 24 hours.
CREATE TABLE balance_reads (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES bank_accounts (id),
  attended boolean NOT NULL,
  read_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  outcome text
);
CREATE INDEX balance_reads_unattended ON balance_reads (account_id, read_at) WHERE NOT attended;

-- A refresh that the user asked for: their address travels here, never in a job.
CREATE TABLE balance_refreshes (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES bank_accounts (id),
  user_id uuid NOT NULL REFERENCES users (id),
  psu_ip text,
  status text NOT NULL DEFAULT 'requested' CHECK (status IN ('requested', 'done', 'failed')),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  CONSTRAINT finished_unless_requested CHECK ((status = 'requested') = (finished_at IS NULL))
);
CREATE INDEX balance_refreshes_of_account ON balance_refreshes (account_id, created_at);
