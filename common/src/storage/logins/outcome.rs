//! What a login ends with, for whoever proves that they started it.

use serde_json::json;
use sqlx::{PgExecutor, PgPool};

use super::{Binding, StorageError, Tx};
use crate::{
    domain::{
        ids::LoginId,
        login::{LoginFailure, LoginStatus},
    },
    storage::{
        sessions::{NewSession, seconds},
        users::User,
    },
};

/// For how long the app may show its login code for the first time, in seconds.
const LOGIN_CODE_LIFE: f64 = 60.0;

/// A login of the caller's own: they hold what it was started with. There is no other way to get one.
#[derive(Debug, Clone, Copy)]
pub struct ProvenLogin(LoginId);

impl ProvenLogin {
    pub(super) fn new(id: LoginId) -> Self {
        Self(id)
    }

    pub fn id(self) -> LoginId {
        self.0
    }
}

/// The login, if these are the cookies that its browser was given; of several states one must be the login's.
pub async fn proven_by_browser(
    db: &PgPool,
    id: LoginId,
    state_hashes: &[Vec<u8>],
    binding: Binding,
) -> Result<Option<ProvenLogin>, StorageError> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM logins
          WHERE id = $1 AND channel = 'web' AND state_hash = ANY ($2)
            AND (binding_hash IS NULL OR binding_hash = $3 OR $3::bytea IS NULL AND NOT $4::boolean)",
        id.uuid(),
        state_hashes,
        binding.shown.as_ref().map(<[u8; 32]>::as_slice),
        binding.required,
    )
    .fetch_optional(db)
    .await?;
    Ok(found.map(|id| ProvenLogin(id.into())))
}

/// Gives the app's login the code that its way back brings: to be shown within a minute, together with the app's verifier.
pub async fn give_login_code(tx: &mut Tx, id: LoginId, code_hash: &[u8; 32]) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE logins SET login_code_hash = $2, login_code_expires_at = clock_timestamp() + make_interval(secs => $3)
          WHERE id = $1 AND channel = 'mobile'",
        id.uuid(),
        code_hash.as_slice(),
        LOGIN_CODE_LIFE,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The login, if this is its code, within its minute, and the challenge is of the verifier shown. One statement answers
/// for everything that can be wrong, so nobody learns which it was.
///
/// An app that has shown both once may ask again for as long as the login lives: it is the worker that is slow then, and
/// whoever stole the code alone gained nothing by the longer time.
pub async fn proven_by_app(
    tx: &mut Tx,
    id: LoginId,
    code_hash: &[u8; 32],
    challenge: &str,
) -> Result<Option<ProvenLogin>, StorageError> {
    let found = sqlx::query_scalar!(
        "UPDATE logins SET login_code_expires_at = expires_at
          WHERE id = $1 AND channel = 'mobile' AND login_code_hash = $2 AND app_challenge = $3
            AND login_code_expires_at > clock_timestamp() AND handed_out_at IS NULL
         RETURNING id",
        id.uuid(),
        code_hash.as_slice(),
        challenge,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(|id| ProvenLogin(id.into())))
}

/// What a login ended with.
#[derive(Debug)]
pub enum Outcome {
    /// No session, and why.
    Refused(LoginFailure),
    /// The person is known, and where their browser goes on.
    Granted { return_to: Option<String> },
}

/// A login that came to its end.
#[derive(Debug)]
pub struct Ended {
    pub outcome: Outcome,
    /// Another login was started in its browser meanwhile.
    pub overtaken: bool,
}

/// What the login ended with; `None` while that is open.
pub async fn outcome(db: &PgPool, login: ProvenLogin) -> Result<Option<Ended>, StorageError> {
    let row = sqlx::query!(
        "SELECT status, failure, return_to, overtaken FROM logins WHERE id = $1",
        login.0.uuid()
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let failure = row.failure.map(|word| word.parse()).transpose();
    let status = row.status.parse().map_err(StorageError::corrupt)?;
    let outcome = match (status, failure.map_err(StorageError::corrupt)?) {
        (LoginStatus::Succeeded, _) => Some(Outcome::Granted {
            return_to: row.return_to,
        }),
        (LoginStatus::Failed, failure) => failure.map(Outcome::Refused),
        (LoginStatus::Started | LoginStatus::Checking, _) => None,
    };
    let overtaken = row.overtaken;
    Ok(outcome.map(|outcome| Ended { outcome, overtaken }))
}

/// Hands the login out, once, as a session with its first refresh token, and gives the person it proved. All of it is one
/// statement: a login waits for every round trip. `None`: it was handed out before, its time is over, or the person was
/// erased since; then nothing is written.
pub async fn hand_out(
    db: impl PgExecutor<'_>,
    login: ProvenLogin,
    session: NewSession<'_>,
) -> Result<Option<User>, StorageError> {
    let row = sqlx::query!(
        "WITH login AS (
           UPDATE logins l SET handed_out_at = clock_timestamp() FROM users u
            WHERE l.id = $1 AND l.status = 'succeeded' AND l.handed_out_at IS NULL AND l.expires_at > clock_timestamp()
              AND u.id = l.user_id AND u.erased_at IS NULL
           RETURNING u.id, u.first_name, u.last_name, u.kyc_status),
         session AS (
           INSERT INTO sessions (id, user_id, channel, expires_at, idle_expires_at, user_agent)
           SELECT $2, id, $3, clock_timestamp() + make_interval(secs => $4),
                  clock_timestamp() + make_interval(secs => least($5, $4::double precision)), $6
             FROM login
           RETURNING id),
         refresh_token AS (
           INSERT INTO refresh_tokens (token_hash, session_id) SELECT $7, id FROM session),
         audited AS (
           INSERT INTO audit_log (actor, user_id, action, object, detail, request_id)
           SELECT 'user', id, 'session.opened', $8, $9, $10 FROM login)
         SELECT id, first_name, last_name, kyc_status FROM login",
        login.0.uuid(),
        session.id.uuid(),
        session.channel.as_str(),
        seconds(session.life),
        seconds(session.idle),
        session.user_agent,
        session.refresh_hash.as_slice(),
        session.id.to_string(),
        json!({ "login": login.0.to_string(), "channel": session.channel.as_str() }),
        session.request_id,
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(User {
        id: row.id.into(),
        first_name: row.first_name,
        last_name: row.last_name,
        kyc_status: row.kyc_status.parse().map_err(StorageError::corrupt)?,
    }))
}

/// Whether the person whom the login proved was erased since.
pub async fn is_erased(db: &PgPool, login: ProvenLogin) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM logins l JOIN users u ON u.id = l.user_id WHERE l.id = $1 AND u.erased_at IS NOT NULL
           ) AS "erased!""#,
        login.0.uuid(),
    )
    .fetch_one(db)
    .await?)
}
