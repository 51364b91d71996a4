//! Every form of every page, on rows that are there: a viewer can send none of them, and each leaves its row in the audit log.

use std::collections::BTreeSet;

use super::{
    forms::forms_of,
    scene::{KARI, OLA, Visitor, audited, everything, service, stands},
};

/// Every route that changes something, as the pages' forms name it, and what it does there.
const KINDS: [&str; 18] = [
    "/operator/breakers/set false",
    "/operator/breakers/set true",
    "/operator/cron/run",
    "/operator/jobs/change cancel",
    "/operator/jobs/change discard",
    "/operator/jobs/change retry",
    "/operator/jobs/change-dead discard",
    "/operator/jobs/change-dead retry",
    "/operator/lanes/pause",
    "/operator/lanes/resume",
    "/operator/payments/…/retry",
    "/operator/payments/…/settle",
    "/operator/payments/…/track",
    "/operator/webhooks/change dismiss",
    "/operator/webhooks/change replay",
    "/operator/webhooks/replay-all",
    "/operator/workers/quiet true",
    "/operator/workers/quiet false",
];

#[tokio::test]
async fn a_viewer_sees_every_page_and_can_send_no_form_that_an_operator_sees() {
    let app = service().await;
    let pages = everything(&app).await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let mut ola = Visitor::signed_in(&app, OLA).await;
    let own = ola.form_token().await;
    let before = stands(&app).await;
    let mut kinds = BTreeSet::new();
    for page in &pages {
        let offered = forms_of(&ola.sees(page).await);
        assert!(offered.is_empty(), "{page} offers a viewer {offered:?}");
        for form in forms_of(&kari.sees(page).await) {
            for way in &form.ways {
                let kind = form.kind(way);
                let given: Vec<(&str, &str)> = way
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                let given = [given.as_slice(), &[("reason", "ticket 12"), ("form", &own)]].concat();
                assert_eq!(ola.post(&form.action, &given).await.status, 403, "{kind}: {given:?}");
                kinds.insert(kind);
            }
        }
    }
    // The worker is not quiet, so nothing offers to let it go on.
    let offered: Vec<&str> = KINDS
        .into_iter()
        .filter(|kind| !kind.ends_with("quiet false"))
        .collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), offered);
    assert_eq!(stands(&app).await, before);
    app.abandon_without_books().await;
}

#[tokio::test]
async fn every_form_leaves_a_row_in_the_audit_log_that_says_who_why_before_and_after() {
    let app = service().await;
    let pages = everything(&app).await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    for kind in KINDS {
        let mut offered = None;
        for page in &pages {
            let shown = kari.get(page).await.text; // a job that was discarded has no page any more
            offered = forms_of(&shown).into_iter().find_map(|form| {
                let way = form.ways.iter().find(|way| form.kind(way) == kind)?.clone();
                Some((form.action, way))
            });
            if offered.is_some() {
                break;
            }
        }
        let (action, way) = offered.unwrap_or_else(|| panic!("no page offers {kind}"));
        let before = audited(&app).await.len();
        let given: Vec<(&str, &str)> = way
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let done = kari.does(&action, &given).await;
        let changed: usize = done.location.rsplit("n=").next().unwrap().parse().unwrap();
        let mut rows = audited(&app).await.split_off(before);
        // What the domain writes of a payment that moves is beside it.
        rows.retain(|(what, ..)| what != "payment.moved");
        assert!(
            changed > 0 && rows.len() == changed,
            "{kind} changed {changed}: {rows:?}"
        );
        for (what, object, detail) in rows {
            assert!(done.location.contains(&format!("did={what}")), "{kind}: {what}");
            assert!(!object.is_empty());
            assert_eq!(
                (&detail["operator"], &detail["reason"]),
                (&"kari".into(), &"ticket 12".into()),
                "{kind}"
            );
            let (before, after) = (detail.get("before").unwrap(), detail.get("after").unwrap());
            assert!(before != after, "{kind}: {before} and {after}");
        }
    }
    // What those did that no other test looks at.
    let did = async |query: &'static str| -> bool { sqlx::query_scalar(query).fetch_one(&app.db).await.unwrap() };
    for query in [
        "SELECT count(*) = 1 FROM transactions WHERE payment_id = 'found-there' AND NOT needs_review",
        "SELECT count(*) = 1 FROM jobs WHERE kind = 'initiate-payment' AND state = 'ready'",
        "SELECT count(*) = 3 FROM jobs WHERE kind = 'apply-kyc-event' AND state = 'ready'",
        "SELECT count(*) = 1 FROM webhook_events WHERE note = 'dismissed'",
        "SELECT fails = '{}' FROM breaker WHERE key = 'neonomics/pisp'",
    ] {
        assert!(did(query).await, "{query}");
    }
    let dismissed = audited(&app)
        .await
        .into_iter()
        .find(|(what, ..)| what == "webhook.dismissed");
    assert_eq!(dismissed.unwrap().2["before"]["state"], "quarantined");
    app.abandon_without_books().await;
}
