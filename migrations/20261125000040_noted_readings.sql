-- What is kept of somebody is read after the note of who reads it and why is there for good: a note in the reader's own transaction
-- would go away with it, and what they read would not. An operator's command of the release before asks for a function that is gone,
-- and shows nothing.

DROP FUNCTION restricted.read(uuid, text, text);

-- Who wants to read what is kept of somebody, and why. The note's number.
CREATE FUNCTION restricted.note_reading(p_user uuid, p_operator text, p_reason text) RETURNS bigint
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO audit_log (actor, user_id, action, object, detail)
  VALUES ('operator', p_user, 'restricted.read', 'usr_' || replace(p_user::text, '-', ''),
          jsonb_build_object('operator', p_operator, 'reason', p_reason, 'transaction', pg_current_xact_id()::text))
  RETURNING id $$;

-- What is kept of the person of a note that was committed a moment ago.
CREATE FUNCTION restricted.read(p_note bigint) RETURNS TABLE (class text, record jsonb, retention_until timestamptz)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  about uuid;
BEGIN
  SELECT a.user_id INTO about FROM audit_log a
   WHERE a.id = p_note AND a.action = 'restricted.read' AND a.at > clock_timestamp() - interval '5 minutes'
     -- The whole transaction that wrote it, not a part of one: a savepoint's row looks like another transaction's.
     AND pg_xact_status((a.detail->>'transaction')::xid8) = 'committed';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'nobody has noted for good who reads this, and why' USING ERRCODE = '42501';
  END IF;
  RETURN QUERY SELECT r.class, r.record, r.retention_until FROM restricted.records r WHERE r.user_id = about ORDER BY r.id;
END $$;
