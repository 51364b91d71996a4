-- Of one hour the only check could be somebody's, found by the hour of their applicant's last event. So never what was found of fewer
-- than five people, and of whole hours that are over, wherever whoever looks says that they are: the difference of two counts would be
-- somebody. Processes read no view.

DROP VIEW look.screening_results;
CREATE VIEW look.screening_results AS
  SELECT date_trunc('hour', created_at, 'UTC') AS hour, result, reject_labels, count(*) AS checks FROM public.screening_results
   WHERE created_at < date_trunc('hour', clock_timestamp(), 'UTC') GROUP BY 1, 2, 3 HAVING count(DISTINCT user_id) >= 5;
