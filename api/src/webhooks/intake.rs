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
    writers: usize,
}

impl Intake {
    /// Stores the event with its job. True: it was not known.
    pub(super) async fn store(&self, state: &State, event: NewEvent) -> Result<bool, ApiError> {
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut waiting = self.waiting();
            waiting.events.push_back((event, answer));
            let begins = waiting.writers < WRITERS;
            waiting.writers += usize::from(begins);
            begins
        };
        if begins {
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
    ApiError::of(Code::Unavailable)
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
        while let Some((event, answer)) = waiting.events.pop_front() {
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
