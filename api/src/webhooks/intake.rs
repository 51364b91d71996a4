//! Storing what many senders bring at once: whatever came in while the statements before it were under way is stored by one
//! statement and one commit. Nobody waits for others to come, and nobody is answered before the commit.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use drop_common::{
    queue::Lane,
    storage::webhooks::{self, NewEvent},
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    error::{ApiError, Code},
    state::State,
};

/// Statements under way at a time: one is written while the other waits for the disk.
const WRITERS: usize = 2;
/// Of one statement.
const MOST_EVENTS: usize = 64;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// What may wait behind those: more than is stored within the patience, and no more than fits into the process's memory. What
/// comes then is told at once to come again.
const MOST_WAITING: usize = 10_000;
const MOST_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// Sumsub gives five seconds. What is stored later all the same is a duplicate when it comes again.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// Whether an event was new.
type Stored = Result<bool, ApiError>;

/// Stores the events of this process's requests.
#[derive(Clone, Default)]
pub(super) struct Intake(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    events: VecDeque<(NewEvent, oneshot::Sender<Stored>)>,
    /// Of their bodies.
    bytes: usize,
    writers: usize,
}

impl Waiting {
    /// Takes the event in. Whether a writer must begin; `None`: too many wait, and it was not taken.
    fn take_in(&mut self, event: NewEvent, answer: oneshot::Sender<Stored>) -> Option<bool> {
        let bytes = self.bytes + event.raw.len();
        if self.events.len() >= MOST_WAITING || bytes > MOST_WAITING_BYTES {
            return None;
        }
        self.bytes = bytes;
        self.events.push_back((event, answer));
        let begins = self.writers < WRITERS;
        self.writers += usize::from(begins);
        Some(begins)
    }

    fn let_out(&mut self) -> Option<(NewEvent, oneshot::Sender<Stored>)> {
        let (event, answer) = self.events.pop_front()?;
        self.bytes -= event.raw.len();
        Some((event, answer))
    }
}

impl Intake {
    /// Stores the event with its job. True: it was not known.
    pub(super) async fn store(&self, state: &State, event: NewEvent) -> Result<bool, ApiError> {
        let (answer, answered) = oneshot::channel();
        let begins = self.waiting().take_in(event, answer);
        if begins.ok_or_else(|| ApiError::retry_after(Code::Overloaded, 5))? {
            // On its own: a sender that hangs up must not take the others' events with it.
            tokio::spawn(self.clone().write(state.clone()));
        }
        match timeout(PATIENCE, answered).await {
            Ok(Ok(stored)) => stored,
            Ok(Err(_)) => Err(ApiError::of(Code::Internal)), // its writer panicked
            Err(_) => Err(unavailable()),
        }
    }

    /// Writes until nothing waits.
    async fn write(self, state: State) {
        let mut writing = Writing {
            intake: &self,
            ended: false,
        };
        while let Some((events, answers)) = writing.next() {
            let stored = match webhooks::accept(&state.db, &events).await {
                Ok(new) => events.iter().map(|event| Ok(new.contains(&event.id))).collect(),
                Err(error) if events.len() == 1 => vec![Err(error.into())],
                // One of them alone may be what the database does not take; away, it takes none of them.
                Err(error) if error.is_away() => events.iter().map(|_| Err(unavailable())).collect(),
                Err(_) => one_by_one(&state, &events).await,
            };
            if stored.iter().any(|stored| matches!(stored, Ok(true))) {
                state.wake.signal(Lane::KycApply);
            }
            for (answer, stored) in answers.into_iter().zip(stored) {
                let _ = answer.send(stored); // whoever has hung up will send it again
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // The queue is whole between any two statements, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn one_by_one(state: &State, events: &[NewEvent]) -> Vec<Stored> {
    let mut stored = Vec::with_capacity(events.len());
    for event in events {
        let accepted = webhooks::accept(&state.db, std::slice::from_ref(event)).await;
        stored.push(accepted.map(|new| !new.is_empty()).map_err(ApiError::from));
    }
    stored
}

fn unavailable() -> ApiError {
    ApiError::retry_after(Code::Unavailable, 1)
}

/// A writer at work. However it ends, another one may begin.
struct Writing<'a> {
    intake: &'a Intake,
    ended: bool,
}

impl Writing<'_> {
    /// The next events, in the order of their arrival. Without any the writer has ended: in the same moment, so that who
    /// comes next knows that they must begin another one.
    fn next(&mut self) -> Option<(Vec<NewEvent>, Vec<oneshot::Sender<Stored>>)> {
        let mut waiting = self.intake.waiting();
        let (mut events, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((event, answer)) = waiting.let_out() {
            bytes += event.raw.len();
            events.push(event);
            answers.push(answer);
            if events.len() == MOST_EVENTS || bytes >= MOST_BYTES {
                break;
            }
        }
        if events.is_empty() {
            waiting.writers -= 1;
            self.ended = true;
            return None;
        }
        Some((events, answers))
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.intake.waiting().writers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use drop_common::domain::ids::WebhookEventId;
    use uuid::Uuid;

    use super::*;

    fn event(bytes: usize) -> NewEvent {
        NewEvent {
            id: WebhookEventId::new(),
            event_key: String::new(),
            event_type: None,
            applicant_id: None,
            external_user_id: None,
            raw: vec![b' '; bytes],
            request_id: Uuid::nil(),
        }
    }

    /// How many of this size are taken in before one is not, when nothing is stored.
    fn taken(waiting: &mut Waiting, bytes: usize) -> usize {
        let mut take_in = || waiting.take_in(event(bytes), oneshot::channel().0);
        std::iter::from_fn(|| take_in().map(drop)).count()
    }

    #[test]
    fn so_many_events_wait_and_no_more_until_some_are_stored() {
        let mut waiting = Waiting::default();
        assert_eq!(taken(&mut waiting, 100), MOST_WAITING);
        assert_eq!(waiting.writers, WRITERS, "who is not taken in begins no writer");
        assert!(waiting.let_out().is_some() && waiting.let_out().is_some());
        assert_eq!(taken(&mut waiting, 100), 2);
    }

    #[test]
    fn so_many_bytes_wait_and_no_more_until_some_are_stored() {
        let (mut waiting, largest) = (Waiting::default(), 256 * 1024);
        assert_eq!(taken(&mut waiting, largest), MOST_WAITING_BYTES / largest);
        assert!(waiting.let_out().is_some());
        assert_eq!((taken(&mut waiting, largest), taken(&mut waiting, 1)), (1, 0));
        while waiting.let_out().is_some() {}
        assert_eq!(waiting.bytes, 0);
    }
}
