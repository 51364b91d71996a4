//! Tells Sumsub about a person. Safe to repeat: Sumsub knows them by our user id.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::ids::{KycApplicantId, UserId},
    providers::{
        Class,
        http::Trace,
        sumsub::{self, NewApplicant},
    },
    queue::{
        AfterCommit, EnqueueOptions, Handler, JobError, Lane, Lease, Outcome, Verdict, enqueue_with,
        payloads::{CreateApplicant, ReadKycStatus},
        throttle,
    },
    resilience::{backoff, breaker::BreakerKey},
    storage::{
        StorageError, Tx,
        audit::{self, Actor, Entry},
        kyc, users,
    },
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    kyc_moves::{self, Settlement},
    sumsub_answers::{alert_refusal, pause_asked_for},
    sumsub_limits::{self, Calls},
};
use crate::context::Context;

impl Handler<Context> for CreateApplicant {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some((applicant, email)) = kyc::to_create(&ctx.db, self.applicant).await? else {
            return Ok(Outcome::Done.into());
        };
        let counts_as = [Calls::Applicants, Calls::Posts];
        if let Some(outcome) = sumsub_limits::instead(&ctx.db, &lease, &counts_as).await? {
            return Ok(outcome.into());
        }
        let user = applicant.user.to_string();
        let email = email
            .map(|sealed| ctx.keys.open_text("users.email_sealed", applicant.user.uuid(), &sealed))
            .transpose()
            .map_err(StorageError::corrupt)?;
        let person = NewApplicant {
            external_user_id: &user,
            email: email.as_ref().map(ExposeSecret::expose_secret),
        };
        let trace = Trace {
            request_id: applicant.request_id,
            correlation_id: lease.request_id(),
            not_after: Some(lease.deadline()),
        };
        let answer = ctx.sumsub.create_applicant(&person, trace, ctx.clock.now()).await;
        ctx.report(&lease, BreakerKey::SumsubApi, answer.as_ref().err()).await;

        let mut tx = lease.begin(&ctx.db).await?;
        match answer {
            Ok(created) => {
                let settlement = created_there(&ctx, &mut tx, &applicant, &created, lease.request_id()).await?;
                let recorded = lease.finish(tx, Outcome::Done).await?;
                settlement.tell(&ctx);
                info!(user.id = %user, "Sumsub knows user {user}");
                ctx.tell_waiters(self.applicant.uuid()).await;
                Ok(recorded.into())
            }
            Err(error) if error.class() == Class::Refused => {
                warn!(user.id = %user, "Sumsub refused user {user}: {error}");
                alert_refusal(applicant.id, &error);
                failed(&mut tx, self.applicant, "refused", lease.request_id()).await?;
                let recorded = lease.finish(tx, Outcome::Done).await?;
                ctx.tell_waiters(self.applicant.uuid()).await;
                Ok(recorded.into())
            }
            Err(error) if error.class() == Class::Limited => {
                let pause = pause_asked_for(&error);
                throttle(&mut *tx, Lane::KycCall, pause).await?;
                Ok(lease.finish(tx, Outcome::Wait(backoff::jittered(pause))).await?.into())
            }
            Err(_) => {
                let pause = backoff::jittered(Duration::from_secs(2));
                Ok(lease.finish(tx, Outcome::Again(pause)).await?.into())
            }
        }
    }

    /// Sumsub never answered: the person may ask again.
    async fn on_dead(&self, _context: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        failed(tx, self.applicant, "no_answer", None).await?;
        Ok(AfterCommit::default())
    }
}

/// Sumsub knows them. What it had told of them before is applied now.
async fn created_there(
    ctx: &Context,
    tx: &mut Tx,
    applicant: &kyc::Applicant,
    created: &sumsub::Applicant,
    request_id: Option<Uuid>,
) -> Result<Settlement, JobError> {
    kyc::lock_applicant_id(tx, &created.id).await?;
    users::lock_kyc_status(tx, applicant.user).await?;
    let owner = kyc::user_of_applicant(tx, &created.id).await?;
    if owner.is_some_and(|owner| owner != applicant.user) {
        // Sumsub says that it is theirs; whoever has it here would be judged by the other's papers.
        return Err(JobError::Failed("the applicant is another user's".into()));
    }
    if !kyc::created(tx, applicant.id, &created.id).await? {
        return Ok(Settlement::default());
    }
    let detail = json!({ "applicant": applicant.id.to_string(), "adopted": created.adopted });
    record(tx, applicant.user, "kyc.applicant_created", detail, request_id).await?;
    if created.adopted {
        // Sumsub may have decided long ago, and then no event comes any more.
        let question = ReadKycStatus {
            applicant: applicant.id,
            not_before: None,
        };
        enqueue_with(tx, &question, EnqueueOptions::caused_by(request_id)).await?;
    }
    // Sumsub may have told of them before it told us that it knows them.
    kyc_moves::replay(ctx, tx, applicant.user, &created.id, request_id).await
}

async fn failed(
    tx: &mut Tx,
    applicant: KycApplicantId,
    why: &str,
    request_id: Option<Uuid>,
) -> Result<(), StorageError> {
    let Some(user) = kyc::creation_failed(tx, applicant, why).await? else {
        return Ok(());
    };
    let detail = json!({ "applicant": applicant.to_string(), "why": why });
    record(tx, user, "kyc.applicant_failed", detail, request_id).await
}

async fn record(
    tx: &mut Tx,
    user: UserId,
    action: &str,
    detail: Value,
    request_id: Option<Uuid>,
) -> Result<(), StorageError> {
    let entry = Entry {
        actor: Actor::Worker,
        user: Some(user),
        action,
        object: user.to_string(),
        detail,
        request_id,
    };
    audit::record(tx, entry).await
}
