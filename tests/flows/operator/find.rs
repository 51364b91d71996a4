//! One box for every id: it leads to what there is, and to nothing that there is not.

use drop_tests::person::browser;
use serde_json::{Value, json};

use super::scene::{KARI, Visitor, dead_jobs, payment_in_review, service};

#[tokio::test]
async fn a_request_leads_to_the_jobs_that_it_caused() {
    let app = service().await;
    app.lane("balance.batch", "paused = true").await;
    let job = dead_jobs(&app, 1, "the bank is away").await[0];
    let request = uuid::Uuid::new_v4();
    sqlx::query("UPDATE jobs SET request_id = $2 WHERE id = $1")
        .bind(job)
        .bind(request)
        .execute(&app.db)
        .await
        .unwrap();
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let found = kari.sees(&format!("/operator/find?q={request}")).await;
    assert!(found.contains(&format!("/operator/jobs/{job}\"")), "{found}");
    app.abandon().await;
}

#[tokio::test]
async fn an_id_of_nothing_leads_nowhere_for_people_and_for_programs() {
    let app = service().await;
    let payment = payment_in_review(&app).await;
    let mut kari = Visitor::signed_in(&app, KARI).await;
    let url = format!("{}/operator/api/find", app.worker_internal().await);
    let asks = async |id: &str| -> Value {
        let request = browser().get(&url).query(&[("id", id)]).bearer_auth(KARI);
        request.send().await.unwrap().json().await.unwrap()
    };
    for unknown in [
        "tx_0192f0c1a2b37c4d8e5f60718293a4b5",
        "lgn_0192f0c1a2b37c4d8e5f60718293a4b5",
        "evt_0192f0c1a2b37c4d8e5f60718293a4b5",
        "usr_0192f0c1a2b37c4d8e5f60718293a4b5",
        "job_999999999",
        "999999999",
    ] {
        assert_eq!(
            asks(unknown).await,
            json!({ "what": "jobs", "id": null, "jobs": [] }),
            "{unknown}"
        );
        let page = kari.get(&format!("/operator/find?q={unknown}")).await;
        assert!(
            page.status == 200 && page.text.contains("Nothing is known by that id."),
            "{unknown}: {page:?}"
        );
    }
    // What is gone but for the jobs about it is found by them.
    let job = dead_jobs(&app, 1, "its row is gone").await[0];
    sqlx::query("UPDATE jobs SET payload = '{\"payment\": \"0192f0c1-a2b3-7c4d-8e5f-60718293a4b5\"}' WHERE id = $1")
        .bind(job)
        .execute(&app.db)
        .await
        .unwrap();
    let found = asks("tx_0192f0c1a2b37c4d8e5f60718293a4b5").await;
    assert_eq!((&found["what"], &found["jobs"][0]["id"]), (&json!("jobs"), &json!(job)));
    let found = asks(&payment).await;
    assert_eq!((&found["what"], &found["id"]), (&json!("payment"), &json!(payment)));
    app.abandon().await;
}
