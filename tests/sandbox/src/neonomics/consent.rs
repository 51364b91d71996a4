//! Account-information consents: asked for, looked at, ended.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Neonomics, State,
    access::{redirects, request_id},
    refusal::{format_error, refused, resource_unknown},
};
use crate::{
    call::{Call, Reply},
    journal::Effect,
    locked,
};

/// A consent as the bank knows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Consent {
    /// Its id.
    pub id: String,
    /// `received`, `valid`, `rejected`, `expired`, `revokedByPsu`, `terminatedByTpp`.
    pub status: String,
    /// The last day it is good for.
    pub valid_until: NaiveDate,
    /// Whether it serves more than one read.
    pub recurring: bool,
    /// Reads a day that were asked for.
    pub frequency_per_day: u64,
    /// The access that was asked for.
    pub access: Value,
    /// Where the bank sends the person after approval.
    pub redirect: String,
    /// Where the bank sends the person after a refusal.
    pub nok_redirect: String,
}

impl Consent {
    /// The status at a moment: a valid consent ends with its last day.
    pub(super) fn status_at(&self, now: DateTime<Utc>) -> &str {
        if self.status == "valid" && now.date_naive() > self.valid_until {
            "expired"
        } else {
            &self.status
        }
    }
}

pub(super) fn create(neonomics: &Neonomics, call: &Call) -> Reply {
    let mut state = locked(&neonomics.state);
    let now = neonomics.shared.clock.now();
    let asked = request_id(neonomics, &state, call).and_then(|request_id| {
        let (redirect, nok_redirect) = redirects(&state, call)?;
        let latest = now.date_naive() + TimeDelta::days(state.settings.consent_days);
        Ok((request_id, parse(call, now, latest, redirect, nok_redirect)?))
    });
    let (request_id, consent) = match asked {
        Ok(asked) => asked,
        Err(reply) => return reply,
    };
    let links = state.settings.links.clone().unwrap_or_else(|| {
        json!({
            "scaRedirect": { "href": format!("{}/bank/sca/consents/{}", neonomics.shared.url, consent.id) },
            "self": { "href": format!("/v1/consents/{}", consent.id) },
            "status": { "href": format!("/v1/consents/{}/status", consent.id) },
        })
    });
    let body = json!({ "consentId": consent.id, "consentStatus": consent.status, "_links": links });
    let effect = Effect::new("consent_created", &consent.id, &request_id);
    state.consents.insert(consent.id.clone(), consent);
    Reply::json(201, &body)
        .header("aspsp-sca-approach", "REDIRECT")
        .header("x-request-id", &request_id)
        .effect(effect)
}

fn parse(
    call: &Call,
    now: DateTime<Utc>,
    latest: NaiveDate,
    redirect: String,
    nok_redirect: String,
) -> Result<Consent, Reply> {
    let body = call.json().ok_or_else(|| format_error("the body is not JSON"))?;
    let access = body
        .get("access")
        .filter(|access| access.as_object().is_some_and(|members| !members.is_empty()));
    let access = access
        .ok_or_else(|| format_error("access is missing or empty"))?
        .clone();
    let recurring = body["recurringIndicator"]
        .as_bool()
        .ok_or_else(|| format_error("recurringIndicator must be a boolean"))?;
    let until = body["validUntil"]
        .as_str()
        .and_then(|text| text.parse::<NaiveDate>().ok());
    let until = until.filter(|until| *until >= now.date_naive());
    let until = until.ok_or_else(|| format_error("validUntil must be a date that is not past"))?;
    let frequency = body["frequencyPerDay"]
        .as_u64()
        .filter(|times| *times >= 1 && (recurring || *times == 1));
    let frequency_per_day =
        frequency.ok_or_else(|| format_error("frequencyPerDay must be at least 1, and 1 for a single read"))?;
    if !body["combinedServiceIndicator"].is_boolean() {
        return Err(format_error("combinedServiceIndicator must be a boolean"));
    }
    Ok(Consent {
        id: Uuid::new_v4().to_string(),
        status: "received".to_owned(),
        valid_until: until.min(latest),
        recurring,
        frequency_per_day,
        access,
        redirect,
        nok_redirect,
    })
}

/// `GET /v1/consents/{id}` and its `/status`.
pub(super) fn look(neonomics: &Neonomics, call: &Call) -> Reply {
    let state = locked(&neonomics.state);
    let request_id = match request_id(neonomics, &state, call) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    let Some(consent) = state.consents.get(&call.segment(2)) else {
        return refused(403, "CONSENT_UNKNOWN", "the consent is unknown");
    };
    let status = consent.status_at(neonomics.shared.clock.now());
    let body = if call.segments().len() == 4 {
        json!({ "consentStatus": status })
    } else {
        json!({
            "access": consent.access,
            "recurringIndicator": consent.recurring,
            "validUntil": consent.valid_until.to_string(),
            "frequencyPerDay": consent.frequency_per_day,
            "lastActionDate": neonomics.shared.clock.now().date_naive().to_string(),
            "consentStatus": status,
        })
    };
    Reply::json(200, &body).header("x-request-id", &request_id)
}

pub(super) fn end(neonomics: &Neonomics, call: &Call) -> Reply {
    let mut state = locked(&neonomics.state);
    let request_id = match request_id(neonomics, &state, call) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    let Some(consent) = state
        .consents
        .get_mut(&call.segment(2))
        .filter(|consent| consent.status != "terminatedByTpp")
    else {
        return resource_unknown();
    };
    "terminatedByTpp".clone_into(&mut consent.status);
    Reply::empty(204)
        .header("x-request-id", &request_id)
        .effect(Effect::new("consent_ended", &consent.id, &request_id))
}

/// The consent a read is made under.
pub(super) fn of_read<'a>(state: &'a State, now: DateTime<Utc>, call: &Call) -> Result<&'a Consent, Reply> {
    let id = match (call.header("consent-id"), call.header("x-consent-id")) {
        (Some(one), Some(other)) if one != other => return Err(format_error("two different consents are named")),
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return Err(format_error("Consent-ID is missing")),
    };
    let consent = state
        .consents
        .get(id)
        .ok_or_else(|| refused(403, "CONSENT_UNKNOWN", "the consent is unknown"))?;
    match consent.status_at(now) {
        "valid" => Ok(consent),
        "received" | "partiallyAuthorised" => Err(refused(401, "CONSENT_INVALID", "the consent is not authorised")),
        _ => Err(refused(
            state.settings.consent_expired_status,
            "CONSENT_EXPIRED",
            "the consent is no longer valid",
        )),
    }
}
