//! What `drop-worker retain` does with whatever it meets.

use chrono::TimeDelta;
use drop_tests::{alerts, app::TestApp};

use super::{FIVE_YEARS, anna_is_approved, count, does};
use crate::paying::{audited, execute, value};

#[tokio::test]
async fn audit_rows_and_webhooks_about_nobody_are_kept_five_years() {
    let app = TestApp::start().await;
    app.stop_worker().await;
    execute(
        &app,
        "INSERT INTO audit_log (at, actor, action, object)
         SELECT now() - y * interval '1 year', 'worker', 'test.' || y, 'x' FROM unnest('{4,6}'::int[]) y;
         INSERT INTO webhook_events (id, provider, event_key, raw, state, received_at)
         SELECT gen_random_uuid(), 'sumsub', 'key ' || y, 'body', 'unmatched', now() - y * interval '1 year' FROM unnest('{4,6}'::int[]) y",
    )
    .await;
    app.retain().await;
    let audit: Vec<String> = value(
        &app,
        "SELECT array_agg(action) FROM audit_log WHERE action LIKE 'test.%'",
    )
    .await;
    assert_eq!(audit, ["test.4"]);
    let bodies: Vec<String> = value(
        &app,
        "SELECT array_agg(event_key) FROM webhook_events WHERE raw IS NOT NULL",
    )
    .await;
    assert_eq!(bodies, ["key 4"]);
    assert_eq!(count(&app, "webhook_events").await, 2, "the keys stay");
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

#[tokio::test]
async fn the_audit_rows_of_whoever_is_held_stay_until_the_hold_is_lifted() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    app.stop_worker().await;
    execute(
        &app,
        "INSERT INTO audit_log (at, actor, user_id, action, object) SELECT now() - interval '6 years', 'worker', id, 'test.old', 'x' FROM users",
    )
    .await;
    does(&app, "hold", &anna.user).await;
    app.retain().await;
    assert_eq!(audited(&app, "test.old").await, 1);
    does(&app, "release", &anna.user).await;
    app.retain().await;
    assert_eq!(audited(&app, "test.old").await, 0);
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

#[tokio::test]
async fn somebody_who_cannot_be_moved_is_passed_over_and_told_and_the_others_go_on() {
    alerts::listen();
    let app = TestApp::start().await;
    let (anna, marko) = (app.signed_in("anna").await, app.signed_in("marko").await);
    app.stop_worker().await;
    for person in [&anna, &marko] {
        does(&app, "erase", &person.user).await;
    }
    execute(
        &app,
        &format!(
            "INSERT INTO audit_log (at, actor, action, object) VALUES (now() - interval '6 years', 'worker', 'test.old', 'x');
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN RAISE EXCEPTION ''not this one'' USING ERRCODE = ''23503''; END';
             CREATE TRIGGER refuse BEFORE UPDATE OF moved_at ON users FOR EACH ROW
               WHEN ('usr_' || replace(OLD.id::text, '-', '') = '{}') EXECUTE FUNCTION refuse()",
            anna.user
        ),
    )
    .await;
    execute(&app, "UPDATE retention_runs SET ended_at = now() - interval '1 day'").await;
    let failed = app.try_to_retain().await.unwrap_err();
    let late = "retention_runs WHERE ended_at < now() - interval '1 hour'";
    assert_eq!(count(&app, late).await, 1, "not all was done");
    assert_eq!(failed.to_string(), "steps that failed: 1; the alerts say which");
    assert_eq!(alerts::about(&anna.user), ["retention_failed"]);
    let moved: Vec<String> = value(
        &app,
        "SELECT array_agg('usr_' || replace(id::text, '-', '')) FROM users WHERE moved_at IS NOT NULL",
    )
    .await;
    assert_eq!(moved, [marko.user.as_str()]);
    assert_eq!(audited(&app, "test.old").await, 0, "the other steps go on");
    execute(&app, "DROP TRIGGER refuse ON users").await;
    app.retain().await;
    assert_eq!(count(&app, late).await, 0);
    assert_eq!(count(&app, "users WHERE moved_at IS NULL").await, 0);
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

#[tokio::test]
async fn the_applicant_to_delete_is_told_before_it_is_forgotten() {
    alerts::listen();
    let app = TestApp::start().await;
    let anna = anna_is_approved(&app).await;
    let applicant: String = value(&app, "SELECT applicant_id FROM kyc_applicants").await;
    does(&app, "erase", &anna.user).await;
    app.retain().await;
    app.advance(TimeDelta::days(FIVE_YEARS + 1)).await;
    execute(
        &app,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''died''; END';
         CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    .await;
    assert!(app.try_to_retain().await.is_err());
    assert_eq!(count(&app, "users").await, 1);
    assert_eq!(alerts::about(&applicant), ["applicant_to_delete"]);
    execute(&app, "DROP TRIGGER refuse ON users").await;
    app.retain().await;
    assert_eq!(count(&app, "users").await, 0);
    assert_eq!(
        alerts::about(&applicant),
        ["applicant_to_delete", "applicant_to_delete"]
    );
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

#[tokio::test]
async fn moving_somebody_may_take_longer_than_a_request() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    app.stop_worker().await;
    does(&app, "erase", &anna.user).await;
    execute(
        &app,
        "CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN IF current_setting(''statement_timeout'')::interval < interval ''5 minutes'' THEN RAISE EXCEPTION ''in a hurry''; END IF;
            RETURN NEW; END';
         CREATE TRIGGER hurry BEFORE UPDATE OF moved_at ON users FOR EACH ROW EXECUTE FUNCTION hurry()",
    )
    .await;
    app.retain().await;
    assert_eq!(count(&app, "users WHERE moved_at IS NOT NULL").await, 1);
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

#[tokio::test]
async fn a_webhook_that_names_somebody_of_ours_by_our_id_alone_is_not_about_nobody() {
    let app = TestApp::start().await;
    let anna = app.signed_in("anna").await;
    app.stop_worker().await;
    execute(
        &app,
        &format!(
            "INSERT INTO webhook_events (id, provider, event_key, external_user_id, raw, state, received_at)
             SELECT gen_random_uuid(), 'sumsub', id, id, 'body', 'unmatched', now() - interval '6 years'
               FROM unnest('{{{},usr_00000000000000000000000000000000,somebody}}'::text[]) id",
            anna.user
        ),
    )
    .await;
    app.retain().await;
    let kept: Vec<String> = value(
        &app,
        "SELECT array_agg(external_user_id) FROM webhook_events WHERE raw IS NOT NULL",
    )
    .await;
    assert_eq!(kept, [anna.user.as_str()]);
    does(&app, "erase", &anna.user).await;
    app.retain().await;
    assert_eq!(
        count(&app, "restricted.records WHERE class = 'webhook_events'").await,
        1
    );
    app.run_jobs().await; // what the worker planned before it was stopped
    app.finish().await;
}

/// Those of a table that is emptied every quarter of an hour are found soon enough without.
const SHORT_LIVED: [&str; 2] = ["logins.user_id", "kyc_sdk_tokens.user_id"];

#[tokio::test]
async fn whatever_points_at_a_row_that_is_deleted_is_found_by_an_index() {
    let app = TestApp::start().await;
    // The check of a key asks for one value: of an index's condition it implies that the column has one, and no more.
    let without: Vec<String> = sqlx::query_scalar(
        "SELECT k.conrelid::regclass || '.' || c.attname
           FROM pg_constraint k JOIN pg_attribute c ON c.attrelid = k.conrelid AND c.attnum = k.conkey[1]
          WHERE k.contype = 'f' AND k.confrelid IN ('users'::regclass, 'transactions'::regclass, 'bank_accounts'::regclass,
                                                    'bank_consents'::regclass, 'sessions'::regclass)
            AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indkey[0] = c.attnum AND i.indisvalid
                               AND coalesce(pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', c.attname), true))
          ORDER BY 1",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    let without: Vec<_> = without
        .iter()
        .filter(|column| !SHORT_LIVED.contains(&column.as_str()))
        .collect();
    assert!(without.is_empty(), "{without:?}");
    app.finish().await;
}
