-- Whether a lane takes new work now, for whoever asks it beside something else in one statement: a payment waits for every round trip.
--
-- circuit_open: seconds until a probe may decide, where the lane's circuit is open and nobody has closed the lane. Of a half-open one
-- that is so where a job waits to probe; only a job that would be claimed as the probe counts, or nobody would be. overloaded: when to
-- ask again, in seconds, where the lane is closed (p_closed_retry), its provider wants a pause, or its oldest job has waited too long.
-- It reads one job of a lane, however many wait. STABLE, so that it is planned as a part of the statement that asks.
CREATE FUNCTION lane_admission(p_lane smallint, p_closed_retry int) RETURNS TABLE (circuit_open int, overloaded int)
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN l.closed_at IS NULL AND b.open AND (b.retry_at > clock_timestamp() OR b.probe_until > clock_timestamp()
                OR EXISTS (SELECT FROM lanes p CROSS JOIN LATERAL (
                              SELECT FROM jobs WHERE lane = p.lane AND state = 'ready' AND run_at <= now()
                               ORDER BY run_at, id LIMIT 1) j
                            WHERE p.breaker_key = b.key AND p.probe_rank IS NOT NULL AND NOT p.paused
                              AND coalesce(p.throttled_until <= now(), true)))
              THEN greatest(1, ceil(extract(epoch FROM greatest(b.retry_at, b.probe_until) - clock_timestamp())))::int
          END,
         CASE WHEN l.closed_at IS NOT NULL THEN p_closed_retry
              WHEN l.throttled_until > clock_timestamp() OR oldest.run_at < clock_timestamp() - l.max_ready_age
              THEN greatest(1, ceil(extract(epoch FROM greatest(
                     l.throttled_until - clock_timestamp(), clock_timestamp() - oldest.run_at - l.max_ready_age))))::int
          END
    FROM lanes l LEFT JOIN breaker b ON b.key = l.breaker_key
    CROSS JOIN LATERAL (SELECT min(run_at) AS run_at FROM jobs WHERE lane = l.lane AND state = 'ready') oldest
   WHERE l.lane = p_lane
$$;
