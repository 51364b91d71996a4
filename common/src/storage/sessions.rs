//! Sessions: what an access token's `sid` must name, and the refresh tokens that keep one going.
//!
//! A refresh token is used once; the session is the family of its tokens. Whoever presents a used one again, after the
//! few seconds in which tabs may do so, holds a copy, and the whole family ends (RFC 9700 section 4.14).

use chrono::{DateTime, Duration, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::{
    domain::{
        ids::{SessionId, UserId},
        session::Channel,
    },
    resilience::limits::{self, Limit, interval},
};

/// How long a used refresh token still gives the session's unused one: tabs that refresh at once, or an answer that got
/// lost.
pub const REFRESH_GRACE_SECONDS: f64 = 10.0;

/// What a new session is made of, but for its user: a [login](super::logins::hand_out) proves them.
pub struct NewSession<'a> {
    pub id: SessionId,
    pub channel: Channel,
    /// Its longest life, by the database's clock.
    pub life: Duration,
    /// How long it lives without a refresh.
    pub idle: Duration,
    /// SHA-256 of its first refresh token.
    pub refresh_hash: &'a [u8; 32],
    /// What the browser or app calls itself.
    pub user_agent: Option<&'a str>,
    /// The request that asked for it, for the audit log.
    pub request_id: Uuid,
}

/// Whether the session exists, is this user's, and was neither revoked nor outlived; an erased user has none. The
/// database's clock decides, as it did when the session was opened.
pub async fn is_live(db: &PgPool, id: SessionId, user: UserId) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM sessions s JOIN users u ON u.id = s.user_id
              WHERE s.id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL AND u.erased_at IS NULL
                AND least(s.expires_at, s.idle_expires_at) > clock_timestamp()
           ) AS "live!""#,
        id.uuid(),
        user.uuid(),
    )
    .fetch_one(db)
    .await?)
}

/// A request that changes something.
pub struct NewWrite<'a> {
    /// Whose access token it came with.
    pub session: SessionId,
    pub user: UserId,
    /// Of the user's row of [`limits`].
    pub key: &'a str,
    /// So many are allowed within the window.
    pub limit: u16,
    pub window: std::time::Duration,
}

/// Looks the session up as [`is_live`] does, and counts the request as [`limits::hit`] does: one statement. `None`: the session
/// is over, and nothing is counted.
pub async fn take_write(db: &PgPool, write: NewWrite<'_>) -> Result<Option<Limit>, StorageError> {
    let row = sqlx::query!(
        r#"WITH live AS MATERIALIZED (
             SELECT FROM sessions s JOIN users u ON u.id = s.user_id
              WHERE s.id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL AND u.erased_at IS NULL
                AND least(s.expires_at, s.idle_expires_at) > clock_timestamp()),
           counted AS (
             INSERT INTO rate_bucket AS r (key, hits) SELECT $3, ARRAY[clock_timestamp()] FROM live
             ON CONFLICT (key) DO UPDATE
                SET hits = (r.hits || clock_timestamp())[greatest(1, cardinality(r.hits) + 2 - $4::int):]
              WHERE cardinality(r.hits) < $4::int
                 OR r.hits[cardinality(r.hits) - $4::int + 1] <= clock_timestamp() - $5::interval
             RETURNING set_config('synchronous_commit', 'off', true))
           SELECT EXISTS (SELECT FROM live) AS "live!", EXISTS (SELECT FROM counted) AS "counted!""#,
        write.session.uuid(),
        write.user.uuid(),
        write.key,
        i32::from(write.limit),
        interval(write.window),
    )
    .fetch_one(db)
    .await?;
    match (row.live, row.counted) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(Limit::Allowed)),
        (true, false) => {
            let seconds = limits::wait(db, write.key, write.limit, write.window).await?;
            Ok(Some(Limit::RetryAfter(seconds)))
        }
    }
}

/// The live session that a refresh token belongs to, and whether the token may still be used.
pub struct Presented {
    pub session: SessionId,
    pub user: UserId,
    pub channel: Channel,
    pub token: TokenStanding,
}

/// How far a refresh token has come.
pub enum TokenStanding {
    /// Not used yet.
    Unused,
    /// Used a moment ago: the session's unused token, sealed. That is its successor, or, where another tab was quick to use
    /// that one too, the successor's.
    JustUsed(Vec<u8>),
    /// Used before: somebody has a copy.
    Reused,
}

/// Looks a refresh token up and locks its session, so that of two that come at once the second sees what the first did.
/// `None`: unknown, or its session is over. It came when its transaction began: how long it then waited for the lock says
/// nothing about who holds it.
pub async fn present(tx: &mut Tx, token_hash: &[u8; 32]) -> Result<Option<Presented>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT s.id, s.user_id, s.channel, t.used_at IS NULL AS "unused!",
                  coalesce(t.used_at > now() - make_interval(secs => $2), false) AS "in_grace!"
             FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
            WHERE t.token_hash = $1 AND s.revoked_at IS NULL AND u.erased_at IS NULL
              AND least(s.expires_at, s.idle_expires_at) > clock_timestamp()
              FOR NO KEY UPDATE OF s, t"#,
        token_hash.as_slice(),
        REFRESH_GRACE_SECONDS,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let token = if row.unused {
        TokenStanding::Unused
    } else if row.in_grace {
        let sealed = unused_sealed(tx, row.id.into()).await?;
        sealed.map_or(TokenStanding::Reused, TokenStanding::JustUsed)
    } else {
        TokenStanding::Reused
    };
    Ok(Some(Presented {
        session: row.id.into(),
        user: row.user_id.into(),
        channel: row.channel.parse().map_err(StorageError::corrupt)?,
        token,
    }))
}

/// The session's unused token, sealed. A statement of its own: the one that waited for the lock sees the other rows as they
/// were before it.
async fn unused_sealed(tx: &mut Tx, session: SessionId) -> Result<Option<Vec<u8>>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT successor_sealed AS "sealed!" FROM refresh_tokens
            WHERE session_id = $1 AND successor_sealed IS NOT NULL ORDER BY used_at DESC LIMIT 1"#,
        session.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// A refresh token's replacement.
pub struct Rotation<'a> {
    pub session: SessionId,
    /// The one that was presented.
    pub token_hash: &'a [u8; 32],
    /// The new one.
    pub successor_hash: &'a [u8; 32],
    /// The new one, sealed.
    pub successor_sealed: &'a [u8],
    /// How long the session now lives without another refresh.
    pub idle: Duration,
}

/// Uses the token up, puts its successor in its place, and moves the session's idle limit on. The token is the caller's
/// by [`present`]. That it was used tells that it arrived, so the sealed copy beside its predecessor goes: the unused token
/// is the only one that has a copy.
pub async fn rotate(tx: &mut Tx, rotation: Rotation<'_>) -> Result<(), StorageError> {
    sqlx::query!(
        "WITH arrived AS (
           UPDATE refresh_tokens SET successor_sealed = NULL
            WHERE session_id = $1 AND token_hash <> $2 AND successor_sealed IS NOT NULL),
         used AS (
           UPDATE refresh_tokens SET used_at = clock_timestamp(), successor_sealed = $4 WHERE token_hash = $2),
         moved AS (
           UPDATE sessions SET refreshed_at = clock_timestamp(),
                  idle_expires_at = least(expires_at, clock_timestamp() + make_interval(secs => $5))
            WHERE id = $1)
         INSERT INTO refresh_tokens (token_hash, session_id) VALUES ($3, $1)",
        rotation.session.uuid(),
        rotation.token_hash.as_slice(),
        rotation.successor_hash.as_slice(),
        rotation.successor_sealed,
        seconds(rotation.idle),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Why a session was ended before its time.
#[derive(Debug, Clone, Copy)]
pub enum Revocation {
    /// Its own logout.
    Logout,
    /// Its user ended it from another session.
    EndedByUser,
    /// A refresh token of it came twice.
    RefreshTokenReused,
    /// Somebody logged in with the browser that held it.
    Replaced,
}

impl Revocation {
    /// The word that row and audit have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::EndedByUser => "ended_by_user",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::Replaced => "replaced",
        }
    }
}

/// Ends one session of the user, with its whole family of refresh tokens. False where it is not theirs or over already.
pub async fn revoke(tx: &mut Tx, id: SessionId, user: UserId, because: Revocation) -> Result<bool, StorageError> {
    let revoked = sqlx::query!(
        "UPDATE sessions SET revoked_at = clock_timestamp(), revoked_because = $3
          WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL
            AND least(expires_at, idle_expires_at) > clock_timestamp()",
        id.uuid(),
        user.uuid(),
        because.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// Ends every session of the user; those that this ended.
pub async fn revoke_all(tx: &mut Tx, user: UserId, because: Revocation) -> Result<Vec<SessionId>, StorageError> {
    let revoked = sqlx::query_scalar!(
        "UPDATE sessions SET revoked_at = clock_timestamp(), revoked_because = $2
          WHERE user_id = $1 AND revoked_at IS NULL AND least(expires_at, idle_expires_at) > clock_timestamp()
         RETURNING id",
        user.uuid(),
        because.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(revoked.into_iter().map(SessionId::from).collect())
}

/// Ends every session of everybody: those that were ended after the moment that was restored are alive again, and it is not
/// known which they are. How many.
pub async fn end_all(tx: &mut Tx) -> Result<u64, StorageError> {
    // A long table, and nobody waits.
    sqlx::query!("SET LOCAL statement_timeout = '10min'")
        .execute(&mut **tx)
        .await?;
    let ended = sqlx::query!(
        "UPDATE sessions SET revoked_at = clock_timestamp()
          WHERE revoked_at IS NULL AND least(expires_at, idle_expires_at) > clock_timestamp()"
    )
    .execute(&mut **tx)
    .await?;
    Ok(ended.rows_affected())
}

/// A live session as its user sees it.
pub struct Listed {
    pub id: SessionId,
    pub channel: Channel,
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub refreshed_at: Option<DateTime<Utc>>,
    pub expires_at: DateTime<Utc>,
}

/// The user's live sessions, the newest first.
pub async fn list(db: &PgPool, user: UserId) -> Result<Vec<Listed>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT id, channel, user_agent, created_at, refreshed_at, least(expires_at, idle_expires_at) AS "expires_at!"
             FROM sessions
            WHERE user_id = $1 AND revoked_at IS NULL AND least(expires_at, idle_expires_at) > clock_timestamp()
            ORDER BY created_at DESC, id DESC"#,
        user.uuid(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Listed {
                id: row.id.into(),
                channel: row.channel.parse().map_err(StorageError::corrupt)?,
                user_agent: row.user_agent,
                created_at: row.created_at,
                refreshed_at: row.refreshed_at,
                expires_at: row.expires_at,
            })
        })
        .collect()
}

/// Deletes the sessions whose longest life is over, in short transactions, with their refresh tokens. Returns how many.
pub async fn prune(db: &PgPool) -> Result<u64, StorageError> {
    let mut pruned = 0;
    loop {
        let batch = sqlx::query!(
            "DELETE FROM sessions WHERE id = ANY (ARRAY(
               SELECT id FROM sessions WHERE expires_at < clock_timestamp()
                ORDER BY expires_at LIMIT 500 FOR UPDATE SKIP LOCKED))"
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

// Session lives are whole seconds, and few: far inside what a double holds exactly.
#[expect(clippy::cast_precision_loss, reason = "seconds of days are exact in a double")]
pub(super) fn seconds(life: Duration) -> f64 {
    life.num_seconds() as f64
}
