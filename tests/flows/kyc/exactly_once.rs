//! Everything at once: each event many times, from many senders, while workers and the database are killed. What was
//! answered with 200 is there, and each event has its effect once.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    os::fd::OwnedFd,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use drop_common::storage::{self, PoolOptions};
use drop_sandbox::Sandbox;
use drop_tests::{
    app::eventually,
    cluster::{Cluster, Role},
    processes::Node,
    settings::{self, SUMSUB_SECRET},
};
use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use sqlx::{Executor as _, PgPool};

use super::scene::{Checked, digest, past, people};

const COPIES: usize = 20;
const SENDERS: usize = 8;
const WORKERS: usize = 4;
const PEOPLE: i32 = 25;
const PROGRAM: &str = env!("CARGO_BIN_EXE_drop-node");

#[tokio::test(flavor = "multi_thread")]
async fn sixty_events_in_twenty_copies_have_their_effects_once_whatever_is_killed() {
    survives(60, Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: the full size"]
async fn five_hundred_events_in_twenty_copies_have_their_effects_once_whatever_is_killed() {
    survives(500, Duration::from_secs(3)).await;
}

/// An API, workers, and a database that is stopped at once and started again, each in its own process.
struct Scene {
    cluster: Cluster,
    db: PgPool,
    url: String,
    variables: Vec<(&'static str, String)>,
    workers: Vec<Node>,
    _api: Node,
    sandbox: Sandbox,
}

impl Scene {
    async fn start() -> Self {
        drop_common::providers::install_tls();
        let cluster = Cluster::private(&|_| {}).await.unwrap();
        let db = database(&cluster).await;
        let public = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", public.local_addr().unwrap());
        let sandbox = Sandbox::start(settings::sandbox(&url)).await.unwrap();
        let mut variables = settings::variables(&url, &sandbox.url());
        variables.push(("DROP_API_INTERNAL_LISTEN", "127.0.0.1:0".into()));
        variables.push(("DROP_WORKER_INTERNAL_LISTEN", "127.0.0.1:0".into()));
        let api = Node::start_with(
            PROGRAM,
            "api",
            &borrowed(&variables, &cluster.url_as(Role::Api, "inbox")),
            Stdio::from(OwnedFd::from(public)),
        );
        let mut scene = Self {
            cluster,
            db,
            url,
            variables,
            workers: Vec::new(),
            _api: api,
            sandbox,
        };
        for _ in 0..WORKERS {
            scene.workers.push(scene.worker());
        }
        let answers = async || {
            reqwest::get(format!("{}/v1/health", scene.url))
                .await
                .is_ok_and(|answer| answer.status() == 200)
        };
        assert!(eventually(answers).await, "the API does not answer");
        scene
    }

    fn worker(&self) -> Node {
        let database = self.cluster.url_as(Role::Worker, "inbox");
        Node::start(PROGRAM, "worker", &borrowed(&self.variables, &database))
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.db).await.unwrap()
    }
}

fn borrowed<'a>(variables: &'a [(&'static str, String)], database: &'a str) -> Vec<(&'static str, &'a str)> {
    let variables = variables.iter().map(|(name, value)| (*name, value.as_str()));
    variables.chain([("DATABASE_URL", database)]).collect()
}

/// With commits that a crash of the server does not take back, and leases that end soon.
async fn database(cluster: &Cluster) -> PgPool {
    cluster.create_service_database("inbox").await.unwrap();
    let options = PoolOptions {
        max: 5,
        acquire_timeout: Duration::from_secs(20),
    };
    let owner = cluster.url_as(Role::Migrate, "inbox").into();
    let owner = storage::connect(&owner, options).await.unwrap();
    storage::migrate(&owner).await.unwrap();
    owner.close().await;
    let url = cluster.url("inbox").into();
    let db = storage::connect(&url, options).await.unwrap();
    db.execute("ALTER DATABASE inbox SET synchronous_commit = on; UPDATE lanes SET lease = '2 s'")
        .await
        .unwrap();
    db.close().await; // the setting holds for new connections
    storage::connect(&url, options).await.unwrap()
}

/// The bodies of so many events, spread over some people: later ones decide otherwise than those before.
fn bodies(people: &[Checked], count: usize) -> Vec<String> {
    let body = |number: usize| {
        let at = past(i64::try_from(number).unwrap());
        let answer = ["GREEN", "RED", "RETRY"][number / people.len() % 3];
        let said = json!({ "createdAt": at.to_rfc3339(), "reviewResult": { "reviewAnswer": answer } });
        let event: Value = people[number % people.len()].event("applicantReviewed", said);
        event.to_string()
    };
    (0..count).map(body).collect()
}

async fn survives(events: usize, between_faults: Duration) {
    let mut scene = Scene::start().await;
    let people = people(&scene.db, PEOPLE).await;
    let bodies = bodies(&people, events);
    let (next, accepted, sent) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    let (client, url) = (client(), format!("{}/v1/webhooks/sumsub", scene.url));
    let sending = async {
        join_all((0..SENDERS).map(async |_| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events * COPIES {
                    return;
                }
                // Neighbours are copies of one event, in the hands of different senders.
                let event = number / COPIES;
                until_accepted(&client, &url, &bodies[event]).await;
                accepted.lock().unwrap().insert(event);
            }
        }))
        .await;
        sent.store(true, Ordering::Relaxed);
    };
    tokio::join!(sending, disturb(&mut scene, &accepted, &sent, between_faults, &bodies));

    let done = async || {
        // What was killed a few times waits for a while before it is tried again.
        let hasten = "UPDATE jobs SET run_at = now() WHERE state = 'ready' AND run_at > now()";
        scene.db.execute(hasten).await.unwrap();
        scene
            .count("SELECT count(*) FROM jobs WHERE state IN ('ready', 'running') AND kind = 'apply-kyc-event'")
            .await
            == 0
    };
    assert!(eventually(done).await, "the inbox does not get empty");
    assert_eq!(
        stored(&scene, &bodies).await.len(),
        events,
        "every event is there, and once"
    );
    for (what, sql) in [
        ("events", "SELECT count(*) FROM webhook_events"),
        (
            "applied events",
            "SELECT count(*) FROM webhook_events WHERE applied_at IS NOT NULL",
        ),
        (
            "events with one audit row",
            "SELECT count(*) FROM webhook_events e WHERE 1 = (SELECT count(*) FROM audit_log
             WHERE detail ->> 'event' = 'evt_' || replace(e.id::text, '-', '') AND action LIKE 'kyc.%')",
        ),
        (
            "jobs",
            "SELECT count(*) FROM jobs WHERE kind = 'apply-kyc-event' AND state = 'done'",
        ),
    ] {
        assert_eq!(scene.count(sql).await, i64::try_from(events).unwrap(), "{what}");
    }
    for (what, sql) in [
        ("results without a message, or with two", "SELECT count(*) FROM screening_results s WHERE 1 <> (SELECT count(*)
             FROM notifications WHERE subject = 'evt_' || replace(s.webhook_event_id::text, '-', ''))"),
        ("messages without a result", "SELECT count(*) FROM notifications n WHERE NOT EXISTS (SELECT FROM screening_results
             WHERE n.subject = 'evt_' || replace(webhook_event_id::text, '-', ''))"),
        ("refusals without a case", "SELECT count(*) FROM screening_results s WHERE result = 'rejected'
             AND NOT EXISTS (SELECT FROM aml_cases c WHERE c.webhook_event_id = s.webhook_event_id)"),
        ("people whose status is not what their newest event says", "SELECT count(*) FROM users u JOIN kyc_applicants a ON a.user_id = u.id
           JOIN LATERAL (SELECT convert_from(raw, 'UTF8')::jsonb #>> '{reviewResult,reviewAnswer}' AS answer FROM webhook_events
                          WHERE applicant_id = a.applicant_id ORDER BY convert_from(raw, 'UTF8')::jsonb ->> 'createdAt' DESC LIMIT 1) e ON true
          WHERE u.kyc_status <> CASE answer WHEN 'GREEN' THEN 'approved' WHEN 'RED' THEN 'rejected' ELSE 'pending' END"),
    ] {
        assert_eq!(scene.count(sql).await, 0, "{what}");
    }
    scene.sandbox.stop().await.unwrap();
    scene.db.close().await;
}

fn client() -> Client {
    Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

/// Sends it as Sumsub does, again and again, only sooner.
async fn until_accepted(client: &Client, url: &str, body: &str) {
    let digest = digest(SUMSUB_SECRET, body.as_bytes());
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..2_000 {
        pause.tick().await;
        let request = client
            .post(url)
            .header("x-payload-digest", &digest)
            .body(body.to_owned());
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(200) => return,
            Ok(500 | 503) | Err(_) => {}
            Ok(other) => panic!("answered with {other}"),
        }
    }
    panic!("never accepted");
}

/// Kills a worker, then stops the database at once, in turn; and looks what it still knows of what was answered with 200.
async fn disturb(
    scene: &mut Scene,
    accepted: &Mutex<BTreeSet<usize>>,
    sent: &AtomicBool,
    between: Duration,
    bodies: &[String],
) {
    let mut pause = tokio::time::interval(between);
    pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut round, mut stops) = (0, 0);
    while !sent.load(Ordering::Relaxed) || stops < 2 {
        pause.tick().await;
        let at = round % WORKERS;
        scene.workers[at].signal("KILL");
        scene.workers[at].ended().await;
        scene.workers[at] = scene.worker();
        if round % 2 == 1 {
            scene.cluster.stop_server().await.unwrap();
            let promised = accepted.lock().unwrap().clone();
            scene.cluster.start_server().await.unwrap();
            let stored = stored(scene, bodies).await;
            let lost: Vec<_> = promised.difference(&stored).collect();
            assert!(lost.is_empty(), "answered with 200 and lost: {lost:?}");
            stops += 1;
        }
        round += 1;
    }
}

/// Which of the events the inbox has.
async fn stored(scene: &Scene, bodies: &[String]) -> BTreeSet<usize> {
    let read = async || {
        sqlx::query_scalar::<_, Vec<u8>>("SELECT raw FROM webhook_events")
            .fetch_all(&scene.db)
            .await
            .ok()
    };
    let mut pause = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..300 {
        pause.tick().await;
        if let Some(raw) = read().await {
            let raw: BTreeSet<Vec<u8>> = raw.into_iter().collect();
            return (0..bodies.len())
                .filter(|at| raw.contains(bodies[*at].as_bytes()))
                .collect();
        }
    }
    panic!("the inbox cannot be read");
}
