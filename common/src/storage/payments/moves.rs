//! The writes that move a payment.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{
    super::{StorageError, Tx},
    Payment, Row,
};
use crate::domain::{
    bank_status::BankStatus,
    ids::{AccountId, PaymentId, UserId},
    payment_schedule::LOOKS_APART,
    payment_status::{Cancellation, FailureReason, PaymentState, PaymentStatus},
};
use crate::queue::{Lease, NewJob};

/// A payment that nobody else moves until the transaction ends, and the database's time.
pub struct Locked {
    pub payment: Payment,
    pub now: DateTime<Utc>,
}

/// Locks the payment and reads it as it is now: what was read before a call to the bank may be old by half a minute.
pub async fn lock(tx: &mut Tx, id: PaymentId) -> Result<Option<Locked>, StorageError> {
    let row = select!("WHERE id = $1 FOR NO KEY UPDATE", id.uuid())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(Locked::try_from).transpose()
}

/// The same for a job, as the first statement of its transaction: it is fenced as [`Lease::begin`] does it, for a payment's
/// person waits for every round trip. `None` where the lease is lost or has run out, or the payment is gone.
///
/// [`Lease::begin`]: crate::queue::Lease::begin
pub async fn lock_for(lease: &Lease, tx: &mut Tx, id: PaymentId) -> Result<Option<Locked>, StorageError> {
    // The job's row is locked first: the planner asks of something that names no payment before it looks at any.
    let row = select!(
        "WHERE id = $1 AND EXISTS (
           SELECT FROM jobs
            WHERE id = $2 AND attempt = $3 AND state = 'running' AND lease_until > clock_timestamp() FOR NO KEY UPDATE)
         FOR NO KEY UPDATE",
        id.uuid(),
        lease.job(),
        lease.attempt(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Locked::try_from).transpose()
}

impl TryFrom<Row> for Locked {
    type Error = StorageError;
    fn try_from(row: Row) -> Result<Self, StorageError> {
        let now = row.now;
        let payment = row.try_into()?;
        Ok(Self { payment, now })
    }
}

/// With what the bank took a payment.
pub struct Taken<'a> {
    /// The attempt that it answered.
    pub attempt: i64,
    /// The bank's id.
    pub payment_id: &'a str,
    /// The one link that the person is ever given.
    pub sca_redirect: Option<&'a str>,
    /// How long they may take to approve it.
    pub sca_timeout: Duration,
    /// The link is still to be asked for, by a request that carries the redirect's state once more.
    pub authorise: bool,
    /// Its first word, where that changes nothing else about the payment.
    pub bank_status: Option<BankStatus>,
    /// The request that asked for the payment.
    pub request_id: Option<Uuid>,
    /// The first look at it.
    pub poll: &'a NewJob,
}

/// What is known of a payment once the bank has it.
pub struct Initiated {
    /// The new version; `None` where the bank's id of it was known.
    pub version: Option<i32>,
    /// The bank answered an earlier attempt with 500, 502 or 503.
    pub failed_before: bool,
}

/// The bank has the payment: ends the attempt, starts the SCA deadline, writes the audit row and enqueues the first look at it,
/// in one statement, for its person waits for every round trip. May be repeated, for the answer to a commit may be lost.
///
/// By itself it is fenced by the `lease`; in a transaction that is, it needs none. `None`, with nothing written: the payment has
/// changed since it was read, or by itself also that the lease is lost or has run out, or the bank failed an earlier attempt, of
/// which there is more to say.
pub async fn initiated(
    db: impl PgExecutor<'_>,
    lease: Option<&Lease>,
    payment: &Payment,
    taken: Taken<'_>,
) -> Result<Option<Initiated>, StorageError> {
    let row = sqlx::query!(
        r#"WITH held AS MATERIALIZED (
             SELECT FROM transactions
              WHERE id = $1 AND version = $12
                AND ($13::bigint IS NULL OR (EXISTS (
                      SELECT FROM jobs
                       WHERE id = $13 AND attempt = $14 AND state = 'running' AND lease_until > clock_timestamp() FOR NO KEY UPDATE)
                    AND NOT EXISTS (SELECT FROM payment_attempts WHERE transaction_id = $1 AND id <> $7 AND outcome = 'transient')))
              FOR NO KEY UPDATE),
           ended AS (
             UPDATE payment_attempts SET outcome = 'accepted', http_status = 201, finished_at = clock_timestamp()
              WHERE id = $7 AND outcome = 'sending' AND EXISTS (SELECT FROM held) RETURNING id),
           taken AS (
             UPDATE transactions SET payment_id = $2, sca_redirect = coalesce(sca_redirect, $3),
                callback_state_sealed = CASE WHEN $5 THEN callback_state_sealed END,
                authorisation = CASE WHEN $5 THEN 'wanted' END,
                sca_deadline = coalesce(sca_deadline, clock_timestamp() + make_interval(secs => $4)),
                bank_status = coalesce($6, bank_status),
                version = version + 1, updated_at = clock_timestamp()
              WHERE id = $1 AND payment_id IS NULL AND EXISTS (SELECT FROM held)
             RETURNING version),
           audited AS (
             INSERT INTO audit_log (actor, user_id, action, object, detail, request_id)
             SELECT 'worker', $8, 'payment.initiated', $9, $10, $11
              WHERE EXISTS (SELECT FROM ended) OR EXISTS (SELECT FROM taken))
           SELECT (SELECT version FROM taken) AS version,
                  EXISTS (SELECT FROM payment_attempts WHERE transaction_id = $1 AND id <> $7 AND outcome = 'transient') AS "failed_before!",
                  jobs_enqueue($15, $16, $17, $18, $19, $20, $21, $22) AS _poll
             FROM held"#,
        payment.id.uuid(),
        taken.payment_id,
        taken.sca_redirect,
        taken.sca_timeout.as_secs_f64(),
        taken.authorise,
        taken.bank_status.map(BankStatus::as_str),
        taken.attempt,
        payment.user.uuid(),
        payment.id.to_string(),
        json!({ "link": taken.sca_redirect.is_some(), "bank_status": taken.bank_status.map(BankStatus::as_str) }),
        taken.request_id,
        payment.version,
        lease.map(Lease::job),
        lease.map(Lease::attempt),
        taken.poll.lane.id(),
        taken.poll.kind,
        taken.poll.unique_key,
        taken.poll.payload,
        taken.poll.max_attempts,
        taken.poll.expires_in_ms,
        taken.poll.request_id,
        taken.poll.delay_ms,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Initiated {
        version: row.version,
        failed_before: row.failed_before,
    }))
}

/// Moves the payment to a state that the domain decided on; false where somebody else moved it first. A hold goes when the
/// payment ends without money having moved; after completion it goes with the next balance. Once the bank has accepted the
/// order with a change, somebody is to read it. Whoever wished to take it back and was not answered has their answer once it
/// is cancelled, was never sent, or was withdrawn when the time for approval was over; where the bank goes on with it all the same, that answer is withdrawn.
pub async fn set_state(tx: &mut Tx, payment: &Payment, state: &PaymentState) -> Result<bool, StorageError> {
    // Nothing moves any more: what was held is the person's again. After completion the next balance takes it over.
    let release = state.bank_final && matches!(state.status, PaymentStatus::Failed | PaymentStatus::Cancelled);
    let moved = sqlx::query!(
        "WITH held AS (SELECT id, account_id, hold FROM transactions WHERE id = $1 AND version = $2 FOR NO KEY UPDATE),
              freed AS (UPDATE bank_accounts a SET held = a.held - held.hold FROM held WHERE a.id = held.account_id AND $7)
         UPDATE transactions t SET status = $3, reason = $4, bank_status = $5, bank_final = $6,
                hold = CASE WHEN $7 THEN 0 ELSE t.hold END,
                bank_change = CASE WHEN $5 = 'ACWC' THEN coalesce(t.bank_change, 'unread') ELSE t.bank_change END,
                cancellation = CASE WHEN $3 = 'cancelled' AND t.cancellation IS NOT NULL THEN 'done'
                                    WHEN t.cancellation = 'unconfirmed' AND ($4 = 'not_sent' OR $4 = 'sca_timeout'
                                         AND (t.withdrawn_at IS NOT NULL OR $5 = 'CANC')) THEN 'done'
                                    WHEN $3 = 'completed' AND t.cancellation = 'done' THEN 'refused'
                                    WHEN $3 = 'processing' AND t.cancellation = 'done' THEN 'unconfirmed'
                                    ELSE t.cancellation END,
                version = t.version + 1, updated_at = clock_timestamp()
           FROM held WHERE t.id = held.id",
        payment.id.uuid(),
        payment.version,
        state.status.as_str(),
        state.reason.map(FailureReason::as_str),
        state.bank_status.map(BankStatus::as_str),
        state.bank_final,
        release,
    )
    .execute(&mut **tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// A person must look at this payment; it stays as it is. `None`: that was known before, or the bank has spoken its last
/// word. Reads nothing else of the row, so that one which cannot be read can still be looked at.
pub async fn needs_review(tx: &mut Tx, id: PaymentId) -> Result<Option<UserId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE transactions SET needs_review = true, version = version + 1, updated_at = clock_timestamp()
            WHERE id = $1 AND NOT needs_review AND NOT bank_final RETURNING user_id AS "user: UserId""#,
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// The order is about to be withdrawn, and since when. Nothing that anybody is shown, so the version stays.
pub async fn withdrawing(tx: &mut Tx, id: PaymentId) -> Result<DateTime<Utc>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE transactions SET withdrawing_at = clock_timestamp() WHERE id = $1 RETURNING withdrawing_at AS "at!""#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// It was not withdrawn, for certain, by whoever was about to since then. Whoever began later speaks for themselves.
pub async fn not_withdrawing(tx: &mut Tx, id: PaymentId, since: DateTime<Utc>) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET withdrawing_at = NULL, forgotten_at = NULL
          WHERE id = $1 AND withdrawing_at = $2 AND withdrawn_at IS NULL",
        id.uuid(),
        since
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The bank knows the order, or may. A withdrawal of it that began so long ago is no reason any more to think otherwise.
pub async fn is_known(tx: &mut Tx, id: PaymentId, over_after: Duration) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET forgotten_at = NULL,
                withdrawing_at = CASE WHEN withdrawing_at > clock_timestamp() - make_interval(secs => $2) THEN withdrawing_at END
          WHERE id = $1 AND withdrawn_at IS NULL",
        id.uuid(),
        over_after.as_secs_f64()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The bank knows no such order, although it is asked to withdraw it once more. Whether that has been so for this long.
pub async fn forgotten(tx: &mut Tx, id: PaymentId, so_long: Duration) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"UPDATE transactions SET forgotten_at = coalesce(forgotten_at, clock_timestamp()) WHERE id = $1
           RETURNING forgotten_at <= clock_timestamp() - make_interval(secs => $2) AS "so_long!""#,
        id.uuid(),
        so_long.as_secs_f64()
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// The bank took our withdrawal of the order.
pub async fn withdrawn(tx: &mut Tx, id: PaymentId) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET withdrawn_at = coalesce(withdrawn_at, clock_timestamp()), version = version + 1 WHERE id = $1",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes the person's wish to take the payment back, or what became of it.
pub async fn set_cancellation(tx: &mut Tx, id: PaymentId, cancellation: Cancellation) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE transactions SET cancellation = $2, version = version + 1, updated_at = clock_timestamp() WHERE id = $1",
        id.uuid(),
        cancellation.as_str()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes that the person came back from the bank, as a new version of the row: whoever looks at the bank just now must
/// see that something happened meanwhile. No change of the payment: `updated_at` stays. False, with nothing written, where
/// they came back a moment ago, so that a loop of returns is not one of writes, and after the bank's last word.
pub async fn came_back(tx: &mut Tx, id: PaymentId) -> Result<bool, StorageError> {
    let noted = sqlx::query!(
        "UPDATE transactions SET callback_at = clock_timestamp(), version = version + 1
          WHERE id = $1 AND NOT bank_final
            AND (callback_at IS NULL OR callback_at <= clock_timestamp() - make_interval(secs => $2))",
        id.uuid(),
        LOOKS_APART.as_secs_f64(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(noted.rows_affected() == 1)
}
