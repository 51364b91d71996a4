//! The domain's rows in numbers, for gauges and alerts.

use sqlx::PgExecutor;

use super::StorageError;

/// How payments, balances and identity checks stand.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Hours since the oldest balance of an account with a live consent was read; 0 without one.
    pub balance_staleness_hours: f64,
    /// Identity checks approved by events of the last hour.
    pub kyc_approved: i64,
    /// Identity checks approved or rejected by events of the last hour.
    pub kyc_decided: i64,
    /// Payments still processing that need no review.
    pub payments_open: i64,
    /// Seconds since the oldest of them was made; 0 without one.
    pub payments_oldest_open_age: f64,
    /// Payments that are not final at the bank and that a person must look at.
    pub payments_needing_review: i64,
    /// The most unattended reads of one account in the last 24 hours; four are allowed.
    pub balance_window_used: i64,
    /// Seconds since the account that is longest due for a read without its owner became due, or was planned and not
    /// read yet; 0 without one.
    pub balance_sync_lag: f64,
    /// The states that consents are in, each once, and how many are in it.
    pub consent_states: Vec<String>,
    pub consent_counts: Vec<i64>,
    /// Seconds since the oldest accepted webhook came in that was not applied; 0 without one.
    pub webhook_inbox_oldest_age: f64,
    /// Accepted webhooks whose applicant is not known.
    pub webhooks_unmatched: i64,
    /// Accepted webhooks that nobody could read.
    pub webhooks_quarantined: i64,
    /// Seconds since the oldest identity check began that Sumsub has not decided; 0 without one.
    pub kyc_pending_oldest_age: f64,
    /// Refusals that no compliance officer has looked at.
    pub aml_cases_open: i64,
    /// Seconds since the oldest notification was written that was not delivered; 0 without one.
    pub notifications_oldest_age: f64,
}

/// Reads them all at once. Each part is served by a partial index or a small table, so that old rows cost nothing:
/// a processing payment is never final at the bank, and an event of the last hour was stored in the last hour. Consents are
/// the exception: each counts, also one that ended, but a person has few.
pub async fn read(db: impl PgExecutor<'_>) -> Result<Reading, StorageError> {
    Ok(sqlx::query_as!(
        Reading,
        r#"SELECT
             (SELECT coalesce(greatest(0, extract(epoch FROM now() - min(a.balance_synced_at)) / 3600), 0)::float8
                FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
               WHERE a.status = 'linked' AND c.status = 'valid') AS "balance_staleness_hours!",
             (SELECT coalesce(max(reads), 0)
                FROM (SELECT count(*) AS reads FROM balance_reads
                       WHERE NOT attended AND read_at > now() - interval '24 hours' GROUP BY account_id) used)
               AS "balance_window_used!",
             coalesce(greatest(0, extract(epoch FROM now() - least(
               (SELECT min(a.next_sync_at) FROM bank_accounts a JOIN bank_consents c ON c.id = a.consent_id
                 WHERE a.status = 'linked' AND c.status = 'valid'),
               (SELECT min(created_at) FROM jobs
                 WHERE lane = (SELECT lane FROM lanes WHERE name = 'balance.batch') AND state = 'ready' AND kind = 'sync-balance'),
               (SELECT min(created_at) FROM jobs
                 WHERE lane = (SELECT lane FROM lanes WHERE name = 'balance.batch') AND state = 'running' AND kind = 'sync-balance')))), 0)::float8
               AS "balance_sync_lag!",
             consents.states AS "consent_states!", consents.counts AS "consent_counts!",
             kyc.approved AS "kyc_approved!", kyc.decided AS "kyc_decided!",
             open.payments AS "payments_open!", open.oldest AS "payments_oldest_open_age!",
             (SELECT count(*) FROM transactions WHERE NOT bank_final AND needs_review) AS "payments_needing_review!",
             (SELECT coalesce(greatest(0, extract(epoch FROM now() - min(received_at))), 0)::float8
                FROM webhook_events WHERE applied_at IS NULL AND state = 'received') AS "webhook_inbox_oldest_age!",
             (SELECT count(*) FROM webhook_events WHERE state = 'unmatched') AS "webhooks_unmatched!",
             (SELECT count(*) FROM webhook_events WHERE state = 'quarantined') AS "webhooks_quarantined!",
             (SELECT coalesce(greatest(0, extract(epoch FROM now() - min(review_began_at))), 0)::float8
                FROM kyc_applicants WHERE review_began_at IS NOT NULL) AS "kyc_pending_oldest_age!",
             (SELECT count(*) FROM aml_cases WHERE closed_at IS NULL) AS "aml_cases_open!",
             (SELECT coalesce(greatest(0, extract(epoch FROM now() - min(created_at))), 0)::float8
                FROM notifications WHERE delivered_at IS NULL) AS "notifications_oldest_age!"
           FROM (SELECT coalesce(array_agg(status), '{}') AS states, coalesce(array_agg(consents), '{}') AS counts
                   FROM (SELECT status, count(*) AS consents FROM bank_consents GROUP BY status) by_state) consents,
                (SELECT count(*) FILTER (WHERE result = 'approved') AS approved, count(*) AS decided
                   FROM screening_results
                  WHERE created_at > now() - interval '1 hour' AND provider_at > now() - interval '1 hour'
                    AND result IN ('approved', 'rejected')) kyc,
                (SELECT count(*) AS payments,
                        coalesce(greatest(0, extract(epoch FROM now() - min(created_at))), 0)::float8 AS oldest
                   FROM transactions WHERE NOT bank_final AND status = 'processing' AND NOT needs_review) open"#
    )
    .fetch_one(db)
    .await?)
}
