//! The inbox of webhooks: what waits, why, and having it applied again.

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use drop_common::{
    domain::ids::WebhookEventId,
    queue::{EnqueueOptions, Enqueued, Job as _, enqueue_anew, payloads::ApplyKycEvent},
    storage::inbox::{self, Filter},
};
use sqlx::PgPool;

use super::{By, Output, print, record};

/// At most so many are applied again by one command.
const MOST: i64 = 1_000;

const STATES: [&str; 9] = [
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
const OPEN: [&str; 3] = ["received", "unmatched", "quarantined"];

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
        /// All that wait in this state, the thousand oldest at most.
        #[arg(long, value_parser = OPEN)]
        state: Option<String>,
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
        WebhooksVerb::Dismiss { ids, by } => dismiss(db, &ids, &by).await,
        WebhooksVerb::Replay { ids, state, by } => replay(db, ids, state, &by).await,
    }
}

/// All of them in one transaction, or none. The job looks at the event itself, and one that was applied meanwhile changes
/// nothing.
async fn replay(db: &PgPool, mut ids: Vec<WebhookEventId>, state: Option<String>, by: &By) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    if let Some(state) = state {
        ids = inbox::open_of_state(&mut tx, &state, MOST).await?;
    }
    let mut replayed = 0;
    for event in ids {
        let open = inbox::is_open(&mut tx, event).await?;
        ensure!(open.is_some(), "there is no event {event}; nothing was changed");
        if open == Some(false) {
            continue;
        }
        let enqueued = enqueue_anew(&mut tx, &ApplyKycEvent { event }, EnqueueOptions::default()).await?;
        // A job that waits or runs will see the event.
        if let Enqueued::New(_) = enqueued {
            record(&mut tx, by, "webhook.replayed", &event.to_string(), None).await?;
            replayed += 1;
        }
    }
    tx.commit().await?;
    print::changed(replayed, "webhook.replayed");
    Ok(())
}

/// All of them, or none: one that is applied was somebody's.
async fn dismiss(db: &PgPool, ids: &[WebhookEventId], by: &By) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    for &event in ids {
        let dismissed = inbox::dismiss(&mut tx, event).await?;
        ensure!(
            dismissed,
            "event {event} does not wait for a person; nothing was changed"
        );
        record(&mut tx, by, "webhook.dismissed", &event.to_string(), None).await?;
    }
    tx.commit().await?;
    print::changed(ids.len(), "webhook.dismissed");
    Ok(())
}
