-- Identity checks at Sumsub: the applicant, the inbox of webhooks, and the results that were applied.

CREATE TABLE kyc_applicants (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  level_name text NOT NULL,
  status text NOT NULL DEFAULT 'requested' CHECK (status IN ('requested', 'created', 'failed')),
  applicant_id text CHECK (char_length(applicant_id) <= 64),         -- Sumsub's id, an opaque string
  request_id uuid NOT NULL,                                           -- X-Request-ID of the create call
  failure text,
  last_decision text CHECK (last_decision IN ('approved', 'rejected', 'retry', 'reset', 'suspend', 'pending', 'hold')),
  last_event_at timestamptz,                                          -- the watermark: an older event changes nothing
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (user_id, level_name),
  CONSTRAINT created_has_an_id CHECK ((status = 'created') = (applicant_id IS NOT NULL)),
  CONSTRAINT failed_says_why CHECK ((status = 'failed') = (failure IS NOT NULL))
);
CREATE UNIQUE INDEX kyc_applicants_by_applicant ON kyc_applicants (applicant_id) WHERE applicant_id IS NOT NULL;

-- Every accepted webhook, once. The keys are kept for ever, so a replayed event stays a duplicate.
CREATE TABLE webhook_events (
  id uuid PRIMARY KEY,
  provider text NOT NULL CHECK (provider IN ('sumsub')),
  event_key text NOT NULL,
  event_type text,
  raw bytea,                                                          -- the signed bytes; emptied after retention
  state text NOT NULL DEFAULT 'received' CHECK (state IN
    ('received', 'applied', 'audited', 'same_state', 'stale', 'recorded', 'sandbox', 'unmatched', 'quarantined')),
  note text,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  applied_at timestamptz,
  UNIQUE (provider, event_key),
  CONSTRAINT applied_unless_waiting CHECK ((state IN ('received', 'unmatched', 'quarantined')) = (applied_at IS NULL))
);
CREATE INDEX webhook_events_waiting ON webhook_events (received_at, id) WHERE applied_at IS NULL;

CREATE TABLE screening_results (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  screening_type text NOT NULL CHECK (screening_type IN ('kyc')),
  result text NOT NULL CHECK (result IN ('approved', 'rejected', 'retry', 'reset', 'suspend')),
  webhook_event_id uuid NOT NULL UNIQUE REFERENCES webhook_events (id),
  applicant_id text NOT NULL,
  reject_labels text[] NOT NULL DEFAULT '{}',
  provider_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX screening_results_of_user ON screening_results (user_id, created_at);
CREATE INDEX screening_results_by_time ON screening_results (created_at);
