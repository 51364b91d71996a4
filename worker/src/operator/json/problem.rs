//! Errors as the public API has them (RFC 9457); what was sent is quoted in none.

use drop_common::storage::StorageError;
use poem::{
    IntoResponse, Response,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{ApiResponse, Object, error::ParseParamError, payload::Json};

use crate::operator::actions::Refusal;

/// The one way to sign in that is taken here.
const BEARER: &str = "Bearer";
const PROBLEM: &str = "application/problem+json";

/// An error, as a program reads it.
#[derive(Debug, Object)]
pub(super) struct Problem {
    /// Names the kind of problem; stable, not an address to fetch.
    #[oai(rename = "type")]
    kind: String,
    /// The kind of problem in a few words.
    title: String,
    /// The HTTP status of this answer.
    status: u16,
    /// What happened, for an operator.
    detail: String,
    /// What a program decides by; stable.
    code: String,
}

impl Problem {
    fn of(status: StatusCode, detail: impl Into<String>) -> Json<Box<Self>> {
        let code = match status {
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::CONFLICT => "conflict",
            StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
            StatusCode::UNPROCESSABLE_ENTITY => "validation_failed",
            StatusCode::TOO_MANY_REQUESTS => "rate_limited",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            status if status.is_client_error() => "bad_request",
            _ => "internal_error",
        };
        Json(Box::new(Self {
            kind: format!("urn:drop:problem:{code}"),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
        }))
    }
}

/// Why something is not shown or not done. Boxed, because it travels in every `Result` of an operation.
#[derive(Debug, ApiResponse)]
pub(super) enum Refused {
    /// The request cannot be read (`bad_request`).
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Box<Problem>>),
    /// There is no token, or it is nobody's (`unauthenticated`).
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthenticated(
        Json<Box<Problem>>,
        /// `Bearer`: the way to sign in that is taken here.
        #[oai(header = "WWW-Authenticate")]
        String,
    ),
    /// They may look, and change nothing, or a page from elsewhere asks (`forbidden`).
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Box<Problem>>),
    /// There is nothing of this id (`not_found`).
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Box<Problem>>),
    /// Things stand otherwise; nothing was changed (`conflict`).
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Box<Problem>>),
    /// The body is too large (`payload_too_large`).
    #[oai(status = 413, content_type = "application/problem+json")]
    TooLarge(Json<Box<Problem>>),
    /// The body is not sent as JSON (`unsupported_media_type`).
    #[oai(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Json<Box<Problem>>),
    /// The request is understood and not acceptable (`validation_failed`).
    #[oai(status = 422, content_type = "application/problem+json")]
    Unusable(Json<Box<Problem>>),
    /// Too many tokens from that address were nobody's (`rate_limited`).
    #[oai(status = 429, content_type = "application/problem+json")]
    TooMany(
        Json<Box<Problem>>,
        /// After how many seconds another may be tried.
        #[oai(header = "Retry-After")]
        u64,
    ),
    /// An error of ours; nothing was changed (`internal_error`).
    #[oai(status = 500, content_type = "application/problem+json")]
    Failed(Json<Box<Problem>>),
    /// Nothing was read from the database lately (`unavailable`).
    #[oai(status = 503, content_type = "application/problem+json")]
    NotRead(Json<Box<Problem>>),
}

impl Refused {
    pub(super) fn unauthenticated() -> Self {
        let problem = Problem::of(StatusCode::UNAUTHORIZED, "Send a token of yours as a bearer.");
        Self::Unauthenticated(problem, BEARER.to_owned())
    }

    pub(super) fn forbidden(why: &str) -> Self {
        Self::Forbidden(Problem::of(StatusCode::FORBIDDEN, why))
    }

    pub(super) fn not_found() -> Self {
        Self::NotFound(Problem::of(StatusCode::NOT_FOUND, "There is nothing of this id."))
    }

    pub(super) fn unusable(why: &str) -> Self {
        Self::Unusable(Problem::of(StatusCode::UNPROCESSABLE_ENTITY, why))
    }

    pub(super) fn too_many(seconds: u64) -> Self {
        let problem = Problem::of(StatusCode::TOO_MANY_REQUESTS, "Too many tokens were nobody's.");
        Self::TooMany(problem, seconds)
    }

    pub(super) fn not_read() -> Self {
        Self::NotRead(Problem::of(
            StatusCode::SERVICE_UNAVAILABLE,
            "Nothing was read from the database in the last minute.",
        ))
    }

    fn failed() -> Self {
        Self::Failed(Problem::of(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The worker's log says what failed. A change may have been done: look before you repeat it.",
        ))
    }
}

impl From<StorageError> for Refused {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "what an operator asked for could not be read");
        Self::failed()
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Refusal>() {
            Ok(refusal) => Self::Conflict(Problem::of(StatusCode::CONFLICT, refusal.to_string())),
            Err(error) => {
                tracing::error!("an action of an operator failed: {error:#}");
                Self::failed()
            }
        }
    }
}

/// Gives an error that no operation answered itself the same shape.
pub(super) async fn of_the_framework(error: poem::Error) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let status = error.status();
    let detail = match error.downcast_ref::<ParseParamError>() {
        Some(parameter) => format!(
            "The parameter {} is missing or not of the required form.",
            parameter.name
        ),
        None if status == StatusCode::NOT_FOUND => "There is nothing here.".to_owned(),
        None if status.is_client_error() => "The request is not what the document says.".to_owned(),
        None => {
            tracing::error!(status = status.as_u16(), "the framework failed");
            "The worker's log says what failed.".to_owned()
        }
    };
    let problem = Problem::of(status, detail);
    match status {
        StatusCode::BAD_REQUEST => Refused::BadRequest(problem).into_response(),
        StatusCode::PAYLOAD_TOO_LARGE => Refused::TooLarge(problem).into_response(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Refused::UnsupportedMediaType(problem).into_response(),
        // No operation's: the path has no such method, or there is no such path.
        status => {
            let mut response = problem.with_status(status).into_response();
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
            response
        }
    }
}

/// The answer to a panic. Its message stays out: it can quote anything.
pub(super) fn panicked() -> Response {
    Refused::failed().into_response()
}
