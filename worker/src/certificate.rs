//! Keeps Neonomics' client certificate current: looks at its files now and then, and shows when the one in use ends.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use drop_common::{alerts, metrics::CERTIFICATE_EXPIRY, providers::http::Trace};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::context::Context;

/// So many looks in a row must fail before somebody is told: two files cannot be replaced at one moment.
const LOOKS_BEFORE_ALERT: u32 = 2;

/// Looks until `stop`.
pub(crate) async fn keep_current(context: Arc<Context>, stop: CancellationToken) {
    let mut looks = interval(context.settings.neonomics.client_certificate_look);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = 0;
    let forever = async {
        loop {
            looks.tick().await;
            look(&context, &mut failed).await;
        }
    };
    let _stopped = stop.run_until_cancelled(forever).await;
}

async fn look(ctx: &Context, failed: &mut u32) {
    let trace = Trace {
        request_id: Uuid::new_v4(),
        correlation_id: None,
        not_after: None,
    };
    match ctx.neonomics.look_at_certificate(trace, ctx.clock.now()).await {
        Ok(taken) => {
            *failed = 0;
            if taken {
                tracing::info!("a new client certificate is shown to Neonomics");
            }
        }
        Err(error) => {
            *failed += 1;
            tracing::warn!("the new client certificate for Neonomics is not used: {error}");
            if *failed == LOOKS_BEFORE_ALERT {
                alerts::raise(&alerts::CLIENT_CERTIFICATE, format_args!("neonomics, {error}"));
            }
        }
    }
    if let Some(ends) = ctx.neonomics.certificate_ends() {
        ctx.metrics.set(&CERTIFICATE_EXPIRY, &["neonomics"], seconds(ends));
    }
}

fn seconds(at: DateTime<Utc>) -> f64 {
    let since_1970 = u64::try_from(at.timestamp()).unwrap_or_default();
    Duration::from_secs(since_1970).as_secs_f64()
}
