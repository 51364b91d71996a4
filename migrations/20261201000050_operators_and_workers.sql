-- What the operators' page needs to know beside what it shows.

-- Who signed out: a copy of their cookie is nobody's from then on, on every worker.
CREATE TABLE operator_sign_outs (
  session uuid PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The processes that run jobs, as each tells it of itself every few seconds. One that is quiet claims nothing.
CREATE TABLE workers (
  owner uuid PRIMARY KEY,                         -- as in jobs.owner; new at every start
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  lanes jsonb NOT NULL,                           -- of each lane: slots, running, restarts
  is_quiet boolean NOT NULL,                      -- it has heard that it shall be, and is
  quiet_since timestamptz,
  quiet_by text,
  quiet_because text,
  CONSTRAINT somebody_made_it_quiet CHECK ((quiet_since IS NULL) = (quiet_by IS NULL) AND (quiet_by IS NULL) = (quiet_because IS NULL))
);

-- What a job died of, in words that many have in common: … stands where numbers and ids differ. On one line, as a form sends it.
CREATE FUNCTION died_of(p_error text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT btrim(left(translate(regexp_replace(coalesce(p_error, ''), '[0-9a-fA-F]{8}[0-9a-fA-F-]*|[0-9]+', '…', 'g'), E'\n\r\t', '   '), 300)) $$;
