//! Who is asking: a bearer token, or the web's session cookie. Both carry the same short-lived token, and its row in
//! `sessions` is looked up on every request, so that a logout acts at once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use drop_common::{metrics::Metrics, session_token::SessionTokens, storage::sessions};
use poem::http::header;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use secrecy::SecretString;
use sqlx::PgPool;
use uuid::Uuid;

use crate::cookies::held;
use crate::error::{ApiError, Code};

/// The present, given as an argument so that tests can move it.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// What [`Session`] needs; given to the routes as request data.
#[derive(Clone)]
pub struct Sessions {
    /// Verifies access tokens.
    pub tokens: Arc<SessionTokens>,
    /// Where the rows are.
    pub pool: PgPool,
    /// Counts what a limit refuses.
    pub metrics: Arc<Metrics>,
    /// The present, for the tokens' own times.
    pub clock: Clock,
    /// Whether this process is reached by HTTPS; only the local profile is not.
    pub https: bool,
    /// The pages that may change things with the cookie, such as `https://drop.example`.
    pub origins: Arc<[String]>,
}

/// The person who asks, in a session that is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The user's id.
    pub user: Uuid,
    /// The session's id.
    pub session: Uuid,
}

const BEARER: &str = "Session";
const COOKIE: &str = "SessionCookie";
const HTTPS_COOKIE: &str = "__Host-drop_session";

/// The session cookie's name. The prefix makes browsers refuse it without HTTPS, so the local profile has none.
pub(crate) fn cookie_name(https: bool) -> &'static str {
    if https { HTTPS_COOKIE } else { "drop_session" }
}

/// The refresh cookie's name, likewise.
pub(crate) fn refresh_cookie_name(https: bool) -> &'static str {
    if https { "__Host-drop_refresh" } else { "drop_refresh" }
}

impl Sessions {
    pub(crate) fn of(request: &Request) -> &Self {
        request
            .data()
            .expect("the routes are given the sessions when they are built")
    }

    /// The refresh token in the browser's cookie, which only our own pages may use.
    pub(crate) fn refresh_cookie(&self, request: &Request) -> Result<Option<SecretString>, ApiError> {
        match held(request, refresh_cookie_name(self.https)) {
            Some(_) if !self.is_own_page(request) => Err(ApiError::of(Code::Forbidden)),
            token => Ok(token.map(SecretString::from)),
        }
    }

    /// The session that the browser had last, by its cookie; its access token may be over long since.
    pub(crate) fn last_of_browser(&self, request: &Request) -> Option<Session> {
        let token = held(request, cookie_name(self.https))?;
        let verified = self.tokens.verify_whenever(token).ok()?;
        Some(Session {
            user: verified.user(),
            session: verified.session(),
        })
    }

    async fn authenticate(&self, request: &Request) -> Result<Session, ApiError> {
        let session = self.named(request)?;
        if sessions::is_live(&self.pool, session.session.into(), session.user.into()).await? {
            Ok(session)
        } else {
            Err(ApiError::of(Code::Unauthenticated))
        }
    }

    /// The session that the request's token names. Whether it is live, only its row tells.
    pub(crate) fn named(&self, request: &Request) -> Result<Session, ApiError> {
        let token = if let Some(token) = bearer(request)? {
            token
        } else {
            let token = held(request, cookie_name(self.https)).ok_or(ApiError::of(Code::Unauthenticated))?;
            // A browser sends the cookie along with requests that foreign pages make.
            if !request.method().is_safe() && !self.is_own_page(request) {
                return Err(ApiError::of(Code::Forbidden));
            }
            token.to_owned()
        };
        let verified = self
            .tokens
            .verify(&token, (self.clock)())
            .map_err(|_| ApiError::of(Code::Unauthenticated))?;
        Ok(Session {
            user: verified.user(),
            session: verified.session(),
        })
    }

    fn is_own_page(&self, request: &Request) -> bool {
        match request.header(header::ORIGIN) {
            Some(origin) => self.origins.iter().any(|own| own == origin),
            None => request.header("sec-fetch-site") == Some("same-origin"),
        }
    }
}

impl Session {
    /// The session of a request that makes sense without one too; one that has ended is none.
    pub(crate) async fn if_live(request: &Request) -> Result<Option<Self>, ApiError> {
        match Sessions::of(request).authenticate(request).await {
            Ok(session) => Ok(Some(session)),
            Err(ApiError::Unauthorized(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// The token of the one `Authorization` header; `None` without the header, 401 for anything else in it.
fn bearer(request: &Request) -> Result<Option<String>, ApiError> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match (token, values.next()) {
        (Some((_, token)), None) => Ok(Some(token.trim().to_owned())),
        _ => Err(ApiError::of(Code::Unauthenticated)),
    }
}

// By hand: the framework's derive fixes the cookie's name, and answers 401 for reasons it does not tell.
impl<'a> ApiExtractor<'a> for Session {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = MetaSecurityScheme {
            ty: "http",
            description: Some(
                "The access token of a login, for apps: a JWT (RFC8725) that only this service reads, signed with EdDSA by a key of \
                 `/.well-known/jwks.json`.",
            ),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: Some("JWT"),
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(BEARER, scheme);
        let scheme = MetaSecurityScheme {
            ty: "apiKey",
            description: Some("The cookie of a login, for the web."),
            name: Some(HTTPS_COOKIE),
            key_in: Some("cookie"),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(COOKIE, scheme);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER, COOKIE]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Sessions::of(request).authenticate(request).await?)
    }
}
