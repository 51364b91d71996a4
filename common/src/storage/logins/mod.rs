//! Login attempts at BankID. A state is used once, its code is taken once, its outcome is handed out once.

mod outcome;
mod story;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use uuid::Uuid;

pub use self::outcome::{
    Ended, Outcome, ProvenLogin, give_login_code, hand_out, is_erased, outcome, proven_by_app, proven_by_browser,
};
pub use self::story::{Standing, standing_of, story};
use super::{StorageError, Tx};
use crate::domain::{
    ids::{LoginId, UserId},
    login::LoginFailure,
    session::Channel,
};
use crate::keyring::Keyring;
use crate::queue::Lease;

/// BankID's own page lives 10 minutes; ours a little longer, for the way there and back.
pub const LIFE_MINUTES: i32 = 15;

/// What the start of a login stores.
pub struct NewLogin<'a> {
    pub id: LoginId,
    pub state_hash: &'a [u8; 32],
    pub nonce: &'a SecretString,
    pub verifier: &'a SecretString,
    pub holder: Holder<'a>,
}

/// Who starts a login, and what they will prove it with.
pub enum Holder<'a> {
    /// A browser: it holds two cookies, the state's and the binding one.
    Browser {
        binding_hash: &'a [u8; 32],
        return_to: Option<&'a str>,
        /// The states it holds of logins that were started before; its cookies are the new login's from now on.
        held_state_hashes: &'a [Vec<u8>],
    },
    /// The app: it holds the verifier of this S256 challenge.
    App { challenge: &'a str },
}

/// Stores a login.
pub async fn start(tx: &mut Tx, keys: &Keyring, login: NewLogin<'_>) -> Result<(), StorageError> {
    let row = login.id.uuid();
    let (channel, binding, return_to, challenge) = match login.holder {
        Holder::Browser {
            binding_hash,
            return_to,
            held_state_hashes,
        } => {
            if !held_state_hashes.is_empty() {
                overtake(tx, held_state_hashes).await?;
            }
            (Channel::Web, Some(binding_hash.as_slice()), return_to, None)
        }
        Holder::App { challenge } => (Channel::Mobile, None, None, Some(challenge)),
    };
    sqlx::query!(
        "INSERT INTO logins (id, state_hash, nonce_sealed, verifier_sealed, channel, binding_hash, return_to,
                             app_challenge, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp() + make_interval(mins => $9))",
        row,
        login.state_hash.as_slice(),
        keys.seal("logins.nonce_sealed", row, login.nonce.expose_secret().as_bytes()),
        keys.seal("logins.verifier_sealed", row, login.verifier.expose_secret().as_bytes()),
        channel.as_str(),
        binding,
        return_to,
        challenge,
        LIFE_MINUTES,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn overtake(tx: &mut Tx, state_hashes: &[Vec<u8>]) -> Result<(), StorageError> {
    sqlx::query!(
        "UPDATE logins SET overtaken = true WHERE state_hash = ANY ($1) AND channel = 'web'",
        state_hashes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The binding cookie of whoever comes back.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// SHA-256 of the cookie that is shown.
    pub shown: Option<[u8; 32]>,
    /// Whether a browser must show one. A wrong one is refused either way.
    pub required: bool,
}

/// A login whose state was just used up.
pub enum Consumed {
    /// By the browser that started it.
    Browser(ProvenLogin),
    /// The app's, by whatever browser the person signed in with: it proves nothing.
    App(LoginId),
}

impl Consumed {
    pub fn id(&self) -> LoginId {
        match self {
            Self::Browser(login) => login.id(),
            Self::App(id) => *id,
        }
    }
}

/// What a callback brings.
pub struct Returning<'a> {
    /// SHA-256 of its state.
    pub state_hash: &'a [u8; 32],
    /// Whether the browser's cookie holds that state.
    pub cookie_holds_state: bool,
    pub binding: Binding,
    /// The authorization code, unless the login is refused without it; it is kept sealed where the job takes it from.
    pub code: Option<&'a SecretString>,
}

/// Uses the state up, in one statement: of any number of callbacks one gets the row. A browser's login also asks for both
/// of its cookies there, so that somebody else's callback leaves it to be finished.
pub async fn consume(tx: &mut Tx, keys: &Keyring, returning: Returning<'_>) -> Result<Option<Consumed>, StorageError> {
    let state = returning.state_hash;
    let seal = |code: &SecretString| keys.seal("logins.code_sealed", of_state(state), code.expose_secret().as_bytes());
    let row = sqlx::query!(
        "UPDATE logins SET status = 'checking', consumed_at = clock_timestamp(), code_sealed = $5
          WHERE state_hash = $1 AND status = 'started' AND expires_at > clock_timestamp()
            AND (channel = 'mobile' OR $2::boolean
                 AND (binding_hash IS NULL OR binding_hash = $3 OR $3::bytea IS NULL AND NOT $4::boolean))
         RETURNING id, channel",
        state.as_slice(),
        returning.cookie_holds_state,
        returning.binding.shown.as_ref().map(<[u8; 32]>::as_slice),
        returning.binding.required,
        returning.code.map(seal),
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let id = row.id.into();
    Ok(Some(match row.channel.parse().map_err(StorageError::corrupt)? {
        Channel::Web => Consumed::Browser(ProvenLogin::new(id)),
        Channel::Mobile => Consumed::App(id),
    }))
}

/// What the code is sealed to: the callback knows its login by the state alone until the statement that also keeps the code.
fn of_state(state_hash: &[u8; 32]) -> Uuid {
    Uuid::from_u128(u128::from_be_bytes(std::array::from_fn(|at| state_hash[at])))
}

/// What the token exchange and the token checks need.
pub struct Secrets {
    pub code: SecretString,
    pub nonce: SecretString,
    pub verifier: SecretString,
}

/// What became of taking them.
pub enum Taken {
    /// They are taken, and erased.
    Secrets(Secrets),
    /// They were taken before, or the login has ended.
    Gone,
    /// The job is not the caller's any more; nothing was taken.
    LeaseLost,
}

/// Takes the secrets out and erases them: BankID accepts the code once, so a second attempt could only fail, and a
/// stored code is a way into someone's account. One statement, fenced by the job's row as [`Lease::begin`] does it: a login
/// waits for every round trip.
///
/// [`Lease::begin`]: crate::queue::Lease::begin
pub async fn take_secrets(db: &PgPool, keys: &Keyring, id: LoginId, lease: &Lease) -> Result<Taken, StorageError> {
    let row = sqlx::query!(
        r#"WITH fenced AS MATERIALIZED (
           SELECT FROM jobs
            WHERE id = $2 AND attempt = $3 AND state = 'running' AND lease_until > clock_timestamp() FOR NO KEY UPDATE),
         held AS MATERIALIZED (
           SELECT id, state_hash, code_sealed, nonce_sealed, verifier_sealed FROM logins
            WHERE id = $1 AND status = 'checking' AND code_sealed IS NOT NULL AND EXISTS (SELECT FROM fenced)
              FOR NO KEY UPDATE),
         taken AS (
           UPDATE logins l SET code_sealed = NULL, nonce_sealed = NULL, verifier_sealed = NULL FROM held
            WHERE l.id = held.id
           RETURNING held.state_hash, held.code_sealed, held.nonce_sealed, held.verifier_sealed)
         SELECT EXISTS (SELECT FROM fenced) AS "fenced!", state_hash AS "state_hash?", code_sealed AS "code_sealed?",
                nonce_sealed AS "nonce_sealed?", verifier_sealed AS "verifier_sealed?"
           FROM (SELECT) AS always LEFT JOIN taken ON true"#,
        id.uuid(),
        lease.job(),
        lease.attempt(),
    )
    .fetch_one(db)
    .await?;
    if !row.fenced {
        return Ok(Taken::LeaseLost);
    }
    let Some(state) = row.state_hash else {
        return Ok(Taken::Gone);
    };
    let state: [u8; 32] = state.as_slice().try_into().map_err(StorageError::corrupt)?;
    let open = |column: &str, sealed_to: Uuid, sealed: Option<Vec<u8>>| {
        keys.open_text(column, sealed_to, &sealed.unwrap_or_default())
            .map_err(StorageError::corrupt)
    };
    Ok(Taken::Secrets(Secrets {
        code: open("logins.code_sealed", of_state(&state), row.code_sealed)?,
        nonce: open("logins.nonce_sealed", id.uuid(), row.nonce_sealed)?,
        verifier: open("logins.verifier_sealed", id.uuid(), row.verifier_sealed)?,
    }))
}

/// The person is known. How long after its callback that was; `None` where the login had ended before.
pub async fn succeed(tx: &mut Tx, id: LoginId, user: UserId) -> Result<Option<Duration>, StorageError> {
    let seconds = sqlx::query_scalar!(
        r#"UPDATE logins SET status = 'succeeded', user_id = $2, finished_at = clock_timestamp(), bankid_unreachable = false
            WHERE id = $1 AND status = 'checking'
           RETURNING extract(epoch FROM finished_at - consumed_at)::float8 AS "took!""#,
        id.uuid(),
        user.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(seconds.map(duration))
}

/// The login ends without a session; what is left of its secrets goes with it. `bankid_unreachable` is `None` where BankID
/// was not asked. How long after its callback that was; `None` where it had ended before.
pub async fn fail(
    tx: &mut Tx,
    id: LoginId,
    failure: LoginFailure,
    bankid_unreachable: Option<bool>,
) -> Result<Option<Duration>, StorageError> {
    let seconds = sqlx::query_scalar!(
        r#"UPDATE logins SET status = 'failed', failure = $2, finished_at = clock_timestamp(), bankid_unreachable = $3,
                  code_sealed = NULL, nonce_sealed = NULL, verifier_sealed = NULL
            WHERE id = $1 AND status = 'checking'
           RETURNING extract(epoch FROM finished_at - consumed_at)::float8 AS "took!""#,
        id.uuid(),
        failure.code(),
        bankid_unreachable,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(seconds.map(duration))
}

/// A clock that was set back in between gives a time of none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
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
