//! Two API processes and three workers on one database: every request comes twice, and nothing happens twice.

use drop_sandbox::{Decision, Delivery, Review};
use drop_tests::{
    app::{TestApp, eventually},
    fleet::Fleet,
    person::{Answer, SignedIn, browser},
};
use futures_util::future::join_all;
use serde_json::json;

const PEOPLE: [&str; 4] = ["anna", "marko", "leap_day", "d_number"];

#[tokio::test(flavor = "multi_thread")]
async fn two_apis_and_three_workers_play_the_walk_through_without_a_double_effect() {
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 2,
        workers: 3,
    };
    let mut app = TestApp::start_fleet(fleet).await;
    join_all(PEOPLE.map(|person| walk_through(&app, person))).await;
    app.until_idle().await;

    let people = i64::try_from(PEOPLE.len()).unwrap();
    for (what, count) in [
        ("users", "SELECT count(*) FROM users"),
        ("sessions", "SELECT count(*) FROM sessions"),
        (
            "checks",
            "SELECT count(*) FROM screening_results WHERE result = 'approved'",
        ),
        ("consents", "SELECT count(*) FROM bank_consents WHERE status = 'valid'"),
        (
            "payments",
            "SELECT count(*) FROM transactions WHERE status = 'completed'",
        ),
        (
            "attempts",
            "SELECT count(*) FROM payment_attempts WHERE outcome = 'accepted'",
        ),
        (
            "news of the check",
            "SELECT count(*) FROM notifications WHERE kind = 'kyc'",
        ),
        (
            "news of the payment",
            "SELECT count(*) FROM notifications WHERE kind = 'payment'",
        ),
        (
            "completions",
            "SELECT count(*) FROM audit_log WHERE action = 'payment.moved' AND detail ->> 'to' = 'completed'
                AND detail ->> 'from' = 'processing'",
        ),
        (
            "initiations",
            "SELECT count(*) FROM jobs WHERE kind = 'initiate-payment' AND state = 'done' AND attempt = 1",
        ),
    ] {
        let counted: i64 = sqlx::query_scalar(count).fetch_one(&app.db).await.unwrap();
        assert_eq!(counted, people, "{what}");
    }
    let failures: i64 = sqlx::query_scalar("SELECT count(*) FROM job_attempts")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(failures, 0, "no job failed or lost its lease");
    assert_eq!(app.sandbox.sumsub().applicants().len(), PEOPLE.len());
    assert_eq!(app.sandbox.neonomics().consents().len(), PEOPLE.len());
    assert_eq!(app.sandbox.neonomics().payments().len(), PEOPLE.len());
    app.everything_runs();
    app.finish().await;
}

/// One person, from login to a completed payment, with every request doubled; the two go to different processes.
async fn walk_through(app: &TestApp, name: &str) {
    let login = app.start_login().await;
    let back = app.sandbox.bankid().sign_in(&login.authorization_url, name).unwrap();
    let (one, other) = tokio::join!(app.come_back(&back, &login.cookie), app.come_back(&back, &login.cookie));
    let (signed_in, refused) = if one.status == 200 { (one, other) } else { (other, one) };
    assert_eq!(signed_in.status, 200, "{:?}", signed_in.problem());
    assert_eq!(refused.problem(), (400, "invalid_state"));
    let person = app.person(&signed_in);

    let wanted = json!({ "email": format!("{name}@example.com") });
    let (one, other) = tokio::join!(
        person.post("/v1/kyc/applicant", &wanted),
        person.post("/v1/kyc/applicant", &wanted)
    );
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (201, 201));
    let twice = Delivery {
        times: 2,
        ..Delivery::default()
    };
    let review = Review::of(&person.user, "GREEN");
    let sent = app.sandbox.sumsub().review(review, &twice).await.unwrap();
    assert_eq!(sent.statuses, [Some(200), Some(200)]);
    assert!(eventually(async || person.get("/v1/kyc").await.body["status"] == "approved").await);

    let (one, other) = tokio::join!(
        person.post_once("/v1/bank-consents", "link"),
        person.post_once("/v1/bank-consents", "link")
    );
    assert_eq!(
        one.body["id"],
        other.body["id"],
        "{:?} {:?}",
        one.problem(),
        other.problem()
    );
    come_back_twice(app, &one).await;
    assert!(eventually(async || balance(&person).await == "45230.00").await);

    let accounts = person.get("/v1/bank-accounts").await;
    let order = json!({
        "accountId": accounts.body["accounts"][0]["id"],
        "instructedAmount": { "amount": "2010.00", "currency": "NOK" },
        "creditorName": "Marko Horvat",
        "creditorAccount": { "iban": "HR1210010051863000160" },
    });
    let (one, other) = tokio::join!(
        person.post_keyed("/v1/transactions", "pay", &order),
        person.post_keyed("/v1/transactions", "pay", &order)
    );
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (201, 201));
    assert_eq!(one.body["id"], other.body["id"]);
    come_back_twice(app, &one).await;
    let path = format!("/v1/transactions/{}", one.body["id"].as_str().unwrap());
    assert!(eventually(async || person.get(&path).await.body["status"] == "completed").await);
}

/// Approves at the bank; the browser comes back twice at the same time.
async fn come_back_twice(app: &TestApp, linked: &Answer) {
    let link = linked.body["scaRedirect"].as_str().expect("a link");
    let back = app.sandbox.bank().decide_at(link, Decision::Approve).unwrap().unwrap();
    let (one, other) = tokio::join!(browser().get(&back).send(), browser().get(&back).send());
    assert_eq!(
        (one.unwrap().status().as_u16(), other.unwrap().status().as_u16()),
        (200, 200)
    );
}

async fn balance(person: &SignedIn<'_>) -> String {
    let listed = person.get("/v1/bank-accounts").await;
    let amount = &listed.body["accounts"][0]["balance"]["amount"];
    amount.as_str().unwrap_or_default().to_owned()
}
