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
