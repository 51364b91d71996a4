//! The provider's JSON. Unknown members are ignored: they appear without notice.

use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateApplicant<'a> {
    pub(super) external_user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) level_name: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Applicant {
    pub(super) id: String,
    pub(super) external_user_id: Option<String>,
    pub(super) review: Option<Review>,
}

#[derive(Deserialize)]
pub(super) struct Review {
    #[serde(rename = "reviewStatus")]
    pub(super) status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) attempt_id: Option<String>,
    pub(super) level_name: Option<String>,
    pub(super) create_date: Option<String>,
    #[serde(rename = "reviewStatus")]
    pub(super) word: Option<String>,
    pub(super) review_date: Option<String>,
    pub(super) review_result: Option<ReviewResult>,
}

#[derive(Default, Deserialize)]
pub(super) struct ReviewResult {
    #[serde(rename = "reviewAnswer")]
    pub(super) answer: Option<String>,
    #[serde(rename = "reviewRejectType")]
    pub(super) reject_type: Option<String>,
    #[serde(rename = "rejectLabels", default)]
    pub(super) labels: Vec<String>,
    #[serde(rename = "moderationComment")]
    pub(super) moderation_comment: Option<String>,
}

/// Beside these there is a description, which may quote what was asked.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Refusal {
    pub(super) correlation_id: Option<String>,
    pub(super) error_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenRequest<'a> {
    pub(super) user_id: &'a str,
    pub(super) level_name: &'a str,
    pub(super) ttl_in_secs: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    pub(super) token: String,
    pub(super) user_id: Option<String>,
}
