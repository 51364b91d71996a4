-- What the identity check lacked: the SDK's token, former applicants, the look at Sumsub, AML cases, the outbox.

-- A wish for a token of Sumsub's SDK. A worker seals it in, the request that waits takes it out once, and the row is empty.
CREATE TABLE kyc_sdk_tokens (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  level_name text NOT NULL,
  request_id uuid NOT NULL,                       -- X-Request-ID of the call
  status text NOT NULL DEFAULT 'requested' CHECK (status IN ('requested', 'ready', 'handed_out', 'failed')),
  token_sealed bytea,
  failure text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT a_token_only_while_ready CHECK ((status = 'ready') = (token_sealed IS NOT NULL)),
  CONSTRAINT failed_says_why CHECK ((status = 'failed') = (failure IS NOT NULL))
);
CREATE INDEX kyc_sdk_tokens_by_time ON kyc_sdk_tokens (created_at);

-- An applicant may be moved to another level, where it is judged anew: one row per user, applicant and level.
DROP INDEX kyc_applicants_by_applicant;
CREATE UNIQUE INDEX kyc_applicants_by_applicant ON kyc_applicants (applicant_id, level_name) WHERE applicant_id IS NOT NULL;

ALTER TABLE kyc_applicants
  ADD COLUMN review_began_at timestamptz,         -- since when Sumsub has been deciding
  ADD COLUMN status_read_at timestamptz;          -- when Sumsub was last asked how it stands
CREATE INDEX kyc_applicants_in_review ON kyc_applicants (review_began_at) WHERE review_began_at IS NOT NULL;

-- Applicants that Sumsub deleted. What is still told of them is about nobody's present check.
CREATE TABLE kyc_former_applicants (
  applicant_id text PRIMARY KEY CHECK (char_length(applicant_id) <= 64),
  user_id uuid NOT NULL REFERENCES users (id),
  level_name text NOT NULL,
  last_decision text,
  last_event_at timestamptz,
  unlinked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A person applies an event's older neighbours first. The index serves those that wait for their applicant, too.
CREATE INDEX webhook_events_open_of_applicant ON webhook_events (applicant_id, received_at, id) WHERE applied_at IS NULL;
DROP INDEX webhook_events_unmatched_applicant;
-- What a person must look at, for lists and gauges.
CREATE INDEX webhook_events_left_over ON webhook_events (state, received_at, id) WHERE state IN ('unmatched', 'quarantined');

-- A refusal for good is looked at by a compliance officer (contract 3.4, "AML check").
CREATE TABLE aml_cases (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id),
  webhook_event_id uuid NOT NULL UNIQUE REFERENCES webhook_events (id),
  applicant_id text NOT NULL,
  reject_labels text[] NOT NULL DEFAULT '{}',
  opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at timestamptz,
  closed_by text,
  finding text,
  CONSTRAINT a_closed_case_says_who_and_what
    CHECK ((closed_at IS NULL) = (closed_by IS NULL) AND (closed_at IS NULL) = (finding IS NULL))
);
CREATE INDEX aml_cases_open ON aml_cases (opened_at) WHERE closed_at IS NULL;

-- Until now nothing was delivered, and nobody wants old news at once when it begins.
UPDATE notifications SET delivered_at = created_at WHERE delivered_at IS NULL;
