//! The inbox of webhooks. An event's body may name people, so it is not shown; `drop-worker webhooks show` prints it.

use drop_common::{
    domain::ids::{UserId, WebhookEventId},
    queue::{Job as _, payloads::ApplyKycEvent},
    storage::inbox::{self, Detail, Filter, Summary, Waiting},
};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use serde::Serialize;

use super::{
    Changed, Chapter, Shown,
    caller::{Operator, Viewer},
    fifty,
    looks::{id_in_path, id_in_query},
    problem::Refused,
};
use crate::operator::{
    actions::webhooks::{self as actions, Which},
    webhooks::{OPEN, STATES},
};

/// The operations.
pub(super) struct Webhooks;

/// A page of the inbox.
#[derive(Debug, Serialize, Object)]
struct FoundEvents {
    /// Newest first.
    events: Vec<Summary>,
    /// From where on the search goes on; absent: there is no older event.
    next: Option<String>,
}

/// Which events, and why: some, or all that wait in a state between two that were seen, the newest and the oldest of a list of `/webhooks`.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct Replayed {
    /// The events, `evt_…`. Either these or `state` with what goes with it.
    #[oai(validator(min_items = 1, max_items = 1000))]
    ids: Option<Vec<String>>,
    /// Those that wait in this state, `received`, `unmatched` or `quarantined`, between two that were seen: the thousand newest at most.
    state: Option<String>,
    /// Of those only events of this type.
    #[oai(rename = "type")]
    event_type: Option<String>,
    /// The newest that was seen, `evt_…`. Needed with `state`: what came since stays as it is.
    newest: Option<String>,
    /// The oldest that was seen, `evt_…`. Needed with `state`.
    oldest: Option<String>,
    /// Why; names no person.
    reason: String,
}

/// Which events, and why.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct TheseEvents {
    /// The events, `evt_…`.
    #[oai(validator(min_items = 1, max_items = 1000))]
    ids: Vec<String>,
    /// Why; names no person.
    reason: String,
}

#[OpenApi(prefix_path = "/operator/api", tag = "Chapter::Ops")]
impl Webhooks {
    /// List events.
    ///
    /// Newest first. So many rows are read for one answer and no more: `next` is from where on the search goes on, and may be there
    /// although few were found.
    #[oai(path = "/webhooks", method = "get", operation_id = "listEvents")]
    async fn list(
        &self,
        viewer: Viewer,
        /// Only events of this state.
        state: Query<Option<String>>,
        /// Only events of this type.
        #[oai(name = "type")]
        event_type: Query<Option<String>>,
        /// Only events older than this one, `evt_…`: the `next` of the answer before.
        before: Query<Option<String>>,
        /// At most so many.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Shown<FoundEvents>, Refused> {
        if state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
            return Err(Refused::unusable("There is no such state."));
        }
        let filter = Filter {
            state: state.0,
            event_type: event_type.0,
            before: id_in_query(before.0.as_deref())?,
            limit: limit.0.into(),
        };
        let found = inbox::search(&viewer.context.db, &filter).await?;
        Ok(Shown(FoundEvents {
            events: found.events,
            next: found.next.map(|next| next.to_string()),
        }))
    }

    /// Show an event.
    ///
    /// With the jobs that tried to apply it, and without its body.
    #[oai(path = "/webhooks/:id", method = "get", operation_id = "showEvent")]
    async fn show(
        &self,
        viewer: Viewer,
        /// The event, `evt_…`.
        id: Path<String>,
    ) -> Result<Shown<Detail>, Refused> {
        let event = inbox::show(&viewer.context.db, id_in_path(&id)?, ApplyKycEvent::KIND).await?;
        let event = event.ok_or_else(Refused::not_found)?;
        // What is no id of ours may be anything that names somebody.
        let external_user_id = event.external_user_id.filter(|id| id.parse::<UserId>().is_ok());
        Ok(Shown(Detail {
            body: None,
            external_user_id,
            ..event
        }))
    }

    /// Have events applied that still wait.
    ///
    /// Those that were applied are left alone, so this may be repeated.
    #[oai(path = "/webhooks/replay", method = "post", operation_id = "replayEvents")]
    async fn replay(&self, operator: Operator, replayed: Json<Replayed>) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&replayed.reason)?;
        let narrowed = replayed.event_type.is_some() || replayed.newest.is_some() || replayed.oldest.is_some();
        let which = match (&replayed.ids, &replayed.state) {
            (Some(_), None) if narrowed => {
                return Err(Refused::unusable("A type, the newest and the oldest go with a state."));
            }
            (Some(ids), None) => Which::Ids(events(ids)?),
            (None, Some(state)) if OPEN.contains(&state.as_str()) => Which::Seen(seen(state, &replayed)?),
            (None, Some(_)) => return Err(Refused::unusable("Events of that state do not wait.")),
            (Some(_), Some(_)) | (None, None) => return Err(Refused::unusable("Either ids or a state is needed.")),
        };
        let replayed = actions::replay(&operator.context.db, which, &by).await?;
        operator.context.wake.signal(ApplyKycEvent::LANE);
        Ok(operator.done("webhook.replayed", replayed))
    }

    /// End the wait of events.
    ///
    /// They will never be anybody's. Their bodies are kept; all of them, or none.
    #[oai(path = "/webhooks/dismiss", method = "post", operation_id = "dismissEvents")]
    async fn dismiss(&self, operator: Operator, these: Json<TheseEvents>) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&these.reason)?;
        let ids = events(&these.ids)?;
        actions::dismiss(&operator.context.db, &ids, &by).await?;
        Ok(operator.done("webhook.dismissed", ids.len()))
    }
}

fn seen(state: &str, replayed: &Replayed) -> Result<Waiting, Refused> {
    let unsaid = || Refused::unusable("It is not said which events were seen: the newest and the oldest are needed.");
    let newest: WebhookEventId = id_in_query(replayed.newest.as_deref())?.ok_or_else(unsaid)?;
    let oldest = id_in_query(replayed.oldest.as_deref())?.ok_or_else(unsaid)?;
    if newest < oldest {
        return Err(Refused::unusable("The newest is older than the oldest."));
    }
    Ok(Waiting {
        state: state.to_owned(),
        event_type: replayed.event_type.clone(),
        newest,
        oldest,
    })
}

fn events(ids: &[String]) -> Result<Vec<WebhookEventId>, Refused> {
    let ids = ids.iter().map(|id| id.parse());
    let ids: Result<Vec<_>, _> = ids.collect();
    ids.map_err(|_| Refused::unusable("One of them is no id of an event."))
}
