//! The shapes of the login answers.

use poem_openapi::{ApiResponse, Enum, Object, payload::Json, types::Example};

use crate::text::Text;

/// The language of BankID's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum UiLocale {
    /// Norwegian.
    No,
    /// English.
    En,
}

impl UiLocale {
    /// The word BankID knows it by.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::En => "en",
        }
    }
}

use crate::users::Person;

/// A redirect to BankID.
#[derive(ApiResponse)]
pub enum ToBankId {
    /// Go to BankID.
    #[oai(status = 303)]
    SeeOther(
        /// BankID's authorization endpoint with this login's parameters.
        #[oai(header = "Location")]
        String,
    ),
}

/// What a login ends with.
#[derive(ApiResponse)]
pub enum LoginAnswer {
    /// Signed in. The same session is set as a cookie.
    #[oai(status = 200)]
    SignedIn(Json<LoggedIn>),
    /// The check is still running: ask at `Location`.
    #[oai(status = 202)]
    StillChecking(
        /// Where to ask.
        #[oai(header = "Location")]
        String,
    ),
    /// In a browser: signed in, by cookie; go where the person wanted to go. Of an app's login: into the app.
    #[oai(status = 303)]
    GoOn(
        /// A path of this site; or the app's link with `login` and `login_code`, or with `login` and `error`.
        #[oai(header = "Location")]
        String,
    ),
}

/// A new session.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct LoggedIn {
    /// Who signed in.
    pub user: Person,
    /// The access token, for `Authorization: Bearer`.
    pub access_token: String,
    /// The app's refresh token; a browser has it as a cookie that no script can read.
    pub refresh_token: Option<String>,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds until the token ends.
    pub expires_in: i64,
}

impl Example for LoggedIn {
    fn example() -> Self {
        Self {
            user: Person::example(),
            refresh_token: Some("mJ3v0F5h2cYx8nQ1sT4uW7zA9bD6eG0iK2lO5pR8tVY".into()),
            access_token: "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".into(),
            token_type: "Bearer".into(),
            expires_in: 600,
        }
    }
}

/// A login that the app wants to start.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct NewAppLogin {
    /// base64url of the SHA-256 of a verifier that the app makes for this login and keeps (RFC 7636, S256).
    #[oai(validator(pattern = "^[A-Za-z0-9_-]{43}$"))]
    pub app_challenge: Text,
    /// The language of BankID's pages; without it, BankID's own choice.
    pub ui_locales: Option<UiLocale>,
}

/// A login that waits for its person.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct AppLogin {
    /// The login's id, `lgn_…`. It comes back in the app's link.
    pub id: String,
    /// BankID's page for this login, to be opened in the system's browser.
    pub authorization_url: String,
    /// Seconds until the login ends by itself.
    pub expires_in: i64,
}

/// The answer to an app's start.
#[derive(ApiResponse)]
pub enum AppLoginStarted {
    /// Started.
    #[oai(status = 201)]
    Started(
        Json<AppLogin>,
        /// Where its code is redeemed.
        #[oai(header = "Location")]
        String,
    ),
}

/// What proves that the app started this login.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct Redemption {
    /// `login_code` from the app's link.
    #[oai(validator(pattern = "^[A-Za-z0-9_-]{43}$"))]
    pub login_code: Text,
    /// The verifier whose challenge the login was started with: 43 to 128 letters, digits, `-`, `.`, `_` or `~`.
    #[oai(validator(pattern = "^[A-Za-z0-9._~-]{43,128}$"))]
    pub app_verifier: Text,
}

/// What an app's login ends with.
#[derive(ApiResponse)]
pub enum Redeemed {
    /// Signed in. The code is used up.
    #[oai(status = 200)]
    SignedIn(Json<LoggedIn>),
    /// The check is still running: send the same request again to `Location`. The code stays good until the login ends.
    #[oai(status = 202)]
    StillChecking(
        /// This operation.
        #[oai(header = "Location")]
        String,
    ),
}

impl Example for NewAppLogin {
    // The pair of RFC 7636, appendix B.
    fn example() -> Self {
        Self {
            app_challenge: Text::from("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned()),
            ui_locales: Some(UiLocale::No),
        }
    }
}

impl Example for AppLogin {
    fn example() -> Self {
        Self {
            id: "lgn_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            authorization_url: "https://auth.bankid.no/auth/realms/prod/protocol/openid-connect/auth?client_id=drop"
                .into(),
            expires_in: 900,
        }
    }
}

impl Example for Redemption {
    fn example() -> Self {
        Self {
            login_code: Text::from("mJ3v0F5h2cYx8nQ1sT4uW7zA9bD6eG0iK2lO5pR8tVY".to_owned()),
            app_verifier: Text::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned()),
        }
    }
}
