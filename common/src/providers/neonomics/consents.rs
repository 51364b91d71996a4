use chrono::NaiveDate;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CallContext, Neonomics, Redirects, ScaLink,
    client::Outgoing,
    errors::{consent_bound, success},
    sca::Links,
};
use crate::{
    domain::consent::ConsentStatus,
    providers::{Class, Field, Operation, ProviderError, http::path_segment},
};

/// A consent as the bank created it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The bank's id.
    pub id: String,
    /// `received`, `valid`, …; open.
    pub status: Option<String>,
    /// Where the user approves.
    pub sca: ScaLink,
}

/// How a consent stands. Anything but `valid` is unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentState {
    /// The bank's word; open.
    pub status: String,
    /// The last day it may be used; the bank may shorten what was asked. Only in the full read, and where it is a day.
    pub valid_until: Option<NaiveDate>,
}

impl Neonomics {
    /// Asks for a recurring consent to the user's accounts and balances until `valid_until`.
    pub async fn create_consent(
        &self,
        valid_until: NaiveDate,
        redirects: Redirects<'_>,
        context: &CallContext,
    ) -> Result<Consent, ProviderError> {
        let body = NewConsent {
            access: Access {
                accounts: [],
                balances: [],
            },
            recurring_indicator: true,
            valid_until,
            frequency_per_day: 4,
            combined_service_indicator: false,
        };
        let mut outgoing = Outgoing::new(Operation::ConsentCreate, Method::POST, "/v1/consents".to_owned())
            .with_redirects(redirects)?;
        outgoing.body = serde_json::to_vec(&body).expect("a plain struct serialises");
        self.send_with_token(outgoing, context, |reply| {
            let created: Created = success(&reply)?.json()?;
            if created.consent_id.is_empty() {
                return Err(ProviderError::Unreadable {
                    what: "the consentId is empty",
                });
            }
            if let Some(word) = &created.consent_status {
                self.meet_consent(word);
            }
            let sca = created.links.unwrap_or_default().check(&self.config);
            Ok(Consent {
                id: created.consent_id,
                status: created.consent_status,
                sca,
            })
        })
        .await
    }

    /// Reads the status alone.
    pub async fn consent_status(&self, id: &str, context: &CallContext) -> Result<ConsentState, ProviderError> {
        let path = format!("/v1/consents/{}/status", path_segment(id)?);
        self.read_consent(Operation::ConsentStatus, path, context).await
    }

    /// Reads the whole consent, for the day on which it ends.
    pub async fn consent(&self, id: &str, context: &CallContext) -> Result<ConsentState, ProviderError> {
        let path = format!("/v1/consents/{}", path_segment(id)?);
        self.read_consent(Operation::ConsentRead, path, context).await
    }

    /// Ends a consent. One that the bank does not know, or that has run out there, is ended. One that it calls invalid may
    /// only not be approved yet.
    pub async fn delete_consent(&self, id: &str, context: &CallContext) -> Result<(), ProviderError> {
        let path = format!("/v1/consents/{}", path_segment(id)?);
        let outgoing = Outgoing::new(Operation::ConsentDelete, Method::DELETE, path);
        self.send_with_token(outgoing, context, |reply| match success(&reply) {
            Ok(_) | Err(ProviderError::Refused { status: 404, .. }) => Ok(()),
            Err(error) if error.class() == Class::Expired && !error.may_await_approval() => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    async fn read_consent(
        &self,
        operation: Operation,
        path: String,
        context: &CallContext,
    ) -> Result<ConsentState, ProviderError> {
        self.send_with_token(Outgoing::new(operation, Method::GET, path), context, |reply| {
            let state: State = consent_bound(&reply)?.json()?;
            self.meet_consent(&state.consent_status);
            Ok(ConsentState {
                status: state.consent_status,
                valid_until: state.valid_until.as_str().and_then(|day| day.parse().ok()),
            })
        })
        .await
    }

    /// Counts a status that is none of ours; it changes nothing.
    fn meet_consent(&self, word: &str) {
        if ConsentStatus::from_provider(word).is_none() {
            self.unknown(Field::ConsentStatus, word);
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewConsent {
    access: Access,
    recurring_indicator: bool,
    valid_until: NaiveDate,
    frequency_per_day: u8,
    combined_service_indicator: bool,
}

/// Empty lists: the user picks the accounts at the bank.
#[derive(Serialize)]
struct Access {
    accounts: [(); 0],
    balances: [(); 0],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    consent_id: String,
    consent_status: Option<String>,
    #[serde(rename = "_links")]
    links: Option<Links>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    consent_status: String,
    #[serde(default)]
    valid_until: Value,
}
