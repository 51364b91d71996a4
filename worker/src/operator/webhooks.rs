//! The inbox of webhooks: what waits, why, and having it applied again.

use anyhow::Context as _;
use clap::Subcommand;
use drop_common::{
    domain::ids::WebhookEventId,
    queue::{Job as _, payloads::ApplyKycEvent},
    storage::inbox::{self, Filter, Waiting},
};
use sqlx::PgPool;

use super::{
    By, Output,
    actions::{self, webhooks::Which},
    print,
};

pub(super) const STATES: [&str; 9] = [
    "received",
    "applied",
    "audited",
    "same_state",
    "stale",
    "recorded",
    "sandbox",
    "unmatched",
    "quarantined",
];
/// Those that wait to be applied.
pub(super) const OPEN: [&str; 3] = ["received", "unmatched", "quarantined"];

/// What is done with webhooks.
#[derive(Debug, Subcommand)]
pub enum WebhooksVerb {
    /// List events, newest first.
    List {
        /// Only events of this state.
        #[arg(long, value_parser = STATES)]
        state: Option<String>,
        /// Only events of this type.
        #[arg(long = "type")]
        event_type: Option<String>,
        /// Only events older than this one: the last one of the list before.
        #[arg(long)]
        before: Option<WebhookEventId>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Show an event with its signed body and the jobs that tried to apply it.
    Show {
        /// The event, `evt_…`.
        id: WebhookEventId,
        #[command(flatten)]
        output: Output,
    },
    /// End the wait of events that will never be anybody's. Their bodies are kept.
    Dismiss {
        /// The events, `evt_…`.
        #[arg(required = true)]
        ids: Vec<WebhookEventId>,
        #[command(flatten)]
        by: By,
    },
    /// Have events applied that still wait. Those that were applied are left alone, so this may be repeated.
    Replay {
        /// The events, `evt_…`.
        #[arg(required_unless_present = "state", conflicts_with = "state")]
        ids: Vec<WebhookEventId>,
        /// Those that wait in this state between two that were seen, the thousand newest at most.
        #[arg(long, value_parser = OPEN, requires = "newest", requires = "oldest")]
        state: Option<String>,
        /// Of those only events of this type.
        #[arg(long = "type", requires = "state")]
        event_type: Option<String>,
        /// The newest that was seen: the first one of the list.
        #[arg(long, requires = "state")]
        newest: Option<WebhookEventId>,
        /// The oldest that was seen: the last one of the list.
        #[arg(long, requires = "state")]
        oldest: Option<WebhookEventId>,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: WebhooksVerb) -> anyhow::Result<()> {
    match verb {
        WebhooksVerb::List {
            state,
            event_type,
            before,
            limit,
            output,
        } => {
            let filter = Filter {
                state,
                event_type,
                before,
                limit,
            };
            print::webhooks(&inbox::list(db, &filter).await?, output.json)
        }
        WebhooksVerb::Show { id, output } => {
            let event = inbox::show(db, id, ApplyKycEvent::KIND).await?;
            print::webhook(&event.with_context(|| format!("there is no event {id}"))?, output.json)
        }
        WebhooksVerb::Dismiss { ids, by } => {
            actions::webhooks::dismiss(db, &ids, &by).await?;
            print::changed(ids.len(), "webhook.dismissed");
            Ok(())
        }
        WebhooksVerb::Replay {
            ids,
            state,
            event_type,
            newest,
            oldest,
            by,
        } => {
            let seen = state.zip(newest.zip(oldest)).map(|(state, (newest, oldest))| Waiting {
                state,
                event_type,
                newest,
                oldest,
            });
            let which = seen.map_or(Which::Ids(ids), Which::Seen);
            let replayed = actions::webhooks::replay(db, which, &by).await?;
            print::changed(replayed, "webhook.replayed");
            Ok(())
        }
    }
}
