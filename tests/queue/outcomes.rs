//! What a handler says and what the row becomes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use drop_common::queue::{self, JobId, Lane, Watch, drain, gauges, operate};
use drop_tests::{alerts, time};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool};

use crate::{
    database::with_database,
    jobs::{Bench, Call, Script, Scripted, add, add_job, changes, count, registry, row, untold},
    workers::{Worker, until},
};

async fn run(db: &PgPool, script: Script) -> (i64, std::sync::Arc<Bench>) {
    let job = add(db, script).await;
    let bench = Bench::new(db);
    drain(db, registry(), bench.clone()).await.unwrap();
    (job, bench)
}

#[tokio::test]
async fn an_enqueue_that_is_rolled_back_leaves_nothing() {
    with_database(|db| async move {
        let mut tx = db.begin().await.unwrap();
        queue::enqueue(&mut tx, &Scripted { script: Script::Done })
            .await
            .unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(count(&db, "SELECT count(*) FROM jobs").await, 0);
    })
    .await;
}

#[tokio::test]
async fn the_same_kind_and_key_is_enqueued_once_and_a_waiting_one_can_be_hastened() {
    with_database(|db| async move {
        let poll = queue::payloads::PollPayment {
            payment: drop_common::domain::ids::PaymentId::new(),
        };
        let later = queue::EnqueueOptions {
            delay: std::time::Duration::from_hours(1),
            ..Default::default()
        };
        let mut tx = db.begin().await.unwrap();
        assert!(matches!(
            queue::enqueue_with(&mut tx, &poll, later).await.unwrap(),
            queue::Enqueued::New(_)
        ));
        assert_eq!(queue::enqueue(&mut tx, &poll).await.unwrap(), queue::Enqueued::Existing);
        tx.commit().await.unwrap();
        let key = poll.payment.to_string();
        assert!(queue::hasten(&db, "poll-payment", &key).await.unwrap());
        assert!(
            !queue::hasten(&db, "poll-payment", &key).await.unwrap(),
            "it is ready already"
        );
        assert_eq!(
            count(&db, "SELECT count(*) FROM jobs WHERE run_at <= clock_timestamp()").await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn an_outcome_and_its_domain_change_are_committed_together() {
    with_database(|db| async move {
        let (job, _) = run(&db, Script::DoneInTransaction).await;
        assert_eq!(row(&db, job).await, ("done".into(), 1, 0, None));
        assert_eq!(changes(&db).await, [format!("domain {job}")]);
    })
    .await;
}

#[tokio::test]
async fn again_uses_attempts_until_the_job_is_dead_and_every_failure_is_kept() {
    with_database(|db| async move {
        let (job, bench) = run(&db, Script::Again).await;
        assert_eq!(bench.runs(job), [1, 2, 3]);
        assert_eq!(
            row(&db, job).await,
            ("dead".into(), 3, 0, Some("asked to run again".into()))
        );
        assert_eq!(
            count(&db, "SELECT count(*) FROM job_attempts WHERE result = 'again'").await,
            2
        );
        assert_eq!(
            count(&db, "SELECT count(*) FROM job_attempts WHERE result = 'dead'").await,
            1
        );
        assert_eq!(changes(&db).await, ["dead: asked to run again"]);
    })
    .await;
}

#[tokio::test]
async fn wait_uses_no_attempt() {
    with_database(|db| async move {
        let (job, bench) = run(&db, Script::WaitTwice).await;
        assert_eq!(bench.runs(job), [1, 1, 1]);
        assert_eq!(row(&db, job).await, ("done".into(), 3, 2, None));
    })
    .await;
}

#[tokio::test]
async fn giving_up_makes_the_job_dead_and_runs_its_hook_in_the_same_transaction() {
    with_database(|db| async move {
        let (job, _) = run(&db, Script::GiveUpInTransaction).await;
        assert_eq!(row(&db, job).await, ("dead".into(), 1, 0, Some("not possible".into())));
        assert_eq!(
            changes(&db).await,
            ["dead: not possible".to_owned(), format!("domain {job}")]
        );
    })
    .await;
}

/// As a worker leaves it that dies at this attempt.
async fn abandon(db: &PgPool, job: JobId, attempt: i32) {
    sqlx::query(
        "UPDATE jobs SET state = 'running', attempt = $2, owner = gen_random_uuid(), claimed_at = clock_timestamp(),
                lease_until = clock_timestamp() - interval '1 s' WHERE id = $1",
    )
    .bind(job)
    .bind(attempt)
    .execute(db)
    .await
    .unwrap();
}

/// What a person must do before the hook works.
async fn mend(db: &PgPool) {
    sqlx::query("DELETE FROM rate_bucket").execute(db).await.unwrap();
}

async fn a_minute_passes(db: &PgPool) {
    time::pass(db, TimeDelta::seconds(61)).await;
}

#[tokio::test]
async fn q3_q4_a_job_whose_hook_fails_is_dead_all_the_same_and_the_hook_is_tried_until_it_works() {
    with_database(|db| async move {
        alerts::listen();
        let (told, _) = run(&db, Script::GiveUp).await;
        // The hook's row is there already: its transaction fails.
        let (job, _) = run(&db, Script::GiveUp).await;
        assert_eq!(row(&db, job).await, ("dead".into(), 1, 0, Some("not possible".into())));
        let refused = Some("database error 23505 (rate_bucket_pkey)".to_owned());
        assert_eq!(
            (untold(&db, told).await, untold(&db, job).await),
            (None, refused.clone())
        );
        assert_eq!(alerts::about(&format!("job {job} (scripted)")), ["job_untold"]);

        let again = async || drain(&db, registry(), Bench::new(&db)).await.unwrap();
        a_minute_passes(&db).await;
        again().await;
        assert_eq!(untold(&db, job).await, refused);
        mend(&db).await;
        again().await;
        assert_eq!(
            untold(&db, job).await,
            refused,
            "a minute after each failure, not before"
        );
        a_minute_passes(&db).await;
        again().await;
        assert_eq!(untold(&db, job).await, None);
        assert_eq!(changes(&db).await, ["dead: not possible"]);
    })
    .await;
}

#[tokio::test]
async fn q3_a_hook_that_panics_keeps_no_other_outcome_and_no_rescue_from_being_recorded() {
    with_database(|db| async move {
        let mut jobs = Vec::new();
        for script in [
            Script::GiveUpAndPanic,
            Script::Again,
            Script::GiveUpAndPanic,
            Script::Done,
        ] {
            jobs.push(add(&db, script).await);
        }
        // The last attempts of two of them, held by workers that died.
        for &job in &jobs[..2] {
            abandon(&db, job, 3).await;
        }
        drain(&db, registry(), Bench::new(&db)).await.unwrap();
        let mut became = Vec::new();
        for job in jobs {
            became.push((row(&db, job).await.0, untold(&db, job).await));
        }
        let (told, panicked) = (
            |state: &str| (state.to_owned(), None),
            ("dead".to_owned(), Some("a panic".to_owned())),
        );
        assert_eq!(became, [panicked.clone(), told("dead"), panicked, told("done")]);
        assert_eq!(
            changes(&db).await,
            ["dead: lease expired"],
            "nothing of a hook that panicked"
        );
    })
    .await;
}

/// What every hook would write, held by somebody who does not end.
async fn hold_hooks(db: &PgPool, what: &str) -> PgConnection {
    let mut held = db.connect_options().connect().await.unwrap();
    for statement in ["SET idle_in_transaction_session_timeout = 0", "BEGIN"] {
        held.execute(statement).await.unwrap();
    }
    sqlx::query("INSERT INTO rate_bucket (key, hits) VALUES ($1, '{}')")
        .bind(what)
        .execute(&mut held)
        .await
        .unwrap();
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn q3_an_outcome_whose_hook_waits_for_a_lock_holds_up_no_other() {
    with_database(|db| async move {
        let held = hold_hooks(&db, "dead: not possible").await;
        let waits = add(&db, Script::GiveUp).await;
        let worker = Worker::start(&db, &Bench::new(&db), 4, Duration::from_secs(10));
        until(
            &db,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await;
        for _ in 0..20 {
            add(&db, Script::Done).await;
        }
        until(
            &db,
            "SELECT (count(*) = 20)::int::bigint FROM jobs WHERE state = 'done'",
        )
        .await;
        assert_eq!(row(&db, waits).await.0, "running", "its hook is waited for");
        held.close().await.unwrap();
        until(&db, "SELECT count(*) FROM jobs WHERE state = 'dead'").await;
        assert_eq!(untold(&db, waits).await, None);
        worker.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn q3_a_rescue_whose_hook_waits_for_a_lock_holds_up_no_other() {
    with_database(|db| async move {
        let held = hold_hooks(&db, "dead: lease expired").await;
        let (waits, other) = (add(&db, Script::Done).await, add(&db, Script::Done).await);
        for (job, attempt) in [(waits, 3), (other, 1)] {
            abandon(&db, job, attempt).await;
        }
        let worker = Worker::start(&db, &Bench::new(&db), 4, Duration::from_secs(10));
        until(&db, "SELECT count(*) FROM jobs WHERE state = 'done'").await;
        assert_eq!(row(&db, other).await.0, "done");
        assert_eq!(row(&db, waits).await.0, "running", "its hook is waited for");
        time::pass(&db, TimeDelta::minutes(2)).await;
        until(&db, "SELECT count(*) FROM jobs WHERE untold IS NOT NULL").await; // but not for ever
        held.close().await.unwrap();
        time::pass(&db, TimeDelta::minutes(2)).await;
        until(&db, "SELECT count(*) FROM jobs WHERE state = 'dead' AND untold IS NULL").await;
        worker.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_operator_runs_an_untold_job_again_but_cannot_discard_it() {
    with_database(|db| async move {
        run(&db, Script::GiveUp).await;
        let (job, _) = run(&db, Script::GiveUp).await;
        let lanes = gauges::lanes(&db).await.unwrap();
        let upkeep = lanes.iter().find(|reading| reading.lane == Lane::Upkeep).unwrap();
        assert_eq!((upkeep.dead, upkeep.untold), (1, 1));
        let mut tx = db.begin().await.unwrap();
        assert!(!operate::discard(&mut tx, job).await.unwrap());
        assert!(operate::retry(&mut tx, job).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(
            (row(&db, job).await.0.as_str(), untold(&db, job).await),
            ("ready", None)
        );
        mend(&db).await;
        let bench = Bench::new(&db);
        drain(&db, registry(), bench.clone()).await.unwrap();
        assert_eq!((bench.runs(job), untold(&db, job).await), (vec![1], None));
        assert_eq!(changes(&db).await, ["dead: not possible"]);
        let mut tx = db.begin().await.unwrap();
        assert!(operate::discard(&mut tx, job).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_row_that_no_handler_can_read_is_dead_and_stops_nobody() {
    with_database(|db| async move {
        for kind in ["unheard-of", "scripted"] {
            sqlx::query("INSERT INTO jobs (lane, kind, payload, max_attempts) VALUES (8, $1, '{\"x\": 1}', 5)")
                .bind(kind)
                .execute(&db)
                .await
                .unwrap();
        }
        let (job, _) = run(&db, Script::Done).await;
        assert_eq!(row(&db, job).await.0, "done");
        let errors: Vec<String> = sqlx::query_scalar("SELECT last_error FROM jobs WHERE state = 'dead' ORDER BY id")
            .fetch_all(&db)
            .await
            .unwrap();
        assert_eq!(errors, ["unknown kind", "unreadable payload"]);
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_recorded_without_the_data_it_was_about() {
    with_database(|db| async move {
        let (job, _) = run(&db, Script::Panic).await;
        assert_eq!(
            row(&db, job).await,
            ("ready".into(), 1, 0, Some("panic: a literal".into()))
        );
        let (job, _) = run(&db, Script::PanicWithData).await;
        assert_eq!(row(&db, job).await.3.as_deref(), Some("panic (message withheld)"));
    })
    .await;
}

#[tokio::test]
async fn a_database_error_is_recorded_by_its_code_only() {
    with_database(|db| async move {
        let (job, _) = run(&db, Script::FailInDatabase).await;
        assert_eq!(
            row(&db, job).await,
            ("ready".into(), 1, 0, Some("database error 22P02".into()))
        );
    })
    .await;
}

#[tokio::test]
async fn a_lost_lease_writes_nothing() {
    for script in [
        Script::LoseLeaseThenFence,
        Script::LoseLeaseThenFinish,
        Script::LoseLeaseThenReturn,
    ] {
        with_database(|db| async move {
            let (job, bench) = run(&db, script).await;
            assert_eq!(bench.runs(job), [1], "the fence let nobody through");
            assert_eq!(row(&db, job).await, ("running".into(), 2, 0, None));
            assert_eq!(changes(&db).await, Vec::<String>::new());
        })
        .await;
    }
}

#[tokio::test]
async fn an_expired_job_is_taken_back_and_the_attempt_budget_holds() {
    with_database(|db| async move {
        let first = add(&db, Script::Done).await;
        let last = add(&db, Script::Done).await;
        for (job, attempt) in [(first, 1), (last, 3)] {
            abandon(&db, job, attempt).await;
        }
        let heard = Arc::new(Heard::default());
        drain(&db, registry().watched_by(heard.clone()), Bench::new(&db))
            .await
            .unwrap();
        assert_eq!(*heard.rescued.lock().unwrap(), [Lane::Upkeep; 2]);
        assert_eq!(
            row(&db, last).await,
            ("dead".into(), 3, 0, Some("lease expired".into()))
        );
        assert_eq!(changes(&db).await, ["dead: lease expired"]);
        let (state, _, unused, error) = row(&db, first).await;
        assert_ne!(state, "running");
        assert_eq!((unused, error.as_deref()), (0, Some("lease expired")));
    })
    .await;
}

#[tokio::test]
async fn a_late_job_whose_hook_is_refused_dies_untold_and_does_not_keep_the_others_alive() {
    with_database(|db| async move {
        let mut jobs = Vec::new();
        for script in [Script::Done, Script::Done, Script::Done] {
            jobs.push(add(&db, script).await);
        }
        let other = add_job(&db, &Call { answered: true }).await;
        for change in [
            "UPDATE jobs SET expires_at = clock_timestamp()",
            "UPDATE lanes SET paused = true",
        ] {
            sqlx::query(change).execute(&db).await.unwrap();
        }
        drain(&db, registry(), Bench::new(&db)).await.unwrap();
        // Every hook writes the same row, so only the first one's is committed.
        let mut told = Vec::new();
        for job in jobs {
            told.push((row(&db, job).await.0, untold(&db, job).await.is_none()));
        }
        assert_eq!(told, [true, false, false].map(|told| ("dead".to_owned(), told)));
        assert_eq!(row(&db, other).await, ("dead".into(), 0, 0, Some("expired".into())));
        assert_eq!(changes(&db).await, ["dead: expired"]);
    })
    .await;
}

#[tokio::test]
async fn the_death_of_a_job_that_is_enqueued_anew_is_not_told_afterwards() {
    with_database(|db| async move {
        let poll = queue::payloads::PollPayment {
            payment: drop_common::domain::ids::PaymentId::new(),
        };
        let dead = add_job(&db, &poll).await;
        sqlx::query("UPDATE jobs SET state = 'dead', finished_at = now(), untold = 'a panic'")
            .execute(&db)
            .await
            .unwrap();
        let mut tx = db.begin().await.unwrap();
        let anew = queue::enqueue_anew(&mut tx, &poll, queue::EnqueueOptions::default()).await;
        assert!(matches!(anew.unwrap(), queue::Enqueued::New(_)));
        tx.commit().await.unwrap();
        assert_eq!(untold(&db, dead).await, None);
    })
    .await;
}

#[derive(Default)]
struct Heard {
    outcomes: Mutex<Vec<&'static str>>,
    rescued: Mutex<Vec<Lane>>,
}

impl Watch for Heard {
    fn finished(&self, _: Lane, _: &str, outcome: &'static str, _: Duration) {
        self.outcomes.lock().unwrap().push(outcome);
    }

    fn rescued(&self, lane: Lane) {
        self.rescued.lock().unwrap().push(lane);
    }
}

#[tokio::test]
async fn the_watch_hears_what_became_of_every_run() {
    with_database(|db| async move {
        let heard = Arc::new(Heard::default());
        for script in [
            Script::Again,
            Script::WaitTwice,
            Script::DoneInTransaction,
            Script::LoseLeaseThenReturn,
        ] {
            add(&db, script).await;
            drain(&db, registry().watched_by(heard.clone()), Bench::new(&db))
                .await
                .unwrap();
        }
        let expected = ["again", "again", "dead", "wait", "wait", "done", "done", "lost"];
        assert_eq!(*heard.outcomes.lock().unwrap(), expected);
    })
    .await;
}
