//! Applies one accepted Sumsub event, once, by the rule of event-time order.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use tracing::{info, warn};
use uuid::Uuid;

use drop_common::{
    domain::{
        ids::{KycApplicantId, UserId, WebhookEventId},
        kyc::{self, Applied, Decision, KycStatus, Standing},
    },
    metrics::SUMSUB_WEBHOOK_FAILURES,
    queue::{Handler, JobError, Lease, Outcome, Verdict, payloads::ApplyKycEvent},
    storage::{
        StorageError, Tx,
        audit::{self, Actor, Entry},
        kyc::{self as storage_kyc, ScreeningResult},
        notifications::{self, Message},
        users,
        webhooks::{self, EventState, Waiting},
    },
};

use crate::context::Context;

/// The members of a webhook that the rule reads. Unknown members are ignored; all are optional, as Sumsub's are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    r#type: Option<String>,
    applicant_id: Option<String>,
    external_user_id: Option<String>,
    level_name: Option<String>,
    #[serde(default)]
    sandbox_mode: bool,
    review_status: Option<String>,
    created_at: Option<String>,
    created_at_ms: Option<String>,
    review_result: Option<ReviewResult>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewResult {
    review_answer: Option<String>,
    review_reject_type: Option<String>,
    #[serde(default)]
    reject_labels: Option<Vec<String>>,
}

impl Handler<Context> for ApplyKycEvent {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let mut tx = lease.begin(&ctx.db).await?;
        let Some(waiting) = webhooks::lock_waiting(&mut tx, self.event).await? else {
            return Ok(lease.finish(tx, Outcome::Done).await?.into());
        };
        let (state, note) = apply(&ctx, &mut tx, self.event, &waiting, lease.request_id()).await?;
        webhooks::settle(&mut tx, self.event, state, note).await?;
        info!(webhook_event = %self.event, state = state.as_str(), "webhook event {} is {}", self.event, state.as_str());
        Ok(lease.finish(tx, Outcome::Done).await?.into())
    }

    /// The event stays in the inbox, for a person to apply.
    async fn on_dead(&self, context: &Context, _tx: &mut Tx, _error: &str) -> Result<(), StorageError> {
        context.metrics.count(&SUMSUB_WEBHOOK_FAILURES, &["apply"]);
        Ok(())
    }
}

/// sumsub.md section 5, steps 2 to 7. Returns what became of the event.
async fn apply(
    ctx: &Context,
    tx: &mut Tx,
    id: WebhookEventId,
    waiting: &Waiting,
    request_id: Option<Uuid>,
) -> Result<(EventState, Option<&'static str>), JobError> {
    let Some(event) = read(ctx, &waiting.raw) else {
        return Ok((EventState::Recorded, Some("members of an unexpected type")));
    };
    if event.sandbox_mode && ctx.settings.profile.is_production() {
        warn!(target: "alert", webhook_event = %id, "a sandbox event reached production");
        return Ok((EventState::Sandbox, None));
    }
    if event
        .level_name
        .as_ref()
        .is_some_and(|level| *level != ctx.settings.sumsub.level)
    {
        return Ok((EventState::Recorded, Some("another level")));
    }
    let Some(user) = event
        .external_user_id
        .as_deref()
        .and_then(|id| id.parse::<UserId>().ok())
    else {
        return Ok((EventState::Unmatched, Some("no user of ours is named")));
    };
    let Some(locked) = storage_kyc::lock_standing(tx, user, &ctx.settings.sumsub.level).await? else {
        return Ok((EventState::Unmatched, Some("no applicant is known for the user")));
    };
    let Some(applicant_id) = event
        .applicant_id
        .as_deref()
        .filter(|id| !id.is_empty() && id.len() <= 64)
    else {
        return Ok((EventState::Recorded, Some("no applicant is named")));
    };
    match locked.applicant_id.as_deref() {
        Some(known) if known != applicant_id => {
            warn!(target: "alert", webhook_event = %id, "event {id} is about another applicant than the user's own");
            return Ok((EventState::Recorded, Some("another applicant")));
        }
        Some(_) => {}
        // The create answer was lost; a correctly signed event names the applicant.
        None => storage_kyc::created(tx, locked.applicant, applicant_id).await?,
    }
    let result = event.review_result.as_ref();
    let decision = Decision::of(
        event.r#type.as_deref().unwrap_or_default(),
        event.review_status.as_deref(),
        result.and_then(|result| result.review_answer.as_deref()),
        result.and_then(|result| result.review_reject_type.as_deref()),
    );
    let outcome = kyc::apply(locked.standing, decision, event_time(&event), waiting.received_at);
    if outcome.clock_alert {
        warn!(target: "alert", webhook_event = %id, "event {id} comes from the future; it counts as of its arrival");
    }
    let change = Change {
        user,
        event: id,
        applicant: locked.applicant,
        from: locked.standing.status,
        request_id,
    };
    match outcome.applied {
        Applied::Recorded => Ok((EventState::Recorded, None)),
        Applied::Stale => {
            change.audit(tx, "kyc.stale_event", change.from).await?;
            Ok((EventState::Stale, None))
        }
        Applied::AuditOnly { standing, .. } => {
            change.write(tx, "kyc.progress", standing).await?;
            Ok((EventState::Audited, None))
        }
        Applied::SameState { standing } => {
            change.write(tx, "kyc.same_state", standing).await?;
            Ok((EventState::SameState, None))
        }
        Applied::NewState { standing, title } => {
            let decision = standing.last_decision.expect("a new state is a decision");
            let labels = result
                .and_then(|result| result.reject_labels.clone())
                .unwrap_or_default();
            let row = ScreeningResult {
                user,
                event: id,
                applicant_id,
                decision,
                reject_labels: &labels,
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
            Ok((EventState::Applied, None))
        }
    }
}

/// The event's members; one that cannot be read is counted, for it was signed by Sumsub.
fn read(ctx: &Context, raw: &[u8]) -> Option<Event> {
    serde_json::from_slice(raw)
        .inspect_err(|_| ctx.metrics.count(&SUMSUB_WEBHOOK_FAILURES, &["unreadable"]))
        .ok()
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

/// The event's own time, in the forms that Sumsub writes (sumsub.md section 1).
fn event_time(event: &Event) -> Option<DateTime<Utc>> {
    let text = event.created_at_ms.as_deref().or(event.created_at.as_deref())?;
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%z"))
        .map(|at| at.to_utc())
        .ok()
        .or_else(|| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
                .ok()
                .map(|at| at.and_utc())
        })
}
