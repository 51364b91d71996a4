//! Keeps the leases of running jobs, on a thread and a connection of its own: neither a handler that blocks the
//! runtime nor an exhausted pool may stop the heartbeats.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio_util::sync::CancellationToken;

use super::{JobId, Lease, sql};
use crate::{failpoint, storage::StorageError};

/// How often the thread looks for leases that are due. A look costs no statement.
const TICK: Duration = Duration::from_millis(100);

/// Starts the thread; it ends after `stop`.
pub(super) fn start(
    options: PgConnectOptions,
    leases: Leases,
    stop: CancellationToken,
) -> std::io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("lease-renewer".to_owned()).spawn(move || {
        while !stop.is_cancelled() {
            let turn = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(renew_until(&options, &leases, &stop));
            }));
            if turn.is_err() {
                tracing::error!("the lease renewer panicked and is started again");
            }
        }
    })
}

async fn renew_until(options: &PgConnectOptions, leases: &Leases, stop: &CancellationToken) {
    let mut connection: Option<PgConnection> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let due = leases.due(Instant::now());
        if due.is_empty() {
            continue;
        }
        let renewal = tokio::time::timeout(Duration::from_secs(5), renew(options, &mut connection, &due)).await;
        if let Err(error) = renewal.unwrap_or(Err(StorageError::Database(sqlx::Error::PoolTimedOut))) {
            tracing::warn!(%error, leases = due.len(), "leases could not be renewed yet");
            connection = None;
        }
    }
}

async fn renew(
    options: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
    due: &[Lease],
) -> Result<(), StorageError> {
    // Also where no connection is to be had: the next try is not at once.
    for lease in due {
        lease.renewal_tried(Instant::now());
    }
    let connection = match connection {
        Some(open) => open,
        None => connection.insert(options.connect().await?),
    };
    failpoint!("queue.renewing");
    let asked_at = Instant::now();
    let ids: Vec<JobId> = due.iter().map(Lease::job).collect();
    let attempts: Vec<i32> = due.iter().map(Lease::attempt).collect();
    let renewed = sql::renew(connection, &ids, &attempts).await?;
    for lease in due.iter().filter(|lease| renewed.contains(&lease.job())) {
        lease.renewed(asked_at);
    }
    Ok(())
}

/// The leases this process holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<HashMap<(JobId, i32), Lease>>>);

impl Leases {
    /// Renews the lease for as long as the guard lives.
    pub(super) fn hold(&self, lease: &Lease) -> Held {
        let key = (lease.job(), lease.attempt());
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, lease.clone());
        Held {
            leases: self.clone(),
            key,
        }
    }

    fn due(&self, now: Instant) -> Vec<Lease> {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases
            .values()
            .filter(|lease| lease.wants_renewal(now))
            .cloned()
            .collect()
    }
}

/// While it lives, the lease is renewed.
#[derive(Debug)]
pub(super) struct Held {
    leases: Leases,
    key: (JobId, i32),
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leases
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        queue::{
            Lane,
            lease::Facts,
            record::{DeadHooks, HookFuture},
        },
        storage::Tx,
    };

    struct NoHooks;

    impl DeadHooks for NoHooks {
        fn on_dead<'a>(&'a self, _: &'a mut Tx, _: &'a str, _: serde_json::Value, _: &'a str) -> HookFuture<'a> {
            unreachable!("nothing dies here")
        }
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_not_tried_again_at_once() {
        let facts = Facts {
            job: 1,
            attempt: 1,
            used: 1,
            max_attempts: 1,
            lane: Lane::Upkeep,
            request_id: None,
            epoch: None,
            probe: None,
            length: Duration::from_secs(45),
        };
        let claimed_at = Instant::now().checked_sub(Duration::from_secs(16)).unwrap();
        let lease = Lease::new(facts, claimed_at, Arc::new(NoHooks));
        let leases = Leases::default();
        let _held = leases.hold(&lease);
        let due = leases.due(Instant::now());
        assert_eq!(due.len(), 1);
        let nowhere = "postgres://nobody@127.0.0.1:1/none".parse().expect("an address");
        assert!(renew(&nowhere, &mut None, &due).await.is_err());
        assert!(leases.due(Instant::now()).is_empty());
    }
}
