//! The domain's rows in numbers, for gauges and alerts.

use sqlx::PgExecutor;

use super::StorageError;

/// How payments and identity checks stand.
#[derive(Debug, Clone)]
pub struct Reading {
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
    /// When all that was due was last moved and deleted, as a Unix time.
    pub retention_last_success: f64,
    /// When those who were erased were last listed outside the database, as a Unix time.
    pub erased_listed: f64,
    /// Seconds since the oldest erasure whose person's records still lie where everybody works, and who is not held; 0 without one.
    pub erasures_oldest_age: f64,
}

/// Reads them all at once. Each part is served by a partial index or a small table, so that old rows cost nothing:
/// a processing payment is never final at the bank, and an event of the last hour was stored in the last hour. Consents
/// and balances are the exception: each counts, so they are in `balance_gauges`.
pub async fn read(db: impl PgExecutor<'_>) -> Result<Reading, StorageError> {
    Ok(sqlx::query_as!(
        Reading,
        r#"SELECT
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
                FROM notifications WHERE delivered_at IS NULL) AS "notifications_oldest_age!",
             (SELECT coalesce(extract(epoch FROM max(ended_at)), 0)::float8 FROM retention_runs) AS "retention_last_success!",
             (SELECT coalesce(extract(epoch FROM max(listed_at)), 0)::float8 FROM retention_runs) AS "erased_listed!",
             (SELECT coalesce(greatest(0, extract(epoch FROM now() - min(erased_at))), 0)::float8
                FROM users WHERE erased_at IS NOT NULL AND moved_at IS NULL AND held_at IS NULL) AS "erasures_oldest_age!"
           FROM (SELECT count(*) FILTER (WHERE result = 'approved') AS approved, count(*) AS decided
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
