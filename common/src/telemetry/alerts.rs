//! Alerts on their way to Sentry. Every process raises them, and a row for each name decides who tells it: once in a quiet
//! period, however many processes raise it however often. The log has them all.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use super::reports;
use crate::{
    alerts::{Alert, Quiet},
    storage::alerts_told,
};

/// How long an alert that was told is not told again.
const QUIET: Duration = Duration::from_mins(15);
/// For the row. A database that does not answer must not keep an alert from people, nor a process from ending.
const PATIENCE: Duration = Duration::from_secs(2);

/// By their names, each as it was first raised since the last round: a flood of them is one.
static RAISED: Mutex<BTreeMap<&'static str, (Alert, String)>> = Mutex::new(BTreeMap::new());
static NEWS: Notify = Notify::const_new();

/// Keeps an alert for [`tell_alerts`]; returns at once.
pub(crate) fn note(alert: &Alert, about: String) {
    if reports::is_on() {
        raised().entry(alert.name).or_insert((*alert, about));
        NEWS.notify_one();
    }
}

/// Tells Sentry what this process raises, until `stop`, and then what is left.
pub async fn tell_alerts(db: PgPool, stop: CancellationToken) {
    let unasked = Quiet::new(QUIET);
    loop {
        let is_over = tokio::select! {
            () = NEWS.notified() => false,
            () = stop.cancelled() => true,
        };
        let news = std::mem::take(&mut *raised());
        for (alert, about) in news.into_values() {
            let turn = timeout(PATIENCE, alerts_told::take_turn(&db, alert.name, QUIET)).await;
            // Without the row, better told by every process than by none.
            let is_ours = match turn {
                Ok(Ok(is_ours)) => is_ours,
                Ok(Err(_)) | Err(_) => unasked.is_due(&alert, "", Instant::now()),
            };
            if is_ours {
                reports::raise(&alert, &about);
            }
        }
        if is_over {
            return;
        }
    }
}

fn raised() -> MutexGuard<'static, BTreeMap<&'static str, (Alert, String)>> {
    RAISED.lock().unwrap_or_else(PoisonError::into_inner)
}
