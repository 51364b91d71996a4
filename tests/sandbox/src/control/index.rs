//! The control interface in plain words.

use serde_json::{Value, json};

use crate::operation::{Operation, Provider};

const ROUTES: [(&str, &str); 30] = [
    ("GET /control", "this list"),
    ("POST /control/reset", "everything back to the state after the start"),
    ("GET /control/clock", "the time all providers go by"),
    (
        "POST /control/clock",
        "move it: {\"advanceSeconds\":3600} or {\"set\":\"2026-03-01T00:00:00Z\"}",
    ),
    (
        "GET /control/journal/{provider}",
        "requests received and effects, oldest first",
    ),
    (
        "GET /control/confidential",
        "codes, states, tokens and their like that were seen, by name: what the journal leaves out",
    ),
    ("GET /control/{provider}/faults", "faults waiting for requests"),
    (
        "POST /control/{provider}/faults",
        "queue one: {\"operation\":\"payment\",\"kind\":\"status\",\"code\":503,\"times\":3}; without times until cleared",
    ),
    ("DELETE /control/{provider}/faults", "forget them"),
    ("GET /control/bankid/people", "the test people"),
    (
        "POST /control/bankid/people",
        "add or replace one: {\"key\",\"nationalId\",\"givenName\",\"familyName\",\"birthdate\",\"note\"}",
    ),
    (
        "POST /control/bankid/redirect-uris",
        "register one more redirect address: {\"uri\"}",
    ),
    (
        "POST /control/bankid/sign-in",
        "sign in: {\"authorizationUrl\",\"person\"}; answers {\"redirect\"}",
    ),
    (
        "POST /control/bankid/keys",
        "{\"action\":\"rotate\",\"keepOld\":true} or {\"action\":\"publishNext\"}",
    ),
    (
        "POST /control/bankid/tokens",
        "{\"algorithm\":\"RS256\",\"next\":[{\"kind\":\"claim\",\"name\":\"nonce\",\"value\":\"x\"}],\"always\":[],\"keysMaxAge\":300,\"ignorePkce\":true}",
    ),
    (
        "POST /control/bankid/returns",
        "the next way back to the client: {\"next\":[{\"name\":\"iss\",\"value\":\"https://other.example\"},{\"name\":\"code\"}]}",
    ),
    ("GET /control/neonomics/settings", "how the bank behaves"),
    (
        "PATCH /control/neonomics/settings",
        "change some of it: {\"deduplicate\":false}",
    ),
    ("GET /control/neonomics/consents", "every consent"),
    (
        "POST /control/neonomics/consents/{id}",
        "put it into a state: {\"status\":\"expired\"}",
    ),
    ("GET /control/neonomics/payments", "every payment"),
    (
        "POST /control/neonomics/payments/{id}",
        "put it into a state: {\"status\":\"ACSC\"}",
    ),
    (
        "GET, PUT /control/neonomics/accounts",
        "the person's accounts; PUT takes the whole list",
    ),
    ("POST /control/neonomics/tokens/expire", "end every access token"),
    (
        "POST /control/bank/decisions",
        "act as the person: {\"at\":\"<scaRedirect>\",\"decision\":\"approve|reject|leave\"}; answers {\"redirect\"}",
    ),
    ("GET /control/sumsub/applicants", "every applicant"),
    (
        "POST /control/sumsub/reviews",
        "{\"reviews\":[{\"externalUserId\",\"answer\":\"GREEN\"}],\"delivery\":{\"times\":1,\"digest\":\"right\"}}; times 0 only builds",
    ),
    ("GET /control/sumsub/webhooks", "every webhook built"),
    (
        "POST /control/sumsub/webhooks/{number}/resend",
        "send one again, byte by byte the same",
    ),
    (
        "POST /control/sumsub/settings",
        "{\"webhookUrl\":\"http://…\",\"refuseBearer\":true}",
    ),
];

pub(super) fn index() -> Value {
    let operations = |provider: Provider| -> Vec<&str> {
        Operation::ALL
            .into_iter()
            .filter(|operation| operation.provider() == provider)
            .map(Operation::name)
            .collect()
    };
    let by_provider: serde_json::Map<_, _> = Provider::ALL
        .into_iter()
        .map(|provider| (provider.name().to_owned(), json!(operations(provider))))
        .collect();
    let routes: Vec<_> = ROUTES
        .iter()
        .map(|(route, what)| json!({ "route": route, "what": what }))
        .collect();
    json!({
        "routes": routes,
        "operations": by_provider,
        "faults": [
            "status", "limited", "redirect", "delay", "hang", "garbage", "truncate", "oversize", "drip", "drop",
            "executeThenDrop", "executeThenHang", "executeThenStatus",
        ],
    })
}
