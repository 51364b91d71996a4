//! The shapes of the login answers.

use poem_openapi::{ApiResponse, Object, payload::Json, types::Example};

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
#[oai(rename_all = "camelCase", example)]
pub struct LoggedIn {
    /// Who signed in.
    pub user: LoginUser,
    /// The access token, for `Authorization: Bearer`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds until the token ends.
    pub expires_in: i64,
}

/// The person who signed in.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct LoginUser {
    /// The user's id, `usr_…`.
    pub id: String,
    /// First name, as BankID gives it.
    pub first_name: String,
    /// Last name, as BankID gives it.
    pub last_name: String,
    /// `pending`, `approved` or `rejected`.
    pub kyc_status: String,
}

impl Example for LoginUser {
    fn example() -> Self {
        Self {
            id: "usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            first_name: "Anna".into(),
            last_name: "Nordmann".into(),
            kyc_status: "pending".into(),
        }
    }
}

impl Example for LoggedIn {
    fn example() -> Self {
        Self {
            user: LoginUser::example(),
            access_token: "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".into(),
            token_type: "Bearer".into(),
            expires_in: 600,
        }
    }
}
