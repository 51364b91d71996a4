//! What only a person can do: sign in, approve at a bank, have an identity checked.

use std::{fmt, io::Write};

use reqwest::{
    Url,
    header::{ACCEPT, LOCATION},
};
use serde_json::json;

use super::Provider;
use crate::person::browser;

/// Something to be done by hand, at a provider.
#[derive(Debug, Clone)]
pub enum Task {
    /// Start a login, and press cancel.
    CancelLogin(String),
    /// Sign in.
    SignIn(String),
    /// Approve that accounts may be read.
    ApproveConsent(String),
    /// Approve a payment.
    ApprovePayment(String),
    /// Have the applicant with this `externalUserId` approved; the webhook comes to this address.
    Verify(String, String),
}

impl Task {
    pub(super) fn provider(&self) -> Provider {
        match self {
            Self::CancelLogin(_) | Self::SignIn(_) => Provider::BankId,
            Self::ApproveConsent(_) | Self::ApprovePayment(_) => Provider::Neonomics,
            Self::Verify(..) => Provider::Sumsub,
        }
    }
}

/// What somebody at the keyboard reads.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CancelLogin(page) => write!(
                f,
                "Open this page of BankID's in a browser here, and press cancel:\n{page}"
            ),
            Self::SignIn(page) => write!(
                f,
                "Open this page of BankID's in a browser here, and sign in as a test user of 18 or over:\n{page}"
            ),
            Self::ApproveConsent(page) => write!(
                f,
                "Open this page of the test bank's, and approve that the accounts may be read:\n{page}"
            ),
            Self::ApprovePayment(page) => {
                write!(f, "Open this page of the test bank's, and approve the payment:\n{page}")
            }
            Self::Verify(user, webhooks) => write!(
                f,
                "In Sumsub's dashboard, in the test environment, find the applicant whose external user id is\n{user}\nand \
                 have it approved (GREEN). Sumsub's webhooks must reach\n{webhooks}"
            ),
        }
    }
}

/// Who does it.
#[derive(Debug, Clone)]
pub enum Person {
    /// Whoever started the program: it says what is to be done, and waits for what comes of it.
    AtTheKeyboard,
    /// Somebody who reads the same words, and plays them at the simulated providers that are at this address.
    Simulated(String),
}

impl Person {
    pub(super) async fn does(&self, task: &Task) {
        let words = task.to_string();
        match self {
            // Past the test runner, which shows what a test prints only once it has failed.
            Self::AtTheKeyboard => {
                writeln!(std::io::stderr(), "\n▶ {words}\n  … waiting").expect("somebody reads");
            }
            Self::Simulated(providers) => play(task, &words, providers).await,
        }
    }
}

/// Acts on nothing but the words.
async fn play(task: &Task, words: &str, providers: &str) {
    let word = |start: &str| {
        words
            .split_whitespace()
            .find(|word| word.starts_with(start))
            .expect("it is said")
    };
    match task {
        Task::CancelLogin(_) => comes_back(&format!("{}&person=cancel", word("http"))).await,
        Task::SignIn(_) => comes_back(&format!("{}&person=anna", word("http"))).await,
        Task::ApproveConsent(_) | Task::ApprovePayment(_) => {
            let decision = browser().post(word("http")).form(&[("decision", "approve")]);
            let back = location(&decision.send().await.expect("an answer"));
            open(back).await;
        }
        Task::Verify(..) => {
            let reviews = json!({ "reviews": [{ "externalUserId": word("usr_"), "answer": "GREEN" }] });
            let reviewed = browser()
                .post(format!("{providers}/control/sumsub/reviews"))
                .json(&reviews);
            let reviewed = reviewed.send().await.expect("an answer");
            assert!(reviewed.status().is_success(), "{}", reviewed.status());
        }
    }
}

/// From `BankID` to our callback, and on into the app.
async fn comes_back(page: &str) {
    let callback = location(&browser().get(page).send().await.expect("an answer"));
    let app = location(&open(callback).await);
    assert_eq!(open(app).await.status(), 200);
}

async fn open(page: Url) -> reqwest::Response {
    let asked = browser().get(page).header(ACCEPT, "text/html");
    asked.send().await.expect("an answer")
}

fn location(answer: &reqwest::Response) -> Url {
    assert_eq!(answer.status(), 303, "of {}", answer.url().path());
    let place = answer.headers()[LOCATION].to_str().expect("text");
    answer.url().join(place).expect("an address")
}
