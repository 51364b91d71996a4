//! Login attempts at BankID. A state is used once, its code is taken once, its outcome is handed out once.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;

use super::{StorageError, Tx};
use crate::domain::{
    ids::{LoginId, UserId},
    login::{LoginFailure, LoginStatus},
};
use crate::keyring::Keyring;

/// BankID's own page lives 10 minutes; ours a little longer, for the way there and back.
pub const LIFE_MINUTES: i32 = 15;

/// What the start of a login stores.
pub struct NewLogin<'a> {
    pub id: LoginId,
    pub state_hash: &'a [u8; 32],
    pub nonce: &'a SecretString,
    pub verifier: &'a SecretString,
    pub return_to: Option<&'a str>,
}

/// Stores a browser login.
pub async fn start(tx: &mut Tx, keys: &Keyring, login: NewLogin<'_>) -> Result<(), StorageError> {
    let row = login.id.uuid();
    sqlx::query!(
        "INSERT INTO logins (id, state_hash, nonce_sealed, verifier_sealed, channel, return_to, expires_at)
         VALUES ($1, $2, $3, $4, 'web', $5, clock_timestamp() + make_interval(mins => $6))",
        row,
        login.state_hash.as_slice(),
        keys.seal("logins.nonce_sealed", row, login.nonce.expose_secret().as_bytes()),
        keys.seal("logins.verifier_sealed", row, login.verifier.expose_secret().as_bytes()),
        login.return_to,
        LIFE_MINUTES,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A login whose state was just used up.
pub struct Consumed {
    pub id: LoginId,
    pub return_to: Option<String>,
}

/// Uses the state up, in one statement: of any number of callbacks one gets the row.
pub async fn consume(tx: &mut Tx, state_hash: &[u8; 32]) -> Result<Option<Consumed>, StorageError> {
    let row = sqlx::query!(
        "UPDATE logins SET status = 'checking', consumed_at = clock_timestamp()
          WHERE state_hash = $1 AND status = 'started' AND expires_at > clock_timestamp()
         RETURNING id, return_to",
        state_hash.as_slice(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Consumed {
        id: row.id.into(),
        return_to: row.return_to,
    }))
}

/// Puts the authorization code, sealed, where the job takes it from.
pub async fn put_code(tx: &mut Tx, keys: &Keyring, id: LoginId, code: &SecretString) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE logins SET code_sealed = $2 WHERE id = $1 AND status = 'checking'",
        id.uuid(),
        keys.seal("logins.code_sealed", id.uuid(), code.expose_secret().as_bytes()),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What the token exchange and the token checks need.
pub struct Secrets {
    pub code: SecretString,
    pub nonce: SecretString,
    pub verifier: SecretString,
}

/// Takes the secrets out and erases them: BankID accepts the code once, so a second attempt could only fail, and a
/// stored code is a way into someone's account. `None`: already taken, or the login has ended.
pub async fn take_secrets(tx: &mut Tx, keys: &Keyring, id: LoginId) -> Result<Option<Secrets>, StorageError> {
    let row = sqlx::query!(
        "WITH held AS (
           SELECT id, code_sealed, nonce_sealed, verifier_sealed FROM logins
            WHERE id = $1 AND status = 'checking' AND code_sealed IS NOT NULL FOR NO KEY UPDATE)
         UPDATE logins l SET code_sealed = NULL, nonce_sealed = NULL, verifier_sealed = NULL FROM held
          WHERE l.id = held.id RETURNING held.code_sealed, held.nonce_sealed, held.verifier_sealed",
        id.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let open = |column: &str, sealed: Option<Vec<u8>>| {
        keys.open_text(column, id.uuid(), &sealed.unwrap_or_default())
            .map_err(StorageError::corrupt)
    };
    Ok(Some(Secrets {
        code: open("logins.code_sealed", row.code_sealed)?,
        nonce: open("logins.nonce_sealed", row.nonce_sealed)?,
        verifier: open("logins.verifier_sealed", row.verifier_sealed)?,
    }))
}

/// The person is known. How long after its callback that was; `None` where the login had ended before.
pub async fn succeed(tx: &mut Tx, id: LoginId, user: UserId) -> Result<Option<Duration>, StorageError> {
    let seconds = sqlx::query_scalar!(
        r#"UPDATE logins SET status = 'succeeded', user_id = $2, finished_at = clock_timestamp()
            WHERE id = $1 AND status = 'checking'
           RETURNING extract(epoch FROM finished_at - consumed_at)::float8 AS "took!""#,
        id.uuid(),
        user.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(seconds.map(duration))
}

/// The login ends without a session; what is left of its secrets goes with it. How long after its callback that was;
/// `None` where it had ended before.
pub async fn fail(tx: &mut Tx, id: LoginId, failure: LoginFailure) -> Result<Option<Duration>, StorageError> {
    let seconds = sqlx::query_scalar!(
        r#"UPDATE logins SET status = 'failed', failure = $2, finished_at = clock_timestamp(),
                  code_sealed = NULL, nonce_sealed = NULL, verifier_sealed = NULL
            WHERE id = $1 AND status = 'checking'
           RETURNING extract(epoch FROM finished_at - consumed_at)::float8 AS "took!""#,
        id.uuid(),
        failure.code(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(seconds.map(duration))
}

/// A clock that was set back in between gives a time of none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Where a login stands, for the holder of its state.
pub struct Standing {
    pub status: LoginStatus,
    pub failure: Option<LoginFailure>,
    pub return_to: Option<String>,
}

/// Reads where a login stands; `None` unless the state is the login's own.
pub async fn standing(db: &PgPool, id: LoginId, state_hash: &[u8; 32]) -> Result<Option<Standing>, StorageError> {
    let row = sqlx::query!(
        "SELECT status, failure, return_to FROM logins WHERE id = $1 AND state_hash = $2",
        id.uuid(),
        state_hash.as_slice()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Standing {
            status: row.status.parse().map_err(StorageError::corrupt)?,
            failure: row
                .failure
                .map(|word| word.parse().map_err(StorageError::corrupt))
                .transpose()?,
            return_to: row.return_to,
        })
    })
    .transpose()
}

/// Hands the outcome out, once, to the holder of the state.
pub async fn hand_out(tx: &mut Tx, id: LoginId, state_hash: &[u8; 32]) -> Result<Option<UserId>, StorageError> {
    let user = sqlx::query_scalar!(
        r#"UPDATE logins SET handed_out_at = clock_timestamp()
            WHERE id = $1 AND state_hash = $2 AND status = 'succeeded' AND handed_out_at IS NULL
              AND expires_at > clock_timestamp()
           RETURNING user_id AS "user_id!""#,
        id.uuid(),
        state_hash.as_slice(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(user.map(UserId::from))
}

/// Deletes the logins whose time is over, in short transactions: one that nobody finished still holds its sealed secrets.
/// Nothing is asked of them any more; the audit log has what became of the others. Returns how many.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let mut pruned = 0;
    loop {
        let batch = sqlx::query!(
            "DELETE FROM logins WHERE id = ANY (ARRAY(
               SELECT id FROM logins WHERE expires_at < clock_timestamp()
                ORDER BY expires_at LIMIT 5000 FOR UPDATE SKIP LOCKED))"
        )
        .execute(db)
        .await?
        .rows_affected();
        pruned += batch;
        if batch == 0 {
            return Ok(pruned);
        }
    }
}
