-- People, their logins and sessions.
--
-- Columns ending in _sealed hold AES-256-GCM ciphertext whose first byte is the key id; row, column and key id are
-- authenticated with it. Columns ending in _index hold a keyed hash for look-up. Columns ending in _hash hold SHA-256.

CREATE TABLE users (
  id uuid PRIMARY KEY,
  national_id_hash text NOT NULL UNIQUE CHECK (national_id_hash ~ '^[0-9a-f]{64}$'),
  first_name text NOT NULL CHECK (char_length(first_name) <= 200),
  last_name text NOT NULL CHECK (char_length(last_name) <= 200),
  email_sealed bytea,
  kyc_status text NOT NULL DEFAULT 'pending' CHECK (kyc_status IN ('pending', 'approved', 'rejected')),
  erased_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE sessions (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  channel text NOT NULL CHECK (channel IN ('web', 'mobile')),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX sessions_of_user ON sessions (user_id);

-- One login attempt at BankID. state is known only by its hash; nonce, verifier and code are sealed and go on use.
CREATE TABLE logins (
  id uuid PRIMARY KEY,
  state_hash bytea NOT NULL UNIQUE CHECK (octet_length(state_hash) = 32),
  nonce_sealed bytea,
  verifier_sealed bytea,
  code_sealed bytea,
  channel text NOT NULL CHECK (channel IN ('web', 'mobile')),
  return_to text CHECK (char_length(return_to) <= 512),
  status text NOT NULL DEFAULT 'started' CHECK (status IN ('started', 'checking', 'succeeded', 'failed')),
  failure text,
  user_id uuid REFERENCES users (id),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  consumed_at timestamptz,
  finished_at timestamptz,
  handed_out_at timestamptz,
  CONSTRAINT failed_says_why CHECK ((status = 'failed') = (failure IS NOT NULL)),
  CONSTRAINT succeeded_names_the_user CHECK ((status = 'succeeded') = (user_id IS NOT NULL)),
  CONSTRAINT consumed_unless_started CHECK ((status = 'started') = (consumed_at IS NULL)),
  CONSTRAINT finished_is_final CHECK ((status IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)),
  CONSTRAINT a_code_only_while_checking CHECK (code_sealed IS NULL OR status = 'checking'),
  CONSTRAINT no_secrets_after_the_end
    CHECK (finished_at IS NULL OR (nonce_sealed IS NULL AND verifier_sealed IS NULL AND code_sealed IS NULL)),
  CONSTRAINT only_success_is_handed_out CHECK (handed_out_at IS NULL OR status = 'succeeded')
);
CREATE INDEX logins_expiring ON logins (expires_at);
