//! Alerts on their way to Sentry. Every process raises them, and a row for each cause of an alert decides who tells it: once in a
//! quiet period, however many processes raise it however often. One that Sentry did not take is not told, and is tried again, unless
//! Sentry will never take it. The log has them all.

use std::{
    collections::BTreeMap,
    future::pending,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::{join_all, select};
use reqwest::StatusCode;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{courier::Delivery, reports};
use crate::{
    alerts::{self, Alert, Quiet, Severity},
    failpoint,
    storage::{
        StorageError,
        alert_turns::{self, Turn},
    },
};

/// How long an alert that was told is not told again for the same cause.
const QUIET: Duration = Duration::from_mins(15);
/// How long somebody has the turn who has not told it yet, or has died: longer than sending may take.
const SENDING: Duration = Duration::from_secs(30);
/// For the rows. A database that does not answer must not keep an alert from people.
const PATIENCE: Duration = Duration::from_secs(2);
/// When one that Sentry did not take is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// For what is left at the end of a process, whatever database and Sentry do; a part of what its grace time leaves after the work.
const LAST_ALERTS: Duration = Duration::from_secs(3);
/// So many are sent together.
const TOGETHER: usize = 20;
/// So many causes of one alert wait at most. More than that people do not read one by one, and the log has them.
const MOST_OF_ONE: usize = 100;

/// What waits, each as it was first raised; critical ones are told first.
static WAITING: Mutex<BTreeMap<(Severity, Turn), Raised>> = Mutex::new(BTreeMap::new());
static NEWS: Notify = Notify::const_new();

#[derive(Clone)]
struct Raised {
    alert: Alert,
    turn: Turn,
    about: String,
    /// Of one that Sentry did not take before, or that another process may be telling.
    not_before: Option<Instant>,
}

impl Raised {
    /// The log has the alert itself.
    fn refused(&self, answer: StatusCode) {
        tracing::error!(
            alert = self.alert.name,
            "Sentry refuses the alert {} for good: {answer}; it is not tried again",
            self.alert.name
        );
        alerts::count_refused(&self.alert);
    }
}

/// Keeps an alert for [`telling_alerts`]; returns at once.
pub(crate) fn note(alert: &Alert, cause: &str, about: String) {
    if !reports::is_on() {
        return;
    }
    let turn = (alert.name, hash(cause));
    let mut waiting = waiting();
    let of_it = waiting.values().filter(|raised| raised.alert.name == alert.name);
    if of_it.count() < MOST_OF_ONE {
        waiting.entry((alert.severity, turn.clone())).or_insert(Raised {
            alert: *alert,
            turn,
            about,
            not_before: None,
        });
        NEWS.notify_one();
    }
}

/// Does the work, and tells Sentry meanwhile what this process raises; then, for a few seconds at most, what is left. Without a
/// database every alert is told, whoever else tells it.
pub async fn telling_alerts<T>(db: Option<PgPool>, work: impl Future<Output = T>) -> T {
    let stop = CancellationToken::new();
    let _even_if_dropped = stop.clone().drop_guard();
    let told = tokio::spawn(tell_until(stop.clone(), db));
    let done = work.await;
    stop.cancel();
    if told.await.is_err() {
        tracing::error!("the task that looks after the alerts panicked");
    }
    done
}

/// Tells them until `stop`, whatever becomes of the task that does.
async fn tell_until(stop: CancellationToken, db: Option<PgPool>) {
    let teller = Arc::new(Teller {
        db,
        unasked: Quiet::new(QUIET),
        refused: Quiet::new(QUIET),
    });
    let telling = async {
        loop {
            let (teller, until) = (Arc::clone(&teller), stop.clone());
            if tokio::spawn(async move { teller.tell(&until).await }).await.is_ok() || stop.is_cancelled() {
                return;
            }
            tracing::error!("the task that tells alerts panicked, and is started again");
        }
    };
    let too_late = async {
        stop.cancelled().await;
        timeout(LAST_ALERTS, pending::<()>()).await
    };
    select(pin!(telling), pin!(too_late)).await;
}

struct Teller {
    db: Option<PgPool>,
    /// What was told without a row.
    unasked: Quiet,
    /// What Sentry refused for good: whoever raises it again would be refused again.
    refused: Quiet,
}

impl Teller {
    /// Until `stop`, and then what is left.
    async fn tell(&self, stop: &CancellationToken) {
        loop {
            let is_over = tokio::select! {
                _ = timeout(AGAIN, NEWS.notified()) => false,
                () = stop.cancelled() => true,
            };
            let now = Instant::now();
            let is_refused = |raised: &Raised| self.refused.is_quiet(&raised.alert, &raised.turn.1, now);
            let (refused, mut due): (Vec<_>, Vec<_>) = waiting().values().cloned().partition(is_refused);
            forget(&refused.iter().collect::<Vec<_>>());
            due.retain(|raised| is_over || raised.not_before.is_none_or(|time| time <= now));
            for some in due.chunks(TOGETHER) {
                self.tell_some(some).await;
            }
            if is_over {
                return;
            }
        }
    }

    async fn tell_some(&self, some: &[Raised]) {
        failpoint!("alerts.telling");
        let wanted = turns(some);
        let asked = ask(self.db.as_ref().map(|db| alert_turns::take(db, &wanted, SENDING))).await;
        let is_ours = |raised: &&Raised| match &asked {
            Some(ours) => ours.contains(&raised.turn),
            // Without the row, better told by every process than by none.
            None => self.unasked.is_due(&raised.alert, &raised.turn.1, Instant::now()),
        };
        let (ours, others): (Vec<_>, Vec<_>) = some.iter().partition(is_ours);
        match asked {
            Some(_) => self.leave(&others).await,
            None => forget(&others),
        }

        let sent = join_all(
            ours.iter()
                .map(|raised| reports::tell(&raised.alert, &raised.turn.1, &raised.about)),
        )
        .await;
        let (mut told, mut refused, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (raised, delivery) in ours.into_iter().zip(sent) {
            match delivery {
                Delivery::Taken => told.push(raised),
                Delivery::Refused(answer) => {
                    raised.refused(answer);
                    let _first = self.refused.is_due(&raised.alert, &raised.turn.1, Instant::now());
                    refused.push(raised);
                }
                Delivery::NotTaken => left.push(raised),
            }
        }
        if asked.is_some() {
            self.keep(&told, QUIET).await;
            // Another process may have another way to Sentry, and have it taken.
            self.keep(&[left.as_slice(), &refused].concat(), Duration::ZERO).await;
        } else {
            for raised in &left {
                self.unasked.forget(&raised.alert, &raised.turn.1);
            }
        }
        forget(&told);
        forget(&refused);
        try_again(&left, AGAIN);
    }

    /// To those who have the turn. Who has only begun to tell it may die over that, so it is asked for again as soon as it can
    /// be free; what was told is quiet for longer, and then raised again by what has not passed.
    async fn leave(&self, others: &[&Raised]) {
        if others.is_empty() {
            return;
        }
        let asked = turns(others.iter().copied());
        let free_in = ask(self.db.as_ref().map(|db| alert_turns::free_in(db, &asked))).await;
        for raised in others {
            let left = free_in.iter().flatten().find(|(turn, _)| *turn == raised.turn);
            match left {
                Some((_, left)) if *left > SENDING => forget(&[raised]),
                Some((_, left)) => try_again(&[raised], *left),
                None => try_again(&[raised], AGAIN),
            }
        }
    }

    /// Where that does not succeed, they are others' soon.
    async fn keep(&self, raised: &[&Raised], hold: Duration) {
        if !raised.is_empty() {
            let mine = turns(raised.iter().copied());
            let _kept = ask(self.db.as_ref().map(|db| alert_turns::keep(db, &mine, hold))).await;
        }
    }
}

/// `None` where the database does not answer what it is asked, or is not there to be asked.
async fn ask<T>(question: Option<impl Future<Output = Result<T, StorageError>>>) -> Option<T> {
    timeout(PATIENCE, question?).await.ok()?.ok()
}

fn turns<'a>(raised: impl IntoIterator<Item = &'a Raised>) -> Vec<Turn> {
    raised.into_iter().map(|raised| raised.turn.clone()).collect()
}

/// They are told, by us or by others.
fn forget(raised: &[&Raised]) {
    let mut waiting = waiting();
    for Raised { alert, turn, .. } in raised {
        waiting.remove(&(alert.severity, turn.clone()));
    }
}

fn try_again(raised: &[&Raised], after: Duration) {
    let (mut waiting, later) = (waiting(), Instant::now() + after);
    for Raised { alert, turn, .. } in raised {
        if let Some(raised) = waiting.get_mut(&(alert.severity, turn.clone())) {
            raised.not_before = Some(later);
        }
    }
}

/// Whatever the words of a cause are, the row of it is short, and so is the fingerprint of its issue.
fn hash(cause: &str) -> String {
    let hash = Sha256::digest(cause);
    let half = hash.iter().take(16);
    half.fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn waiting() -> MutexGuard<'static, BTreeMap<(Severity, Turn), Raised>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}
