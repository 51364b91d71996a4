-- What operators decide about lanes and circuits, and finding what they look for.

-- Why a lane is paused, and until when: then a worker lets it go on. Empty where whoever paused it said neither.
ALTER TABLE lanes
  ADD COLUMN paused_until timestamptz,
  ADD COLUMN paused_by text,
  ADD COLUMN paused_because text;

-- Each opening and closing of a circuit. Written by a trigger, so whatever moves the row is in it.
CREATE TABLE breaker_transitions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text NOT NULL,
  became text NOT NULL CHECK (became IN ('open', 'still_open', 'closed', 'reset')),
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX breaker_transitions_of ON breaker_transitions (key, id);
CREATE INDEX breaker_transitions_by_time ON breaker_transitions (at);

CREATE FUNCTION note_breaker_transition() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO breaker_transitions (key, became)
  VALUES (NEW.key, CASE WHEN NEW.open AND OLD.open THEN 'still_open' WHEN NEW.open THEN 'open'
                        WHEN OLD.open THEN 'closed' ELSE 'reset' END);
  RETURN NULL;
END $$;
CREATE TRIGGER breaker_transition AFTER UPDATE ON breaker FOR EACH ROW WHEN (OLD.epoch <> NEW.epoch)
  EXECUTE FUNCTION note_breaker_transition();

-- Opens a circuit by hand, or closes it and forgets its failures. Raises the epoch as every transition does, so that calls
-- under way report to nobody. An open one probes again after its usual time.
CREATE FUNCTION breaker_set(p_key text, p_open boolean) RETURNS SETOF breaker LANGUAGE plpgsql AS $$ BEGIN
  RETURN QUERY UPDATE breaker SET epoch = epoch + 1, open = p_open, fails = '{}', probe_id = NULL, probe_until = NULL,
      opened_at = CASE WHEN p_open THEN clock_timestamp() END,
      retry_at  = CASE WHEN p_open THEN clock_timestamp() + open_for END,
      closed_at = CASE WHEN NOT p_open THEN clock_timestamp() END
    WHERE key = p_key AND (open <> p_open OR NOT p_open AND cardinality(fails) > 0) RETURNING *;
  IF FOUND THEN PERFORM pg_notify('breaker', p_key); END IF;
END $$;
