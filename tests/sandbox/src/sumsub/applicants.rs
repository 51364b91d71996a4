//! Applicants: made, found, looked at; and the token for Sumsub's SDK.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Sumsub, access::refused};
use crate::{
    call::{Call, Reply, single},
    journal::Effect,
    locked,
};

/// A person whose identity is being verified.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applicant {
    /// 24 hexadecimal characters.
    pub id: String,
    /// The client's id for this person.
    pub external_user_id: String,
    /// The KYC level.
    pub level: String,
    /// The e-mail address, when one was given.
    pub email: Option<String>,
    /// The inspection's id.
    pub inspection_id: String,
    /// `init`, `pending`, `queued`, `onHold`, `completed`.
    pub review_status: String,
    /// The result of a completed review.
    pub review_result: Option<Value>,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When the last review ended.
    pub reviewed: Option<DateTime<Utc>>,
    /// How many reviews have begun.
    pub attempts: u32,
}

impl Applicant {
    pub(super) fn new(external_user_id: &str, level: &str, email: Option<&str>, now: DateTime<Utc>) -> Self {
        let id = || Uuid::new_v4().simple().to_string()[..24].to_owned();
        Self {
            id: id(),
            external_user_id: external_user_id.to_owned(),
            level: level.to_owned(),
            email: email.map(str::to_owned),
            inspection_id: id(),
            review_status: "init".to_owned(),
            review_result: None,
            created: now,
            reviewed: None,
            attempts: 1,
        }
    }

    fn described(&self) -> Value {
        let mut applicant = json!({
            "id": self.id,
            "createdAt": sumsub_time(self.created),
            "clientId": "drop-sandbox",
            "inspectionId": self.inspection_id,
            "externalUserId": self.external_user_id,
            "type": "individual",
            "review": { "reviewStatus": self.review_status, "levelName": self.level, "attemptCnt": self.attempts - 1 },
        });
        if let Some(email) = &self.email {
            applicant["email"] = json!(email);
        }
        if let Some(result) = &self.review_result {
            applicant["review"]["reviewResult"] = result.clone();
        }
        applicant
    }

    fn status(&self) -> Value {
        let mut status = json!({
            "reviewId": format!("rev-{}", &self.inspection_id[..8]),
            "attemptId": format!("att-{}-{}", &self.inspection_id[..8], self.attempts),
            "attemptCnt": self.attempts - 1,
            "levelName": self.level,
            "reviewStatus": self.review_status,
            "createDate": sumsub_time(self.created),
        });
        // A review that begins anew has no date yet.
        if let Some(reviewed) = self.reviewed.filter(|_| self.review_status != "init") {
            status["reviewDate"] = json!(sumsub_time(reviewed));
        }
        if let Some(result) = &self.review_result {
            status["reviewResult"] = result.clone();
        }
        status
    }
}

/// `2026-02-23 10:00:00+0000`, the form of Sumsub's own answers.
pub(super) fn sumsub_time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%z").to_string()
}

pub(super) fn create(sumsub: &Sumsub, call: &Call) -> Reply {
    let Some(body) = call.json().filter(Value::is_object) else {
        return refused(400, "The body is not a JSON object");
    };
    let Some(user) = body["externalUserId"].as_str().filter(|id| !id.is_empty()) else {
        return refused(400, "externalUserId is missing");
    };
    let query = call.query_pairs();
    let level = single(&query, "levelName")
        .or(body["levelName"].as_str())
        .unwrap_or_default();
    if level != sumsub.shared.config.sumsub_level {
        return refused(400, "The level does not exist");
    }
    let mut state = locked(&sumsub.state);
    if let Some(known) = state
        .applicants
        .iter()
        .find(|applicant| applicant.external_user_id == user)
    {
        return refused(
            409,
            &format!("Applicant with external user id '{user}' already exists: {}", known.id),
        );
    }
    let applicant = Applicant::new(user, level, body["email"].as_str(), sumsub.shared.clock.now());
    let effect = Effect::new(
        "applicant_created",
        &applicant.id,
        call.header("x-request-id").unwrap_or_default(),
    );
    let reply = Reply::json(201, &applicant.described());
    state.applicants.push(applicant);
    reply.effect(effect)
}

/// `GET /resources/applicants/-;externalUserId={id}/one`, also by the applicant's own id.
pub(super) fn get(sumsub: &Sumsub, call: &Call) -> Reply {
    let key = call.segment(2);
    let found = match key.strip_prefix("-;externalUserId=") {
        Some(user) => sumsub.applicant_of(user),
        None => sumsub.applicant(&key),
    };
    found.map_or_else(
        || refused(404, "Applicant not found"),
        |applicant| Reply::json(200, &applicant.described()),
    )
}

pub(super) fn status(sumsub: &Sumsub, call: &Call) -> Reply {
    let found = sumsub.applicant(&call.segment(2));
    found.map_or_else(
        || refused(404, "Applicant not found"),
        |applicant| Reply::json(200, &applicant.status()),
    )
}

/// Both forms: a JSON body, or query parameters and an empty body.
pub(super) fn sdk_token(sumsub: &Sumsub, call: &Call) -> Reply {
    let query = call.query_pairs();
    let body = call.json().unwrap_or_default();
    let given = |name: &str| {
        single(&query, name)
            .or(body[name].as_str())
            .filter(|text| !text.is_empty())
    };
    let Some(user) = given("userId") else {
        return refused(400, "userId is missing");
    };
    if given("levelName") != Some(&sumsub.shared.config.sumsub_level) {
        return refused(400, "The level does not exist");
    }
    let token = format!("_act-sbx-{}", Uuid::new_v4());
    Reply::json(200, &json!({ "token": token, "userId": user })).effect(Effect::new("sdk_token_issued", user, ""))
}
