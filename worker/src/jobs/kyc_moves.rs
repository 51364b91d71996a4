//! What becomes of an event about a person's identity check: whom it is about, what it decides, and what is written, in the
//! caller's transaction.

use chrono::{DateTime, Utc};
use drop_common::{
    alerts,
    domain::{
        ids::{KycApplicantId, UserId, WebhookEventId},
        kyc::{self, Applied, Decision, KycStatus, Standing},
    },
    metrics::SUMSUB_WEBHOOK_FAILURES,
    queue::JobError,
    storage::{
        Tx,
        audit::{self, Actor, Entry},
        kyc::{self as storage_kyc, ScreeningResult},
        notifications::{self, Message},
        users,
        webhooks::{self, EventState, Waiting},
    },
};
use serde_json::json;
use tracing::info;
use uuid::Uuid;

use super::kyc_about::{About, Recognised, recognise};
use crate::context::Context;

/// An event whose fate is written. To be told once that is committed.
#[must_use]
pub(super) struct Settled {
    event: WebhookEventId,
    fate: Fate,
}

/// What becomes of an event.
pub(super) struct Fate {
    state: EventState,
    note: Option<&'static str>,
    /// What operations want to know about it.
    alert: Option<&'static str>,
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
            alert: Some(alert),
        }
    }
}

impl Settled {
    /// Says what became of it, to operations too. After the commit: what is rolled back did not happen.
    pub(super) fn tell(&self, ctx: &Context) {
        let (id, state) = (self.event, self.fate.state.as_str());
        if let Some(alert) = self.fate.alert {
            alerts::raise(&alerts::KYC_EVENT, format_args!("{id}, {alert}"));
        }
        if self.fate.state == EventState::Quarantined {
            // Sumsub signed it, so it is ours to read.
            ctx.metrics.count(&SUMSUB_WEBHOOK_FAILURES, &["unreadable"]);
        }
        info!(webhook_event = %id, state, "webhook event {id} is {state}");
    }
}

/// Settles one event. Where it brings the applicant that others wait for, they come first, in the order of their arrival.
pub(super) async fn settle(
    ctx: &Context,
    tx: &mut Tx,
    event: WebhookEventId,
    waiting: &Waiting,
    request_id: Option<Uuid>,
) -> Result<Vec<Settled>, JobError> {
    let mut settled = Vec::new();
    let fate = match recognise(ctx, tx, &waiting.raw).await? {
        Recognised::Nobody(fate) => fate,
        Recognised::Person(about) => {
            if about.locked.applicant_id.is_none() {
                about.adopt(tx, event, request_id).await?;
                settled = replay(ctx, tx, about.user, &about.applicant_id, request_id).await?;
            }
            decide(ctx, tx, event, about, waiting.received_at, request_id).await?
        }
    };
    settled.push(write(tx, event, fate).await?);
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
    let mut settled = Vec::new();
    for event in webhooks::unmatched(tx, applicant_id, user).await? {
        let Some(waiting) = webhooks::lock_waiting(tx, event).await? else {
            continue;
        };
        let fate = match recognise(ctx, tx, &waiting.raw).await? {
            Recognised::Nobody(fate) => fate,
            Recognised::Person(about) => decide(ctx, tx, event, about, waiting.received_at, request_id).await?,
        };
        settled.push(write(tx, event, fate).await?);
    }
    Ok(settled)
}

async fn write(tx: &mut Tx, event: WebhookEventId, fate: Fate) -> Result<Settled, JobError> {
    webhooks::settle(tx, event, fate.state, fate.note).await?;
    Ok(Settled { event, fate })
}

async fn decide(
    ctx: &Context,
    tx: &mut Tx,
    id: WebhookEventId,
    about: Box<About>,
    received_at: DateTime<Utc>,
    request_id: Option<Uuid>,
) -> Result<Fate, JobError> {
    let About {
        event,
        user,
        applicant_id,
        ..
    } = *about;
    // Read again: events that waited may have moved it since the event was recognised.
    let Some(locked) = storage_kyc::lock_standing(tx, user, &ctx.settings.sumsub.level).await? else {
        return Err(JobError::Failed("the applicant's row is gone".into()));
    };
    let decision = Decision::of(
        &event.kind,
        event.review_status.as_deref(),
        event.answer.as_deref(),
        event.reject_type.as_deref(),
    );
    let outcome = kyc::apply(locked.standing, decision, event.at, received_at);
    let change = Change {
        user,
        event: id,
        applicant: locked.applicant,
        from: locked.standing.status,
        request_id,
    };
    let state = match outcome.applied {
        Applied::Recorded => EventState::Recorded,
        Applied::Stale => {
            change.audit(tx, "kyc.stale_event", change.from).await?;
            EventState::Stale
        }
        Applied::AuditOnly { standing, .. } => {
            change.write(tx, "kyc.progress", standing).await?;
            EventState::Audited
        }
        Applied::SameState { standing } => {
            change.write(tx, "kyc.same_state", standing).await?;
            EventState::SameState
        }
        Applied::NewState { standing, title } => {
            let row = ScreeningResult {
                user,
                event: id,
                applicant_id: &applicant_id,
                decision: standing.last_decision.expect("a new state is a decision"),
                reject_labels: &event.reject_labels,
                provider_at: outcome.event_at,
            };
            users::set_kyc_status(tx, user, standing.status).await?;
            change.write(tx, "kyc.decided", standing).await?;
            storage_kyc::insert_result(tx, row).await?;
            let told = Message {
                user,
                kind: "kyc",
                title,
                body: "",
                subject: id.to_string(),
            };
            notifications::tell(tx, told).await?;
            EventState::Applied
        }
    };
    Ok(Fate {
        state,
        note: None,
        alert: outcome
            .clock_alert
            .then_some("it comes from the future; it counts as of its arrival"),
    })
}

/// What every write about one event names.
struct Change {
    user: UserId,
    event: WebhookEventId,
    applicant: KycApplicantId,
    from: KycStatus,
    request_id: Option<Uuid>,
}

impl Change {
    /// Moves the standing and says so in the audit log.
    async fn write(&self, tx: &mut Tx, action: &str, standing: Standing) -> Result<(), JobError> {
        storage_kyc::set_standing(tx, self.applicant, standing.last_decision, standing.last_event_at).await?;
        self.audit(tx, action, standing.status).await
    }

    async fn audit(&self, tx: &mut Tx, action: &str, to: KycStatus) -> Result<(), JobError> {
        let entry = Entry {
            actor: Actor::Provider,
            user: Some(self.user),
            action,
            object: self.user.to_string(),
            detail: json!({ "event": self.event.to_string(), "from": self.from.as_str(), "to": to.as_str() }),
            request_id: self.request_id,
        };
        Ok(audit::record(tx, entry).await?)
    }
}
