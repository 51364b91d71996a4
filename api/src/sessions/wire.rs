//! The shapes of the session answers.

use chrono::{DateTime, Utc};
use drop_common::{session_token::PublicKey, storage::sessions::Listed};
use poem_openapi::{ApiResponse, Object, payload::Json, types::Example};
use uuid::Uuid;

use crate::text::Text;

/// What keeps a session going.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct RefreshToken {
    /// The app's refresh token. A browser leaves it out: it has a cookie.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub refresh_token: Option<Text>,
}

impl Example for RefreshToken {
    fn example() -> Self {
        let token = "mJ3v0F5h2cYx8nQ1sT4uW7zA9bD6eG0iK2lO5pR8tVY";
        Self {
            refresh_token: Some(Text::from(token.to_owned())),
        }
    }
}

/// A session's tokens.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct Tokens {
    /// The access token, for `Authorization: Bearer`. A browser has it as a cookie, too.
    pub access_token: String,
    /// The refresh token, to be used once: the app's only. A browser has it as a cookie that no script can read.
    pub refresh_token: Option<String>,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds until the access token ends.
    pub expires_in: i64,
}

impl Example for Tokens {
    fn example() -> Self {
        Self {
            access_token: "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".into(),
            refresh_token: Some("mJ3v0F5h2cYx8nQ1sT4uW7zA9bD6eG0iK2lO5pR8tVY".into()),
            token_type: "Bearer".into(),
            expires_in: 600,
        }
    }
}

/// One of the person's live sessions.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct LiveSession {
    /// The session's id, `ses_…`.
    pub id: String,
    /// Whether it is the one that asks.
    pub current: bool,
    /// `web` or `mobile`.
    pub channel: String,
    /// What the browser or app called itself.
    pub user_agent: Option<String>,
    /// When the person logged in.
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// When it ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
}

impl LiveSession {
    /// The session as the one that has the id `asking` sees it.
    pub(super) fn of(listed: Listed, asking: Uuid) -> Self {
        Self {
            id: listed.id.to_string(),
            current: listed.id.uuid() == asking,
            channel: listed.channel.as_str().to_owned(),
            user_agent: listed.user_agent,
            created_at: listed.created_at,
            refreshed_at: listed.refreshed_at,
            expires_at: listed.expires_at,
        }
    }
}

impl Example for LiveSession {
    fn example() -> Self {
        let at = |text: &str| text.parse().expect("a time");
        Self {
            id: "ses_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            current: true,
            channel: "web".into(),
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
            created_at: at("2026-02-23T08:00:00Z"),
            refreshed_at: Some(at("2026-02-23T08:10:00Z")),
            expires_at: at("2026-02-23T09:10:00Z"),
        }
    }
}

/// The person's live sessions.
#[derive(Object)]
#[oai(example)]
pub struct SessionList {
    /// The newest first.
    pub sessions: Vec<LiveSession>,
}

impl Example for SessionList {
    fn example() -> Self {
        Self {
            sessions: vec![LiveSession::example()],
        }
    }
}

/// Nothing is left of it.
#[derive(ApiResponse)]
pub enum Ended {
    /// Over, at once and on every route.
    #[oai(status = 204)]
    Done,
}

/// A public key that access tokens are signed with (RFC 7517, RFC 8037).
#[derive(Object)]
#[oai(example)]
pub struct SigningKey {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// `sig`.
    #[oai(rename = "use")]
    pub key_use: String,
    /// `EdDSA`.
    pub alg: String,
    /// The key's id: its thumbprint (RFC 7638).
    pub kid: String,
    /// The key, base64url.
    pub x: String,
}

impl SigningKey {
    pub(super) fn of(key: &PublicKey) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            key_use: "sig".into(),
            alg: "EdDSA".into(),
            kid: key.id().to_owned(),
            x: key.x(),
        }
    }
}

impl Example for SigningKey {
    fn example() -> Self {
        // The key of RFC 8037, appendix A.
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            key_use: "sig".into(),
            alg: "EdDSA".into(),
            kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".into(),
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
        }
    }
}

/// The keys whose signatures are accepted (RFC 7517).
#[derive(Object)]
#[oai(example)]
pub struct SigningKeys {
    /// The one that signs is the first.
    pub keys: Vec<SigningKey>,
}

impl Example for SigningKeys {
    fn example() -> Self {
        Self {
            keys: vec![SigningKey::example()],
        }
    }
}

/// The keys, for some minutes.
#[derive(ApiResponse)]
pub enum Published {
    /// The keys.
    #[oai(status = 200)]
    Keys(
        Json<SigningKeys>,
        /// How long they may be kept.
        #[oai(header = "Cache-Control")]
        String,
    ),
}
