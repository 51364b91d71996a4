//! What a text holds, where the framework knows no more than that it is one: the form of ids, how long a text may be, and the
//! words that a member has so far.

use drop_common::domain::{
    bank_status::BankStatus,
    consent::ConsentStatus,
    kyc::KycStatus,
    payment::{MAX_CREDITOR_NAME, MAX_REMITTANCE},
    payment_status::{Cancellation, FailureReason, PaymentStatus},
    session::Channel,
};
use serde_json::{Map, Value, json};

/// What goes out, once spaces around it are gone.
const PAYABLE: &str = "[A-Za-zæøåÆØÅ0-9 _/?:().,'+-]";
/// Never negative: what is paid, and what a payment was.
const AMOUNT: &str = r"^[0-9]{1,14}(\.[0-9]{1,3})?$";
const CURRENCY: &str = "^[A-Z]{3}$";

/// A member of a schema, and what is true of its texts.
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
        if let Some(Value::Object(text)) = document.pointer_mut(&place) {
            text.extend(rule.as_object().cloned().unwrap_or_default());
        }
    }
    ids(document);
}

/// A description that names an id's prefix, as in `tx_…`, is of a text in that form: a member's, or a parameter's.
fn ids(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(pattern) = object.get("description").and_then(Value::as_str).and_then(id_pattern) {
                let text = match object.get_mut("schema") {
                    Some(Value::Object(schema)) => schema,
                    Some(_) | None => object,
                };
                if is_plain_text(text) {
                    text.insert("pattern".to_owned(), json!(pattern));
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

fn id_pattern(description: &str) -> Option<String> {
    let (before, _) = description.split_once("_…`")?;
    let prefix = before.rsplit('`').next()?;
    Some(format!("^{prefix}_[0-9a-f]{{32}}$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_whose_description_names_an_id_has_its_form() {
        let mut document = json!({
            "member": { "type": "string", "description": "The payment's id, `tx_…`." },
            "parameter": { "description": "The account's id, `acc_…`.", "schema": { "type": "string" } },
            "plain": { "type": "string", "description": "Not an id." },
        });
        ids(&mut document);
        assert_eq!(document["member"]["pattern"], "^tx_[0-9a-f]{32}$");
        assert_eq!(document["parameter"]["schema"]["pattern"], "^acc_[0-9a-f]{32}$");
        assert_eq!(document["parameter"].get("pattern"), None);
        assert_eq!(document["plain"].get("pattern"), None);
    }
}
