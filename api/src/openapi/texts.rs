//! What a text holds, where the framework knows no more than that it is one: the form of ids, how long a text may be, the words
//! that a member has so far. And how long a list is at most.

use drop_common::domain::{
    bank_status::BankStatus,
    consent::ConsentStatus,
    kyc::KycStatus,
    payment::{MAX_CREDITOR_NAME, MAX_REMITTANCE},
    payment_status::{Cancellation, FailureReason, PaymentStatus},
    session::Channel,
};
use serde_json::{Map, Value, json};

use crate::{accounts, consents, notifications, payments};

/// What goes out, once spaces around it are gone.
const PAYABLE: &str = "[A-Za-zæøåÆØÅ0-9 _/?:().,'+-]";
/// Never negative: what is paid, and what a payment was.
const AMOUNT: &str = r"^[0-9]{1,14}(\.[0-9]{1,3})?$";
const CURRENCY: &str = "^[A-Z]{3}$";

/// A member of a schema, and what is true of it.
fn rules() -> Vec<(&'static str, &'static str, Value)> {
    let status = words(PaymentStatus::ALL, PaymentStatus::as_str);
    let kyc = words(KycStatus::ALL, KycStatus::as_str);
    vec![
        ("InstructedAmount", "amount", json!({ "pattern": AMOUNT })),
        ("InstructedAmount", "currency", json!({ "pattern": CURRENCY })),
        ("CachedBalance", "currency", json!({ "pattern": CURRENCY })),
        ("BankAccount", "currency", json!({ "pattern": CURRENCY })),
        (
            "NewTransaction",
            "creditorName",
            json!({ "minLength": 1, "maxLength": MAX_CREDITOR_NAME, "pattern": format!("^{PAYABLE}+$") }),
        ),
        (
            "NewTransaction",
            "remittanceInformation",
            // Blank is the same as none.
            json!({ "maxLength": MAX_REMITTANCE, "pattern": format!("^{PAYABLE}*$") }),
        ),
        ("Transaction", "status", status.clone()),
        ("Standing", "status", status),
        (
            "Transaction",
            "reason",
            words(FailureReason::ALL, FailureReason::as_str),
        ),
        ("Transaction", "bankStatus", words(BankStatus::ALL, BankStatus::as_str)),
        (
            "Transaction",
            "cancellation",
            words(Cancellation::ALL, Cancellation::as_str),
        ),
        (
            "BankConsent",
            "status",
            words(ConsentStatus::ALL, ConsentStatus::as_str),
        ),
        ("Kyc", "status", kyc.clone()),
        ("Person", "kycStatus", kyc),
        ("LiveSession", "channel", words(Channel::ALL, Channel::as_str)),
        // The only bound on what goes out: how much is told at once stays so, however much there is.
        ("BankAccounts", "accounts", json!({ "maxItems": accounts::LISTED })),
        ("BankConsents", "consents", json!({ "maxItems": consents::LISTED })),
        (
            "Notifications",
            "notifications",
            json!({ "maxItems": notifications::PAGE }),
        ),
        ("Transactions", "transactions", json!({ "maxItems": payments::PAGE })),
    ]
}

/// The list is open: a client passes over a word that came after it.
fn words<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> Value {
    let words: Vec<_> = all.iter().map(|one| word(*one)).collect();
    json!({ "x-extensible-enum": words })
}

/// Writes it into the document.
pub(super) fn write_out(document: &mut Value) {
    for (schema, member, rule) in rules() {
        let place = format!("/components/schemas/{schema}/properties/{member}");
        if let Some(Value::Object(member)) = document.pointer_mut(&place) {
            member.extend(rule.as_object().cloned().unwrap_or_default());
        }
    }
    ids(document);
}

/// A description that names an id's prefix, as in `tx_…`, is of a text in that form: a member's, or a parameter's.
fn ids(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let prefix = object.get("description").and_then(Value::as_str).and_then(id_prefix);
            if let Some(prefix) = prefix.map(str::to_owned) {
                // A page to try it out on sends every example: one of what may be left out would be sent each time.
                if object.get("required") == Some(&json!(true)) {
                    let example = format!("{prefix}_0190a5a47c7e7d5ab8a1f2d3c4b5a697");
                    object.entry("example").or_insert(json!(example));
                }
                let text = match object.get_mut("schema") {
                    Some(Value::Object(schema)) => schema,
                    Some(_) | None => object,
                };
                if is_plain_text(text) {
                    text.insert("pattern".to_owned(), json!(format!("^{prefix}_[0-9a-f]{{32}}$")));
                }
            }
            object.values_mut().for_each(ids);
        }
        Value::Array(members) => members.iter_mut().for_each(ids),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_plain_text(schema: &Map<String, Value>) -> bool {
    schema.get("type") == Some(&json!("string"))
}

fn id_prefix(description: &str) -> Option<&str> {
    let (before, _) = description.split_once("_…`")?;
    before.rsplit('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_whose_description_names_an_id_has_its_form() {
        let mut document = json!({
            "member": { "type": "string", "description": "The payment's id, `tx_…`." },
            "parameter": { "description": "The account's id, `acc_…`.", "required": true, "schema": { "type": "string" } },
            "optional": { "description": "After this one, `acc_…`.", "required": false, "schema": { "type": "string" } },
            "shown": { "description": "The `tx_…`.", "required": true, "example": "its own", "schema": { "type": "string" } },
            "plain": { "type": "string", "description": "Not an id." },
        });
        ids(&mut document);
        assert_eq!(document["member"]["pattern"], "^tx_[0-9a-f]{32}$");
        assert_eq!(document["parameter"]["schema"]["pattern"], "^acc_[0-9a-f]{32}$");
        assert_eq!(document["parameter"]["example"], "acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697");
        assert_eq!(document["parameter"].get("pattern"), None);
        assert_eq!(document["optional"]["schema"]["pattern"], "^acc_[0-9a-f]{32}$");
        assert_eq!(document["optional"].get("example"), None, "nobody has to send it");
        assert_eq!(document["shown"]["example"], "its own");
        assert_eq!(document["member"].get("example"), None, "its object shows it");
        assert_eq!(document["plain"].get("pattern"), None);
    }
}
