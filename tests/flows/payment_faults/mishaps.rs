//! What goes wrong in a random run beside a worker that dies: at the bank, in an API, with the database, with the person.

use std::time::Duration;

use drop_sandbox::{Decision, Fault, Operation};
use drop_tests::{
    app::{TestApp, eventually},
    person::{Answer, browser},
    processes::Node,
};
use reqwest::{RequestBuilder, Url};
use serde_json::json;

use super::{
    random::Chance,
    scene::{Order, PROGRAM, Payer, kill},
};
use crate::paying::{execute, value};

const CALLS: [Operation; 4] = [
    Operation::Payment,
    Operation::PaymentAuthorise,
    Operation::PaymentStatus,
    Operation::PaymentCancel,
];
const ORDERING: [&str; 7] = [
    "pay.read",
    "pay.begun",
    "pay.validated",
    "pay.inserted",
    "pay.commit_sent",
    "pay.committed",
    "pay.answered",
];
const COMING_BACK: [&str; 2] = ["pay.callback_read", "pay.callback_stored"];
const TAKING_BACK: [&str; 3] = ["cancel.taken_back", "cancel.asked", "cancel.stored"];

pub(super) fn at_the_bank(app: &TestApp, chance: &mut Chance) {
    let failed = chance.one_of(&[500, 502, 503, 504]);
    let refused = chance.one_of(&[400, 401, 403, 404, 405, 409, 422]);
    let dead = json!({ "tppMessages": [{ "category": "ERROR", "code": "CONSENT_EXPIRED" }] });
    let faults = [
        None,
        None,
        Some(Fault::status(failed)),
        Some(Fault::ExecuteThenStatus { code: failed }),
        Some(Fault::status(refused)),
        Some(Fault::Status {
            code: 403,
            body: Some(dead),
        }),
        Some(Fault::Limited { retry_after: 1 }),
        Some(Fault::Drop),
        Some(Fault::Garbage),
        Some(Fault::Truncate),
        Some(Fault::ExecuteThenDrop),
        Some(Fault::Delay { ms: 600 }),
    ];
    // One after the other, so that what a first answer leaves open is met by a second.
    let call = chance.one_of(&CALLS);
    for _ in 0..=chance.below(3) {
        if let Some(fault) = chance.one_of(&faults) {
            app.sandbox.fault(call, fault, 1);
        }
    }
}

/// The server is gone for a moment, whatever is under way.
pub(super) async fn the_database_restarts(app: &TestApp) {
    app.crash_database().await;
    let away = Duration::from_millis(300);
    tokio::time::timeout(away, std::future::pending::<()>()).await.ok();
    app.restart_database().await;
}

/// The person unlinks the bank or is found not to be who they said, and some time later all is well again.
pub(super) async fn to_the_person(payer: &mut Payer<'_>, chance: &mut Chance) {
    if chance.below(3) == 0 {
        execute(payer.app, "UPDATE users SET kyc_status = 'approved'").await;
        let linked = "SELECT EXISTS (SELECT FROM bank_accounts WHERE status = 'linked')";
        if !value::<bool>(payer.app, linked).await {
            links_again(payer).await;
        }
    }
    match chance.below(15) {
        0 => execute(payer.app, "UPDATE users SET kyc_status = 'rejected'").await,
        1 => {
            let listed = payer.person.get("/v1/bank-consents").await;
            let newest = listed.body["consents"][0]["id"].as_str().unwrap().to_owned();
            let unlinked = payer.person.delete(&format!("/v1/bank-consents/{newest}")).await;
            assert_eq!(unlinked.status, 204, "{:?}", unlinked.problem());
        }
        _ => {}
    }
}

async fn links_again(payer: &mut Payer<'_>) {
    payer.app.sandbox.faults().clear(None);
    payer.app.start_worker().await;
    let key = uuid::Uuid::new_v4().to_string();
    let asked = payer.person.post_once("/v1/bank-consents", &key).await;
    let link = asked.body["scaRedirect"].as_str();
    let link = link.unwrap_or_else(|| panic!("{:?}", asked.problem()));
    let decided = payer.app.sandbox.bank().decide_at(link, Decision::Approve);
    let back = decided.unwrap().expect("a way back");
    assert_eq!(browser().get(back).send().await.unwrap().status(), 200);
    let linked = async || payer.person.get("/v1/bank-accounts").await.body["accounts"] != json!([]);
    assert!(eventually(linked).await, "the account is not linked again");
    payer.app.stop_worker().await;
}

/// Now and then somebody meets an API that dies at one of these points, or at none.
async fn dying_api(app: &TestApp, points: &[&str], chance: &mut Chance) -> Option<(Node, String)> {
    if chance.below(6) != 0 {
        return None;
    }
    let armed = format!("{}=abort", chance.one_of(points));
    Some(app.api_process(PROGRAM, &[("DROP_FAILPOINT", &armed)]).await)
}

/// The answer of another API to the request, if it lives to give one.
async fn answer_at(url: &str, request: RequestBuilder) -> Option<Answer> {
    let mut request = request.build().unwrap();
    let port = Url::parse(url).unwrap().port();
    request.url_mut().set_port(port).unwrap();
    match browser().execute(request).await {
        Ok(response) => Some(Answer::of(response).await),
        Err(_) => None,
    }
}

pub(super) async fn asks_an_api_that_dies(payer: &Payer<'_>, order: &Order, chance: &mut Chance) {
    if let Some((dying, url)) = dying_api(payer.app, &ORDERING, chance).await {
        let request = payer.person.request("/v1/transactions").json(&order.body);
        let request = request.header("Prefer", "respond-async");
        if let Some(answer) = answer_at(&url, request.header("Idempotency-Key", &order.key)).await {
            let asked = Some((order.key.as_str(), &order.body));
            payer.app.ledger.hear(&payer.person.user, asked, &answer);
        }
        kill(dying).await;
    }
}

pub(super) async fn comes_back(app: &TestApp, back: &str, chance: &mut Chance) {
    if let Some((dying, url)) = dying_api(app, &COMING_BACK, chance).await {
        answer_at(&url, browser().get(back)).await;
        kill(dying).await;
    }
    let came_back = browser().get(back).send().await.unwrap().status();
    assert!([200, 429, 503].contains(&came_back.as_u16()), "{came_back}");
}

pub(super) async fn takes_back(payer: &Payer<'_>, id: &str, chance: &mut Chance) {
    if let Some((dying, url)) = dying_api(payer.app, &TAKING_BACK, chance).await {
        let wish = payer.person.request(&format!("/v1/transactions/{id}/cancel"));
        let answer = answer_at(&url, wish.header("Prefer", "respond-async")).await;
        if let Some(answer) = answer {
            payer.app.ledger.hear(&payer.person.user, None, &answer);
        }
        kill(dying).await;
    }
    payer.takes_back(id).await;
}
