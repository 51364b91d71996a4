//! Whose access to their bank is gone, and who are linking a bank at that moment: they are asked to link it again where
//! that has not done it, and only there.

use chrono::TimeDelta;
use drop_sandbox::{Account, Decision};
use drop_tests::app::TestApp;
use rstest::rstest;

use crate::{
    balances::count,
    consent_ends::read_alone,
    consents::{OTHER_IBAN, approves, asks, comes_back, status},
    paying::execute,
};

const ASKED_TO_LINK: &str = "SELECT count(*) FROM notifications WHERE title = 'Koble til banken på nytt'";
const LINKING_IS_OVER: TimeDelta = TimeDelta::minutes(11);

#[tokio::test]
async fn whoever_is_renewing_is_not_told_to_link_again_when_the_bank_ends_the_old_consent_first() {
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.new_consent_ends_older = true);
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let (_, link) = asks(&anna, "renewal").await;
    app.stop_worker().await;
    comes_back(&approves(&app, &link)).await;
    // A planned read is quicker than the look that will see the new consent.
    app.lane("balance.user", "paused = true").await;
    read_alone(&app, &account).await;
    let over = "SELECT count(*) FROM bank_consents WHERE status = 'deleted'";
    assert_eq!(count(&app, over).await, 1);
    assert_eq!(count(&app, ASKED_TO_LINK).await, 0);
    app.lane("balance.user", "paused = false").await;
    app.run_jobs().await;
    assert_eq!(status(&app).await, "valid");
    let listed = anna.get("/v1/bank-accounts").await.body["accounts"].take();
    assert_eq!(listed[0]["id"], account, "it is linked by the new one");
    app.advance(LINKING_IS_OVER).await;
    app.run_jobs().await;
    assert_eq!(count(&app, ASKED_TO_LINK).await, 0);
    app.finish().await;
}

/// How it ends to link a bank without having the accounts again that were lost.
#[derive(Clone, Copy)]
enum End {
    Rejected,
    OfAnotherBank,
    NeverApproved,
    Unlinked,
}

#[rstest]
#[case(End::Rejected, "rejected")]
#[case(End::OfAnotherBank, "valid")]
#[case(End::NeverApproved, "received")]
#[case(End::Unlinked, "deleted")]
#[tokio::test]
async fn whoever_has_not_got_their_accounts_again_when_linking_is_over_is_asked_once(
    #[case] end: End,
    #[case] stands: &str,
) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    let old = app.sandbox.neonomics().consents()[0].id.clone();
    let (id, link) = asks(&anna, "another").await;
    app.stop_worker().await;
    app.lane("balance.user", "paused = true").await;
    comes_back_from(&app, end, &link).await;
    app.sandbox.neonomics().set_consent_status(&old, "expired").unwrap();
    read_alone(&app, &account).await;
    let over = "SELECT count(*) FROM bank_consents WHERE status = 'deleted' AND consent_id_sealed IS NULL";
    assert_eq!(count(&app, over).await, 1);
    app.lane("balance.user", "paused = false").await;
    app.run_jobs().await;
    if matches!(end, End::Unlinked) {
        assert_eq!(anna.delete(&format!("/v1/bank-consents/{id}")).await.status, 204);
    }
    assert_eq!(status(&app).await, stands);
    for _ in 0..2 {
        app.advance(LINKING_IS_OVER).await;
        app.run_jobs().await;
        assert_eq!(count(&app, ASKED_TO_LINK).await, 1);
    }
    app.finish().await;
}

async fn comes_back_from(app: &TestApp, end: End, link: &str) {
    match end {
        End::Rejected => {
            let back = app.sandbox.bank().decide_at(link, Decision::Reject).unwrap().unwrap();
            comes_back(&back).await;
        }
        End::OfAnotherBank => {
            let first = app.sandbox.neonomics().accounts()[0].clone();
            let other = Account {
                iban: OTHER_IBAN.into(),
                bban: None,
                ..first
            };
            app.sandbox.neonomics().set_accounts(vec![other]);
            comes_back(&approves(app, link)).await;
        }
        End::NeverApproved | End::Unlinked => {
            let at_bank = app.sandbox.neonomics().consents();
            let waits = at_bank.iter().find(|one| one.status == "received").unwrap();
            comes_back(&waits.redirect).await;
        }
    }
}

#[tokio::test]
async fn a_consent_of_another_bank_has_not_taken_the_accounts_of_this_one_over() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    anna.has_an_account().await;
    execute(&app, "UPDATE bank_consents SET bank = 'another'").await;
    let (_, link) = asks(&anna, "second").await;
    anna.decides(&link, Decision::Approve).await;
    let stand: Vec<String> =
        sqlx::query_scalar("SELECT concat_ws(' ', bank, status, taken_over_by) FROM bank_consents ORDER BY created_at")
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(stand, ["another valid", "neonomics valid"]);
    app.finish().await;
}

#[tokio::test]
async fn a_wish_to_link_that_is_not_being_approved_is_no_reason_to_keep_silent() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    asks(&anna, "left-open").await;
    app.stop_worker().await;
    let old = app
        .sandbox
        .neonomics()
        .consents()
        .into_iter()
        .find(|one| one.status == "valid");
    app.sandbox
        .neonomics()
        .set_consent_status(&old.unwrap().id, "expired")
        .unwrap();
    read_alone(&app, &account).await;
    assert_eq!(count(&app, ASKED_TO_LINK).await, 1);
    app.finish().await;
}
