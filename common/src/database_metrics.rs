//! The database as this process meets it: its connections, how long one is waited for, and what went wrong.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{DB_ACQUIRE_DURATION, DB_CONNECTIONS, DB_ERRORS, Metrics},
    storage::ErrorClass,
};

/// How often a connection is asked for, only to see how long that takes: in seconds, and seldom, for one that is used is not
/// given up.
const SAMPLE_EVERY: u32 = 15;

/// Keeps the metrics current until `stop`, whatever becomes of the database.
pub async fn keep_current(db: &PgPool, metrics: &Metrics, stop: &CancellationToken) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counted = ErrorClass::ALL.map(|_| 0);
    for second in (0..SAMPLE_EVERY).cycle() {
        let sampled = async {
            ticks.tick().await;
            show_connections(db, metrics);
            count_errors(metrics, &mut counted);
            if second == 0 {
                let asked = Instant::now();
                // One that is not had in time has been waited for all the same.
                drop(db.acquire().await);
                metrics.observe(&DB_ACQUIRE_DURATION, &[], asked.elapsed().as_secs_f64());
            }
        };
        if stop.run_until_cancelled(sampled).await.is_none() {
            return;
        }
    }
}

fn show_connections(db: &PgPool, metrics: &Metrics) {
    let idle = u32::try_from(db.num_idle()).unwrap_or(u32::MAX);
    metrics.set(&DB_CONNECTIONS, &["idle"], idle.into());
    metrics.set(&DB_CONNECTIONS, &["in_use"], db.size().saturating_sub(idle).into());
}

/// Adds what was met since the last time.
fn count_errors(metrics: &Metrics, counted: &mut [u64; ErrorClass::ALL.len()]) {
    for (class, counted) in ErrorClass::ALL.into_iter().zip(counted) {
        let met = class.met();
        metrics.count_more(&DB_ERRORS, &[class.as_str()], met - *counted);
        *counted = met;
    }
}
