-- Sessions that are refreshed: a short access token, and a refresh token that is replaced each time it is used.

ALTER TABLE sessions
  ADD COLUMN idle_expires_at timestamptz NOT NULL DEFAULT 'infinity',   -- moved on by each refresh
  ADD COLUMN refreshed_at timestamptz,
  ADD COLUMN user_agent text CHECK (char_length(user_agent) <= 256),    -- so that its owner knows one device from another
  ADD COLUMN revoked_because text CHECK (revoked_because IN ('logout', 'ended_by_user', 'refresh_token_reused')),
  ADD CONSTRAINT a_reason_only_for_a_revoked_one CHECK (revoked_because IS NULL OR revoked_at IS NOT NULL);
CREATE INDEX sessions_expiring ON sessions (expires_at);

-- A token stays after its use, so that its second use is noticed. Its successor is kept, sealed, until that one is used:
-- two tabs that refresh at once, or an answer that got lost, are given the same successor.
CREATE TABLE refresh_tokens (
  token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
  session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  used_at timestamptz,
  successor_sealed bytea,
  CONSTRAINT a_successor_only_after_use CHECK (successor_sealed IS NULL OR used_at IS NOT NULL)
);
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);
