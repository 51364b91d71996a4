//! Closes a circuit that no job could close: when nothing waits that could probe it, the worker makes a cheap call of its
//! own, or the circuit stays open all night.

use std::{sync::Arc, time::Duration};

use drop_common::{
    providers::{ProviderError, http::Trace},
    resilience::breaker::{BreakerKey, Probe},
    storage::{StorageError, patiently},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::context::Context;

/// How often a worker looks for a circuit that nobody probes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Neonomics' circuits: its token call costs nobody anything. Sumsub has no such call and needs none: a wish for an
/// identity check is taken with the circuit open too, and its job is the probe.
const PROBED: [BreakerKey; 2] = [BreakerKey::NeonomicsPisp, BreakerKey::NeonomicsAisp];

/// Looks for such circuits until `stop`. A probe that is cut short ends with its lease.
pub(crate) async fn keep_probing(context: Arc<Context>, stop: CancellationToken) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let forever = async {
        loop {
            looks.tick().await;
            probe_idle_circuits(&context).await;
        }
    };
    let _stopped = stop.run_until_cancelled(forever).await;
}

/// Looks once: probes each circuit that is open and that no job probes.
pub async fn probe_idle_circuits(ctx: &Context) {
    for key in PROBED {
        if let Err(error) = probe(ctx, key).await {
            tracing::warn!(%error, breaker = key.as_str(), "a circuit without jobs could not be probed yet");
        }
    }
}

async fn probe(ctx: &Context, key: BreakerKey) -> Result<(), StorageError> {
    let Some(probe) = patiently(ctx.breaker.idle_probe(key)).await? else {
        return Ok(());
    };
    let trace = Trace {
        request_id: Uuid::new_v4(),
        correlation_id: None,
        not_after: None,
    };
    let answer = ctx.neonomics.answers(trace, ctx.clock.now()).await;
    patiently(decide(ctx, key, probe, answer.err())).await
}

/// Any answer closes it, a refusal too: the provider is up. A call that was not made says nothing.
async fn decide(
    ctx: &Context,
    key: BreakerKey,
    probe: Probe,
    error: Option<ProviderError>,
) -> Result<(), StorageError> {
    match error {
        Some(error) if error.counts_for_breaker() => {
            let failed = ctx
                .breaker
                .fail(key, probe.epoch, Some(probe.id), Duration::ZERO)
                .await?;
            if failed.opened {
                ctx.count_transition(key, "open");
            }
        }
        Some(error) if error.was_not_made() => ctx.breaker.release(key, probe.id).await?,
        Some(_) | None => {
            if ctx.breaker.close(key, probe.id).await? {
                ctx.count_transition(key, "closed");
                tracing::info!(
                    breaker = key.as_str(),
                    "{} answers again; no job was there to ask it",
                    key.as_str()
                );
            }
        }
    }
    Ok(())
}
