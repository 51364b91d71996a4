//! Sumsub, simulated: applicants, reviews on command, signed webhooks.

mod access;
mod applicants;
mod review;
pub(crate) mod webhook;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    call::{Call, Reply},
    journal::{Effect, Entry},
    locked,
    operation::{Operation, Provider},
    shared::Shared,
};

use self::access::AppToken;
pub use self::{
    applicants::Applicant,
    review::{Review, TimeForm},
    webhook::{Delivery, Digest, Webhook},
};

/// Sumsub gives a webhook's receiver five seconds.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    applicants: Vec<Applicant>,
    webhooks: Vec<Webhook>,
    webhook_url: Option<String>,
    bearer_refused: bool,
    app_tokens: Vec<AppToken>,
}

impl State {
    fn new(shared: &Shared) -> Self {
        Self {
            webhook_url: shared.config.sumsub_webhook_url.clone(),
            app_tokens: vec![AppToken {
                token: shared.config.sumsub_app_token.clone(),
                secret: shared.config.sumsub_app_secret.clone(),
            }],
            ..Self::default()
        }
    }
}

/// The simulated provider; its methods are what a test can do to it.
pub struct Sumsub {
    shared: Arc<Shared>,
    state: Mutex<State>,
    http: reqwest::Client,
}

impl Sumsub {
    pub(crate) fn new(shared: Arc<Shared>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(WEBHOOK_PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let state = Mutex::new(State::new(&shared));
        Ok(Self { shared, state, http })
    }

    pub(crate) fn answer(&self, operation: Operation, call: &Call) -> Reply {
        let (bearer_accepted, app_tokens) = {
            let state = locked(&self.state);
            (!state.bearer_refused, state.app_tokens.clone())
        };
        if let Err(reply) = access::check(self.shared.clock.now(), call, bearer_accepted, &app_tokens) {
            return reply;
        }
        match operation {
            Operation::ApplicantCreate => applicants::create(self, call),
            Operation::ApplicantGet => applicants::get(self, call),
            Operation::ApplicantStatus => applicants::status(self, call),
            _ => applicants::sdk_token(self, call),
        }
    }

    /// The address to put before `/resources/…`.
    pub fn base_url(&self) -> String {
        format!("{}/sumsub", self.shared.url)
    }

    /// Where webhooks go from now on.
    pub fn send_webhooks_to(&self, url: &str) {
        locked(&self.state).webhook_url = Some(url.to_owned());
    }

    /// The client authenticates itself by one of these app tokens from now on, each given with its secret.
    pub fn accept_app_tokens(&self, tokens: &[(&str, &str)]) {
        let tokens = tokens.iter().map(|(token, secret)| AppToken {
            token: (*token).to_owned(),
            secret: (*secret).to_owned(),
        });
        locked(&self.state).app_tokens = tokens.collect();
    }

    /// Refuses the contract's Bearer token, as the real provider does; only signed requests pass then.
    pub fn refuse_bearer(&self, refuse: bool) {
        locked(&self.state).bearer_refused = refuse;
    }

    /// Every applicant.
    pub fn applicants(&self) -> Vec<Applicant> {
        locked(&self.state).applicants.clone()
    }

    /// The applicant of that id.
    pub fn applicant(&self, id: &str) -> Option<Applicant> {
        locked(&self.state)
            .applicants
            .iter()
            .find(|applicant| applicant.id == id)
            .cloned()
    }

    /// The applicant of one of the client's users.
    pub fn applicant_of(&self, external_user_id: &str) -> Option<Applicant> {
        locked(&self.state)
            .applicants
            .iter()
            .find(|applicant| applicant.external_user_id == external_user_id)
            .cloned()
    }

    /// The requests received, oldest first.
    pub fn journal(&self) -> Vec<Entry> {
        self.shared.journal.entries(Provider::Sumsub)
    }

    pub(crate) fn reset(&self) {
        *locked(&self.state) = State::new(&self.shared);
    }

    /// Lets an event change the applicant, so that a later status read agrees with the webhook. Somebody unknown
    /// gets an applicant for this one event.
    fn apply(&self, review: &Review, now: DateTime<Utc>) -> Applicant {
        let mut state = locked(&self.state);
        let known = state
            .applicants
            .iter_mut()
            .find(|applicant| match &review.applicant_id {
                Some(id) => applicant.id == *id,
                None => applicant.external_user_id == review.external_user_id,
            });
        let Some(applicant) = known else {
            let mut stranger = Applicant::new(&review.external_user_id, &self.shared.config.sumsub_level, None, now);
            stranger.id = review.applicant_id.clone().unwrap_or(stranger.id);
            return stranger;
        };
        let at = review.at(now);
        // An event from the past does not undo what came after it.
        if applicant.reviewed.is_none_or(|reviewed| reviewed <= at) {
            if let Some(status) = review.status() {
                if status == "pending" && applicant.review_status == "completed" {
                    applicant.attempts += 1;
                }
                status.clone_into(&mut applicant.review_status);
                applicant.review_result = review.result();
                if status == "completed" {
                    applicant.reviewed = Some(at);
                }
            }
            self.shared
                .journal
                .record_effects(Provider::Sumsub, &[Effect::new("reviewed", &applicant.id, "")]);
        }
        applicant.clone()
    }
}
