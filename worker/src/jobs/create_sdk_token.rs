//! Asks Sumsub for a token of its SDK and seals it in for the request that waits. It is never in a job or a log.

use std::{sync::Arc, time::Duration};

use drop_common::{
    providers::{Class, http::Trace},
    queue::{AfterCommit, Handler, JobError, Lane, Lease, Outcome, Verdict, payloads::CreateSdkToken, throttle},
    resilience::{backoff, breaker::BreakerKey},
    storage::{StorageError, Tx, sdk_tokens},
};
use secrecy::ExposeSecret;
use tracing::warn;

use super::{
    sumsub_answers::{alert_refusal, pause_asked_for},
    sumsub_limits::{self, Calls},
};
use crate::context::Context;

/// How long Sumsub lets the app use it, in seconds; the app asks for another one then.
const LIFE: u32 = 600;

impl Handler<Context> for CreateSdkToken {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(wanted) = sdk_tokens::wanted(&ctx.db, self.token).await? else {
            return Ok(Outcome::Done.into());
        };
        if let Some(outcome) = sumsub_limits::instead(&ctx.db, &lease, &[Calls::Posts]).await? {
            return Ok(outcome.into());
        }
        let trace = Trace {
            request_id: wanted.request_id,
            correlation_id: lease.request_id(),
            not_after: Some(lease.deadline()),
        };
        let user = wanted.user.to_string();
        let answer = ctx.sumsub.sdk_token(&user, LIFE, trace, ctx.clock.now()).await;
        ctx.report(&lease, BreakerKey::SumsubApi, answer.as_ref().err()).await;

        let mut tx = lease.begin(&ctx.db).await?;
        let outcome = match answer {
            Ok(token) => {
                let token = token.0.expose_secret().as_bytes();
                let sealed = ctx.keys.seal(sdk_tokens::COLUMN, self.token.uuid(), token);
                sdk_tokens::ready(&mut tx, self.token, &sealed).await?;
                Outcome::Done
            }
            Err(error) if error.class() == Class::Refused => {
                warn!("Sumsub refused {}: {error}", self.token);
                alert_refusal(self.token, &error);
                sdk_tokens::failed(&mut tx, self.token, "refused").await?;
                Outcome::Done
            }
            Err(error) if error.class() == Class::Limited => {
                throttle(&mut *tx, Lane::KycCall, pause_asked_for(&error)).await?;
                Outcome::Wait(backoff::jittered(pause_asked_for(&error)))
            }
            // Somebody waits: soon or not at all.
            Err(_) => Outcome::Again(backoff::jittered(Duration::from_secs(1))),
        };
        let recorded = lease.finish(tx, outcome).await?;
        ctx.tell_waiters(self.token.uuid()).await;
        Ok(recorded.into())
    }

    /// Sumsub never answered: the person may ask again.
    async fn on_dead(&self, _context: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        sdk_tokens::failed(tx, self.token, "no_answer").await?;
        Ok(AfterCommit::default())
    }
}
