//! A review's outcome, as an event and as the webhook that tells of it.

use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    applicants::{Applicant, sumsub_time},
    webhook::Digest,
};
use crate::{clock::iso_millis, encoding::hmac_hex};

/// How an event says when it happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeForm {
    /// `createdAt`, ISO with Z: the contract's.
    #[default]
    Iso,
    /// `createdAtMs`, `yyyy-MM-dd HH:mm:ss.SSS` in UTC: Sumsub's present one.
    Millis,
    /// `createdAt` with `+0000`: Sumsub's older one.
    Offset,
    /// No time at all.
    Absent,
}

/// What Sumsub found out, or what else happened to an applicant. The default is a green review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Review {
    /// The client's id for the person.
    pub external_user_id: String,
    /// The applicant, when it is not the person's own. Unknown to Sumsub: a made-up one.
    pub applicant_id: Option<String>,
    /// The event: `applicantReviewed`, `applicantPending`, `applicantOnHold`, …
    #[serde(rename = "type")]
    pub event_type: String,
    /// `GREEN`, `RED` or, by the contract, `RETRY`. Absent: no `reviewResult`.
    pub answer: Option<String>,
    /// Why it was rejected.
    pub reject_labels: Vec<String>,
    /// `FINAL` or `RETRY`.
    pub review_reject_type: Option<String>,
    /// What the person may be told.
    pub moderation_comment: Option<String>,
    /// The `reviewStatus`, when it is not the usual one of the event's type.
    pub review_status: Option<String>,
    /// Seconds from now to the event; negative is the past.
    pub created_at_offset: i64,
    /// How the time is written.
    pub time_form: TimeForm,
    /// The event's own id; made up when absent.
    pub correlation_id: Option<String>,
    /// The `sandboxMode` member.
    pub sandbox_mode: bool,
    /// Further members, or other values for the usual ones; null removes a member.
    pub overrides: serde_json::Map<String, Value>,
}

impl Default for Review {
    fn default() -> Self {
        Self {
            external_user_id: String::new(),
            applicant_id: None,
            event_type: "applicantReviewed".to_owned(),
            answer: Some("GREEN".to_owned()),
            reject_labels: Vec::new(),
            review_reject_type: None,
            moderation_comment: None,
            review_status: None,
            created_at_offset: 0,
            time_form: TimeForm::default(),
            correlation_id: None,
            sandbox_mode: false,
            overrides: serde_json::Map::new(),
        }
    }
}

impl Review {
    /// A completed review with `GREEN`, `RED` or `RETRY`.
    pub fn of(external_user_id: &str, answer: &str) -> Self {
        Self {
            external_user_id: external_user_id.to_owned(),
            answer: Some(answer.to_owned()),
            ..Self::default()
        }
    }

    /// An event that carries no result, for instance `applicantPending`.
    pub fn event(external_user_id: &str, event_type: &str) -> Self {
        let event_type = event_type.to_owned();
        Self {
            external_user_id: external_user_id.to_owned(),
            event_type,
            answer: None,
            ..Self::default()
        }
    }

    pub(super) fn at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + TimeDelta::seconds(self.created_at_offset)
    }

    pub(super) fn status(&self) -> Option<&str> {
        let usual = match self.event_type.as_str() {
            "applicantReviewed" | "applicantWorkflowCompleted" => Some("completed"),
            "applicantPending" => Some("pending"),
            "applicantPrechecked" => Some("queued"),
            "applicantOnHold" => Some("onHold"),
            "applicantReset" | "applicantCreated" => Some("init"),
            _ => None,
        };
        self.review_status.as_deref().or(usual)
    }

    pub(super) fn result(&self) -> Option<Value> {
        self.answer.as_ref().map(|answer| {
            json!({
                "reviewAnswer": answer,
                "rejectLabels": self.reject_labels,
                "reviewRejectType": self.review_reject_type,
                "moderationComment": self.moderation_comment,
            })
        })
    }

    /// The webhook's body.
    pub(super) fn body(&self, applicant: &Applicant, now: DateTime<Utc>) -> Value {
        let at = self.at(now);
        let mut body = json!({
            "type": self.event_type,
            "applicantId": applicant.id,
            "applicantType": "individual",
            "externalUserId": self.external_user_id,
            "inspectionId": applicant.inspection_id,
            "correlationId": self.correlation_id.clone().unwrap_or_else(|| Uuid::new_v4().simple().to_string()),
            "levelName": applicant.level,
            "sandboxMode": self.sandbox_mode,
            "clientId": "drop-sandbox",
        });
        let optional = [
            ("reviewStatus", self.status().map(Value::from)),
            ("reviewResult", self.result()),
        ];
        let time = match self.time_form {
            TimeForm::Iso => Some(("createdAt", Some(json!(iso_millis(at))))),
            TimeForm::Millis => Some((
                "createdAtMs",
                Some(json!(at.format("%Y-%m-%d %H:%M:%S%.3f").to_string())),
            )),
            TimeForm::Offset => Some(("createdAt", Some(json!(sumsub_time(at))))),
            TimeForm::Absent => None,
        };
        let members = body.as_object_mut().expect("it was made as an object");
        for (name, value) in optional.into_iter().chain(time) {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        }
        for (name, value) in &self.overrides {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        body
    }
}

/// The digest of a body and the value of `X-Payload-Digest-Alg`; `None` for an absent header.
pub(super) fn digest(secret: &str, body: &[u8], kind: Digest) -> (Option<String>, Option<&'static str>) {
    let of = |algorithm| hmac_hex(algorithm, secret.as_bytes(), &[body]);
    match kind {
        Digest::Right => (Some(of(hmac::HMAC_SHA256)), Some("HMAC_SHA256_HEX")),
        Digest::WithoutAlgorithm => (Some(of(hmac::HMAC_SHA256)), None),
        Digest::Sha512 => (Some(of(hmac::HMAC_SHA512)), Some("HMAC_SHA512_HEX")),
        Digest::Sha1 => (Some(of(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)), Some("HMAC_SHA1_HEX")),
        Digest::UpperCase => (Some(of(hmac::HMAC_SHA256).to_uppercase()), Some("HMAC_SHA256_HEX")),
        Digest::Wrong => (
            Some(hmac_hex(hmac::HMAC_SHA256, b"not the secret", &[body])),
            Some("HMAC_SHA256_HEX"),
        ),
        Digest::Missing => (None, Some("HMAC_SHA256_HEX")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_the_published_and_the_computed_check_value() {
        let (sha256, algorithm) = digest("test-webhook-secret", br#"{"type":"applicantPending"}"#, Digest::Right);
        assert_eq!(
            sha256.as_deref(),
            Some("bcea8440531c3ac18ef2ced9913beb8117ba048093acc1647b6325bcbecb5f66")
        );
        assert_eq!(algorithm, Some("HMAC_SHA256_HEX"));
        let (sha1, _) = digest("SoMe_SeCrEt_KeY", b"someText", Digest::Sha1);
        assert_eq!(sha1.as_deref(), Some("f6e92ffe371718694d46e28436f76589312df8db"));
    }
}
