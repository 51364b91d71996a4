//! A payment's states as they come: so that nobody has to ask every second.

use std::time::Duration;

use drop_common::{
    domain::ids::PaymentId,
    session_token::ACCESS_TTL,
    storage::{
        payments::{self, Payment},
        sessions,
    },
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use poem::web::sse::Event;
use poem_openapi::{payload::EventStream, types::ToJSON};
use tokio::time::Instant;

use super::{Events, Transaction, look_soon};
use crate::{
    error::{ApiError, Code},
    session::Session,
    state::State,
};

/// A comment on an otherwise silent stream: proxies close what is silent for long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a lost notification can hold an event back, and a session's end the end of its streams.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A proxy must pass each event on as it comes.
const UNBUFFERED: &str = "no";

/// What a stream has shown, and until when it may.
struct Following {
    state: State,
    session: Session,
    id: PaymentId,
    /// The version that was shown last.
    seen: i32,
    /// No longer than the token that opened it: whoever goes on proves again who they are.
    until: Instant,
    over: bool,
}

pub(super) async fn follow(
    state: &State,
    session: Session,
    id: &str,
    last_event_id: Option<&str>,
) -> Result<Events, ApiError> {
    let id: PaymentId = id.parse().map_err(|_| ApiError::of(Code::NotFound))?;
    let user = session.user.into();
    let own = payments::find_own(&mut *state.begin_for(user).await?, user, id).await?;
    let payment = own.ok_or(ApiError::of(Code::NotFound))?;
    // A browser's stream comes back by itself and says what it has seen; anything else has seen nothing.
    let seen = last_event_id.and_then(|id| id.parse().ok()).unwrap_or(0);
    if payment.state.bank_final && payment.version <= seen {
        return Ok(Events::Over);
    }
    if !payment.state.bank_final && payment.payment_id.is_some() {
        look_soon(state, id).await;
    }
    let following = Following {
        state: state.clone(),
        session,
        id,
        seen,
        until: Instant::now() + ACCESS_TTL.to_std().unwrap_or_default(),
        over: false,
    };
    let changes: BoxStream<'static, Transaction> = stream::unfold(following, next).boxed();
    let events = EventStream::new(changes)
        .keep_alive(KEEP_ALIVE)
        .to_event(|change| Event::message(change.to_json_string()).id(change.version.to_string()));
    Ok(Events::Stream(events, UNBUFFERED.to_owned(), "no-store".to_owned()))
}

/// The next state that was not shown yet. The stream ends after the last one, with its time, its session or the process; a
/// client that wants more comes back.
async fn next(mut following: Following) -> Option<(Transaction, Following)> {
    if following.over {
        return None;
    }
    let Following {
        state,
        session,
        id,
        seen,
        until,
        ..
    } = &following;
    let read = || async {
        let user = session.user.into();
        if !sessions::is_live(&state.db, session.session.into(), user).await? {
            return Err(ApiError::of(Code::Unauthenticated));
        }
        let own = payments::find_own(&mut *state.begin_for(user).await?, user, *id).await?;
        Ok::<_, ApiError>(own.filter(|payment: &Payment| payment.version > *seen))
    };
    let waiters = state.waiters.looking_every(LOOK_EVERY);
    let payment = waiters.wait_until(id.uuid(), *until, read).await.ok()??;
    following.seen = payment.version;
    following.over = payment.state.bank_final;
    Some((Transaction::of(payment).ok()?, following))
}
