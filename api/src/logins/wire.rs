//! The shapes of the login answers.

use poem_openapi::{ApiResponse, Object, payload::Json, types::Example};

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
    /// Signed in, by cookie: go where the person wanted to go.
    #[oai(status = 303)]
    GoOn(
        /// A path of this site.
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
