//! Webhooks: built, signed, sent, sent again.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{
    Sumsub,
    review::{Review, digest},
};
use crate::{journal::Effect, locked, operation::Provider};

/// What stands in `X-Payload-Digest` and `X-Payload-Digest-Alg`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Digest {
    /// SHA-256 in lower case, with the algorithm named.
    #[default]
    Right,
    /// SHA-256, the algorithm not named: the contract's form.
    WithoutAlgorithm,
    /// SHA-512.
    Sha512,
    /// The legacy SHA-1.
    Sha1,
    /// SHA-256 in upper case.
    UpperCase,
    /// Under another secret.
    Wrong,
    /// No digest header.
    Missing,
}

/// How a webhook is delivered. The default: once, with the right digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Delivery {
    /// How often it is sent; 0 builds it and sends nothing.
    pub times: u32,
    /// The digest.
    pub digest: Digest,
    /// Sends the same JSON with other spacing than what was signed, as a meddling proxy would.
    pub reserialised: bool,
    /// Sends the last event of the batch first.
    pub reversed: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            times: 1,
            digest: Digest::default(),
            reserialised: false,
            reversed: false,
        }
    }
}

/// A webhook as it was built, with what the receiver said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its position among all webhooks, from 1.
    pub number: usize,
    /// The body, byte by byte as it is sent.
    pub body: String,
    /// `X-Payload-Digest`.
    pub digest: Option<String>,
    /// `X-Payload-Digest-Alg`.
    pub digest_alg: Option<&'static str>,
    /// The receiver's status for each sending of this call; absent where no answer came.
    pub statuses: Vec<Option<u16>>,
}

impl Sumsub {
    /// Reviews and tells the configured address, or only builds the webhook where the delivery says so.
    pub async fn review(&self, review: Review, delivery: &Delivery) -> anyhow::Result<Webhook> {
        let mut sent = self.review_all(vec![review], delivery).await?;
        sent.pop().context("one review makes one webhook")
    }

    /// Several events in the order they happen; the delivery may turn the order of sending round.
    /// The answer is in the order of sending.
    pub async fn review_all(&self, reviews: Vec<Review>, delivery: &Delivery) -> anyhow::Result<Vec<Webhook>> {
        let mut webhooks: Vec<_> = reviews.iter().map(|review| self.build(review, delivery)).collect();
        if delivery.reversed {
            webhooks.reverse();
        }
        for webhook in &mut webhooks {
            for _ in 0..delivery.times {
                let status = self.send(webhook).await?;
                webhook.statuses.push(status);
            }
        }
        Ok(webhooks)
    }

    /// Sends an earlier webhook again, the same bytes under the same digest.
    pub async fn resend(&self, number: usize) -> anyhow::Result<Webhook> {
        let earlier = number
            .checked_sub(1)
            .and_then(|index| locked(&self.state).webhooks.get(index).cloned());
        let mut webhook = earlier.context("no webhook has this number")?;
        let status = self.send(&webhook).await?;
        webhook.statuses = vec![status];
        Ok(webhook)
    }

    /// Every webhook built so far, without the receiver's answers.
    pub fn webhooks(&self) -> Vec<Webhook> {
        locked(&self.state).webhooks.clone()
    }

    fn build(&self, review: &Review, delivery: &Delivery) -> Webhook {
        let now = self.shared.clock.now();
        let applicant = self.apply(review, now);
        let body = review.body(&applicant, now);
        let signed = body.to_string();
        let (digest, digest_alg) = digest(
            &self.shared.config.sumsub_secret_key,
            signed.as_bytes(),
            delivery.digest,
        );
        let sent = if delivery.reserialised {
            format!("{body:#}")
        } else {
            signed
        };
        let mut state = locked(&self.state);
        let webhook = Webhook {
            number: state.webhooks.len() + 1,
            body: sent,
            digest,
            digest_alg,
            statuses: Vec::new(),
        };
        state.webhooks.push(webhook.clone());
        webhook
    }

    async fn send(&self, webhook: &Webhook) -> anyhow::Result<Option<u16>> {
        let url = locked(&self.state)
            .webhook_url
            .clone()
            .context("no webhook address is set")?;
        let mut request = self
            .http
            .post(&url)
            .header("content-type", "application/json")
            .body(webhook.body.clone());
        if let Some(digest) = &webhook.digest {
            request = request.header("x-payload-digest", digest);
        }
        if let Some(algorithm) = webhook.digest_alg {
            request = request.header("x-payload-digest-alg", algorithm);
        }
        let answer = request.send().await;
        let status = answer.ok().map(|answer| answer.status().as_u16());
        let number = webhook.number.to_string();
        self.shared
            .journal
            .record_effects(Provider::Sumsub, &[Effect::new("webhook_sent", &number, "")]);
        Ok(status)
    }
}

/// The usual members of a control request: the events and their delivery.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReviewRequest {
    pub(crate) reviews: Vec<Review>,
    #[serde(default)]
    pub(crate) delivery: Delivery,
}
