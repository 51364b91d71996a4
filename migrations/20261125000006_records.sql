-- What users are told, and what happened: one audit row per state change, in the same transaction.

CREATE TABLE notifications (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  kind text NOT NULL,
  title text NOT NULL,
  body text NOT NULL,
  subject text NOT NULL,                          -- what makes it unique: one notification per kind and subject
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  delivered_at timestamptz,
  read_at timestamptz,
  UNIQUE (kind, subject)
);
CREATE INDEX notifications_of_user ON notifications (user_id, id DESC);
CREATE INDEX notifications_undelivered ON notifications (created_at) WHERE delivered_at IS NULL;

CREATE TABLE audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL CHECK (actor IN ('user', 'worker', 'provider', 'operator')),
  user_id uuid,
  action text NOT NULL,
  object text NOT NULL,                           -- prefixed id of what changed
  detail jsonb NOT NULL DEFAULT '{}',             -- ids and closed words only, never a person's data
  request_id uuid
);
CREATE INDEX audit_log_of_object ON audit_log (object, id);
CREATE INDEX audit_log_of_user ON audit_log (user_id, id);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = '42501';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
