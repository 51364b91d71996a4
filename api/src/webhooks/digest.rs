//! Who sent a webhook, before anything else is asked: nothing of it has been read, and the database knows nothing of it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use drop_common::{
    alerts,
    metrics::WEBHOOK_SIGNATURES,
    providers::sumsub::webhook::{self, Secrets, SignedWith},
};
use poem::Request;
use poem_openapi::types::ParseFromJSON;

use crate::{
    error::ApiError,
    signed_json::{SignedJson, VerifiedJson},
    state::State,
};

const DIGEST: &str = "X-Payload-Digest";
const ALGORITHM: &str = "X-Payload-Digest-Alg";

/// The body, if one of our secrets signed it.
pub(super) fn check<T: ParseFromJSON>(
    state: &State,
    request: &Request,
    body: SignedJson<T>,
) -> Result<VerifiedJson, ApiError> {
    let config = &state.settings.webhook;
    let secrets = Secrets {
        current: &config.secret,
        previous: config.secret_previous.as_ref(),
        allow_sha1: config.allow_sha1,
    };
    let mut signed_with = None;
    let verified = body.verified(|raw| {
        signed_with = webhook::verify(raw, only(request, DIGEST), algorithm(request), &secrets).ok();
        signed_with.is_some()
    })?;
    // Once Sumsub has the new secret, nothing may come under the previous one any more.
    let secret = match signed_with {
        Some(SignedWith::Previous) => {
            tracing::info!("a webhook was signed with the previous secret");
            "previous"
        }
        Some(SignedWith::Current) | None => "current",
    };
    state.metrics.count(&WEBHOOK_SIGNATURES, &[secret]);
    Ok(verified)
}

/// Only an absent header means the default: one that is there twice, or is no text, names no algorithm.
fn algorithm(request: &Request) -> Option<&str> {
    let is_there = request.headers().contains_key(ALGORITHM);
    is_there.then(|| only(request, ALGORITHM).unwrap_or_default())
}

/// The one header of this name: two are as wrong as none.
fn only<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    let mut values = request.headers().get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Says that digests are wrong, at most once a minute: a flood of them must not be one in the log, too.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Option<Instant>>);

impl Refusals {
    const QUIET: Duration = Duration::from_mins(1);

    pub(super) fn tell(&self, state: &State) {
        state.count_webhook_failure("digest");
        if self.is_due(Instant::now()) {
            alerts::raise_for(&alerts::WEBHOOK_DIGEST, "sumsub", "and perhaps more within this minute");
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= Self::QUIET);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_wrong_digests_is_told_once_a_minute() {
        let (refusals, began) = (Refusals::default(), Instant::now());
        let told = [0, 1, 59, 60, 61, 119, 120].map(|second| refusals.is_due(began + Duration::from_secs(second)));
        assert_eq!(told, [true, false, false, true, false, false, true]);
    }
}
