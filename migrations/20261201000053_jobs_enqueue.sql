-- Puts a job into the queue: for whoever does it alone, and for a statement that writes what makes the job necessary, for a payment waits
-- for every round trip. NULL where its kind and key are there already. Not plain SQL, whose plan would be made anew with each statement.
CREATE FUNCTION jobs_enqueue(p_lane smallint, p_kind text, p_unique_key text, p_payload jsonb, p_max_attempts int,
                             p_expires_in_ms bigint, p_request_id uuid, p_delay_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE job bigint; BEGIN
  INSERT INTO jobs (lane, kind, unique_key, payload, max_attempts, expires_at, request_id, run_at)
  VALUES (p_lane, p_kind, p_unique_key, p_payload, p_max_attempts, clock_timestamp() + p_expires_in_ms * interval '1 ms',
          p_request_id, clock_timestamp() + p_delay_ms * interval '1 ms')
  ON CONFLICT (kind, unique_key) DO NOTHING RETURNING id INTO job;
  RETURN job;
END $$;
