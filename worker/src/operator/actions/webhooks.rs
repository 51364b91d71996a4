//! Having events applied again, and ending the wait of those that are nobody's.

use drop_common::{
    domain::ids::WebhookEventId,
    queue::{EnqueueOptions, Enqueued, enqueue_anew, payloads::ApplyKycEvent},
    storage::{
        self,
        inbox::{self, Before, Waiting},
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, Change, record, refusal};

/// At most so many are applied again by one action.
pub(crate) const MOST: i64 = 1_000;

/// Which events.
pub(crate) enum Which {
    /// These.
    Ids(Vec<WebhookEventId>),
    /// Those that wait between two that somebody saw, and none that came since.
    Seen(Waiting),
}

/// All of them in one transaction, or none. The job looks at the event itself, and one that was applied meanwhile changes
/// nothing. How many are applied again.
pub(crate) async fn replay(db: &PgPool, which: Which, by: &By) -> anyhow::Result<usize> {
    let mut tx = storage::begin(db).await?;
    let ids = match which {
        Which::Ids(ids) => ids,
        Which::Seen(seen) => {
            let mut waiting = inbox::waiting(&mut *tx, &seen, MOST).await?;
            // As they came.
            waiting.reverse();
            waiting
        }
    };
    let mut replayed = 0;
    for event in ids {
        let before = inbox::before(&mut tx, event).await?;
        let before = before.ok_or_else(|| refusal(format!("there is no event {event}")))?;
        if !before.is_open {
            continue;
        }
        let enqueued = enqueue_anew(&mut tx, &ApplyKycEvent { event }, EnqueueOptions::default()).await?;
        // A job that waits or runs will see the event.
        if let Enqueued::New(job) = enqueued {
            let after = json!({ "job": job });
            record(&mut tx, by, change("webhook.replayed", event, &before, after)).await?;
            replayed += 1;
        }
    }
    tx.commit().await?;
    Ok(replayed)
}

/// All of them, or none: one that is applied was somebody's.
pub(crate) async fn dismiss(db: &PgPool, ids: &[WebhookEventId], by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    for &event in ids {
        let before = inbox::before(&mut tx, event).await?;
        let before = before.ok_or_else(|| refusal(format!("there is no event {event}")))?;
        if !inbox::dismiss(&mut tx, event).await? {
            return Err(refusal(format!("event {event} does not wait for a person")));
        }
        let after = json!({ "state": "recorded", "note": "dismissed" });
        record(&mut tx, by, change("webhook.dismissed", event, &before, after)).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn change(action: &'static str, event: WebhookEventId, before: &Before, after: Value) -> Change<'static> {
    Change {
        action,
        object: event.to_string(),
        user: None,
        before: json!({ "state": before.state, "note": before.note }),
        after,
        more: Value::Null,
    }
}
