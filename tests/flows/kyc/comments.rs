//! What Sumsub says to somebody who must try again (`moderationComment`), and to nobody else.

use drop_sandbox::Review;
use drop_tests::app::TestApp;
use serde_json::json;

use super::{
    reconciling::{happens, happens_unheard, passes, reconciles},
    scene::{ago, starts},
};
use crate::paying::value;

const BLURRY: &str = "The photo of your document is blurry.";

fn said(comment: &str, review: Review) -> Review {
    Review {
        moderation_comment: Some(comment.to_owned()),
        ..review
    }
}

#[tokio::test]
async fn who_must_try_again_is_shown_what_was_not_good_enough_until_they_have() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens(&app, said(BLURRY, ago(40, Review::of(&anna.user, "RETRY")))).await;
    let shown = json!({ "status": "pending", "applicant": "created", "next": "retry", "comment": BLURRY });
    assert_eq!(anna.get("/v1/kyc").await.body, shown);
    assert_eq!(starts(&anna).await, shown);
    // The newest is shown, and none where Sumsub has said nothing.
    happens(&app, ago(30, Review::of(&anna.user, "RETRY"))).await;
    assert_eq!(anna.get("/v1/kyc").await.body.get("comment"), None);
    happens(&app, said("Another page.", ago(20, Review::of(&anna.user, "RETRY")))).await;
    assert_eq!(anna.get("/v1/kyc").await.body["comment"], "Another page.");
    happens(&app, ago(10, Review::event(&anna.user, "applicantPending"))).await;
    let waits = json!({ "status": "pending", "applicant": "created", "next": "wait" });
    assert_eq!(anna.get("/v1/kyc").await.body, waits);
    let told: i64 = value(
        &app,
        "SELECT count(*) FROM notifications WHERE body LIKE '%blurry%' OR body LIKE '%page%'",
    )
    .await;
    assert_eq!(told, 0, "what is pushed to a phone is ours alone");
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_for_good_says_nothing_of_why() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens(&app, said("On a list.", Review::of(&anna.user, "RED"))).await;
    let shown = json!({ "status": "rejected", "applicant": "created", "next": "support" });
    assert_eq!(anna.get("/v1/kyc").await.body, shown);
    let kept: i64 = value(&app, "SELECT count(*) FROM screening_results WHERE comment IS NOT NULL").await;
    assert_eq!(kept, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_comment_whose_webhook_was_lost_comes_with_the_answer_to_our_question() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens_unheard(&app, said(BLURRY, Review::of(&anna.user, "RETRY"))).await;
    passes(&app, 31).await;
    reconciles(&app).await;
    let kept: String = value(&app, "SELECT comment FROM screening_results").await;
    assert_eq!(kept, BLURRY);
    app.finish().await;
}

/// An event is kept as Sumsub signed it; the answer to a question of ours is not, and so it holds only what is used.
#[tokio::test]
async fn what_an_answer_says_beside_a_refusal_is_kept_nowhere() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens_unheard(&app, said("On a list.", Review::of(&anna.user, "RED"))).await;
    passes(&app, 31).await;
    reconciles(&app).await;
    let stored: String = value(
        &app,
        "SELECT convert_from(raw, 'UTF8') FROM webhook_events WHERE state = 'applied'",
    )
    .await;
    assert!(stored.contains("RED") && !stored.contains("On a list."), "{stored}");
    app.finish().await;
}
