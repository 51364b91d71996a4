//! Accounts and balances, with the rule of four unattended reads.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    Neonomics,
    access::{psu_address, request_id},
    consent,
    refusal::{refused, resource_unknown},
};
use crate::{
    call::{Call, Reply},
    journal::Effect,
    locked,
};

pub(super) fn accounts(neonomics: &Neonomics, call: &Call) -> Reply {
    let state = locked(&neonomics.state);
    let now = neonomics.shared.clock.now();
    let allowed = request_id(neonomics, &state, call).and_then(|id| Ok((id, consent::of_read(&state, now, call)?)));
    match allowed {
        Ok((request_id, consent)) => {
            let accounts: Vec<_> = state
                .accounts
                .iter()
                .map(|account| account.described(&consent.id, &state.settings))
                .collect();
            Reply::json(200, &json!({ "accounts": accounts })).header("x-request-id", &request_id)
        }
        Err(reply) => reply,
    }
}

pub(super) fn balances(neonomics: &Neonomics, call: &Call) -> Reply {
    let mut state = locked(&neonomics.state);
    let now = neonomics.shared.clock.now();
    let allowed =
        request_id(neonomics, &state, call).and_then(|id| Ok((id, consent::of_read(&state, now, call)?.id.clone())));
    let (request_id, consent) = match allowed {
        Ok(allowed) => allowed,
        Err(reply) => return reply,
    };
    let resource = call.segment(2);
    let account = state
        .accounts
        .iter()
        .find(|account| account.resource_id(&consent) == resource);
    let Some(account) = account.cloned() else {
        return resource_unknown();
    };
    // Banks count by this header: without it nobody is present.
    let attended = psu_address(call).is_some();
    if !attended {
        let limit = state.settings.unattended_reads;
        let reads = state.unattended.entry(account.iban.clone()).or_default();
        reads.retain(|read| now - *read < TimeDelta::hours(24));
        if reads.len() >= limit {
            return refused(
                429,
                "ACCESS_EXCEEDED",
                "no more reads without the user in these 24 hours",
            );
        }
        reads.push(now);
    }
    let kind = if attended { "attended_read" } else { "unattended_read" };
    Reply::json(200, &account.balances(&state.settings, state.balances_changed))
        .header("x-request-id", &request_id)
        .effect(Effect::new(kind, &resource, &request_id))
}
