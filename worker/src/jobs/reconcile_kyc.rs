//! Plans the questions to Sumsub about everybody: hourly at first about those who stay pending, daily about those who were
//! decided. A webhook that fails for a day is lost for good, whatever it says. And finds events that no job will apply.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use drop_common::{
    queue::{
        EnqueueOptions, Handler, Job as _, JobError, Lane, Lease, Outcome, Verdict, enqueue_anew, enqueue_with,
        payloads::{ApplyKycEvent, ReadKycStatus, ReconcileKyc},
    },
    storage::{kyc_reviews, schedule},
};
use tracing::{info, warn};

use crate::context::Context;

/// How many applicants one transaction plans.
const BATCH: i64 = 500;
/// A slot older than this plans nothing: a later one has come.
const OUTDATED: TimeDelta = TimeDelta::minutes(55);

/// Whom a slot asks about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Pending,
    Decided,
}

impl Asked {
    /// The most that one slot asks; the rest is due in the next.
    const fn most(self) -> usize {
        match self {
            Self::Pending => 50_000,
            Self::Decided => 10_000,
        }
    }

    /// Sumsub takes 300 questions in 5 s; these leave room for those that somebody waits for. Nobody waits for an answer
    /// about somebody decided, so these are spread over the hour.
    const fn spacing(self) -> Duration {
        match self {
            Self::Pending => Duration::from_millis(50),
            Self::Decided => Duration::from_millis(300),
        }
    }
}

impl Handler<Context> for ReconcileKyc {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        if schedule::now(&ctx.db).await? - self.slot > OUTDATED {
            return Ok(Outcome::Done.into());
        }
        let pending = plan(&ctx, &lease, Asked::Pending).await?;
        let decided = plan(&ctx, &lease, Asked::Decided).await?;
        let stranded = revive(&ctx, &lease).await?;
        let tx = lease.begin(&ctx.db).await?;
        let recorded = lease.finish(tx, Outcome::Done).await?;
        if pending + decided > 0 {
            info!("asking Sumsub about {pending} people who stay pending and {decided} who were decided");
            ctx.wake.signal(Lane::KycCall);
        }
        if stranded > 0 {
            warn!("{stranded} events had no job that applies them");
        }
        Ok(recorded.into())
    }
}

/// Plans the questions that are due, one transaction after the other. How many they are.
async fn plan(ctx: &Context, lease: &Lease, asked: Asked) -> Result<usize, JobError> {
    let level = &ctx.settings.sumsub.level;
    let mut planned = 0_usize;
    while planned < asked.most() {
        let mut tx = lease.begin(&ctx.db).await?;
        let due = match asked {
            Asked::Pending => kyc_reviews::take_due(&mut tx, level, BATCH).await?,
            Asked::Decided => kyc_reviews::take_decided(&mut tx, level, BATCH).await?,
        };
        if due.is_empty() {
            break;
        }
        for &applicant in &due {
            let places = u32::try_from(planned).unwrap_or(u32::MAX);
            let options = EnqueueOptions {
                delay: asked.spacing().saturating_mul(places),
                ..EnqueueOptions::default()
            };
            let question = ReadKycStatus {
                applicant,
                not_before: None,
            };
            enqueue_with(&mut tx, &question, options).await?;
            planned += 1;
        }
        tx.commit().await?;
    }
    Ok(planned)
}

/// Gives the events that no job will apply one each. How many they were.
async fn revive(ctx: &Context, lease: &Lease) -> Result<usize, JobError> {
    let mut revived = 0_usize;
    loop {
        let mut tx = lease.begin(&ctx.db).await?;
        let stranded = kyc_reviews::stranded(&mut tx, ApplyKycEvent::KIND, BATCH).await?;
        if stranded.is_empty() {
            return Ok(revived);
        }
        for &event in &stranded {
            enqueue_anew(&mut tx, &ApplyKycEvent { event }, EnqueueOptions::default()).await?;
            revived += 1;
        }
        tx.commit().await?;
    }
}
