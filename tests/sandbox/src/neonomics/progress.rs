//! A payment after its initiation: approved, read, cancelled, settled.

use serde_json::json;

use super::{
    Neonomics, State,
    access::{redirects, request_id},
    payment::{Payment, sca_page},
    refusal::{refused, resource_unknown},
};
use crate::{
    call::{Call, Reply},
    clock::Clock,
    journal::Effect,
    locked,
};

/// Codes after which nothing more happens to a payment.
pub(super) fn is_final(code: &str) -> bool {
    matches!(code, "ACSC" | "ACCC" | "RJCT" | "CANC")
}

/// `GET` of a payment or of its status; each read lets an approved payment take its next step.
pub(super) fn look(neonomics: &Neonomics, call: &Call) -> Reply {
    let mut state = locked(&neonomics.state);
    let request_id = match request_id(neonomics, &state, call) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    let (product, id, status_only) = addressed(call, true);
    let changed = state.settings.changed_order.clone();
    let Some(id) = find(&state, product.as_deref(), &id) else {
        return resource_unknown();
    };
    let effects = step(&mut state, &neonomics.shared.clock, &id);
    let Some(payment) = state.payments.get(&id) else {
        return resource_unknown();
    };
    let body = if status_only {
        json!({ "transactionStatus": payment.status })
    } else {
        let mut body = payment.order.clone();
        body["transactionStatus"] = json!(payment.status);
        for (name, value) in changed
            .iter()
            .flat_map(|changed| changed.as_object().into_iter().flatten())
        {
            body[name] = value.clone();
        }
        body
    };
    let reply = Reply::json(200, &body).header("x-request-id", &request_id);
    effects.into_iter().fold(reply, Reply::effect)
}

/// Starts the approval of a payment: each start is another authorisation.
pub(super) fn authorise(neonomics: &Neonomics, call: &Call) -> Reply {
    let mut state = locked(&neonomics.state);
    let request_id = match request_id(neonomics, &state, call).and_then(|id| redirects(&state, call).map(|_| id)) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    let links = state.settings.links.clone();
    let Some(payment) = state.payments.get_mut(&call.segment(3)) else {
        return resource_unknown();
    };
    if payment.product != call.segment(2) {
        return resource_unknown();
    }
    if payment.approved || is_final(&payment.status) {
        return refused(409, "STATUS_INVALID", "the payment needs no approval any more");
    }
    payment.authorisations += 1;
    let links = links.unwrap_or_else(|| json!({ "scaRedirect": { "href": sca_page(neonomics, payment) } }));
    let number = payment.authorisations;
    let body =
        json!({ "scaStatus": "received", "authorisationId": format!("{}-{number}", payment.id), "_links": links });
    Reply::json(201, &body)
        .header("aspsp-sca-approach", "REDIRECT")
        .header("x-request-id", &request_id)
        .effect(Effect::new("authorisation_started", &payment.id, &request_id))
}

/// Withdraws a payment that the person has not approved.
pub(super) fn cancel(neonomics: &Neonomics, call: &Call) -> Reply {
    let mut state = locked(&neonomics.state);
    let request_id = match request_id(neonomics, &state, call) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    let (product, id, _) = addressed(call, false);
    let (needs_approval, withdraws) = (state.settings.cancel_needs_approval, state.settings.withdraws_approved);
    let found = find(&state, product.as_deref(), &id);
    let Some(payment) = found.and_then(|id| state.payments.get_mut(&id)) else {
        return resource_unknown();
    };
    if payment.approved && !withdraws || is_final(&payment.status) {
        return refused(405, "CANCELLATION_INVALID", "the payment can no longer be cancelled");
    }
    if needs_approval {
        let links =
            json!({ "startAuthorisation": { "href": format!("/v1/payments/{id}/cancellation-authorisations") } });
        return Reply::json(202, &json!({ "transactionStatus": payment.status, "_links": links }));
    }
    "CANC".clone_into(&mut payment.status);
    payment.withdrawn = true;
    Reply::empty(204)
        .header("x-request-id", &request_id)
        .effect(Effect::new("payment_cancelled", &payment.id, &request_id))
}

/// Product (where named), payment id, and whether only the status is asked for.
fn addressed(call: &Call, is_read: bool) -> (Option<String>, String, bool) {
    let segments = call.segments();
    match segments.as_slice() {
        [_, _, id, status] if is_read && status == "status" => (None, id.clone(), true),
        [_, _, product, id, _] => (Some(product.clone()), id.clone(), true),
        [_, _, product, id] => (Some(product.clone()), id.clone(), false),
        _ => (None, call.segment(2), false),
    }
}

fn find(state: &State, product: Option<&str>, id: &str) -> Option<String> {
    let payment = state.payments.get(id)?;
    if state.settings.forgets_withdrawn && payment.withdrawn {
        return None;
    }
    product
        .is_none_or(|product| product == payment.product)
        .then(|| payment.id.clone())
}

fn step(state: &mut State, clock: &Clock, id: &str) -> Vec<Effect> {
    let Some(payment) = state.payments.get_mut(id) else {
        return Vec::new();
    };
    let next = if payment.read { payment.ahead.pop_front() } else { None };
    payment.read = true;
    match next {
        Some(code) => enter(state, clock, id, &code),
        None => Vec::new(),
    }
}

/// Puts a payment into a state; the money moves with the first settlement, if there is enough of it.
pub(super) fn enter(state: &mut State, clock: &Clock, id: &str, code: &str) -> Vec<Effect> {
    let State {
        payments,
        accounts,
        balances_changed,
        ..
    } = state;
    let Some(payment) = payments.get_mut(id) else {
        return Vec::new();
    };
    code.clone_into(&mut payment.status);
    if !matches!(code, "ACSC" | "ACCC") || payment.moved {
        return Vec::new();
    }
    let account = accounts.iter_mut().find(|account| account.iban == payment.debtor_iban);
    let effect = match account {
        Some(account) if account.minor >= payment.minor => {
            account.minor -= payment.minor;
            *balances_changed = clock.now();
            payment.moved = true;
            "money_moved"
        }
        _ => {
            "RJCT".clone_into(&mut payment.status);
            payment.ahead.clear();
            "payment_rejected"
        }
    };
    vec![Effect::new(effect, &payment.id, &payment.request_id)]
}

/// The person's approval: the first code of the progression now, the rest with the reads to come.
pub(super) fn approve(state: &mut State, clock: &Clock, id: &str) -> Vec<Effect> {
    let progression = state.settings.progression.clone();
    let Some(payment) = state.payments.get_mut(id) else {
        return Vec::new();
    };
    payment.approved = true;
    payment.read = false;
    payment.ahead = progression.into();
    let approved = Effect::new("payment_approved", &payment.id, &payment.request_id);
    let first = payment.ahead.pop_front();
    let mut effects = vec![approved];
    if let Some(code) = first {
        effects.extend(enter(state, clock, id, &code));
    }
    effects
}

/// The person's refusal.
pub(super) fn reject(payment: &mut Payment) -> Effect {
    "RJCT".clone_into(&mut payment.status);
    Effect::new("payment_rejected", &payment.id, &payment.request_id)
}
