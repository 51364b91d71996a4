//! Every error the API answers with: one code, one status, one shape (RFC 9457).

mod codes;
mod framework;

use drop_common::{queue::Admission, storage::StorageError};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, ToJSON, Type};
use poem_openapi::{ApiResponse, Object};

pub use codes::Code;
pub use framework::{framework_error, panic_answer};

use crate::layers::request_id;

/// An error, as a client reads it.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub struct Problem {
    /// Names the kind of problem; stable, not an address to fetch.
    #[oai(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status of this answer.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    pub status: u16,
    /// What happened, for a developer. Never a provider's text, an account number or a person.
    pub detail: String,
    /// What a program decides by; stable.
    pub code: String,
    /// The request's id, also in the header `X-Request-ID`: what support asks for.
    #[oai(rename = "request_id")]
    pub request_id: uuid::Uuid,
    /// The fields that are wrong; empty when the problem is not one of fields.
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(example)]
pub struct FieldError {
    /// The field's name as it was sent; a path with dots inside nested objects.
    pub field: String,
    /// What the field must be. Never the value that was sent.
    pub message: String,
}

impl FieldError {
    /// `field` is not what `message` asks for.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl Problem {
    /// The problem `code` stands for, with the id of the request being answered.
    pub fn of(code: Code) -> Self {
        Self {
            kind: format!("urn:drop:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail: code.detail().to_owned(),
            code: code.as_str().to_owned(),
            request_id: request_id::current(),
            errors: Vec::new(),
        }
    }
}

impl Example for Problem {
    fn example() -> Self {
        let code = Code::ValidationFailed;
        // A fixed id: the published document must not change by itself.
        let request_id = uuid::uuid!("019a8c5e-7d1f-7c3a-9b52-0f6d3e8a4c11");
        Self {
            request_id,
            errors: vec![FieldError::example()],
            ..Self::of(code)
        }
    }
}

impl Example for FieldError {
    fn example() -> Self {
        Self::new("instructedAmount.amount", "is not within the allowed bounds")
    }
}

/// [`Problem`] as `application/problem+json`; boxed, because it travels in every `Result` of an operation.
#[derive(Debug, Clone)]
pub struct ProblemJson(Box<Problem>);

impl From<Problem> for ProblemJson {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl Payload for ProblemJson {
    const CONTENT_TYPE: &'static str = "application/problem+json";

    fn schema_ref() -> MetaSchemaRef {
        Problem::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

impl IntoResponse for ProblemJson {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = self.0.to_json_string().with_status(status).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::CONTENT_TYPE));
        response
    }
}

impl poem_openapi::ApiResponse for ProblemJson {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType {
            content_type: Self::CONTENT_TYPE,
            schema: Self::schema_ref(),
        }];
        let response = MetaResponse {
            description: "A problem.",
            status: None,
            status_range: None,
            content,
            headers: Vec::new(),
        };
        MetaResponses {
            responses: vec![response],
        }
    }

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }
}

/// The error side of every operation. Statuses are decided here and by [`Code`], nowhere else.
#[derive(Debug, Clone, ApiResponse)]
pub enum ApiError {
    /// The request cannot be understood, or the login was ended (`bad_request`, `bankid_cancelled`, `invalid_state`,
    /// `invalid_callback`).
    #[oai(status = 400)]
    BadRequest(ProblemJson),
    /// There is no live session, or the signature is wrong (`unauthenticated`, `invalid_signature`).
    #[oai(status = 401)]
    Unauthorized(ProblemJson),
    /// The person may not do this (`underage`, `age_unverified`, `kyc_required`, `forbidden`).
    #[oai(status = 403)]
    Forbidden(ProblemJson),
    /// There is no such thing, or it belongs to somebody else (`not_found`).
    #[oai(status = 404)]
    NotFound(ProblemJson),
    /// Something else stands in the way (`possible_duplicate`, `conflict`).
    #[oai(status = 409)]
    Conflict(
        ProblemJson,
        /// Seconds after which what stands in the way is worth another look, at `Location`. It never says that the same order may
        /// be sent again then.
        #[oai(header = "Retry-After")]
        Option<u32>,
        /// What stands in the way.
        #[oai(header = "Location")]
        Option<String>,
    ),
    /// The body is too large (`payload_too_large`).
    #[oai(status = 413)]
    TooLarge(ProblemJson),
    /// The body's content type is not accepted (`unsupported_media_type`).
    #[oai(status = 415)]
    UnsupportedMediaType(ProblemJson),
    /// The request is understood and not acceptable (`validation_failed`, `limit_exceeded`, `idempotency_key_reused`).
    #[oai(status = 422)]
    Unprocessable(ProblemJson),
    /// Too many requests of this caller (`rate_limited`).
    #[oai(status = 429)]
    TooMany(
        ProblemJson,
        /// Seconds after which the next request is accepted.
        #[oai(header = "Retry-After")]
        Option<u32>,
    ),
    /// An error of ours (`internal_error`).
    #[oai(status = 500)]
    Internal(ProblemJson),
    /// A provider answered badly or is not being called (`token_exchange_failed`, `jwks_verification_failed`,
    /// `invalid_identity_claim`, `bankid_error`, `provider_error`, `circuit_open`).
    #[oai(status = 502)]
    Provider(
        ProblemJson,
        /// Seconds after which the provider is tried again.
        #[oai(header = "Retry-After")]
        Option<u32>,
        /// Where the work can be watched that goes on nevertheless.
        #[oai(header = "Location")]
        Option<String>,
    ),
    /// We cannot take this on now (`overloaded`, `unavailable`).
    #[oai(status = 503)]
    Unavailable(
        ProblemJson,
        /// Seconds after which another attempt makes sense.
        #[oai(header = "Retry-After")]
        Option<u32>,
    ),
}

impl ApiError {
    /// The answer `code` stands for.
    pub fn of(code: Code) -> Self {
        Self::from_problem(code, Problem::of(code), None, None)
    }

    /// The answer `code` stands for, with `Retry-After` in whole seconds where its status has that header.
    pub fn retry_after(code: Code, seconds: u32) -> Self {
        Self::from_problem(code, Problem::of(code), Some(seconds), None)
    }

    /// 429 `rate_limited`.
    pub fn rate_limited(seconds: u64) -> Self {
        Self::retry_after(Code::RateLimited, u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// 502 `circuit_open` for work that was accepted and goes on at `location`.
    pub fn circuit_open_at(location: String, seconds: u32) -> Self {
        let code = Code::CircuitOpen;
        Self::from_problem(code, Problem::of(code), Some(seconds), Some(location))
    }

    /// 502 `circuit_open` or 503 `overloaded` where work cannot be taken on at present: nothing was started.
    pub fn unless_admitted(admission: Admission) -> Result<(), Self> {
        match admission {
            Admission::Admitted => Ok(()),
            Admission::CircuitOpen { retry_after } => Err(Self::retry_after(Code::CircuitOpen, retry_after)),
            Admission::Overloaded { retry_after } => Err(Self::retry_after(Code::Overloaded, retry_after)),
        }
    }

    /// 409 `possible_duplicate` of the payment at `location`, which is worth another look after these seconds. A client that sent
    /// its order again by itself would pay a second time once the first payment is over.
    pub fn duplicate_of(location: String, seconds: u32) -> Self {
        let code = Code::PossibleDuplicate;
        Self::from_problem(code, Problem::of(code), Some(seconds), Some(location))
    }

    /// 422 `validation_failed` with the fields that are wrong.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let code = Code::ValidationFailed;
        Self::from_problem(
            code,
            Problem {
                errors,
                ..Problem::of(code)
            },
            None,
            None,
        )
    }

    /// 422 `validation_failed` for one field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::validation(vec![FieldError::new(field, message)])
    }

    fn from_problem(code: Code, problem: Problem, retry: Option<u32>, location: Option<String>) -> Self {
        let json = ProblemJson::from(problem);
        match code.status() {
            StatusCode::BAD_REQUEST => Self::BadRequest(json),
            StatusCode::UNAUTHORIZED => Self::Unauthorized(json),
            StatusCode::FORBIDDEN => Self::Forbidden(json),
            StatusCode::NOT_FOUND => Self::NotFound(json),
            StatusCode::CONFLICT => Self::Conflict(json, retry, location),
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge(json),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType(json),
            StatusCode::UNPROCESSABLE_ENTITY => Self::Unprocessable(json),
            StatusCode::TOO_MANY_REQUESTS => Self::TooMany(json, retry),
            StatusCode::BAD_GATEWAY => Self::Provider(json, retry, location),
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable(json, retry),
            // Only the framework answers 405 and 408, through `framework_error`.
            _ => Self::Internal(json),
        }
    }
}

impl From<StorageError> for ApiError {
    /// A database that does not answer, or that asks to be asked again, is 503; anything else is our mistake.
    fn from(error: StorageError) -> Self {
        // The error's own text names codes and constraints only.
        if error.is_transient() {
            tracing::error!(%error, "the database cannot serve this now");
            return Self::retry_after(Code::Unavailable, 1);
        }
        tracing::error!(%error, "the database refused what we asked");
        Self::of(Code::Internal)
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StorageError::from(error).into()
    }
}
