//! Feeds one lane: claims as many jobs as there are free slots, and hands them over one by one.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Lane, Wake,
    backend::Claims,
    claim::{Claim, Claimer},
    supervise::Pauses,
};
use crate::{
    failpoint,
    resilience::{
        backoff::between,
        breaker::{Breaker, State},
    },
    storage::{StorageError, patiently},
};

const BATCH: usize = 50;
/// How long a lane may be full before it says so, and says so again: handlers run longer than a claimer may stand still.
const FULL_FOR: Duration = Duration::from_secs(10);

/// What feeds a lane. The slots outlive a restart of the lane's worker.
#[derive(Clone)]
pub(super) struct Feeder {
    pub(super) lane: Lane,
    pub(super) slots: Arc<Semaphore>,
    pub(super) capacity: usize,
    pub(super) claimer: Claimer,
    pub(super) breaker: Breaker,
    pub(super) wake: Wake,
}

impl Feeder {
    /// Until `stop`: then whatever was claimed and not taken goes back, at once.
    pub(super) async fn feed(self, claims: mpsc::Sender<Claim>, handed_over: Claims, stop: CancellationToken) {
        let mut undelivered = self.feed_until(claims, &stop).await;
        {
            let mut handed_over = handed_over.lock().unwrap_or_else(PoisonError::into_inner);
            while let Ok(claim) = handed_over.try_recv() {
                undelivered.push(claim);
            }
        }
        give_back(&self.claimer, &undelivered).await;
    }

    /// Returns what is left in its hands.
    async fn feed_until(&self, claims: mpsc::Sender<Claim>, stop: &CancellationToken) -> Vec<Claim> {
        let (mut pauses, mut calm) = (Pauses::default(), None);
        while let Some(mut slots) = self.free_slots(stop).await {
            let asked_at = Instant::now();
            let claimed = patiently(self.claim(slots.len(), &mut calm)).await;
            match &claimed {
                Ok(claimed) => self.claimer.watch.claimed(self.lane, claimed.len(), asked_at.elapsed()),
                Err(_) => self.claimer.watch.claim_failed(self.lane),
            }
            let pause = match claimed {
                Ok(claimed) => {
                    pauses.reset();
                    let may_be_more = claimed.len() == slots.len();
                    if !claimed.is_empty() {
                        failpoint!("queue.claimed");
                    }
                    let undelivered = hand_over(claimed, &mut slots, &claims, stop).await;
                    if !undelivered.is_empty() {
                        return undelivered;
                    }
                    if may_be_more {
                        continue;
                    }
                    between(Duration::from_millis(900), Duration::from_millis(1100))
                }
                Err(error) => {
                    tracing::warn!(%error, lane = self.lane.name(), "no jobs could be claimed");
                    pauses.next()
                }
            };
            drop(slots);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.signalled(self.lane) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Vec::new()
    }

    /// Waits for one slot and takes all that are free; `None` when stopping.
    async fn free_slots(&self, stop: &CancellationToken) -> Option<Vec<OwnedSemaphorePermit>> {
        let first = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                slot = Arc::clone(&self.slots).acquire_owned() => break slot.ok()?,
                () = tokio::time::sleep(FULL_FOR) => self.claimer.watch.full(self.lane),
            }
        };
        let mut slots = vec![first];
        while slots.len() < BATCH
            && let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned()
        {
            slots.push(slot);
        }
        Some(slots)
    }

    /// `calm`: the epoch of a breaker that was closed when it was last read, and past its slow start. It need not be read
    /// before each claim, which takes nothing while it is open.
    async fn claim(&self, free: usize, calm: &mut Option<i64>) -> Result<Vec<Claim>, StorageError> {
        if self.claimer.watch.is_quiet() {
            return Ok(Vec::new());
        }
        let Some(key) = self.lane.breaker() else {
            return self.claimer.claim(self.lane, free).await;
        };
        let was_calm = calm.is_some();
        if let Some(epoch) = *calm {
            let claims = self.claimer.claim(self.lane, free).await?;
            if claims.iter().any(|claim| claim.lease.epoch() != Some(epoch)) {
                *calm = None; // it opened since, and closed again
            }
            if !claims.is_empty() {
                return Ok(claims);
            }
        }
        let state = self.breaker.state(key).await?;
        let is_calm = !state.open && slow_start(&state) >= self.capacity;
        *calm = is_calm.then_some(state.epoch);
        if is_calm && was_calm {
            return Ok(Vec::new());
        }
        if state.open {
            let half_open = state.retry_in.is_zero();
            let probe = if half_open {
                self.claimer.claim_probe(key).await?
            } else {
                None
            };
            return Ok(probe.into_iter().collect());
        }
        let running = self.capacity.saturating_sub(self.slots.available_permits() + free);
        match free.min(slow_start(&state).saturating_sub(running)) {
            0 => Ok(Vec::new()),
            allowed => self.claimer.claim(self.lane, allowed).await,
        }
    }
}

/// Returns those that are left when the worker stops.
async fn hand_over(
    claimed: Vec<Claim>,
    slots: &mut Vec<OwnedSemaphorePermit>,
    claims: &mpsc::Sender<Claim>,
    stop: &CancellationToken,
) -> Vec<Claim> {
    let mut waiting = claimed.into_iter();
    while waiting.len() > 0 {
        let place = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            place = claims.reserve() => place.ok(),
        };
        let Some(place) = place else {
            return waiting.collect();
        };
        if let Some(mut claim) = waiting.next() {
            claim.slot = slots.pop();
            place.send(claim);
        }
    }
    Vec::new()
}

/// Gives claims back, for as long as their leases last.
async fn give_back(claimer: &Claimer, claims: &[Claim]) {
    let mut pauses = Pauses::default();
    while claims.iter().any(|claim| !claim.lease.has_ended()) {
        match patiently(claimer.give_back(claims)).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, jobs = claims.len(), "claimed jobs could not be given back yet");
                tokio::time::sleep(pauses.next()).await;
            }
        }
    }
}

/// After an outage the load doubles every second: 1, 2, 4 … jobs at a time.
fn slow_start(state: &State) -> usize {
    match state.closed_for {
        Some(since) => u32::try_from(since.as_secs())
            .ok()
            .and_then(|seconds| 1_usize.checked_shl(seconds))
            .unwrap_or(usize::MAX),
        None => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_starts_slowly_after_its_breaker_closed() {
        let closed = |closed_for| State {
            epoch: 2,
            open: false,
            retry_in: Duration::ZERO,
            opened_at: None,
            closed_for,
            probe: None,
        };
        let allowed = |seconds| slow_start(&closed(Some(Duration::from_secs(seconds))));
        assert_eq!([allowed(0), allowed(1), allowed(3)], [1, 2, 8]);
        assert_eq!(allowed(1_000), usize::MAX);
        assert_eq!(slow_start(&closed(None)), usize::MAX, "it never opened");
    }
}
