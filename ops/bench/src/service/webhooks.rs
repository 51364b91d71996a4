//! Accepting webhooks: how many, beside the least that PostgreSQL can do with the same connections, and how fast.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use drop_common::queue::Lane;
use drop_tests::{person::browser, settings::SUMSUB_SECRET};
use futures_util::future::try_join_all;
use reqwest::Client;
use ring::hmac;
use serde_json::json;
use sqlx::Row as _;
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::Service;
use crate::{
    Sizes,
    baseline::connections_each,
    database::Database,
    table::{Figure, Table, percentile, progress, rate},
};

/// Of the API's pool, and of the bare inserts.
const CONNECTIONS: usize = 8;
/// Requests under way at a time: more than connections, so that none of those waits for a request.
const SENDERS: usize = 32;
/// People whom the events are about.
const PEOPLE: i32 = 500;
/// Webhooks of one measurement.
const ACCEPTED: usize = 10_000;
/// How long the half load lasts.
const LASTS: Duration = Duration::from_secs(8);
/// The generator sends what is due this often.
const TICK: Duration = Duration::from_millis(1);

/// Where the figures of one condition go.
struct Figures {
    accepts: Figure,
    p50: Figure,
    p99: Figure,
    load: Figure,
}

const BESIDE_A_WORKER: Figures = Figures {
    accepts: Figure::Accepts,
    p50: Figure::AcceptP50,
    p99: Figure::AcceptP99,
    load: Figure::AcceptLoad,
};
const WITHOUT_A_WORKER: Figures = Figures {
    accepts: Figure::AcceptsStopped,
    p50: Figure::AcceptStoppedP50,
    p99: Figure::AcceptStoppedP99,
    load: Figure::AcceptStoppedLoad,
};
const MANY_WAITING: Figures = Figures {
    accepts: Figure::AcceptsWaiting,
    p50: Figure::AcceptWaitingP50,
    p99: Figure::AcceptWaitingP99,
    load: Figure::AcceptWaitingLoad,
};

/// Accepts webhooks for some rounds, each beside bare inserts.
pub(crate) async fn measure(database: &Database, sizes: &Sizes, table: &mut Table) -> anyhow::Result<()> {
    let people = people(database).await?;
    for round in 1..=sizes.rounds {
        progress(&format!("round {round} of {}", sizes.rounds));
        inserts(database, table).await?;
        let mut service = Service::start_with(database, &[("DATABASE_POOL_SIZE", "8")]).await?;
        let senders = Senders::new(&service, people.clone());
        // As an API that has run for a while: each of its connections knows the statements.
        senders.together(1_000).await?;
        under(database, &senders, &BESIDE_A_WORKER, table).await?;
        service.stop_worker().await?;
        under(database, &senders, &WITHOUT_A_WORKER, table).await?;
        empty(database).await?;
        database.fill(Lane::KycApply, sizes.waiting, Duration::ZERO).await?;
        database.run("ANALYZE jobs; CHECKPOINT").await?;
        under(database, &senders, &MANY_WAITING, table).await?;
        empty(database).await?;
    }
    Ok(())
}

/// One condition: as many as possible, and then half as many as that.
async fn under(database: &Database, senders: &Senders, figures: &Figures, table: &mut Table) -> anyhow::Result<()> {
    let before = stored(database).await?;
    let started = Instant::now();
    senders.together(ACCEPTED).await?;
    let accepts = rate(ACCEPTED, started.elapsed().as_secs_f64());
    table.add(figures.accepts, accepts);
    let (waited, load) = senders.half(accepts / 2.0).await?;
    table.add(figures.p50, percentile(&waited, 0.5));
    table.add(figures.p99, percentile(&waited, 0.99));
    table.add(figures.load, load);
    let accepted = i64::try_from(ACCEPTED + waited.len())?;
    let stored = stored(database).await? - before;
    ensure!(
        stored == accepted,
        "{accepted} webhooks were accepted, {stored} are stored"
    );
    Ok(())
}

async fn stored(database: &Database) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM webhook_events")
        .fetch_one(&database.pool)
        .await?)
}

async fn empty(database: &Database) -> anyhow::Result<()> {
    database
        .run("TRUNCATE webhook_events, jobs, job_attempts, bare_like_inbox, notifications CASCADE; CHECKPOINT")
        .await
}

/// The ids of people whose checks were started, and of their applicants.
async fn people(database: &Database) -> anyhow::Result<Arc<Vec<(String, String)>>> {
    let rows = sqlx::query(
        "WITH people AS (
           INSERT INTO users (id, national_id_hash, first_name, last_name)
           SELECT gen_random_uuid(), lpad(to_hex(n), 64, '0'), 'Kari', 'Testperson' FROM generate_series(1, $1) n RETURNING id)
         INSERT INTO kyc_applicants (id, user_id, level_name, status, applicant_id, request_id)
         SELECT gen_random_uuid(), id, 'basic-kyc-level', 'created', left(replace(gen_random_uuid()::text, '-', ''), 24), gen_random_uuid()
           FROM people RETURNING 'usr_' || replace(user_id::text, '-', ''), applicant_id",
    )
    .bind(PEOPLE)
    .fetch_all(&database.pool)
    .await?;
    Ok(Arc::new(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
}

/// Single rows like an event's, each a transaction of its own, with as many connections as the API has.
async fn inserts(database: &Database, table: &mut Table) -> anyhow::Result<()> {
    empty(database).await?;
    let (number, body) = (
        AtomicUsize::new(0),
        body("usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697", "5f9e1b2c3d4e5f6g7h8i9j0k", 0),
    );
    let seconds = connections_each(database, CONNECTIONS, ACCEPTED, async |connection| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        sqlx::query(
            "INSERT INTO bare_like_inbox (id, provider, event_key, event_type, applicant_id, external_user_id, raw)
             VALUES ($1, 'sumsub', $2, 'applicantReviewed', $3, $4, $5)",
        )
        .bind(uuid::Uuid::now_v7())
        .bind(format!(
            "24:5f9e1b2c3d4e5f6g7h8i9j0k17:applicantReviewed36:{}24:{number}",
            uuid::Uuid::new_v4()
        ))
        .bind(format!("applicant {}", number % 500))
        .bind(format!("usr_0190a5a47c7e7d5ab8a1f2d3c4b5{:04}", number % 500))
        .bind(&body)
        .execute(connection)
        .await?;
        Ok(())
    })
    .await?;
    table.add(Figure::InsertLikeInbox8, rate(ACCEPTED, seconds));
    Ok(())
}

/// An event as the contract has it.
fn body(user: &str, applicant: &str, number: usize) -> Vec<u8> {
    // Each event about a person decides otherwise than the one before.
    let answer = ["GREEN", "RETRY"][number / 500 % 2];
    let event = json!({
        "type": "applicantReviewed", "applicantId": applicant, "externalUserId": user,
        "inspectionId": "5f9e1b2c3d4e5f6g7h8i9j0l", "correlationId": uuid::Uuid::new_v4().to_string(),
        "levelName": "basic-kyc-level", "sandboxMode": false, "reviewStatus": "completed",
        "createdAt": format!("2026-02-23T10:{:02}:{:02}.{:03}Z", number / 60_000 % 60, number / 1_000 % 60, number % 1_000),
        "reviewResult": { "reviewAnswer": answer, "rejectLabels": [], "reviewRejectType": null, "moderationComment": null },
    });
    event.to_string().into_bytes()
}

/// Sends signed webhooks to the API.
struct Senders {
    client: Client,
    url: String,
    people: Arc<Vec<(String, String)>>,
    number: AtomicUsize,
}

/// A webhook that is ready to be sent.
struct Webhook {
    body: Vec<u8>,
    digest: String,
}

impl Senders {
    fn new(service: &Service, people: Arc<Vec<(String, String)>>) -> Self {
        Self {
            client: browser(),
            url: format!("{}/v1/webhooks/sumsub", service.url),
            people,
            number: AtomicUsize::new(0),
        }
    }

    /// So many webhooks, written and signed before anything is measured.
    fn written(&self, count: usize) -> Vec<Webhook> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SUMSUB_SECRET.as_bytes());
        let webhook = |_| {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let (user, applicant) = &self.people[number % self.people.len()];
            let body = body(user, applicant, number);
            let digest = hmac::sign(&key, &body);
            let digest = hex(digest.as_ref());
            Webhook { body, digest }
        };
        (0..count).map(webhook).collect()
    }

    /// As fast as they are taken.
    async fn together(&self, count: usize) -> anyhow::Result<()> {
        let webhooks = self.written(count);
        let each = webhooks.chunks(count.div_ceil(SENDERS));
        try_join_all(each.map(async |webhooks| {
            for webhook in webhooks {
                sent(&self.client, &self.url, webhook.body.clone(), &webhook.digest).await?;
            }
            anyhow::Ok(())
        }))
        .await?;
        Ok(())
    }

    /// So many a second, whether they are taken or not: the time of each counts from when it was due. Milliseconds, and
    /// the rate at which they really came.
    async fn half(&self, a_second: f64) -> anyhow::Result<(Vec<f64>, f64)> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
        let count = (a_second * LASTS.as_secs_f64()) as usize;
        let gap = Duration::from_secs_f64(1.0 / a_second);
        let mut webhooks = self.written(count).into_iter();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut under_way, mut waited) = (JoinSet::new(), Vec::with_capacity(count));
        let began = Instant::now();
        let mut due = began;
        'load: loop {
            ticks.tick().await;
            while due <= Instant::now() {
                let Some(webhook) = webhooks.next() else { break 'load };
                let (client, url, was_due) = (self.client.clone(), self.url.clone(), due);
                under_way.spawn(async move {
                    sent(&client, &url, webhook.body, &webhook.digest).await?;
                    anyhow::Ok(was_due.elapsed().as_secs_f64() * 1_000.0)
                });
                due += gap;
            }
            while let Some(took) = under_way.try_join_next() {
                waited.push(took??);
            }
        }
        let load = rate(count, began.elapsed().as_secs_f64());
        while let Some(took) = under_way.join_next().await {
            waited.push(took??);
        }
        Ok((waited, load))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

async fn sent(client: &Client, url: &str, body: Vec<u8>, digest: &str) -> anyhow::Result<()> {
    let request = client.post(url).header("x-payload-digest", digest).body(body);
    let answer = request.send().await?;
    ensure!(
        answer.status() == 200,
        "a webhook was answered with {}",
        answer.status()
    );
    answer.bytes().await?; // the connection is free for the next one
    Ok(())
}
