//! Wake-ups: they only save time. A worker polls every second as well, so a lost one loses nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Lane,
    supervise::{Pauses, supervise},
};
use crate::storage::{StorageError, patiently};

const CHANNEL: &str = "jobs";
/// At most one NOTIFY per lane in this time: it takes a lock that all committing notifiers share.
const COALESCE: Duration = Duration::from_millis(20);
/// How long the listener hears nothing before it asks whether the database is still there.
const SILENCE: Duration = Duration::from_secs(10);

/// Signals between those who enqueue and those who claim: in this process, and once started in the others too. Cheap to
/// clone.
#[derive(Clone, Default)]
pub struct Wake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    lanes: [Notify; Lane::ALL.len()],
    unsent: AtomicU32,
    outbox: Notify,
}

impl Wake {
    /// Sends signals to other processes (and, with `listen`, receives theirs) until `stop`.
    pub fn start(&self, db: &PgPool, listen: bool, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        let options = db.connect_options();
        let quick = (*options).clone().options([("synchronous_commit", "off")]);
        let wake = self.clone();
        let mut tasks = vec![supervise("wake-up sender", stop.clone(), move || {
            send_forever(wake.clone(), quick.clone())
        })];
        if listen {
            let wake = self.clone();
            let listening = (*options).clone();
            tasks.push(supervise("wake-up listener", stop.clone(), move || {
                listen_forever(wake.clone(), listening.clone())
            }));
        }
        tasks
    }

    /// There may be a job in the lane. Called after the commit, never inside the transaction.
    pub fn signal(&self, lane: Lane) {
        self.0.lanes[index(lane)].notify_one();
        self.0.unsent.fetch_or(1 << index(lane), Ordering::AcqRel);
        self.0.outbox.notify_one();
    }

    /// Waits for a signal; one that came while nobody waited counts.
    pub(super) async fn signalled(&self, lane: Lane) {
        self.0.lanes[index(lane)].notified().await;
    }
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

async fn send_forever(wake: Wake, options: PgConnectOptions) {
    let mut connection: Option<PgConnection> = None;
    loop {
        wake.0.outbox.notified().await;
        let lanes = wake.0.unsent.swap(0, Ordering::AcqRel);
        if lanes == 0 {
            continue;
        }
        if let Err(error) = patiently(send(&options, &mut connection, lanes)).await {
            tracing::debug!(%error, "a wake-up was lost; the workers poll");
            connection = None;
        }
        tokio::time::sleep(COALESCE).await;
    }
}

/// On a connection of its own, whose commits do not wait for the disk: a notification that is lost costs a poll interval, and
/// one that waits holds up what it is to start.
async fn send(
    options: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
    lanes: u32,
) -> Result<(), StorageError> {
    let connection = match connection {
        Some(open) => open,
        None => connection.insert(
            options
                .clone()
                .options([("synchronous_commit", "off")])
                .connect()
                .await?,
        ),
    };
    let lanes: Vec<String> = Lane::ALL
        .into_iter()
        .filter(|lane| lanes & (1 << index(*lane)) != 0)
        .map(|lane| lane.id().to_string())
        .collect();
    sqlx::query!(
        "SELECT pg_notify($1, lane) AS sent FROM unnest($2::text[]) lane",
        CHANNEL,
        &lanes
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

async fn listen_forever(wake: Wake, options: PgConnectOptions) {
    let mut pauses = Pauses::default();
    loop {
        if let Err(error) = listen(&wake, &options, &mut pauses).await {
            tracing::warn!(%error, "the wake-up listener lost its connection; the workers poll");
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

/// Ends when the connection does: the listener may also end silently.
async fn listen(wake: &Wake, options: &PgConnectOptions, pauses: &mut Pauses) -> Result<(), StorageError> {
    let mut listener = patiently(start_listening(options)).await?;
    pauses.reset();
    for lane in Lane::ALL {
        wake.0.lanes[index(lane)].notify_one(); // whatever was signalled before we listened
    }
    loop {
        let Ok(heard) = tokio::time::timeout(SILENCE, listener.try_recv()).await else {
            patiently(async { Ok(listener.execute("LISTEN jobs").await?) }).await?;
            continue;
        };
        let Some(notification) = heard? else { return Ok(()) };
        if let Some(lane) = notification.payload().parse().ok().and_then(Lane::from_id) {
            wake.0.lanes[index(lane)].notify_one();
        }
    }
}

async fn start_listening(options: &PgConnectOptions) -> Result<PgListener, StorageError> {
    let own = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options.clone())
        .await?;
    let mut listener = PgListener::connect_with(&own).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

fn index(lane: Lane) -> usize {
    usize::try_from(lane.id() - 1).expect("lane numbers start at 1")
}
