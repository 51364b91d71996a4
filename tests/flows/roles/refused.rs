//! Each role tries what it must not do.

use drop_tests::{cluster::Role, database::TestDatabase};
use sqlx::{AssertSqlSafe, PgPool};

const FORBIDDEN: [(Role, &str); 37] = [
    (Role::Api, "UPDATE jobs SET run_at = now()"),
    (Role::Api, "DELETE FROM jobs"),
    (Role::Api, "DELETE FROM transactions"),
    (Role::Api, "UPDATE transactions SET amount = 1"),
    (Role::Api, "UPDATE transactions SET payment_id = 'theirs'"),
    (Role::Api, "UPDATE payment_attempts SET outcome = 'not_sent'"),
    (Role::Api, "UPDATE users SET kyc_status = 'approved'"),
    (Role::Api, "SELECT national_id_hash FROM users"),
    (Role::Api, "SELECT email_sealed FROM users"),
    (Role::Api, "SELECT code_sealed FROM logins"),
    (Role::Api, "SELECT raw FROM webhook_events"),
    (Role::Api, "SELECT body_hash FROM payment_attempts"),
    (Role::Api, "UPDATE webhook_events SET state = 'applied'"),
    (
        Role::Api,
        "INSERT INTO screening_results SELECT * FROM screening_results",
    ),
    (Role::Api, "SELECT * FROM audit_log"),
    (Role::Api, "UPDATE lanes SET paused = true"),
    (Role::Api, "SELECT breaker_close('neonomics/pisp', gen_random_uuid())"),
    (Role::Api, "CREATE TABLE mine (n int)"),
    (Role::Worker, "DELETE FROM transactions"),
    (Role::Worker, "DELETE FROM users"),
    (Role::Worker, "DELETE FROM screening_results"),
    (Role::Worker, "UPDATE screening_results SET result = 'approved'"),
    (Role::Worker, "DELETE FROM webhook_events"),
    (Role::Worker, "UPDATE audit_log SET actor = 'user'"),
    (Role::Worker, "ALTER TABLE transactions DISABLE TRIGGER ALL"),
    (Role::Worker, "SET session_replication_role = replica"),
    (Role::Worker, "CREATE TABLE mine (n int)"),
    (Role::Worker, "SELECT restricted.purge()"),
    (
        Role::Worker,
        "SELECT restricted.note_reading(gen_random_uuid(), 'kari', 'curious')",
    ),
    (Role::Worker, "SELECT restricted.read(1)"),
    (Role::Worker, "UPDATE retention_runs SET ended_at = now()"),
    (
        Role::Worker,
        "SELECT set_config('app.retention', 'on', false); DELETE FROM audit_log",
    ),
    (Role::Retention, "SELECT * FROM restricted.records"),
    (Role::Retention, "SELECT * FROM public.users"),
    (Role::Retention, "DELETE FROM public.transactions"),
    (Role::ReadOnly, "SELECT * FROM public.transactions"),
    (Role::ReadOnly, "SELECT * FROM public.users"),
];

async fn code_of(role: &PgPool, sql: &str) -> Option<String> {
    // About somebody: a statement about nobody fails before anybody asks whether it is allowed.
    let about = format!("SELECT set_config('app.user_id', gen_random_uuid()::text, true); {sql}");
    let refused = sqlx::raw_sql(AssertSqlSafe(about)).execute(role).await.err()?;
    refused.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

#[tokio::test]
async fn what_a_role_must_not_do_is_refused() {
    let database = TestDatabase::on_its_own_server().await;
    for role in Role::ALL {
        let connected = database.pool_as(role).await;
        for (_, sql) in FORBIDDEN.iter().filter(|(of, _)| *of == role) {
            let code = code_of(&connected, sql).await;
            assert_eq!(code.as_deref(), Some("42501"), "{}: {sql}", role.name());
        }
        connected.close().await;
    }
    database.remove().await;
}

#[tokio::test]
async fn the_api_brings_a_job_forward_that_it_may_not_change() {
    let database = TestDatabase::on_its_own_server().await;
    sqlx::query(
        "INSERT INTO jobs (kind, unique_key, lane, max_attempts, run_at) VALUES ('poll-payment', 'tx', 3, 1, now() + interval '1 h')",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let api = database.pool_as(Role::Api).await;
    for hastened in [
        "jobs_hasten_spaced('poll-payment', 'tx', '30 min')",
        "jobs_hasten('poll-payment', 'tx')",
    ] {
        let hastened = AssertSqlSafe(format!("SELECT {hastened}"));
        assert!(sqlx::query_scalar::<_, bool>(hastened).fetch_one(&api).await.unwrap());
    }
    api.close().await;
    database.remove().await;
}
