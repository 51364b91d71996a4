//! Waiting for an outcome that a worker writes.
//!
//! The row is the truth; a notification only saves time. So the row is read when one comes, on a slow timer in case one
//! was lost, and once more at the deadline.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drop_common::storage::{StorageError, patiently, row_changes};
use sqlx::postgres::PgListener;
use sqlx::{Executor, PgPool};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a lost notification can delay an answer.
const SLOW: Duration = Duration::from_secs(1);

/// How long the listener hears nothing before it asks whether the database is still there: a connection that died without a
/// word would be listened to for ever.
const SILENCE: Duration = Duration::from_secs(10);

/// Pause before the listener connects again.
const RECONNECT: Duration = Duration::from_millis(500);

/// The waiters of this process; clones share them.
#[derive(Debug, Clone, Default)]
pub struct RowWaiters {
    waiting: Arc<Mutex<HashMap<Uuid, Vec<Arc<Notify>>>>>,
    ending: CancellationToken,
    look_every: Option<Duration>,
}

impl RowWaiters {
    /// Waiters that wait no longer once the process ends: what they wait for goes on without it, and whoever asked is
    /// told where to look, rather than holding the end up.
    pub fn until(ending: CancellationToken) -> Self {
        Self {
            ending,
            ..Self::default()
        }
    }

    /// The same waiters for somebody who has more time than a request: the timer is this long.
    #[must_use]
    pub fn looking_every(&self, look_every: Duration) -> Self {
        Self {
            look_every: Some(look_every),
            ..self.clone()
        }
    }

    /// Reads with `read` until it gives something, `deadline` has passed or the process ends. It is called at least once,
    /// and once more after the wait; `None` means that the outcome is not there yet. An error ends the wait.
    pub async fn wait_until<T, E, Reading>(
        &self,
        id: Uuid,
        deadline: Instant,
        mut read: impl FnMut() -> Reading,
    ) -> Result<Option<T>, E>
    where
        Reading: Future<Output = Result<Option<T>, E>>,
    {
        let waiter = self.expect(id);
        let last = self.is_over(deadline);
        match read().await? {
            None if !last => waiter.wait_until(deadline, read).await,
            outcome => Ok(outcome),
        }
    }

    /// Begins to wait for a row that is committed only after this: there is nothing to read before somebody tells of it.
    pub fn expect(&self, id: Uuid) -> Waiter<'_> {
        let notify = Arc::new(Notify::new());
        self.waiting().entry(id).or_default().push(Arc::clone(&notify));
        Waiter { of: self, id, notify }
    }

    fn is_over(&self, deadline: Instant) -> bool {
        Instant::now() >= deadline || self.ending.is_cancelled()
    }

    /// Wakes whoever waits for `id`.
    pub fn wake(&self, id: Uuid) {
        for notify in self.waiting().get(&id).into_iter().flatten() {
            notify.notify_one();
        }
    }

    /// Listens for [changed rows](row_changes) until `stop`; a lost connection is made again, and waiters live on their
    /// timer meanwhile.
    pub async fn listen(&self, pool: &PgPool, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let Some(ended) = stop.run_until_cancelled(self.listen_once(pool)).await else {
                return;
            };
            if let Err(error) = ended {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the listener for finished rows lost its connection"
                );
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a pause between connections, which no restart has to keep"
            )]
            let pause = tokio::time::sleep(RECONNECT);
            let _ = stop.run_until_cancelled(pause).await;
        }
    }

    async fn listen_once(&self, pool: &PgPool) -> Result<(), StorageError> {
        let mut listener = patiently(start_listening(pool)).await?;
        // Something may have been notified while nobody listened.
        self.wake_all();
        loop {
            let Ok(heard) = tokio::time::timeout(SILENCE, listener.try_recv()).await else {
                patiently(async { Ok(listener.execute("SELECT 1").await?) }).await?;
                continue;
            };
            let Some(notification) = heard? else { return Ok(()) };
            if let Ok(id) = notification.payload().parse() {
                self.wake(id);
            }
        }
    }

    fn wake_all(&self) {
        for notify in self.waiting().values().flatten() {
            notify.notify_one();
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Vec<Arc<Notify>>>> {
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn start_listening(pool: &PgPool) -> Result<PgListener, StorageError> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(row_changes::CHANNEL).await?;
    Ok(listener)
}

/// One registered waiter; a caller that goes away leaves nothing behind.
pub struct Waiter<'a> {
    of: &'a RowWaiters,
    id: Uuid,
    notify: Arc<Notify>,
}

impl Waiter<'_> {
    /// As [`RowWaiters::wait_until`], but waits before it reads.
    pub async fn wait_until<T, E, Reading>(
        &self,
        deadline: Instant,
        mut read: impl FnMut() -> Reading,
    ) -> Result<Option<T>, E>
    where
        Reading: Future<Output = Result<Option<T>, E>>,
    {
        loop {
            let until = deadline.min(Instant::now() + self.of.look_every.unwrap_or(SLOW));
            // A wake-up that came while the row was being read is kept by the Notify, so it is not lost.
            let woken = tokio::time::timeout_at(until, self.notify.notified());
            let _ = self.of.ending.run_until_cancelled(woken).await;
            // Read after the moment is taken, or an outcome in between would go unseen.
            let last = self.of.is_over(deadline);
            match read().await? {
                None if !last => {}
                outcome => return Ok(outcome),
            }
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.of.waiting();
        if let Some(waiters) = waiting.get_mut(&self.id) {
            waiters.retain(|waiter| !Arc::ptr_eq(waiter, &self.notify));
            if waiters.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn reads(waiters: &RowWaiters, patience: Duration, there_at: u32, count: &AtomicU32) -> Option<u32> {
        let read = || async {
            let read = count.fetch_add(1, Ordering::SeqCst) + 1;
            Ok::<_, Infallible>((read >= there_at).then_some(read))
        };
        waiters
            .wait_until(Uuid::nil(), Instant::now() + patience, read)
            .await
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_that_is_there_is_given_at_once_even_without_patience() {
        let begun = Instant::now();
        assert_eq!(
            reads(&RowWaiters::default(), Duration::ZERO, 1, &AtomicU32::new(0)).await,
            Some(1)
        );
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_up_gives_the_outcome_before_the_timer_does() {
        let waiters = RowWaiters::default();
        let begun = Instant::now();
        let (count, waker) = (AtomicU32::new(0), waiters.clone());
        let wake = async {
            tokio::task::yield_now().await;
            waker.wake(Uuid::nil());
        };
        let (outcome, ()) = tokio::join!(reads(&waiters, Duration::from_secs(10), 2, &count), wake);
        assert_eq!(outcome, Some(2));
        assert!(begun.elapsed() < Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_that_is_expected_is_read_once_it_is_told_of() {
        let waiters = RowWaiters::default();
        let (begun, count) = (Instant::now(), AtomicU32::new(0));
        let waiter = waiters.expect(Uuid::nil());
        let read = || async { Ok::<_, Infallible>(Some(count.fetch_add(1, Ordering::SeqCst))) };
        let wait = waiter.wait_until(Instant::now() + Duration::from_secs(10), read);
        let tell = async {
            let never = std::future::pending::<()>();
            let _ = tokio::time::timeout(Duration::from_millis(300), never).await;
            assert_eq!(count.load(Ordering::SeqCst), 0, "it was read before");
            waiters.wake(Uuid::nil());
        };
        let (outcome, ()) = tokio::join!(wait, tell);
        assert_eq!(outcome, Ok(Some(0)));
        assert!(begun.elapsed() < Duration::from_millis(400));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_wake_up_costs_a_second() {
        let begun = Instant::now();
        assert_eq!(
            reads(&RowWaiters::default(), Duration::from_secs(10), 2, &AtomicU32::new(0)).await,
            Some(2)
        );
        assert!(begun.elapsed() <= Duration::from_millis(1100));
    }

    #[tokio::test(start_paused = true)]
    async fn the_row_is_read_once_more_at_the_deadline_and_nobody_stays_registered() {
        let waiters = RowWaiters::default();
        let count = AtomicU32::new(0);
        assert_eq!(
            reads(&waiters, Duration::from_millis(1500), u32::MAX, &count).await,
            None
        );
        assert_eq!(count.load(Ordering::SeqCst), 3);
        assert!(waiters.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_process_ends_every_wait_after_one_more_look() {
        let ending = CancellationToken::new();
        let waiters = RowWaiters::until(ending.clone());
        let begun = Instant::now();
        let (seen, unseen) = (AtomicU32::new(0), AtomicU32::new(0));
        let end = async {
            tokio::task::yield_now().await;
            ending.cancel();
        };
        let long = Duration::from_secs(15);
        let (outcome, none, ()) = tokio::join!(
            reads(&waiters, long, 2, &seen),
            reads(&waiters, long, u32::MAX, &unseen),
            end
        );
        assert_eq!((outcome, none), (Some(2), None));
        assert_eq!(unseen.load(Ordering::SeqCst), 2);
        assert!(begun.elapsed() < Duration::from_millis(100));
    }
}
