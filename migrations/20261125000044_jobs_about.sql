-- no-transaction
-- A job is found by the row that it is about.
CREATE INDEX CONCURRENTLY jobs_about ON jobs ((coalesce(payload ->> 'payment', payload ->> 'event', payload ->> 'notification',
  payload ->> 'account', payload ->> 'consent', payload ->> 'login', payload ->> 'applicant', payload ->> 'token',
  payload ->> 'refresh')));
