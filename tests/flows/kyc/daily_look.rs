//! A decision may be taken back, and the webhook that says so may be lost: Sumsub is asked about everybody within a day.

use drop_sandbox::Review;
use drop_tests::app::TestApp;
use rstest::rstest;

use super::{
    reconciling::{asked, happens, happens_unheard, passes, reconciles, status, told},
    scene::{ago, starts},
};

const DAY: i64 = 24 * 60;

#[rstest]
#[case::an_approval("GREEN", "RED", "rejected")]
#[case::a_refusal("RED", "GREEN", "approved")]
#[tokio::test]
async fn a_decision_that_was_taken_back_unheard_is_found_within_a_day(
    #[case] first: &str,
    #[case] then: &str,
    #[case] ends: &str,
) {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens(&app, ago(120, Review::of(&anna.user, first))).await;
    happens_unheard(&app, Review::of(&anna.user, then)).await;
    passes(&app, DAY - 60 - 5).await;
    reconciles(&app).await;
    assert_eq!(asked(&app), 0, "once a day is enough");
    passes(&app, 10).await;
    reconciles(&app).await;
    assert_eq!((asked(&app), status(&app).await), (1, ends.to_owned()));
    assert_eq!(told(&app).await.len(), 2);
    for _ in 0..3 {
        passes(&app, DAY).await;
        reconciles(&app).await;
    }
    assert_eq!(asked(&app), 4);
    assert_eq!(told(&app).await.len(), 2, "what is known is told once");
    app.finish().await;
}

/// Nothing that Sumsub says of a check that begins anew tells one beginning from another.
#[tokio::test]
async fn a_check_that_began_anew_unheard_is_found_each_time() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    for (times, seconds_ago) in [(1, 120), (2, 60)] {
        happens(&app, ago(seconds_ago, Review::of(&anna.user, "GREEN"))).await;
        assert_eq!(status(&app).await, "approved");
        let reset = Review::event(&anna.user, "applicantReset");
        happens_unheard(&app, ago(seconds_ago - 30, reset)).await;
        passes(&app, DAY).await;
        reconciles(&app).await;
        assert_eq!((asked(&app), status(&app).await), (times, "pending".to_owned()));
    }
    let (verified, anew) = ("Du er nå verifisert", "Du må verifisere deg på nytt");
    assert_eq!(told(&app).await, [verified, anew, verified, anew]);
    app.finish().await;
}

#[tokio::test]
async fn who_asks_again_and_again_is_asked_about_all_the_same() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    starts(&anna).await;
    app.stop_worker().await;
    happens_unheard(&app, Review::of(&anna.user, "GREEN")).await;
    passes(&app, 31).await;
    starts(&anna).await;
    reconciles(&app).await;
    assert_eq!((asked(&app), status(&app).await), (1, "approved".to_owned()));
    app.finish().await;
}
