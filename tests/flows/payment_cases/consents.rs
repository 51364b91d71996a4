//! A consent that is dead to a payment (case 48), and that of the service itself.

use drop_common::storage::{consents, users};
use drop_sandbox::{Fault, Operation};
use drop_tests::{
    alerts,
    app::{TestApp, eventually},
};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::{
    paying::{audited, value},
    payment_faults::scene::{Payer, recovers},
};

fn dead_consent(status: u16, code: &str) -> Fault {
    Fault::Status {
        code: status,
        body: Some(json!({ "tppMessages": [{ "category": "ERROR", "code": code }] })),
    }
}

/// Where the consent stands, how many accounts are linked by it, and what its owner was told.
const UNDER_THE_CONSENT: &str = "SELECT concat_ws('|', c.status, (SELECT count(*) FROM bank_accounts WHERE status = 'linked'),
    (SELECT string_agg(body, '|' ORDER BY kind) FROM notifications WHERE kind IN ('consent', 'payment'))) FROM bank_consents c";
const LINK_AGAIN: &str =
    "Vi har ikke lenger tilgang til kontoen din i banken. Koble den til på nytt for å se saldoen og betale.";

#[rstest]
#[case(403, "CONSENT_EXPIRED")]
#[case(401, "CONSENT_INVALID")]
#[case(400, "CONSENT_UNKNOWN")]
#[tokio::test]
async fn a_consent_that_is_dead_to_a_payment_is_deleted_and_its_owner_asked_to_link_again(
    #[case] status: u16,
    #[case] code: &str,
) {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    sqlx::query("UPDATE bank_consents SET authorised_at = authorised_at - interval '11 min'")
        .execute(&app.db)
        .await
        .unwrap();
    app.sandbox.fault(Operation::Payment, dead_consent(status, code), 1);
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "failed:consent_expired");
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 1);
    let own = "Banken godtar ikke lenger koblingen til kontoen din. Koble den til på nytt, og betal så igjen.";
    assert_eq!(
        value::<String>(&app, UNDER_THE_CONSENT).await,
        format!("deleted|0|{LINK_AGAIN}|{own}")
    );
    assert_eq!(audited(&app, "consent.deleted").await, 1);
    assert_eq!(value::<i64>(&app, "SELECT held FROM bank_accounts").await, 0);
    let next = payer.asks(&payer.next_order()).await;
    assert_eq!(next.problem(), (404, "not_found"), "nothing is paid under it any more");
    app.finish().await;
}

#[tokio::test]
async fn a_consent_that_was_just_approved_outlives_a_bank_that_does_not_know_of_it_yet() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    app.sandbox
        .fault(Operation::Payment, dead_consent(401, "CONSENT_INVALID"), 1);
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "failed:refused");
    assert_eq!(value::<String>(&app, UNDER_THE_CONSENT).await, "valid|1|Prøv igjen.");
    let next = payer.orders().await;
    assert_eq!(payer.plays_out(&next).await, "completed");
    app.finish().await;
}

#[tokio::test]
async fn a_consent_that_dies_behind_an_attempt_that_may_have_arrived_ends_no_payment() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    app.sandbox.fault(Operation::Payment, Fault::status(503), 1);
    app.sandbox
        .fault(Operation::Payment, dead_consent(403, "CONSENT_EXPIRED"), 1);
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "review");
    assert_eq!(
        value::<String>(&app, UNDER_THE_CONSENT).await,
        format!("deleted|0|{LINK_AGAIN}")
    );
    app.abandon().await; // its job is dead, for a person to see
}

#[tokio::test]
async fn the_consent_of_the_service_goes_along_with_each_payment_and_is_nobodys_to_link_again() {
    alerts::listen();
    let app = TestApp::start_with(&[("PISP_CONSENT_ID", "pis-agreed")]).await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    app.sandbox
        .fault(Operation::Payment, dead_consent(403, "CONSENT_EXPIRED"), 1);
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "failed:refused");
    assert_eq!(alerts::words(&id), ["the bank does not take PISP_CONSENT_ID any more"]);
    assert_eq!(
        value::<String>(&app, UNDER_THE_CONSENT).await,
        "valid|1|Prøv igjen.",
        "the person's own is as good as before"
    );
    let next = payer.orders().await;
    assert_eq!(payer.plays_out(&next).await, "completed");
    for post in app.sandbox.journal().entries_of(Operation::Payment) {
        for header in ["x-consent-id", "consent-id"] {
            assert_eq!(post.header(header), Some("pis-agreed"), "{header}");
        }
    }
    app.finish().await;
}

#[rstest]
#[case::nothing_has_left(None, "failed:consent_expired")]
#[case::an_attempt_may_have(Some(Fault::status(503)), "review")]
#[tokio::test]
async fn an_account_that_was_unlinked_before_the_order_left_pays_nothing(
    #[case] before: Option<Fault>,
    #[case] standing: &str,
) {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    let sent = usize::from(before.is_some());
    if let Some(fault) = before {
        app.sandbox.fault(Operation::Payment, fault, 1);
        app.run_jobs().await;
    }
    let listed = payer.person.get("/v1/bank-consents").await;
    let consent = listed.body["consents"][0]["id"].as_str().unwrap().to_owned();
    let unlinked = payer.person.delete(&format!("/v1/bank-consents/{consent}")).await;
    assert_eq!(unlinked.status, 204, "{:?}", unlinked.problem());
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, standing);
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), sent);
    app.abandon().await; // where a person is to look, its job is dead
}

#[tokio::test]
async fn an_account_that_is_unlinked_while_the_order_waits_to_leave_pays_nothing() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let id = payer.orders().await;
    // As the wish to unlink holds it while it writes.
    let mut unlinking = app.db.begin().await.unwrap();
    let user = payer.person.user.parse().unwrap();
    users::lock_kyc_status(&mut unlinking, user).await.unwrap();
    let consent: Uuid = value(&app, "SELECT id FROM bank_consents").await;
    let unlink = async {
        let waits = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%payment_attempts%'";
        let waits = eventually(async || value::<i64>(&app, waits).await == 1).await;
        consents::end(&mut unlinking, user, consent.into()).await.unwrap();
        unlinking.commit().await.unwrap();
        waits
    };
    let (_, waited) = tokio::join!(app.run_jobs(), unlink);
    assert!(waited, "the order was about to leave");
    recovers(&app).await;
    assert_eq!(payer.standing(&id).await, "failed:consent_expired");
    assert_eq!(app.sandbox.journal().entries_of(Operation::Payment).len(), 0);
    app.finish().await;
}
