//! A payment's story: everything that is known to have happened to it, whoever wrote it down, in one order.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::super::StorageError;
use crate::{
    domain::ids::{AccountId, PaymentId, UserId},
    queue::{JobId, look},
};

/// How a payment stands. Nothing of whom it pays or how much.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "PaymentStanding")]
pub struct Standing {
    /// The transaction.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// From which account.
    pub account: String,
    /// `X-Request-ID` of every attempt: by it the bank finds what it has.
    pub request_id: Uuid,
    /// What its user sees.
    pub status: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// The bank's last code.
    pub bank_status: Option<String>,
    /// That was its last word.
    pub bank_final: bool,
    /// A person must look at it.
    pub needs_review: bool,
    /// The bank's id of it.
    pub payment_id: Option<String>,
    /// What it was ordered as.
    pub product: String,
    /// What became of its owner's wish to take it back.
    pub cancellation: Option<String>,
    /// Until when its owner may approve.
    pub sca_deadline: Option<DateTime<Utc>>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Until when it may be sent.
    pub expires_at: DateTime<Utc>,
}

/// How the payment stands; `None`: there is no such payment.
pub async fn standing_of(db: &PgPool, id: PaymentId) -> Result<Option<Standing>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT id AS "id: PaymentId", user_id AS "user: UserId", account_id AS "account: AccountId", idempotency_key, status,
                  reason, bank_status, bank_final, needs_review, payment_id, product, cancellation, sca_deadline, created_at,
                  updated_at, expires_at
             FROM transactions WHERE id = $1"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Standing {
        id: row.id.to_string(),
        user: row.user.to_string(),
        account: row.account.to_string(),
        request_id: row.idempotency_key,
        status: row.status,
        reason: row.reason,
        bank_status: row.bank_status,
        bank_final: row.bank_final,
        needs_review: row.needs_review,
        payment_id: row.payment_id,
        product: row.product,
        cancellation: row.cancellation,
        sca_deadline: row.sca_deadline,
        created_at: row.created_at,
        updated_at: row.updated_at,
        expires_at: row.expires_at,
    }))
}

/// One thing that happened.
#[derive(Debug, Serialize, Object)]
pub struct Moment {
    /// When.
    pub at: DateTime<Utc>,
    /// Where it was written down: `state`, `attempt`, `answer`, `callback`, `job` or `notification`.
    pub source: String,
    /// Who did it: `user`, `worker`, `provider`, `operator` or `bank`.
    pub actor: String,
    /// What happened.
    pub what: String,
    /// Ids and words of ours.
    pub detail: Value,
    /// The job that it is about.
    pub job: Option<i64>,
}

/// All that happened to a payment, oldest first: its audit rows, its attempts and the bank's answers, the way back of its
/// owner, its jobs with each failed claim, and what its owner was told.
pub async fn story(db: &PgPool, id: PaymentId) -> Result<Vec<Moment>, StorageError> {
    let jobs: Vec<JobId> = look::about(db, id.uuid()).await?.iter().map(|job| job.id).collect();
    Ok(sqlx::query_as!(
        Moment,
        r#"WITH payment AS (SELECT * FROM transactions WHERE id = $2),
            work AS (SELECT * FROM jobs WHERE id = ANY($3)),
            told AS (
              SELECT n.* FROM notifications n WHERE n.user_id = (SELECT user_id FROM payment) AND n.subject LIKE $1 || ':%')
           SELECT at AS "at!", 'state' AS "source!", actor AS "actor!", action AS "what!", detail AS "detail!", NULL::bigint AS job
             FROM audit_log WHERE object = $1
           UNION ALL
           SELECT a.sent_at, 'attempt', 'worker', 'attempt.sent', jsonb_build_object('attempt', a.id, 'claim', a.job_attempt), NULL
             FROM payment_attempts a WHERE a.transaction_id = $2
           UNION ALL
           SELECT finished_at, 'answer', 'bank', 'answer.' || outcome, jsonb_build_object('attempt', id, 'http_status', http_status), NULL
             FROM payment_attempts WHERE transaction_id = $2 AND finished_at IS NOT NULL
           UNION ALL
           SELECT callback_at, 'callback', 'user', 'callback.came_back', '{}', NULL FROM payment WHERE callback_at IS NOT NULL
           UNION ALL
           SELECT created_at, 'job', 'worker', kind || ' enqueued', jsonb_build_object('key', unique_key, 'request_id', request_id), id FROM work
           UNION ALL
           SELECT a.ended_at, 'job', 'worker', w.kind || CASE a.result WHEN 'dead' THEN ' died' ELSE ' failed' END,
                  jsonb_build_object('claim', a.attempt, 'error', a.error), w.id
             FROM job_attempts a JOIN work w ON w.id = a.job_id
           UNION ALL
           SELECT finished_at, 'job', 'worker', kind || ' done', jsonb_build_object('claims', attempt), id FROM work WHERE state = 'done'
           UNION ALL
           SELECT created_at, 'notification', 'worker', kind, '{}', NULL FROM told
           UNION ALL
           SELECT delivered_at, 'notification', 'worker', kind || ' delivered', '{}', NULL FROM told WHERE delivered_at IS NOT NULL
            ORDER BY 1"#,
        id.to_string(),
        id.uuid(),
        &jobs,
    )
    .fetch_all(db)
    .await?)
}

/// A payment in a list.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "ListedPayment")]
pub struct Listed {
    /// The transaction.
    pub id: String,
    /// What its user sees.
    pub status: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// The bank's last code.
    pub bank_status: Option<String>,
    /// That was its last word.
    pub bank_final: bool,
    /// A person must look at it.
    pub needs_review: bool,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

/// The newest payments, or those of one user, from before this one.
pub async fn newest(
    db: &PgPool,
    user: Option<UserId>,
    before: Option<PaymentId>,
    limit: i64,
) -> Result<Vec<Listed>, StorageError> {
    let before = before.map_or(Uuid::max(), PaymentId::uuid);
    macro_rules! listed {
        ($whose:literal, $($parameter:expr),+) => {
            sqlx::query!(
                r#"SELECT id AS "id: PaymentId", status, reason, bank_status, bank_final, needs_review, created_at FROM transactions
                    WHERE id < $1 "# + $whose + " ORDER BY id DESC LIMIT $2",
                $($parameter),+
            )
            .map(|row| Listed {
                id: row.id.to_string(),
                status: row.status,
                reason: row.reason,
                bank_status: row.bank_status,
                bank_final: row.bank_final,
                needs_review: row.needs_review,
                created_at: row.created_at,
            })
            .fetch_all(db)
            .await?
        };
    }
    Ok(match user {
        None => listed!("", before, limit),
        Some(user) => listed!("AND user_id = $3", before, limit, user.uuid()),
    })
}

/// The payment that the bank has under this id, or that was sent under this `X-Request-ID`.
pub async fn known_as(db: &PgPool, payment_id: &str, request: Option<Uuid>) -> Result<Option<PaymentId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id!: PaymentId" FROM transactions WHERE payment_id = $1
           UNION ALL SELECT id FROM transactions WHERE idempotency_key = $2 LIMIT 1"#,
        payment_id,
        request,
    )
    .fetch_optional(db)
    .await?)
}
