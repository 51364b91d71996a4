//! Payment initiation: the order as it is sent, and what the bank checks about it.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Neonomics, State,
    access::{redirects, request_id},
    account::{is_iban, minor_units},
    progress,
    refusal::{format_error, refused},
};
use crate::{
    call::{Call, Reply},
    encoding::{hex, sha256},
    journal::Effect,
    locked,
};

/// The products this bank offers, by Berlin Group's names.
const PRODUCTS: [&str; 7] = [
    "sepa-credit-transfers",
    "instant-sepa-credit-transfers",
    "target-2-payments",
    "cross-border-credit-transfers",
    "norwegian-domestic-credit-transfers",
    "norwegian-cross-border-credit-transfers",
    "instant-norwegian-domestic-credit-transfers-straks",
];

/// A payment as the bank knows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what a bank notes of an order, each by itself"
)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// When it came, by the sandbox's clock.
    pub at: DateTime<Utc>,
    /// The product it was ordered as.
    pub product: String,
    /// The `X-Request-ID` it was ordered under.
    pub request_id: String,
    /// Its `transactionStatus`.
    pub status: String,
    /// Whether the person has approved it.
    pub approved: bool,
    /// Whether the money has left the account; it leaves once.
    pub moved: bool,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
    /// The order as sent.
    pub order: Value,
    /// The amount in hundredths.
    pub minor: i64,
    /// The debtor's IBAN.
    pub debtor_iban: String,
    /// Where the bank sends the person after approval.
    pub redirect: String,
    /// Where the bank sends the person after a refusal.
    pub nok_redirect: String,
    /// The codes still to come, one with each status read.
    #[serde(skip)]
    pub(super) ahead: VecDeque<String>,
    /// Whether the present code has been read, so that the next read moves on.
    #[serde(skip)]
    pub(super) read: bool,
    #[serde(skip)]
    pub(super) order_sha256: String,
    /// How often its approval was started.
    pub authorisations: usize,
}

pub(super) fn create(neonomics: &Neonomics, call: &Call) -> Reply {
    let mut state = locked(&neonomics.state);
    let payment = match order(neonomics, &state, call) {
        Ok(payment) => payment,
        Err(reply) => return reply,
    };
    if state.settings.deduplicate {
        let earlier = state
            .payments
            .values()
            .find(|earlier| earlier.request_id == payment.request_id);
        match earlier {
            Some(earlier) if earlier.order_sha256 == payment.order_sha256 && earlier.product == payment.product => {
                return created(neonomics, &state, earlier);
            }
            Some(_) => return format_error("this X-Request-ID was used for another order"),
            None => {}
        }
    }
    let reply =
        created(neonomics, &state, &payment).effect(Effect::new("payment_created", &payment.id, &payment.request_id));
    let id = payment.id.clone();
    state.payments.insert(id.clone(), payment);
    // A bank that exempts a payment from approval may settle it at once.
    let initial = state.settings.initial_status.clone();
    let effects = progress::enter(&mut state, &neonomics.shared.clock, &id, &initial);
    effects.into_iter().fold(reply, Reply::effect)
}

fn created(neonomics: &Neonomics, state: &State, payment: &Payment) -> Reply {
    let links = state.settings.links.clone().unwrap_or_else(|| {
        let path = format!("/v1/payments/{}/{}", payment.product, payment.id);
        let mut links = json!({ "self": { "href": path }, "status": { "href": format!("{path}/status") } });
        if state.settings.explicit_authorisation {
            links["startAuthorisation"] = json!({ "href": format!("{path}/authorisations") });
        } else {
            links["scaRedirect"] = json!({ "href": sca_page(neonomics, payment) });
        }
        links
    });
    let status = &state.settings.initial_status;
    let mut body = json!({ "paymentId": payment.id, "transactionStatus": status, "_links": links });
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| !state.settings.left_out.contains(name));
    }
    Reply::json(201, &body)
        .header("aspsp-sca-approach", "REDIRECT")
        .header("x-request-id", &payment.request_id)
        .header("location", &format!("/v1/payments/{}/{}", payment.product, payment.id))
}

/// Where the person approves it.
pub(super) fn sca_page(neonomics: &Neonomics, payment: &Payment) -> String {
    format!("{}/bank/sca/payments/{}", neonomics.shared.url, payment.id)
}

fn order(neonomics: &Neonomics, state: &State, call: &Call) -> Result<Payment, Reply> {
    let request_id = request_id(neonomics, state, call)?;
    let product = call.segment(2);
    if !PRODUCTS.contains(&product.as_str()) {
        return Err(refused(404, "PRODUCT_UNKNOWN", "this bank has no such payment product"));
    }
    let (redirect, nok_redirect) = redirects(state, call)?;
    let order = call.json().ok_or_else(|| format_error("the body is not JSON"))?;
    let (minor, debtor_iban) = check(state, &order)?;
    Ok(Payment {
        id: format!("pay_{}", &Uuid::new_v4().simple().to_string()[..20]),
        at: neonomics.shared.clock.now(),
        product,
        request_id,
        status: state.settings.initial_status.clone(),
        approved: false,
        moved: false,
        withdrawn: false,
        order,
        minor,
        debtor_iban,
        redirect,
        nok_redirect,
        ahead: VecDeque::new(),
        read: false,
        order_sha256: hex(&sha256(&call.body)),
        authorisations: 0,
    })
}

fn check(state: &State, order: &Value) -> Result<(i64, String), Reply> {
    // A JSON number would have lost digits on the way: only a string is an amount.
    let minor = order["instructedAmount"]["amount"]
        .as_str()
        .and_then(minor_units)
        .filter(|minor| *minor > 0);
    let minor = minor.ok_or_else(|| format_error("instructedAmount.amount is not a positive decimal string"))?;
    let currency = order["instructedAmount"]["currency"].as_str().unwrap_or_default();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(format_error("instructedAmount.currency is not three capital letters"));
    }
    let debtor = order["debtorAccount"]["iban"].as_str().filter(|iban| is_iban(iban));
    let debtor = debtor.ok_or_else(|| format_error("debtorAccount.iban is missing or wrong"))?;
    if !state.accounts.iter().any(|account| account.iban == debtor) {
        return Err(refused(
            400,
            "RESOURCE_UNKNOWN",
            "the debtor has no such account at this bank",
        ));
    }
    let creditor = &order["creditorAccount"];
    match (creditor["iban"].as_str(), creditor["bban"].as_str()) {
        (Some(iban), None) if is_iban(iban) => {}
        // The contract's example has dashes, which the standard's pattern has not.
        (None, Some(bban)) if is_bban(bban) => {}
        _ => return Err(format_error("creditorAccount needs one right iban or bban")),
    }
    let length = |member: &str| order[member].as_str().map(|text| text.chars().count());
    if !length("creditorName").is_some_and(|length| (1..=70).contains(&length)) {
        return Err(format_error("creditorName needs 1 to 70 characters"));
    }
    if length("remittanceInformationUnstructured").is_some_and(|length| length > 140) {
        return Err(format_error(
            "remittanceInformationUnstructured has more than 140 characters",
        ));
    }
    if length("endToEndIdentification").is_some_and(|length| length > 35) {
        return Err(format_error("endToEndIdentification has more than 35 characters"));
    }
    Ok((minor, debtor.to_owned()))
}

fn is_bban(text: &str) -> bool {
    let characters = text.bytes().filter(|byte| *byte != b'-').count();
    (1..=30).contains(&characters) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
