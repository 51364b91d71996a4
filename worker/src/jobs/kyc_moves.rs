//! What becomes of an event about a person's identity check: whom it is about, what it decides, and what is written, in the
//! caller's transaction.

use drop_common::{
    alerts::{self, Alert},
    domain::{
        ids::{UserId, WebhookEventId},
        kyc::event_word,
    },
    metrics::{PROVIDER_UNKNOWN_VALUES, SUMSUB_WEBHOOK_FAILURES, WEBHOOK_EVENTS},
    queue::JobError,
    storage::{
        Tx,
        webhooks::{self, EventState, Waiting},
    },
};
use tracing::info;
use uuid::Uuid;

use super::{
    kyc_about::{Recognised, recognise},
    kyc_decision::decide,
};
use crate::context::Context;

/// An event whose fate is written. To be told once that is committed.
#[must_use]
pub(super) struct Settled {
    event: WebhookEventId,
    event_type: Option<String>,
    fate: Fate,
}

/// What becomes of an event.
pub(super) struct Fate {
    pub(super) state: EventState,
    pub(super) note: Option<&'static str>,
    /// What somebody wants to know about it.
    pub(super) alert: Option<(&'static Alert, &'static str)>,
}

impl Fate {
    pub(super) fn quiet(state: EventState, note: Option<&'static str>) -> Self {
        Self {
            state,
            note,
            alert: None,
        }
    }

    pub(super) fn alerting(state: EventState, alert: &'static str) -> Self {
        Self {
            state,
            note: Some(alert),
            alert: Some((&alerts::KYC_EVENT, alert)),
        }
    }
}

impl Settled {
    /// Says what became of it, to operations too. After the commit: what is rolled back did not happen.
    pub(super) fn tell(&self, ctx: &Context) {
        let (id, state) = (self.event, self.fate.state.as_str());
        if let Some((alert, why)) = self.fate.alert {
            alerts::raise(alert, format_args!("{id}, {why}"));
        }
        if self.fate.state == EventState::Quarantined {
            // Sumsub signed it, so it is ours to read.
            ctx.metrics.count(&SUMSUB_WEBHOOK_FAILURES, &["unreadable"]);
        }
        let word = event_word(self.event_type.as_deref().unwrap_or_default());
        ctx.metrics.count(&WEBHOOK_EVENTS, &[word, state]);
        if let Some(unknown) = self.event_type.as_deref().filter(|named| event_word(named) != *named) {
            ctx.metrics.count(&PROVIDER_UNKNOWN_VALUES, &["sumsub", "event_type"]);
            info!(webhook_event = %id, "{id} is of an unknown type: {}", unknown.escape_debug());
        }
        info!(webhook_event = %id, state, "webhook event {id} is {state}");
    }
}

/// Settles one event, after the older ones about its applicant that still wait: in the order of their arrival, so that
/// rows and messages do not depend on which of several workers was quicker. Where it brings the applicant that others
/// wait for, they are among these.
///
/// The locks, always in this order: the applicant, the user, the events.
pub(super) async fn settle(
    ctx: &Context,
    tx: &mut Tx,
    event: WebhookEventId,
    request_id: Option<Uuid>,
) -> Result<Vec<Settled>, JobError> {
    let Some(waiting) = webhooks::waiting(tx, event).await? else {
        return Ok(Vec::new());
    };
    let mut settled = Vec::new();
    let recognised = recognise(ctx, tx, &waiting.raw).await?;
    if let Recognised::Person(about) = &recognised {
        if about.locked.applicant_id.is_none() {
            about.adopt(tx, event, request_id).await?;
        }
        let older = webhooks::lock_open(tx, &about.applicant_id, about.user, Some(&waiting)).await?;
        settled = settle_all(ctx, tx, older, request_id).await?;
    }
    // Another job may have applied it while this one waited for the locks.
    if webhooks::lock(tx, event).await? {
        settled.push(settle_one(ctx, tx, waiting, recognised, request_id).await?);
    }
    Ok(settled)
}

/// Settles the events that came before their applicant was known. The caller has just stored the applicant's id, under
/// the locks of the applicant and of the user.
pub(super) async fn replay(
    ctx: &Context,
    tx: &mut Tx,
    user: UserId,
    applicant_id: &str,
    request_id: Option<Uuid>,
) -> Result<Vec<Settled>, JobError> {
    let open = webhooks::lock_open(tx, applicant_id, user, None).await?;
    settle_all(ctx, tx, open, request_id).await
}

async fn settle_all(
    ctx: &Context,
    tx: &mut Tx,
    events: Vec<Waiting>,
    request_id: Option<Uuid>,
) -> Result<Vec<Settled>, JobError> {
    let mut settled = Vec::new();
    for waiting in events {
        let recognised = recognise(ctx, tx, &waiting.raw).await?;
        settled.push(settle_one(ctx, tx, waiting, recognised, request_id).await?);
    }
    Ok(settled)
}

async fn settle_one(
    ctx: &Context,
    tx: &mut Tx,
    waiting: Waiting,
    recognised: Recognised,
    request_id: Option<Uuid>,
) -> Result<Settled, JobError> {
    let fate = match recognised {
        Recognised::Nobody(fate) => fate,
        Recognised::Person(about) => decide(ctx, tx, &waiting, *about, request_id).await?,
    };
    webhooks::settle(tx, waiting.id, fate.state, fate.note).await?;
    Ok(Settled {
        event: waiting.id,
        event_type: waiting.event_type,
        fate,
    })
}
