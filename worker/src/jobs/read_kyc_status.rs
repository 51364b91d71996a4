//! Asks Sumsub how an applicant stands. The answer goes through the same rule as an event: nothing is applied beside it.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::{
    domain::kyc::{Decision, STATUS},
    providers::{Class, http::Trace, sumsub::ApplicantStatus},
    queue::{
        EnqueueOptions, Handler, JobError, Lane, Lease, Outcome, Verdict, enqueue_with,
        payloads::{ApplyKycEvent, ReadKycStatus},
        throttle,
    },
    resilience::{backoff, breaker::BreakerKey},
    storage::{
        kyc_reviews::{self, Known},
        webhooks::{self, About},
    },
};
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::{
    kyc_event::time,
    kyc_moves::{self, Settlement},
    sumsub_answers::{alert_refusal, pause_asked_for},
    sumsub_limits::{self, Calls},
};
use crate::context::Context;

/// An event and the status that it came from are at most so far apart: Sumsub's status has seconds, and an event is written
/// a moment after its review. A decision within that is the one we know.
const SAME_REVIEW: TimeDelta = TimeDelta::seconds(60);
/// The pause after a failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

impl Handler<Context> for ReadKycStatus {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(known) = kyc_reviews::known(&ctx.db, self.applicant).await? else {
            return Ok(Outcome::Done.into());
        };
        if let Some(outcome) = sumsub_limits::instead(&ctx.db, &lease, &[Calls::Gets]).await? {
            return Ok(outcome.into());
        }
        let trace = Trace {
            request_id: Uuid::new_v4(),
            correlation_id: lease.request_id(),
            not_after: Some(lease.deadline()),
        };
        let answer = ctx
            .sumsub
            .applicant_status(&known.applicant_id, trace, ctx.clock.now())
            .await;
        ctx.report(&lease, BreakerKey::SumsubApi, answer.as_ref().err()).await;

        let mut tx = lease.begin(&ctx.db).await?;
        let mut settlement = Settlement::default();
        let outcome = match answer {
            Ok(status) => {
                if let Some(said) = Said::of(&status, &known, self.not_before) {
                    let raw = said.body.to_string();
                    let about = About {
                        event_type: Some(STATUS),
                        applicant_id: Some(&known.applicant_id),
                        external_user_id: None,
                    };
                    if let Some(event) = webhooks::store_answer(&mut tx, &said.key, about, raw.as_bytes()).await? {
                        settlement = kyc_moves::settle(&ctx, &mut tx, event, lease.request_id()).await?;
                        if settlement.goes_on {
                            enqueue_with(
                                &mut tx,
                                &ApplyKycEvent { event },
                                EnqueueOptions::caused_by(lease.request_id()),
                            )
                            .await?;
                        }
                    }
                }
                Outcome::Done
            }
            Err(error) if error.class() == Class::Refused => {
                warn!("Sumsub does not say how {} stands: {error}", self.applicant);
                alert_refusal(self.applicant, &error);
                Outcome::Done
            }
            Err(error) if error.class() == Class::Limited => {
                throttle(&mut *tx, Lane::KycCall, pause_asked_for(&error)).await?;
                Outcome::Wait(backoff::jittered(pause_asked_for(&error)))
            }
            Err(_) => {
                let failures = u32::try_from(lease.attempts_used()).unwrap_or(u32::MAX);
                Outcome::Again(backoff::half_jitter(FIRST_PAUSE, failures, LONGEST_PAUSE))
            }
        };
        let recorded = lease.finish(tx, outcome).await?;
        settlement.tell(&ctx);
        Ok(recorded.into())
    }
}

/// The answer, as the event that it stands for.
struct Said {
    key: String,
    body: Value,
}

impl Said {
    /// `None` where it says nothing that is not known.
    fn of(status: &ApplicantStatus, known: &Known, not_before: Option<DateTime<Utc>>) -> Option<Self> {
        let reviewed = status.review_date.as_deref().and_then(time);
        let (event_type, decision) = meaning(status, known)?;
        // Never the time of the question: a decision made while it was on its way must still count as newer.
        let since = if is_dated(event_type) {
            reviewed.or(known.last_event_at)
        } else {
            reviewed.max(known.last_event_at)
        };
        let since = since.max(not_before).or(status.create_date.as_deref().and_then(time));
        let at = since.unwrap_or(known.created_at);
        let ahead = known.last_event_at.map(|last| at - last);
        let again = ahead.is_some_and(|ahead| ahead < SAME_REVIEW);
        if known.last_decision == Some(decision) && (again || decision != Decision::Retry) {
            return None;
        }
        // A review that we have been told of, whatever began after it.
        if is_dated(event_type) && not_before.is_none() && ahead.is_some_and(|ahead| ahead <= TimeDelta::zero()) {
            return None;
        }
        let part = |text: Option<&str>| {
            let text = text.unwrap_or_default();
            format!("{}:{text}", text.len())
        };
        let key = [
            STATUS.to_owned(),
            part(Some(&known.applicant_id)),
            part(status.attempt_id.as_deref()),
            part(status.review_date.as_deref()),
            part(not_before.map(|at| at.to_rfc3339()).as_deref()),
            // A review that goes on says so again, with another word.
            part(Some(decision.as_str())),
            // And so may one that begins anew, as often as it does: what was decided in between makes it another.
            part(known.last_event_at.map(|at| at.to_rfc3339()).as_deref()),
        ];
        // What goes with a refusal may hint at a suspicion, and is kept nowhere.
        let comment = status
            .moderation_comment
            .as_ref()
            .filter(|_| decision == Decision::Retry);
        let body = json!({
            "type": event_type,
            "applicantId": known.applicant_id,
            "externalUserId": known.user.to_string(),
            "levelName": status.level_name.as_ref().unwrap_or(&known.level_name),
            "reviewStatus": status.review_status,
            "createdAt": at.to_rfc3339(),
            "reviewResult": {
                "reviewAnswer": status.review_answer,
                "reviewRejectType": status.reject_type,
                "rejectLabels": status.reject_labels,
                "moderationComment": comment,
            },
        });
        Some(Self {
            key: key.concat(),
            body,
        })
    }
}

/// Whether the date of the review is the time of this.
fn is_dated(event_type: &str) -> bool {
    event_type == "applicantReviewed"
}

/// The event that would have brought about this status, and what it decides.
fn meaning(status: &ApplicantStatus, known: &Known) -> Option<(&'static str, Decision)> {
    let word = status.review_status.as_deref()?;
    let event_type = match word {
        "completed" => "applicantReviewed",
        "pending" => "applicantPending",
        "prechecked" | "queued" => "applicantPrechecked",
        "onHold" => "applicantOnHold",
        // Nobody has begun; unless something was decided already, and then it was taken back.
        "init" if matches!(known.last_decision, Some(Decision::Approved | Decision::Rejected)) => "applicantReset",
        _ => return None,
    };
    let (answer, reject_type) = (status.review_answer.as_deref(), status.reject_type.as_deref());
    Some((event_type, Decision::of(event_type, Some(word), answer, reject_type)?))
}
