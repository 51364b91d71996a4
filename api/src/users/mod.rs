//! The person who is signed in.

use drop_common::storage::users::{self, User};
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};

use crate::{
    error::{ApiError, Code},
    health::Chapter,
    session::Session,
    state::State,
};

/// The operations.
pub struct UsersApi {
    state: State,
}

impl UsersApi {
    /// The operations over the shared state.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

/// A person with an account at Drop.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct Person {
    /// The user's id, `usr_…`.
    pub id: String,
    /// First name, as BankID gives it.
    pub first_name: String,
    /// Last name, as BankID gives it.
    pub last_name: String,
    /// `pending`, `approved` or `rejected`.
    pub kyc_status: String,
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            first_name: user.first_name,
            last_name: user.last_name,
            kyc_status: user.kyc_status.as_str().to_owned(),
        }
    }
}

impl Example for Person {
    fn example() -> Self {
        Self {
            id: "usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            first_name: "Anna".into(),
            last_name: "Nordmann".into(),
            kyc_status: "pending".into(),
        }
    }
}

#[OpenApi(tag = "Chapter::Auth")]
impl UsersApi {
    /// Tell who is signed in.
    ///
    /// The name is BankID's, and follows it at each login.
    #[oai(path = "/v1/me", method = "get", operation_id = "getMe")]
    async fn me(&self, session: Session) -> Result<Json<Person>, ApiError> {
        let user = users::find(&self.state.db, session.user.into()).await?;
        // Erased between the look at the session and this one.
        Ok(Json(user.ok_or(ApiError::of(Code::Unauthenticated))?.into()))
    }
}
