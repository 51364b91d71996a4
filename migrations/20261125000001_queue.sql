-- The circuit breaker and the job queue. Their rules: ARCHITECTURE.md, "The queue" and "The breaker".
-- One row per provider and operation; half-open is derived (open and retry_at has passed), never stored.
CREATE TABLE breaker (
  key text PRIMARY KEY, threshold int NOT NULL DEFAULT 3,           -- settings in the row: N processes cannot disagree
  fail_window interval NOT NULL DEFAULT '60 s', open_for interval NOT NULL DEFAULT '60 s',
  epoch bigint NOT NULL DEFAULT 0, open boolean NOT NULL DEFAULT false, fails timestamptz[] NOT NULL DEFAULT '{}',
  opened_at timestamptz,                                            -- first opening of this outage; survives failed probes
  retry_at timestamptz, closed_at timestamptz, probe_id uuid, probe_until timestamptz,
  CHECK (cardinality(fails) < threshold AND open = (opened_at IS NOT NULL) AND open = (retry_at IS NOT NULL)),
  CHECK ((open OR probe_id IS NULL) AND (probe_id IS NULL) = (probe_until IS NULL))
) WITH (fillfactor = 50);
-- p_probe: NULL for ordinary calls; p_age: how long ago the failure was seen
CREATE FUNCTION breaker_fail(p_key text, p_epoch bigint, p_probe uuid, p_age interval) RETURNS breaker LANGUAGE plpgsql AS $$
DECLARE b breaker; t timestamptz; f timestamptz[]; BEGIN
  SELECT * INTO STRICT b FROM breaker WHERE key = p_key FOR UPDATE;   -- unknown key: an error, not silence
  t := clock_timestamp();                                             -- after the lock wait
  IF b.open THEN
    IF p_probe IS NULL OR p_probe IS DISTINCT FROM b.probe_id THEN RETURN b; END IF;      -- late report; else: failed probe
    UPDATE breaker SET epoch = epoch + 1, retry_at = t + open_for, probe_id = NULL, probe_until = NULL WHERE key = p_key RETURNING * INTO b;
  ELSE
    IF p_epoch IS DISTINCT FROM b.epoch OR p_age > b.fail_window THEN RETURN b; END IF;   -- fenced
    f := ARRAY(SELECT x FROM unnest(b.fails || (t - greatest(p_age, interval '0'))) x WHERE x > t - b.fail_window ORDER BY x);
    IF cardinality(f) < b.threshold THEN UPDATE breaker SET fails = f WHERE key = p_key RETURNING * INTO b; RETURN b; END IF;
    UPDATE breaker SET epoch = epoch + 1, open = true, fails = '{}', opened_at = t, retry_at = t + open_for, closed_at = NULL
     WHERE key = p_key RETURNING * INTO b;
  END IF;
  PERFORM pg_notify('breaker', p_key); RETURN b;                      -- notified at transitions only: rare
END $$;
CREATE FUNCTION breaker_probe(p_key text, p_id uuid, p_lease interval) RETURNS SETOF breaker LANGUAGE sql AS $$
  UPDATE breaker SET probe_id = p_id, probe_until = clock_timestamp() + p_lease       -- 0 or 1 winner
   WHERE key = p_key AND open AND retry_at <= clock_timestamp() AND (probe_id IS NULL OR probe_until <= clock_timestamp())
  RETURNING * $$;
CREATE FUNCTION breaker_release(p_key text, p_id uuid) RETURNS SETOF breaker LANGUAGE sql AS $$
  UPDATE breaker SET probe_id = NULL, probe_until = NULL WHERE key = p_key AND open AND probe_id = p_id RETURNING * $$;
CREATE FUNCTION breaker_close(p_key text, p_id uuid) RETURNS SETOF breaker LANGUAGE plpgsql AS $$ BEGIN
  RETURN QUERY UPDATE breaker SET epoch = epoch + 1, open = false, opened_at = NULL, retry_at = NULL, probe_id = NULL,
      probe_until = NULL, closed_at = clock_timestamp() WHERE key = p_key AND open AND probe_id = p_id RETURNING *;
  IF FOUND THEN PERFORM pg_notify('breaker', p_key); END IF;          -- a stale prober closes nothing: 0 rows
END $$;

CREATE TABLE lanes (
  lane smallint PRIMARY KEY, name text NOT NULL UNIQUE, paused boolean NOT NULL DEFAULT false, throttled_until timestamptz,
  breaker_key text REFERENCES breaker (key), probe_rank smallint,         -- NULL: no provider behind it / never a probe
  lease interval NOT NULL DEFAULT '45 s', max_run interval NOT NULL DEFAULT '2 min',  -- renewal stops at max_run
  max_ready_age interval                                                  -- above it the API sheds
);
CREATE TABLE jobs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, unique_key text, UNIQUE (kind, unique_key),
  lane smallint NOT NULL,                             -- no foreign key: every insert would lock the lane's row
  payload jsonb NOT NULL DEFAULT '{}', request_id uuid,                   -- ids only, no personal data
  state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready','running','done','dead')),
  run_at timestamptz NOT NULL DEFAULT clock_timestamp(), expires_at timestamptz,
  attempt int NOT NULL DEFAULT 0,                     -- +1 per claim, never lowered: the fence
  unused int NOT NULL DEFAULT 0,                      -- claims given back; attempts used = attempt - unused
  max_attempts int NOT NULL, owner uuid, claimed_at timestamptz, lease_until timestamptz,
  finished_at timestamptz, last_error text, created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK ((state = 'running') = (lease_until IS NOT NULL) AND (state = 'running') = (owner IS NOT NULL)),
  CHECK ((state IN ('done','dead')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX jobs_ready    ON jobs (lane, run_at, id) WHERE state = 'ready';
CREATE INDEX jobs_running  ON jobs (lane, id)         WHERE state = 'running';   -- no lease_until: renewals stay HOT
CREATE INDEX jobs_expiring ON jobs (expires_at)       WHERE state = 'ready' AND expires_at IS NOT NULL;
CREATE INDEX jobs_done     ON jobs (finished_at)      WHERE state = 'done';
CREATE INDEX jobs_dead     ON jobs (lane, finished_at) WHERE state = 'dead';     -- for the gauges
CREATE TABLE job_attempts (                           -- failures only; a first-time success leaves no row
  job_id bigint REFERENCES jobs (id) ON DELETE CASCADE, attempt int, PRIMARY KEY (job_id, attempt), owner uuid, result text NOT NULL,
  started_at timestamptz, ended_at timestamptz NOT NULL DEFAULT clock_timestamp(), error text);

-- A callback wants the poll now. The API may not update jobs, so it calls this.
CREATE FUNCTION jobs_hasten(p_kind text, p_unique_key text) RETURNS boolean LANGUAGE sql AS $$
  WITH hastened AS (
    UPDATE jobs SET run_at = clock_timestamp()
     WHERE kind = p_kind AND unique_key = p_unique_key AND state = 'ready' AND run_at > clock_timestamp()
    RETURNING 1)
  SELECT EXISTS (SELECT 1 FROM hastened) $$;

INSERT INTO breaker (key) VALUES ('neonomics/pisp'), ('neonomics/aisp'), ('sumsub/api');

-- A lane has at most one breaker, so that an open circuit stops nothing but its own calls.
INSERT INTO lanes (lane, name, breaker_key, probe_rank, lease, max_ready_age) VALUES
  (1, 'login',         NULL,             NULL, '15 s', '5 s'),
  (2, 'payment.send',  'neonomics/pisp', 2,    '45 s', '5 s'),
  (3, 'payment.poll',  'neonomics/pisp', 1,    '45 s', NULL),
  (4, 'balance.user',  'neonomics/aisp', 1,    '45 s', '5 s'),
  (5, 'balance.batch', 'neonomics/aisp', NULL, '45 s', NULL),
  (6, 'kyc.call',      'sumsub/api',     1,    '45 s', '10 s'),
  (7, 'kyc.apply',     NULL,             NULL, '15 s', NULL),
  (8, 'upkeep',        NULL,             NULL, '45 s', NULL);

-- Cron slots: one row per schedule and slot decides which of many tickers enqueues the job.
CREATE TABLE cron_slots (
  name text NOT NULL, slot timestamptz NOT NULL, taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (name, slot)
);

-- Sliding windows of accepted requests. Unlogged: lost in a crash, which only forgives.
CREATE UNLOGGED TABLE rate_bucket (
  key text PRIMARY KEY,                          -- 'bankid.initiate:192.0.2.7', 'bankid.initiate:2001:db8:1:2::/64'
  hits timestamptz[] NOT NULL
) WITH (fillfactor = 50);
