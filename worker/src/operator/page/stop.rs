//! Why a page is not shown, or an action not done.

use drop_common::storage::StorageError;
use maud::html;
use poem::{
    IntoResponse, Response,
    http::{StatusCode, header},
};

use super::{
    layout,
    sign_in::{SIGN_IN, WANTED},
};
use crate::operator::actions::Refusal;

/// Why not.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody is signed in; the page that they asked for, to which they come back.
    SignIn(Option<String>),
    /// They may not, for this reason.
    Forbidden(&'static str),
    /// There is no such page, or nothing of this id.
    NotFound,
    /// The form is not filled in as it must be.
    Unusable(&'static str),
    /// Things stand otherwise; nothing was changed.
    Refused(String),
    /// We failed, perhaps after something was changed.
    Failed,
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        let (status, title, why) = match self {
            Self::SignIn(asked) => {
                let path = asked.map(|asked| format!("{SIGN_IN}?{}", layout::encoded(&[(WANTED, &asked)])));
                return Response::builder()
                    .status(StatusCode::SEE_OTHER)
                    .header(header::LOCATION, path.as_deref().unwrap_or(SIGN_IN))
                    .finish();
            }
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, "Not allowed", why.to_owned()),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not found", "There is nothing here.".to_owned()),
            Self::Unusable(why) => (StatusCode::UNPROCESSABLE_ENTITY, "Not done", why.to_owned()),
            Self::Refused(why) => (StatusCode::CONFLICT, "Not done", why),
            Self::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something failed",
                "The worker's log says what. If you changed something, it may have been done: look before you do it again."
                    .to_owned(),
            ),
        };
        let body = html! {
            h1 { (title) }
            p.notice.bad role="alert" { (why) }
            p { a href="/operator" { "To the overview" } }
        };
        layout::bare(status, title, &body)
    }
}

impl From<Stop> for poem::Error {
    fn from(stop: Stop) -> Self {
        Self::from_response(stop.into_response())
    }
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "a page of the operators could not be read");
        Self::Failed
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        StorageError::from(error).into()
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Refusal>() {
            Ok(refusal) => Self::Refused(refusal.to_string()),
            Err(error) => {
                tracing::error!("an action of an operator failed: {error:#}");
                Self::Failed
            }
        }
    }
}
