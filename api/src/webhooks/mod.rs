//! Calls from providers: Sumsub's webhook (contract 3.4).

mod digest;
mod intake;

use std::time::Instant;

use drop_common::{
    domain::{ids::WebhookEventId, kyc::event_word},
    keyring::sha256,
    metrics::{WEBHOOK_ACCEPT_DURATION, WEBHOOK_EVENTS},
    storage::webhooks::{self, NewEvent},
};
use poem::Request;
use poem_openapi::{ApiResponse, Object, OpenApi, param::Header, types::Example};
use serde_json::Value;

use crate::{
    error::{ApiError, Code},
    health::Chapter,
    layers::request_id,
    signed_json::SignedJson,
    state::State,
};

/// The longest member of an event that has a column of its own.
const LONGEST_WORD: usize = 255;

/// The operation.
pub struct WebhooksApi {
    state: State,
    refusals: digest::Refusals,
    intake: intake::Intake,
}

impl WebhooksApi {
    /// The operation over the shared state.
    pub fn new(state: State) -> Self {
        Self {
            state,
            refusals: digest::Refusals::default(),
            intake: intake::Intake::default(),
        }
    }
}

/// An event of Sumsub's. All members are Sumsub's; those not listed are kept and ignored.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct SumsubEvent {
    /// What happened, such as `applicantReviewed`.
    pub r#type: Option<String>,
    /// Sumsub's id of the person.
    pub applicant_id: Option<String>,
    /// Our id of the person.
    pub external_user_id: Option<String>,
    /// The event's own id.
    pub correlation_id: Option<String>,
    /// When it happened. Of two events about one person the later one holds, whichever arrives first.
    pub created_at: Option<String>,
    /// The same to the millisecond; where it is there, it is what counts.
    pub created_at_ms: Option<String>,
    /// The level that was checked: an event of another one than ours decides nothing.
    pub level_name: Option<String>,
    /// Whether it comes from Sumsub's test environment. What does, decides nothing in production.
    pub sandbox_mode: Option<bool>,
    /// Where the check stands at Sumsub, such as `completed`.
    pub review_status: Option<String>,
    /// What the check found; with `applicantReviewed`.
    pub review_result: Option<SumsubReview>,
}

/// What Sumsub's check of a person found.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct SumsubReview {
    /// `GREEN`: approved. `RED`: refused, or to be tried again, as `reviewRejectType` says.
    pub review_answer: Option<String>,
    /// `RETRY`: the person may try again. `FINAL`: refused for good.
    pub review_reject_type: Option<String>,
    /// Why it was not `GREEN`.
    pub reject_labels: Option<Vec<String>>,
    /// What Sumsub says to the person.
    pub moderation_comment: Option<String>,
}

impl Example for SumsubReview {
    fn example() -> Self {
        Self {
            review_answer: Some("RED".into()),
            review_reject_type: Some("RETRY".into()),
            reject_labels: Some(vec!["UNSATISFACTORY_PHOTOS".into()]),
            moderation_comment: Some("The photo of your document is blurry.".into()),
        }
    }
}

impl Example for SumsubEvent {
    fn example() -> Self {
        Self {
            r#type: Some("applicantReviewed".into()),
            applicant_id: Some("5f9e1b2c3d4e5f6g7h8i9j0k".into()),
            external_user_id: Some("usr_abc123def456gh78".into()),
            correlation_id: Some("req-a260b669-4f14-4bb5-a4c5-ac0218acb9a4".into()),
            created_at: Some("2026-02-23T10:00:00.000Z".into()),
            created_at_ms: Some("2026-02-23 10:00:00.123".into()),
            level_name: Some("basic-kyc-level".into()),
            sandbox_mode: Some(false),
            review_status: Some("completed".into()),
            review_result: Some(SumsubReview {
                review_answer: Some("GREEN".into()),
                review_reject_type: None,
                reject_labels: None,
                moderation_comment: None,
            }),
        }
    }
}

/// What Sumsub is told.
#[derive(ApiResponse)]
pub enum Accepted {
    /// The event is stored, now or before; it will be applied once.
    #[oai(status = 200)]
    Stored,
}

#[OpenApi(tag = "Chapter::Webhooks")]
impl WebhooksApi {
    /// Take an event from Sumsub.
    ///
    /// `X-Payload-Digest` is the HMAC of the raw body in hex; with a wrong, missing or repeated one nothing is stored. A
    /// signed body that is not a JSON object is `bad_request`: it is kept for an operator and never applied. A repeated event
    /// is 200.
    ///
    /// What an event does is decided afterwards, by its own time. Only 200 promises that it is stored; the same bytes are to be
    /// sent again after 408, 500 and 503, as Sumsub does eight times within 7 h 42 min. Sending again is safe.
    #[oai(path = "/v1/webhooks/sumsub", method = "post", operation_id = "receiveSumsubEvent")]
    async fn sumsub(
        &self,
        request: &Request,
        /// HMAC of the raw body, hex.
        #[oai(name = "X-Payload-Digest")]
        _digest: Header<Option<String>>,
        /// `HMAC_SHA256_HEX` (default) or `HMAC_SHA512_HEX`.
        #[oai(name = "X-Payload-Digest-Alg")]
        _algorithm: Header<Option<String>>,
        body: SignedJson<SumsubEvent>,
    ) -> Result<Accepted, ApiError> {
        let began = Instant::now();
        let body = digest::check(&self.state, request, body).inspect_err(|_| self.refusals.tell(&self.state))?;
        let accepted = self.accept(body.into_bytes()).await.inspect_err(|error| {
            // A body that cannot be read is counted where that is seen; all else is the database.
            if !matches!(error, ApiError::BadRequest(_)) {
                self.state.count_webhook_failure("storage");
            }
        })?;
        let took = began.elapsed().as_secs_f64();
        self.state.metrics.observe(&WEBHOOK_ACCEPT_DURATION, &[], took);
        Ok(accepted)
    }
}

impl WebhooksApi {
    /// Stores the event with its job.
    async fn accept(&self, raw: Vec<u8>) -> Result<Accepted, ApiError> {
        let event = match event_of(raw) {
            Ok(event) => event,
            Err(raw) => {
                webhooks::quarantine(&self.state.db, &hash_key(&raw), &raw).await?;
                self.state.count_webhook_failure("unreadable");
                return Err(ApiError::of(Code::BadRequest));
            }
        };
        let word = event_word(event.event_type.as_deref().unwrap_or_default());
        if !self.intake.store(&self.state, event).await? {
            self.state.metrics.count(&WEBHOOK_EVENTS, &[word, "duplicate"]);
        }
        Ok(Accepted::Stored)
    }
}

/// The event in a body, which is all that is held of it while it waits to be stored; or the body, where it is no JSON object.
fn event_of(raw: Vec<u8>) -> Result<NewEvent, Vec<u8>> {
    let Ok(Value::Object(event)) = serde_json::from_slice::<Value>(&raw) else {
        return Err(raw);
    };
    // What is a text and can be stored as one; all else is in the raw bytes.
    let text = |name: &str| {
        let text = event.get(name).and_then(Value::as_str);
        text.filter(|text| text.len() <= LONGEST_WORD && !text.contains('\0'))
    };
    Ok(NewEvent {
        id: WebhookEventId::new(),
        event_key: event_key(text, &raw),
        event_type: text("type").map(str::to_owned),
        applicant_id: text("applicantId").map(str::to_owned),
        external_user_id: text("externalUserId").map(str::to_owned),
        raw,
        request_id: request_id::current(),
    })
}

/// What makes an event the same event: its own ids and time, or else its very bytes.
fn event_key<'a>(text: impl Fn(&str) -> Option<&'a str>, raw: &[u8]) -> String {
    let at = text("createdAtMs").or_else(|| text("createdAt"));
    match (text("applicantId"), text("type"), text("correlationId"), at) {
        (Some(applicant), Some(kind), Some(correlation), Some(at)) => {
            // Length-prefixed, so that no two events share a key by moving a separator.
            let part = |text: &str| format!("{}:{text}", text.len());
            part(applicant) + &part(kind) + &part(correlation) + &part(at)
        }
        _ => hash_key(raw),
    }
}

fn hash_key(raw: &[u8]) -> String {
    use std::fmt::Write as _;
    sha256(raw).iter().fold("sha256:".to_owned(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    })
}
