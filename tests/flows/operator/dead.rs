//! The dead by what they died of, and what is done with all of a group.

use serde_json::json;

use super::{
    forms::forms_of,
    scene::{KARI, Visitor, audited, count, dead_jobs, service},
};

/// The form of a page with what is done with all dead jobs of its filter.
fn with_all(page: &str, share: &str, verb: &str) -> Vec<(String, String)> {
    let form = forms_of(page)
        .into_iter()
        .find(|form| form.action.ends_with("/change-dead"));
    let ways = form.unwrap_or_else(|| panic!("{page}")).ways;
    let holds = |way: &[(String, String)], name: &str, value: &str| way.contains(&(name.to_owned(), value.to_owned()));
    let way = ways
        .into_iter()
        .find(|way| holds(way, "share", share) && holds(way, "verb", verb));
    way.unwrap()
}

/// Does with all dead jobs what the page's form offers.
async fn does_with_all(kari: &mut Visitor, page: &str, share: &str, verb: &str) {
    let form = with_all(page, share, verb);
    let given: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    kari.does("/operator/jobs/change-dead", &given).await;
}

/// The page of a group, by what its jobs died of.
async fn group(kari: &mut Visitor, error: &str) -> String {
    let groups = kari.sees("/operator/jobs/dead").await;
    let row = groups.split("<tr>").find(|row| row.contains(&format!(">{error}<")));
    let row = row.unwrap_or_else(|| panic!("no group {error}: {groups}"));
    let link = row
        .split("href=\"")
        .nth(1)
        .and_then(|link| link.split('"').next())
        .unwrap();
    kari.sees(&link.replace("&amp;", "&")).await
}

#[tokio::test]
async fn dead_jobs_are_grouped_by_what_they_died_of_and_a_trial_takes_five() {
    let app = service().await;
    app.lane("balance.batch", "paused = true").await; // they shall stay as they are
    dead_jobs(&app, 30, "the bank answered").await;
    dead_jobs(&app, 2, "the lease ended").await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let groups = kari.sees("/operator/jobs/dead").await;
    assert!(
        groups.contains("the bank answered …") && groups.contains(">30<") && groups.contains(">2<"),
        "{groups}"
    );
    let ready = "SELECT count(*) FROM jobs WHERE kind = 'sync-balance' AND state = 'ready'";
    let page = group(&mut kari, "the bank answered …").await;
    does_with_all(&mut kari, &page, "trial", "retry").await;
    assert_eq!(count(&app, ready).await, 5);
    assert_eq!(audited(&app).await.len(), 5, "a row for each");
    does_with_all(&mut kari, &page, "tenth", "retry").await;
    assert_eq!(audited(&app).await.len(), 7, "of the 25 that are left");
    does_with_all(&mut kari, &page, "all", "discard").await;
    let dead = "SELECT count(*) FROM jobs WHERE kind = 'sync-balance' AND state = 'dead'";
    assert_eq!(count(&app, dead).await, 2, "those of another error");
    let audited = audited(&app).await;
    assert_eq!(audited.len(), 30);
    assert_eq!(
        (&audited[29].0, &audited[29].2["before"]["state"]),
        (&"job.discarded".to_owned(), &json!("dead"))
    );
    app.abandon().await;
}

#[tokio::test]
async fn what_is_done_with_all_of_a_group_is_done_to_those_that_the_page_showed_and_to_no_others() {
    let app = service().await;
    app.lane("balance.batch", "paused = true").await;
    let older = dead_jobs(&app, 1, "the bank answered").await[0];
    sqlx::query("UPDATE jobs SET state = 'ready', finished_at = NULL WHERE id = $1")
        .bind(older)
        .execute(&app.db)
        .await
        .unwrap();
    dead_jobs(&app, 3, "the bank answered").await;
    dead_jobs(&app, 2, "the bank answered 503 to a read of").await;
    let without = dead_jobs(&app, 2, "forgotten").await;
    sqlx::query("UPDATE jobs SET last_error = NULL WHERE id = ANY ($1)")
        .bind(&without)
        .execute(&app.db)
        .await
        .unwrap();
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let page = group(&mut kari, "the bank answered …").await;
    assert!(page.contains("jobs of this filter: 3"), "{page}");
    // Somebody looks at it, and meanwhile two more die of the same: a new one, and an older one.
    dead_jobs(&app, 1, "the bank answered").await;
    sqlx::query("UPDATE jobs SET state = 'dead', finished_at = clock_timestamp() WHERE id = $1")
        .bind(older)
        .execute(&app.db)
        .await
        .unwrap();
    does_with_all(&mut kari, &page, "all", "discard").await;
    assert_eq!(audited(&app).await.len(), 3);
    let dead = "SELECT count(*) FROM jobs WHERE kind = 'sync-balance' AND state = 'dead'";
    assert_eq!(count(&app, dead).await, 2 + 2 + 2);
    let page = group(&mut kari, "no error").await;
    assert!(page.contains("jobs of this filter: 2"), "{page}");
    does_with_all(&mut kari, &page, "all", "discard").await;
    assert_eq!(count(&app, dead).await, 2 + 2);
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM jobs WHERE state = 'dead' AND last_error IS NULL"
        )
        .await,
        0
    );
    // A form that does not say what was seen does nothing.
    let unseen = [("share", "all"), ("verb", "discard")];
    assert_eq!(kari.acts("/operator/jobs/change-dead", &unseen).await.status, 422);
    assert_eq!(count(&app, dead).await, 4);
    app.abandon().await;
}
