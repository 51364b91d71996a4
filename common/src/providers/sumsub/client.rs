use chrono::{DateTime, Utc};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{
    refusals::{clock_ahead, success},
    signature, wire,
};
use crate::{
    config::{SumsubAuth, SumsubConfig},
    providers::{
        Field, Operation, ProviderError, SharedObserver,
        http::{Call, GuardedClient, Limits, Reply, Trace, path_segment, sensitive},
    },
};

/// How far a review may be, in Sumsub's words.
const REVIEW_STATUSES: [&str; 8] = [
    "init",
    "pending",
    "prechecked",
    "queued",
    "completed",
    "onHold",
    "awaitingUser",
    "awaitingService",
];
/// What a review may decide; the contract has `RETRY`.
const REVIEW_ANSWERS: [&str; 3] = ["GREEN", "RED", "RETRY"];

/// The provider's REST interface, one attempt per call.
pub struct Sumsub {
    http: GuardedClient,
    config: SumsubConfig,
}

/// Who is to be verified.
pub struct NewApplicant<'a> {
    /// Our user id; never a national id.
    pub external_user_id: &'a str,
    /// Where the provider may write to.
    pub email: Option<&'a str>,
}

/// A person at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// Opaque, at most 64 characters.
    pub id: String,
    /// `init`, `pending`, …; open.
    pub review_status: Option<String>,
    /// True when the applicant existed before this call.
    pub adopted: bool,
}

/// How a verification stands. The words are the provider's and open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicantStatus {
    /// Which attempt this is.
    pub attempt_id: Option<String>,
    /// At which level; absent: the one that was asked for.
    pub level_name: Option<String>,
    /// `init`, `pending`, `completed`, ….
    pub review_status: Option<String>,
    /// When the review ended, as text.
    pub review_date: Option<String>,
    /// When the review began, as text.
    pub create_date: Option<String>,
    /// `GREEN`, `RED`, `RETRY`.
    pub review_answer: Option<String>,
    /// `FINAL`, `RETRY`.
    pub reject_type: Option<String>,
    /// Machine words for a rejection.
    pub reject_labels: Vec<String>,
    /// What the person may be told.
    pub moderation_comment: Option<String>,
}

/// Lets one user's app run the verification. Never cached, never shared.
#[derive(Debug)]
pub struct SdkToken(pub SecretString);

impl Sumsub {
    /// A client for the configured address.
    pub fn new(config: SumsubConfig, observer: SharedObserver) -> Result<Self, ProviderError> {
        let http = GuardedClient::new([config.base_url.as_str()], &Limits::default(), observer)?;
        Ok(Self { http, config })
    }

    /// Creates the applicant, or adopts the one that exists for this user. Safe to repeat.
    pub async fn create_applicant(
        &self,
        person: &NewApplicant<'_>,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<Applicant, ProviderError> {
        let signed = self.config.auth == SumsubAuth::Signed;
        let level = path_segment(&self.config.level)?;
        // The contract has the level in the body; the real interface reads it from the query.
        let path = if signed {
            format!("/resources/applicants?levelName={level}")
        } else {
            "/resources/applicants".to_owned()
        };
        let body = wire::CreateApplicant {
            external_user_id: person.external_user_id,
            email: person.email,
            level_name: (!signed).then_some(self.config.level.as_str()),
        };
        let call = self.post(Operation::ApplicantCreate, &path, &body, trace, now)?;
        let created = self
            .ask(call, now, |reply| match reply.status {
                // Somebody created it before us, most likely an earlier attempt of ours.
                409 => Ok(None),
                _ => self.read_applicant(reply, person.external_user_id, false).map(Some),
            })
            .await?;
        match created {
            Some(applicant) => Ok(applicant),
            None => self.adopt(person.external_user_id, trace, now).await,
        }
    }

    /// Reads how an applicant's verification stands.
    pub async fn applicant_status(
        &self,
        id: &str,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<ApplicantStatus, ProviderError> {
        let path = format!("/resources/applicants/{}/status", path_segment(id)?);
        let call = self.call(Operation::ApplicantStatus, Method::GET, &path, Vec::new(), trace, now)?;
        self.ask(call, now, |reply| {
            let status: wire::Status = success(reply)?.json()?;
            let result = status.review_result.unwrap_or_default();
            self.meet(Field::ReviewStatus, status.word.as_deref(), &REVIEW_STATUSES);
            self.meet(Field::ReviewAnswer, result.answer.as_deref(), &REVIEW_ANSWERS);
            Ok(ApplicantStatus {
                attempt_id: status.attempt_id,
                level_name: status.level_name,
                review_status: status.word,
                review_date: status.review_date,
                create_date: status.create_date,
                review_answer: result.answer,
                reject_type: result.reject_type,
                reject_labels: result.labels,
                moderation_comment: result.moderation_comment,
            })
        })
        .await
    }

    /// A token with which this user's app may run the verification for `ttl_seconds`.
    pub async fn sdk_token(
        &self,
        external_user_id: &str,
        ttl_seconds: u32,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<SdkToken, ProviderError> {
        let level_name = self.config.level.as_str();
        let body = wire::TokenRequest {
            user_id: external_user_id,
            level_name,
            ttl_in_secs: ttl_seconds,
        };
        let call = self.post(Operation::SdkToken, "/resources/accessTokens/sdk", &body, trace, now)?;
        self.ask(call, now, |reply| {
            let token: wire::Token = success(reply)?.json()?;
            let ours = token.user_id.is_none_or(|user| user == external_user_id);
            if !ours || token.token.is_empty() {
                return Err(ProviderError::Unreadable {
                    what: "the token is missing or another user's",
                });
            }
            Ok(SdkToken(token.token.into()))
        })
        .await
    }

    async fn adopt(
        &self,
        external_user_id: &str,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<Applicant, ProviderError> {
        let path = format!(
            "/resources/applicants/-;externalUserId={}/one",
            path_segment(external_user_id)?
        );
        let call = self.call(Operation::ApplicantRead, Method::GET, &path, Vec::new(), trace, now)?;
        self.ask(call, now, |reply| self.read_applicant(reply, external_user_id, true))
            .await
    }

    fn read_applicant(&self, reply: &Reply, external_user_id: &str, adopted: bool) -> Result<Applicant, ProviderError> {
        let applicant = applicant_of(reply, external_user_id, adopted)?;
        self.meet(
            Field::ReviewStatus,
            applicant.review_status.as_deref(),
            &REVIEW_STATUSES,
        );
        Ok(applicant)
    }

    /// Makes the call, which was signed at `now` where calls are signed. Who is refused for another time than Sumsub's is told
    /// so: neither token nor secret is wrong then.
    async fn ask<T>(
        &self,
        call: Call,
        now: DateTime<Utc>,
        read: impl FnOnce(&Reply) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let signed = self.config.auth == SumsubAuth::Signed;
        self.http
            .call(call, |reply| {
                read(&reply).map_err(|error| match clock_ahead(&reply, now) {
                    Some(ahead) if signed => ProviderError::Clock { ahead },
                    _ => error,
                })
            })
            .await
    }

    /// Counts a word that is not in the list; it decides nothing.
    fn meet(&self, field: Field, word: Option<&str>, known: &[&str]) {
        if let Some(word) = word
            && !known.contains(&word)
        {
            self.http.unknown(field, word);
        }
    }

    fn post(
        &self,
        operation: Operation,
        path: &str,
        body: &impl Serialize,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<Call, ProviderError> {
        // Serialised once: the same bytes are signed and sent.
        let body = serde_json::to_vec(body).expect("plain structs of strings serialise");
        self.call(operation, Method::POST, path, body, trace, now)
    }

    fn call(
        &self,
        operation: Operation,
        method: Method,
        path: &str,
        body: Vec<u8>,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<Call, ProviderError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let token = self.config.app_token.expose_secret();
        match (self.config.auth, &self.config.app_secret) {
            (SumsubAuth::Bearer, _) => {
                headers.insert("authorization", sensitive(&format!("Bearer {token}"))?);
            }
            (SumsubAuth::Signed, Some(secret)) => {
                let at = now.timestamp();
                let signature = signature::sign(secret, at, method.as_str(), path, &body);
                headers.insert(HeaderName::from_static("x-app-token"), sensitive(token)?);
                headers.insert(HeaderName::from_static("x-app-access-ts"), HeaderValue::from(at));
                headers.insert(HeaderName::from_static("x-app-access-sig"), sensitive(&signature)?);
            }
            // The configuration refuses this; an unsigned call would only be turned down.
            (SumsubAuth::Signed, None) => return Err(ProviderError::Blocked),
        }
        Ok(Call {
            operation,
            method,
            url: format!("{}{path}", self.config.base_url),
            headers,
            body,
            trace,
        })
    }
}

fn applicant_of(reply: &Reply, external_user_id: &str, adopted: bool) -> Result<Applicant, ProviderError> {
    let applicant: wire::Applicant = success(reply)?.json()?;
    // Taking another user's applicant would give one person the other's verification. An adopted
    // one must name its user; a created one may leave the name out.
    let ours = match applicant.external_user_id.as_deref() {
        Some(found) => found == external_user_id,
        None => !adopted,
    };
    if !ours || applicant.id.is_empty() || applicant.id.len() > 64 {
        return Err(ProviderError::Unreadable {
            what: "the applicant is not the one that was asked for",
        });
    }
    Ok(Applicant {
        id: applicant.id,
        review_status: applicant.review.and_then(|review| review.status),
        adopted,
    })
}
