//! Who may pay, while it is being paid (cases 49 and 50).

use drop_tests::app::TestApp;
use serde_json::json;

use crate::{
    paying::{approved, execute, value},
    payment_faults::scene::{Payer, approves, recovers},
};

#[tokio::test]
async fn p9_whoever_is_no_longer_verified_pays_nothing_that_has_not_left() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let (before, link) = payer.has_one_at_the_bank().await;
    let unsent = payer.orders().await;
    execute(&app, "UPDATE users SET kyc_status = 'rejected'").await;
    recovers(&app).await;
    assert_eq!(payer.standing(&unsent).await, "failed:kyc_required");
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    let refused = payer.asks(&payer.next_order()).await;
    assert_eq!(refused.problem(), (403, "kyc_required"));
    // What is at the bank goes its way.
    approves(&app, &link).await;
    recovers(&app).await;
    assert_eq!(payer.standing(&before).await, "completed");
    app.finish().await;
}

#[tokio::test]
async fn a_payment_is_followed_to_its_end_although_its_owner_has_been_erased() {
    let app = TestApp::start().await;
    let payer = Payer::of(&app).await;
    let (_, link) = payer.has_one_at_the_bank().await;
    let unsent = payer.orders().await;
    execute(&app, "UPDATE users SET erased_at = clock_timestamp()").await;
    approved(&app, &link);
    recovers(&app).await;
    let ends =
        "SELECT string_agg(status || coalesce(':' || reason, ''), ', ' ORDER BY id) FROM transactions WHERE bank_final";
    assert_eq!(
        value::<String>(&app, ends).await,
        "completed, failed:kyc_required",
        "{unsent} had not left"
    );
    assert_eq!(app.sandbox.neonomics().payments().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_payment_is_followed_to_its_end_although_its_owner_has_logged_out() {
    let app = TestApp::start().await;
    let mut payer = Payer::of(&app).await;
    let (id, link) = payer.has_one_at_the_bank().await;
    let out = payer.person.post("/v1/auth/logout", &json!({})).await;
    assert_eq!(out.status, 204);
    approved(&app, &link); // and the browser is closed
    recovers(&app).await;
    payer.signs_in_again().await;
    assert_eq!(payer.standing(&id).await, "completed");
    let told: i64 = value(&app, "SELECT count(*) FROM notifications WHERE kind = 'payment'").await;
    assert_eq!(told, 1);
    app.finish().await;
}
