-- Another login was started in the browser of this one: the cookies that the browser holds are that one's.
ALTER TABLE logins ADD COLUMN overtaken boolean NOT NULL DEFAULT false;

-- A login in a browser ends the session that the browser had.
ALTER TABLE sessions
  DROP CONSTRAINT sessions_revoked_because_check,
  ADD CONSTRAINT sessions_revoked_because_check
    CHECK (revoked_because IN ('logout', 'ended_by_user', 'refresh_token_reused', 'replaced'));
