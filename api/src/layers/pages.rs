//! Where people come themselves, a browser is shown a page in place of a problem or of an empty 202.

use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response};
use poem_openapi::payload::Payload;
use serde_json::Value;

use super::request_id;
use crate::browser::{Language, error_page, prefers_page, waiting_page};
use crate::error::{Code, ProblemJson};

pub(super) struct WithPages<E>(E);

impl<E> WithPages<E> {
    pub(super) fn new(inner: E) -> Self {
        Self(inner)
    }
}

impl<E: Endpoint> Endpoint for WithPages<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let reader = (is_a_persons(&request) && prefers_page(&request)).then(|| Language::of(&request));
        let answer = self.0.call(request).await?.into_response();
        Ok(match reader {
            Some(language) => for_people(answer, language).await,
            None => answer,
        })
    }
}

/// The login's own addresses: a person follows links to them, and is sent there by BankID.
fn is_a_persons(request: &Request) -> bool {
    request.method() == Method::GET && request.uri().path().starts_with("/api/auth/bankid/")
}

async fn for_people(mut answer: Response, language: Language) -> Response {
    if answer.status() == StatusCode::ACCEPTED
        && let Some(place) = answer.header(header::LOCATION).map(str::to_owned)
    {
        return waiting_page(answer, language, &place, request_id::current());
    }
    if answer.content_type() != Some(ProblemJson::CONTENT_TYPE) {
        return answer;
    }
    let problem = answer.take_body().into_bytes().await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&problem).unwrap_or_default();
    let code = problem["code"].as_str().and_then(Code::of).unwrap_or(Code::Internal);
    error_page(answer, language, code, request_id::current())
}
