//! What an event about a person decides, and everything that follows from it.

use drop_common::{
    alerts::{self, Alert},
    domain::{
        ids::{KycApplicantId, UserId, WebhookEventId},
        kyc::{self, Applied, Decision, KycStatus, Notice, Outcome, STATUS, Standing},
    },
    queue::{EnqueueOptions, JobError, enqueue_with, payloads::ReadKycStatus},
    storage::{
        Tx,
        aml_cases::{self, NewCase},
        audit::{self, Actor, Entry},
        kyc::{self as storage_kyc, ScreeningResult},
        notifications::{self, Message},
        users,
        webhooks::{EventState, Waiting},
    },
};
use serde_json::json;
use uuid::Uuid;

use super::{kyc_about::About, kyc_event::Event, kyc_moves::Fate};
use crate::context::Context;

pub(super) async fn decide(
    ctx: &Context,
    tx: &mut Tx,
    waiting: &Waiting,
    about: About,
    request_id: Option<Uuid>,
) -> Result<Fate, JobError> {
    let About {
        event,
        user,
        applicant_id,
        ..
    } = about;
    // Read again: older events may have moved it since this one was recognised.
    let Some(locked) = storage_kyc::lock_standing(tx, user, &ctx.settings.sumsub.level).await? else {
        return Err(JobError::Failed("the applicant's row is gone".into()));
    };
    let change = Change {
        user,
        event: waiting.id,
        applicant: locked.applicant,
        from: locked.standing.status,
        request_id,
    };
    match event.kind.as_str() {
        "applicantDeleted" | "applicantPersonalDataDeleted" => return change.unlink(tx).await,
        // Says nothing of the review that stands; Sumsub's answer does.
        "applicantActivated" => change.read_status(tx, event.at.unwrap_or(waiting.received_at)).await?,
        _ => {}
    }
    let outcome = kyc::apply(locked.standing, event.decision(), event.at, waiting.received_at);
    // The answer to a question raises no further one.
    if outcome.read_status && waiting.event_type.as_deref() != Some(STATUS) {
        change.read_status(tx, outcome.event_at).await?;
    }
    let state = change.apply(tx, &outcome, &event, &applicant_id).await?;
    let mut fate = Fate::quiet(state, None);
    if outcome.clock_alert {
        let why = "it comes from the future; it counts as of its arrival";
        fate.alerts.push((&alerts::KYC_EVENT, why));
    }
    if let Applied::NewState { standing, .. } = outcome.applied {
        fate.decision = standing.last_decision;
        if standing.status == KycStatus::Rejected {
            fate.alerts.push(CASE_OPENED);
        }
    }
    Ok(fate)
}

/// What somebody wants to know once a case is opened.
pub(super) const CASE_OPENED: (&Alert, &str) = (&alerts::AML_CASE, "a refusal for good");

/// A compliance officer looks at every refusal for good (contract 3.4: "AML check").
pub(super) async fn open_case(tx: &mut Tx, new: NewCase<'_>, request_id: Option<Uuid>) -> Result<(), JobError> {
    let (user, event) = (new.user, new.event);
    let case = aml_cases::open(tx, new).await?;
    let entry = Entry {
        actor: Actor::Provider,
        user: Some(user),
        action: "aml.case_opened",
        object: user.to_string(),
        detail: json!({ "event": event.to_string(), "case": case.to_string() }),
        request_id,
    };
    Ok(audit::record(tx, entry).await?)
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
    async fn apply(
        &self,
        tx: &mut Tx,
        outcome: &Outcome,
        event: &Event,
        applicant_id: &str,
    ) -> Result<EventState, JobError> {
        Ok(match outcome.applied {
            Applied::Recorded => EventState::Recorded,
            Applied::Stale => {
                self.audit(tx, "kyc.stale_event", self.from).await?;
                EventState::Stale
            }
            Applied::AuditOnly { standing, .. } => {
                self.write(tx, "kyc.progress", standing).await?;
                EventState::Audited
            }
            Applied::SameState { standing } => {
                self.write(tx, "kyc.same_state", standing).await?;
                EventState::SameState
            }
            Applied::NewState { standing, notice } => {
                let decision = standing.last_decision.expect("a new state is a decision");
                let row = ScreeningResult {
                    user: self.user,
                    event: self.event,
                    applicant_id,
                    decision,
                    reject_labels: &event.reject_labels,
                    // Those of a refusal may hint at a suspicion.
                    comment: event.comment.as_deref().filter(|_| decision == Decision::Retry),
                    provider_at: outcome.event_at,
                };
                users::set_kyc_status(tx, self.user, standing.status).await?;
                self.write(tx, "kyc.decided", standing).await?;
                storage_kyc::insert_result(tx, row).await?;
                if decision == Decision::Rejected {
                    let new = NewCase {
                        user: self.user,
                        event: self.event,
                        applicant_id,
                        reject_labels: &event.reject_labels,
                    };
                    open_case(tx, new, self.request_id).await?;
                }
                self.tell(tx, notice).await?;
                EventState::Applied
            }
        })
    }

    async fn tell(&self, tx: &mut Tx, notice: Notice) -> Result<(), JobError> {
        let told = Message {
            user: self.user,
            kind: "kyc",
            title: notice.title,
            body: notice.body,
            subject: self.event.to_string(),
        };
        Ok(notifications::tell(tx, told).await?)
    }

    /// Asks Sumsub how it stands; whatever it answers is not older than this.
    async fn read_status(&self, tx: &mut Tx, not_before: chrono::DateTime<chrono::Utc>) -> Result<(), JobError> {
        let question = ReadKycStatus {
            applicant: self.applicant,
            not_before: Some(not_before),
        };
        enqueue_with(tx, &question, EnqueueOptions::caused_by(self.request_id)).await?;
        Ok(())
    }

    /// Sumsub has deleted the applicant: the status stays, and so do our records, for as long as the law wants them.
    async fn unlink(&self, tx: &mut Tx) -> Result<Fate, JobError> {
        storage_kyc::unlink(tx, self.applicant).await?;
        self.audit(tx, "kyc.applicant_unlinked", self.from).await?;
        Ok(Fate::alerting(EventState::Recorded, "Sumsub has deleted the applicant"))
    }

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
