//! An approval that is lost stops new payments at once, those that were ordered and have not left included.

use drop_sandbox::{Delivery, Operation, Review};
use drop_tests::app::TestApp;
use rstest::rstest;

use crate::paying::{order, ordered, pays, shown};

#[rstest]
#[case::final_refusal("applicantReviewed", Some("RED"))]
#[case::another_try("applicantReviewed", Some("RETRY"))]
#[case::reset("applicantReset", None)]
#[case::deactivation("applicantDeactivated", None)]
#[tokio::test]
async fn who_is_no_longer_approved_pays_nothing_and_what_was_ordered_never_leaves(
    #[case] event: &str,
    #[case] answer: Option<&str>,
) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    app.lane("payment.send", "paused = true").await;
    let waiting = ordered(&app, &anna, &account).await;
    let lost = Review {
        event_type: event.to_owned(),
        answer: answer.map(str::to_owned),
        ..Review::of(&anna.user, "")
    };
    let sent = app.sandbox.sumsub().review(lost, &Delivery::default()).await.unwrap();
    assert_eq!(sent.statuses, [Some(200)]);
    app.run_jobs().await;

    assert_eq!(pays(&anna, &account, "second").await.problem(), (403, "kyc_required"));
    app.lane("payment.send", "paused = false").await;
    app.run_jobs().await;
    let ended = shown(&anna, &waiting).await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&"failed".into(), &"kyc_required".into())
    );
    assert!(app.sandbox.journal().entries_of(Operation::Payment).is_empty());

    // Approved again, they may pay again.
    let sent = app
        .sandbox
        .sumsub()
        .review(Review::of(&anna.user, "GREEN"), &Delivery::default())
        .await;
    assert_eq!(sent.unwrap().statuses, [Some(200)]);
    app.run_jobs().await;
    let third = anna
        .post_later("/v1/transactions", "third", &order(&account, "99.00"))
        .await;
    assert_eq!(third.status, 202, "{:?}", third.problem());
    app.abandon().await;
}
