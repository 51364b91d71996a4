-- Logins of the app, and the second cookie of a browser's login.
--
-- DROP_APP_LINK is set only when every API is of this release: the one before takes an app's login for a browser's.

ALTER TABLE logins
  -- SHA-256 of the cookie __Host-drop_bind. NULL: the app's, or started by the release before this one.
  ADD COLUMN binding_hash bytea CHECK (octet_length(binding_hash) = 32),
  -- S256 of the verifier that stays in the app (RFC 7636).
  ADD COLUMN app_challenge text CHECK (app_challenge ~ '^[A-Za-z0-9_-]{43}$'),
  -- SHA-256 of the one-time code that the way back gave the app, and until when the app may show it.
  ADD COLUMN login_code_hash bytea CHECK (octet_length(login_code_hash) = 32),
  ADD COLUMN login_code_expires_at timestamptz,
  ADD CONSTRAINT the_app_has_a_challenge_and_a_browser_none CHECK ((channel = 'mobile') = (app_challenge IS NOT NULL)),
  ADD CONSTRAINT only_a_browser_is_bound CHECK (binding_hash IS NULL OR channel = 'web'),
  ADD CONSTRAINT only_the_app_gets_a_code_and_only_after_the_callback
    CHECK (login_code_hash IS NULL OR (channel = 'mobile' AND consumed_at IS NOT NULL)),
  ADD CONSTRAINT a_login_code_has_an_end CHECK ((login_code_hash IS NULL) = (login_code_expires_at IS NULL));
