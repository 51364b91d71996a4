//! Attempts to tell the bank: each is a row before its request leaves.

use std::time::Duration;

use uuid::Uuid;

use super::{
    super::{StorageError, Tx},
    Payment, Wire,
    wire::SealedWire,
};
use crate::{
    domain::ids::{ConsentId, PaymentId},
    keyring::Keyring,
    resilience::breaker::BreakerKey,
};

/// An attempt that may leave now, or why none may.
pub enum Sending {
    /// With this, as soon as its attempt is committed.
    Go(Wire),
    /// The user is no longer approved, or is gone.
    NotAllowed,
    /// Their account is not linked any more, or its consent is over.
    Unlinked,
    /// The time to send has passed and nothing ever left.
    TooLate,
    /// Nothing ever left, and the user has taken the payment back.
    Unwanted,
    /// Already sent or already over.
    NothingToDo,
    /// The circuit has opened since the job was claimed; a probe may decide after this long.
    CircuitOpen { retry_in: Duration },
    /// An earlier attempt has no outcome: its process died, so the bank may have it.
    Unknown,
    /// The bank may have an earlier attempt, and no further one may leave, for this reason.
    NoMore { why: &'static str },
}

/// Whether the locked payment may be sent by the job with this probe, if any. `deduplicated`: the bank makes one payment of
/// all requests with one key, so an attempt whose outcome nobody knows is followed by another.
pub async fn may_be_sent(
    tx: &mut Tx,
    keys: &Keyring,
    payment: &Payment,
    deduplicated: bool,
    probe: Option<Uuid>,
) -> Result<Sending, StorageError> {
    let id = payment.id;
    if !payment.state.is_processing() || payment.payment_id.is_some() || payment.needs_review {
        return Ok(Sending::NothingToDo);
    }
    let row = sqlx::query!(
        r#"SELECT u.kyc_status = 'approved' AND u.erased_at IS NULL AS "allowed!",
                  a.status = 'linked' AND c.status = 'valid' AS "linked!", t.expires_at <= clock_timestamp() AS "late!",
                  EXISTS (SELECT 1 FROM payment_attempts p WHERE p.transaction_id = t.id AND p.outcome = 'sending') AS "unknown!",
                  EXISTS (SELECT 1 FROM payment_attempts p WHERE p.transaction_id = t.id AND p.outcome IN ('accepted', 'transient', 'ambiguous')) AS "reached!",
                  CASE WHEN b.open AND (b.probe_id = $3) IS NOT TRUE
                       THEN greatest(0, extract(epoch FROM b.retry_at - clock_timestamp()))::float8 END AS circuit_open,
                  t.creditor_account_sealed, t.callback_state_sealed, a.account_sealed, a.consent_id AS "consent: ConsentId"
             FROM transactions t JOIN users u ON u.id = t.user_id JOIN bank_accounts a ON a.id = t.account_id
                  JOIN bank_consents c ON c.id = a.consent_id JOIN breaker b ON b.key = $2
            WHERE t.id = $1 FOR SHARE OF u"#,
        id.uuid(),
        BreakerKey::NeonomicsPisp.as_str(),
        probe
    )
    .fetch_one(&mut **tx)
    .await?;
    if row.unknown && !deduplicated {
        return Ok(Sending::Unknown);
    }
    let unwanted = payment.cancellation.is_some();
    if unwanted && (row.unknown || row.reached) {
        return Ok(Sending::NoMore {
            why: "an attempt may have reached the bank, and the user has taken the payment back",
        });
    }
    if unwanted {
        return Ok(Sending::Unwanted);
    }
    match (row.unknown || row.reached, row.late, row.allowed, row.linked) {
        (_, false, true, true) => {}
        (false, true, _, _) => return Ok(Sending::TooLate),
        (false, false, false, _) => return Ok(Sending::NotAllowed),
        (false, false, true, false) => return Ok(Sending::Unlinked),
        (true, true, _, _) => {
            return Ok(Sending::NoMore {
                why: "an attempt may have reached the bank, and the time to send is over",
            });
        }
        (true, false, false, _) => {
            return Ok(Sending::NoMore {
                why: "an attempt may have reached the bank, and the user may not pay any more",
            });
        }
        (true, false, true, false) => {
            return Ok(Sending::NoMore {
                why: "an attempt may have reached the bank, and the account is not linked any more",
            });
        }
    }
    if let Some(seconds) = row.circuit_open {
        let retry_in = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        return Ok(Sending::CircuitOpen { retry_in });
    }
    if row.unknown {
        attempts_are_ambiguous(tx, id).await?;
    }
    let sealed = SealedWire {
        creditor: row.creditor_account_sealed,
        state: row.callback_state_sealed,
        debtor: row.account_sealed,
        consent: row.consent,
    };
    Ok(Sending::Go(sealed.open(keys, payment)?))
}

/// Writes "about to send", and gives the attempt's id. Committed before the request leaves, so that "never sent" stays
/// decidable after a crash. `None`, with nothing written, where the account is not linked by this consent any more: whoever
/// unlinks holds the user's lock, and [`may_be_sent`], which waits for it, sees the account as it was before.
pub async fn about_to_send(
    tx: &mut Tx,
    id: PaymentId,
    consent: ConsentId,
    job_attempt: i32,
    body_hash: &[u8; 32],
) -> Result<Option<i64>, StorageError> {
    Ok(sqlx::query_scalar!(
        "INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash)
         SELECT t.id, $2, $3
           FROM transactions t JOIN bank_accounts a ON a.id = t.account_id JOIN bank_consents c ON c.id = a.consent_id
          WHERE t.id = $1 AND a.status = 'linked' AND c.id = $4 AND c.status = 'valid'
         RETURNING id",
        id.uuid(),
        job_attempt,
        body_hash.as_slice(),
        consent.uuid()
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Whether a request of the payment may have reached the bank.
pub async fn may_have_left(tx: &mut Tx, id: PaymentId) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM payment_attempts
                           WHERE transaction_id = $1 AND outcome NOT IN ('not_sent', 'refused')) AS "left!""#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Whether this attempt was written, and has no outcome yet.
pub async fn is_under_way(tx: &mut Tx, attempt: i64) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM payment_attempts WHERE id = $1 AND outcome = 'sending') AS "under_way!""#,
        attempt
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// How many attempts provably never left.
pub async fn unsent_attempts(tx: &mut Tx, id: PaymentId) -> Result<usize, StorageError> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM payment_attempts WHERE transaction_id = $1 AND outcome = 'not_sent'"#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// How an attempt ended that the bank did not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    Transient,
    NotSent,
    Ambiguous,
    Refused,
}

/// Writes how the attempt ended. One that the bank accepted ends with the payment ([`initiated`](super::initiated)).
pub async fn attempt_ended(
    tx: &mut Tx,
    attempt: i64,
    outcome: AttemptOutcome,
    http_status: Option<u16>,
) -> Result<(), StorageError> {
    let word = match outcome {
        AttemptOutcome::Transient => "transient",
        AttemptOutcome::NotSent => "not_sent",
        AttemptOutcome::Ambiguous => "ambiguous",
        AttemptOutcome::Refused => "refused",
    };
    sqlx::query!(
        "UPDATE payment_attempts SET outcome = $2, http_status = $3, finished_at = clock_timestamp() WHERE id = $1 AND outcome = 'sending'",
        attempt,
        word,
        http_status.map(i32::from)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An attempt whose process died is ambiguous from now on: the bank may have it.
pub async fn attempts_are_ambiguous(tx: &mut Tx, id: PaymentId) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE payment_attempts SET outcome = 'ambiguous', finished_at = clock_timestamp() WHERE transaction_id = $1 AND outcome = 'sending'",
        id.uuid()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
