-- The service's roles. Run once by the server's owner, in the service's own database, before the first migration; to run it
-- again changes nothing:
--
--   psql -v ON_ERROR_STOP=1 -1 -d drop -f ops/postgres/roles.sql
--
-- Roles belong to the whole server, so no migration makes them: what each may do is granted by every migration
-- (migrations/grants.sql). They have no password here, and nobody can log in as one that has none: \password drop_api.
-- Staging and production are two servers, or a login of the one would be a login of the other.
DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY '{drop_migrate,drop_api,drop_worker,drop_retention,drop_readonly}'::text[] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
      EXECUTE format('CREATE ROLE %I LOGIN', role);
    END IF;
    EXECUTE format('ALTER ROLE %I SET search_path = public, pg_temp', role);
  END LOOP;

  -- Nobody else comes in, and nobody makes tables of their own here.
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO drop_api, drop_worker, drop_retention, drop_readonly', current_database());
  -- A managed server's owner is no superuser, and gives a database only to a role that they are a member of.
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    EXECUTE format('GRANT drop_migrate TO %I', current_user);
  END IF;
  EXECUTE format('ALTER DATABASE %I OWNER TO drop_migrate', current_database());
END $$;

-- Workers measure how old the oldest transaction is, whoever's it is.
GRANT pg_read_all_stats TO drop_worker;
-- People look through views that have the tables' names, and see what the server is doing.
ALTER ROLE drop_readonly SET search_path = look, pg_temp;
ALTER ROLE drop_readonly SET default_transaction_read_only = on;
GRANT pg_read_all_stats TO drop_readonly;

-- A further login of a role, as there is while its password is changed, may do what the role may, and has none of its settings: those
-- belong to the login. It is given them here, with what the server's owner has set besides; hence this file once more after it was made.
DO $$
DECLARE
  further record;
BEGIN
  FOR further IN
    SELECT l.rolname AS login, split_part(s.setting, '=', 1) AS name, substr(s.setting, strpos(s.setting, '=') + 1) AS value
      FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles l ON l.oid = m.member
           JOIN pg_db_role_setting d ON d.setrole = r.oid AND d.setdatabase = 0 CROSS JOIN unnest(d.setconfig) AS s (setting)
     WHERE r.rolname IN ('drop_migrate', 'drop_api', 'drop_worker', 'drop_retention', 'drop_readonly')
       AND l.rolcanlogin AND NOT l.rolsuper AND l.rolname <> current_user
  LOOP
    -- From the current value: written out, a list of schemas would become one name.
    PERFORM set_config(further.name, further.value, true);
    EXECUTE format('ALTER ROLE %I SET %I FROM CURRENT', further.login, further.name);
  END LOOP;
END $$;
