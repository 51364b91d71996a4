//! What becomes of an event about a person's identity check: whom it is about, what it decides, and what is written, in the
//! caller's transaction.

use drop_common::{
    alerts::{self, Alert},
    domain::{
        ids::{UserId, WebhookEventId},
        kyc::{Decision, event_word},
    },
    metrics::{KYC_REVIEWS, PROVIDER_UNKNOWN_VALUES, SUMSUB_WEBHOOK_FAILURES, WEBHOOK_EVENTS},
    providers::http::machine_word,
    queue::{EnqueueOptions, JobError, enqueue_anew, payloads::ApplyKycEvent},
    storage::{
        Tx, savepoint,
        webhooks::{self, EventState, Place, Waiting},
    },
};
use tracing::{error, info};
use uuid::Uuid;

use super::{
    kyc_about::{Recognised, recognise},
    kyc_decision::decide,
    kyc_erased,
};
use crate::context::Context;

/// About so many events are settled in one transaction: it ends well within its lease, and their bodies fit into memory.
const AT_ONCE: i64 = 20;
/// So often a transaction passes over as many that the database does not take. What came behind still more waits no longer.
const MOST_PASSED: usize = 10;

/// The events whose fates are written. To be told once that is committed.
#[must_use]
#[derive(Default)]
pub(super) struct Settlement {
    settled: Vec<Settled>,
    /// So many older ones waited that the event itself was not come to: it still waits.
    pub(super) goes_on: bool,
}

impl Settlement {
    /// Says what became of them, to operations too. After the commit: what is rolled back did not happen.
    pub(super) fn tell(&self, ctx: &Context) {
        for event in &self.settled {
            event.tell(ctx);
        }
    }
}

struct Settled {
    event: WebhookEventId,
    event_type: Option<String>,
    fate: Fate,
}

/// What becomes of an event.
pub(super) struct Fate {
    pub(super) state: EventState,
    pub(super) note: Option<&'static str>,
    /// What somebody wants to know about it.
    pub(super) alerts: Vec<(&'static Alert, &'static str)>,
    /// What it decided anew about its person.
    pub(super) decision: Option<Decision>,
}

impl Fate {
    pub(super) fn quiet(state: EventState, note: Option<&'static str>) -> Self {
        Self {
            state,
            note,
            alerts: Vec::new(),
            decision: None,
        }
    }

    pub(super) fn alerting(state: EventState, alert: &'static str) -> Self {
        Self {
            alerts: vec![(&alerts::KYC_EVENT, alert)],
            ..Self::quiet(state, Some(alert))
        }
    }
}

impl Settled {
    fn tell(&self, ctx: &Context) {
        let (id, state) = (self.event, self.fate.state.as_str());
        for (alert, why) in &self.fate.alerts {
            alerts::raise(alert, format_args!("{id}, {why}"));
        }
        if self.fate.state == EventState::Quarantined {
            // Sumsub signed it, so it is ours to read.
            ctx.metrics.count(&SUMSUB_WEBHOOK_FAILURES, &["unreadable"]);
        }
        if let Some(decision) = self.fate.decision {
            ctx.metrics.count(&KYC_REVIEWS, &[decision.as_str()]);
        }
        let word = event_word(self.event_type.as_deref().unwrap_or_default());
        ctx.metrics.count(&WEBHOOK_EVENTS, &[word, state]);
        if let Some(unknown) = self.event_type.as_deref().filter(|named| event_word(named) != *named) {
            ctx.metrics.count(&PROVIDER_UNKNOWN_VALUES, &["sumsub", "event_type"]);
            info!(webhook_event = %id, "{id} is of an unknown type: {}", machine_word(unknown));
        }
        info!(webhook_event = %id, state, "webhook event {id} is {state}");
    }
}

/// Settles one event, after the older ones about its applicant that still wait: in the order of their arrival, so that
/// rows and messages do not depend on which of several workers was quicker. Where it brings the applicant that others
/// wait for, they are settled, too.
///
/// The locks, always in this order: the applicant, the user, the events.
pub(super) async fn settle(
    ctx: &Context,
    tx: &mut Tx,
    event: WebhookEventId,
    request_id: Option<Uuid>,
) -> Result<Settlement, JobError> {
    let mut settlement = Settlement::default();
    let Some(waiting) = webhooks::waiting(tx, event).await? else {
        return Ok(settlement);
    };
    let mut recognised = recognise(ctx, tx, &waiting.raw).await?;
    if let Recognised::Person(about) = &recognised {
        let (user, applicant_id) = (about.user, about.applicant_id.clone());
        if about.locked.applicant_id.is_none() {
            about.adopt(tx, event, request_id).await?;
            receive_unmatched(tx, user, &applicant_id).await?;
        }
        let older = Received {
            applicant_id: &applicant_id,
            before: Some(waiting.place()),
        };
        settlement.goes_on = older.settle(ctx, tx, &mut settlement.settled, request_id).await?;
        if settlement.goes_on {
            return Ok(settlement);
        }
        if !settlement.settled.is_empty() {
            // They may have ended the applicant that this one is about.
            recognised = recognise(ctx, tx, &waiting.raw).await?;
        }
    }
    // Another job may have applied it while this one waited for the locks.
    if webhooks::lock(tx, event).await? {
        let settled = settle_one(ctx, tx, waiting, recognised, request_id).await?;
        settlement.settled.push(settled);
    }
    Ok(settlement)
}

/// Settles the events that came before their applicant was known. The caller has just stored the applicant's id, under
/// the locks of the applicant and of the user.
pub(super) async fn replay(
    ctx: &Context,
    tx: &mut Tx,
    user: UserId,
    applicant_id: &str,
    request_id: Option<Uuid>,
) -> Result<Settlement, JobError> {
    let mut settlement = Settlement::default();
    receive_unmatched(tx, user, applicant_id).await?;
    let waited = Received {
        applicant_id,
        before: None,
    };
    // What it does not come to has jobs.
    waited.settle(ctx, tx, &mut settlement.settled, request_id).await?;
    Ok(settlement)
}

/// Those that waited for the applicant have no jobs any more. Each gets one: whichever of them come to nothing, the others are
/// settled. Only now that there is an applicant can they become anything else, so nothing looks at them before.
async fn receive_unmatched(tx: &mut Tx, user: UserId, applicant_id: &str) -> Result<(), JobError> {
    for event in webhooks::receive_unmatched(tx, applicant_id, user).await? {
        enqueue_anew(tx, &ApplyKycEvent { event }, EnqueueOptions::default()).await?;
    }
    Ok(())
}

/// The events about an applicant that no job has come to, up to a place.
struct Received<'a> {
    applicant_id: &'a str,
    before: Option<Place>,
}

impl Received<'_> {
    /// Settles the first few, in the order of their arrival. True: others may wait behind them. Those that the database does
    /// not take are no part of the few: what came behind them must not wait for them. Whatever is settled is no longer among
    /// these, so each is settled once.
    async fn settle(
        &self,
        ctx: &Context,
        tx: &mut Tx,
        settled: &mut Vec<Settled>,
        request_id: Option<Uuid>,
    ) -> Result<bool, JobError> {
        let mut came_to = None;
        for _ in 0..MOST_PASSED {
            let between = (came_to, self.before);
            let events = webhooks::lock_received(tx, self.applicant_id, between, AT_ONCE).await?;
            let full = i64::try_from(events.len()).is_ok_and(|events| events == AT_ONCE);
            came_to = events.last().map(Waiting::place);
            settle_older(ctx, tx, events, settled, request_id).await?;
            if !full || !settled.is_empty() {
                return Ok(full);
            }
        }
        Ok(false)
    }
}

/// Settles older events. One that the database does not take is left to its own job, which dies of it and says so: what came
/// after it may be a refusal, and must not wait for a person.
async fn settle_older(
    ctx: &Context,
    tx: &mut Tx,
    events: Vec<Waiting>,
    settled: &mut Vec<Settled>,
    request_id: Option<Uuid>,
) -> Result<(), JobError> {
    for waiting in events {
        let event = waiting.id;
        savepoint::begin(tx).await?;
        match recognise_and_settle(ctx, tx, waiting, request_id).await {
            Ok(older) => {
                savepoint::keep(tx).await?;
                settled.push(older);
            }
            Err(JobError::Storage(failed)) if !failed.is_transient() => {
                savepoint::take_back(tx).await?;
                error!(webhook_event = %event, "{event} cannot be applied, and those after it do not wait for it: {failed}");
            }
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}

async fn recognise_and_settle(
    ctx: &Context,
    tx: &mut Tx,
    waiting: Waiting,
    request_id: Option<Uuid>,
) -> Result<Settled, JobError> {
    let recognised = recognise(ctx, tx, &waiting.raw).await?;
    settle_one(ctx, tx, waiting, recognised, request_id).await
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
        Recognised::Erased(about) => kyc_erased::record(tx, &waiting, &about, request_id).await?,
        Recognised::Person(about) => decide(ctx, tx, &waiting, *about, request_id).await?,
    };
    webhooks::settle(tx, waiting.id, fate.state, fate.note).await?;
    Ok(Settled {
        event: waiting.id,
        event_type: waiting.event_type,
        fate,
    })
}
