//! The framework's own errors in our shape: unknown paths, wrong methods, unreadable bodies, panics.

use std::any::Any;

use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::error::{ParseParamError, ParsePathError, ParseRequestPayloadError};

use super::{Code, FieldError, Problem, ProblemJson};

/// The one header that operations require (400 by the IETF's draft of it).
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Gives an error that no operation answered itself the shape of a [`Problem`]. An answer of ours passes unchanged.
pub async fn framework_error(error: poem::Error) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    ProblemJson::from(problem(&error)).into_response()
}

/// The answer to a panic. Its message stays out: it can quote anything.
pub fn panic_answer(_panic: Box<dyn Any + Send + 'static>) -> Response {
    ProblemJson::from(Problem::of(Code::Internal)).into_response()
}

fn problem(error: &poem::Error) -> Problem {
    if let Some(error) = error.downcast_ref::<ParseRequestPayloadError>() {
        return unreadable_body(&error.reason);
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        let errors = vec![FieldError::new(error.name, "is missing or not of the required form")];
        // Without a usable key nobody can say which request this is: it is not understood, whatever its fields are.
        let code = match error.name {
            IDEMPOTENCY_KEY => Code::BadRequest,
            _ => Code::ValidationFailed,
        };
        return Problem {
            errors,
            ..Problem::of(code)
        };
    }
    if error.is::<ParsePathError>() || error.is::<NotFoundError>() {
        // An id that cannot exist looks like one that does not.
        return Problem::of(Code::NotFound);
    }
    if error.is::<MethodNotAllowedError>() {
        return Problem::of(Code::MethodNotAllowed);
    }
    if matches!(error.downcast_ref(), Some(ReadBodyError::PayloadTooLarge)) {
        return Problem::of(Code::PayloadTooLarge);
    }
    let code = code_of(error.status());
    if code == Code::Internal {
        tracing::error!(status = error.status().as_u16(), "the framework failed");
    }
    Problem::of(code)
}

fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT => Code::RequestTimeout,
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Code::ValidationFailed,
        StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
        status if status.is_client_error() => Code::BadRequest,
        _ => Code::Internal,
    }
}

/// JSON that does not parse is 400; JSON of another shape is 422. The parser's text can quote the value, so of it only
/// the field's name is passed on.
fn unreadable_body(reason: &str) -> Problem {
    if let Some(field) = failed_field(reason) {
        let errors = vec![FieldError::new(field, "is not within the allowed bounds")];
        return Problem {
            errors,
            ..Problem::of(Code::ValidationFailed)
        };
    }
    let syntax = reason.contains(" at line ") && reason.contains(" column ");
    Problem::of(if syntax {
        Code::BadRequest
    } else {
        Code::ValidationFailed
    })
}

/// The name in "field `name` verification failed", which the framework writes for a violated bound.
fn failed_field(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once("field `")?;
    let (field, rest) = rest.split_once('`')?;
    let known = field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (known && rest.starts_with(" verification failed")).then_some(field)
}
