//! Plans the questions to Sumsub about everybody who stays pending: a webhook that fails for a day is lost for good. And
//! finds events that no job will apply.

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
/// Sumsub takes 300 questions in 5 s; these leave room for those that somebody waits for.
const SPACING: Duration = Duration::from_millis(50);
/// A slot older than this plans nothing: a later one has come.
const OUTDATED: TimeDelta = TimeDelta::minutes(55);
/// The most that one slot asks; the rest is due in the next.
const MOST: usize = 50_000;

impl Handler<Context> for ReconcileKyc {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        if schedule::now(&ctx.db).await? - self.slot > OUTDATED {
            return Ok(Outcome::Done.into());
        }
        let level = &ctx.settings.sumsub.level;
        let mut planned = 0_usize;
        loop {
            let mut tx = lease.begin(&ctx.db).await?;
            let due = kyc_reviews::take_due(&mut tx, level, BATCH).await?;
            for &applicant in &due {
                let options = EnqueueOptions {
                    delay: SPACING.saturating_mul(u32::try_from(planned).unwrap_or(u32::MAX)),
                    ..EnqueueOptions::default()
                };
                let question = ReadKycStatus {
                    applicant,
                    not_before: None,
                };
                enqueue_with(&mut tx, &question, options).await?;
                planned += 1;
            }
            if due.is_empty() || planned >= MOST {
                let stranded = kyc_reviews::stranded(&mut tx, ApplyKycEvent::KIND, BATCH).await?;
                for &event in &stranded {
                    enqueue_anew(&mut tx, &ApplyKycEvent { event }, EnqueueOptions::default()).await?;
                }
                let recorded = lease.finish(tx, Outcome::Done).await?;
                if planned > 0 {
                    info!("asking Sumsub about {planned} people who stay pending");
                    ctx.wake.signal(Lane::KycCall);
                }
                if !stranded.is_empty() {
                    warn!("{} events had no job that applies them", stranded.len());
                }
                return Ok(recorded.into());
            }
            tx.commit().await?;
        }
    }
}
