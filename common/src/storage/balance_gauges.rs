//! Consents and balances in numbers. They are of every account there is, so they are read apart from the other gauges and
//! less often: however long they take, those stay current.

use sqlx::PgExecutor;

use super::StorageError;

/// How consents and balances stand.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Hours since the oldest balance of an account with a live consent was read, or since that consent began where that was
    /// later: what could not be read before says nothing of reading; 0 without one.
    pub staleness_hours: f64,
    /// The most unattended reads of one account in the last 24 hours; four are allowed.
    pub window_used: i64,
    /// Seconds since the account that is longest due for a read without its owner became due, or was to be read and was
    /// not; 0 without one.
    pub sync_lag: f64,
    /// The states that consents are in, each once, and how many are in it.
    pub consent_states: Vec<String>,
    pub consent_counts: Vec<i64>,
}

/// Reads them all at once.
pub async fn read(db: impl PgExecutor<'_>) -> Result<Reading, StorageError> {
    Ok(sqlx::query_as!(
        Reading,
        r#"WITH batch AS MATERIALIZED (SELECT lane FROM lanes WHERE name = 'balance.batch'),
                live AS MATERIALIZED (
             SELECT min(greatest(a.balance_synced_at, c.authorised_at)) AS oldest, min(a.next_sync_at) AS due
               FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
              WHERE a.status = 'linked' AND c.status = 'valid')
           SELECT
             coalesce(greatest(0, extract(epoch FROM now() - live.oldest) / 3600), 0)::float8 AS "staleness_hours!",
             (SELECT coalesce(max(reads), 0)
                FROM (SELECT count(*) AS reads FROM balance_reads
                       WHERE NOT attended AND read_at > now() - interval '24 hours' GROUP BY account_id) used)
               AS "window_used!",
             coalesce(greatest(0, extract(epoch FROM now() - least(live.due,
               (SELECT run_at FROM jobs WHERE lane = (SELECT lane FROM batch) AND state = 'ready' ORDER BY run_at LIMIT 1),
               (SELECT min(run_at) FROM jobs WHERE lane = (SELECT lane FROM batch) AND state = 'running')))), 0)::float8
               AS "sync_lag!",
             consents.states AS "consent_states!", consents.counts AS "consent_counts!"
           FROM live,
                (SELECT coalesce(array_agg(status), '{}') AS states, coalesce(array_agg(consents), '{}') AS counts
                   FROM (SELECT status, count(*) AS consents FROM bank_consents GROUP BY status) by_state) consents"#
    )
    .fetch_one(db)
    .await?)
}
