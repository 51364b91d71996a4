//! Which answer holds what another operation asks for, so that tools and readers can go on from it.

use serde_json::{Map, Value, json};

/// An operation, where in the bodies of its successes an id is, and the operations that take it as their `id`.
const LINKS: &[(&str, &str, &[&str])] = &[
    ("startAppLogin", "/id", &["redeemAppLogin"]),
    ("listSessions", "/sessions/0/id", &["endSession"]),
    ("listNotifications", "/notifications/0/id", &["readNotification"]),
    ("linkBank", "/id", &["getBankConsent", "unlinkBank"]),
    ("listBankConsents", "/consents/0/id", &["getBankConsent", "unlinkBank"]),
    (
        "listBankAccounts",
        "/accounts/0/id",
        &["getBankAccount", "getBalance", "refreshBalance"],
    ),
    (
        "createTransaction",
        "/id",
        &["getTransaction", "followTransaction", "cancelTransaction"],
    ),
    (
        "listTransactions",
        "/transactions/0/id",
        &["getTransaction", "followTransaction"],
    ),
];

/// Adds the links to those answers of the operation that have a body.
pub(super) fn write_out(operation: &mut Map<String, Value>) {
    let id = operation.get("operationId").and_then(Value::as_str);
    let Some((_, place, targets)) = LINKS.iter().find(|(from, ..)| Some(*from) == id) else {
        return;
    };
    let links: Map<String, Value> = targets
        .iter()
        .map(|target| {
            let parameters = json!({ "id": format!("$response.body#{place}") });
            (
                (*target).to_owned(),
                json!({ "operationId": target, "parameters": parameters }),
            )
        })
        .collect();
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (status, response) in responses.into_iter().flatten() {
        if status.starts_with('2') && response.get("content").is_some() {
            response["links"] = json!(links);
        }
    }
}
