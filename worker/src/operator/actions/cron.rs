//! Running a schedule's job between its slots.

use drop_common::{
    queue::{Enqueued, Lane},
    storage::{self, schedule},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, Change, record, refusal};
use crate::schedule::Schedule;

/// Enqueues the schedule's job as of now. No slot is taken by it: the next one comes as it would have. The lane to wake.
pub(crate) async fn run_now(db: &PgPool, name: &str, by: &By) -> anyhow::Result<Lane> {
    let schedule = Schedule::named(name).ok_or_else(|| refusal(format!("there is no schedule {name}")))?;
    let now = schedule::now(db).await?;
    let mut tx = storage::begin(db).await?;
    let Enqueued::New(job) = schedule.job.enqueue(&mut tx, now).await? else {
        return Err(refusal(format!("{name} was run in this second already")));
    };
    let change = Change {
        action: "cron.run",
        object: name.to_owned(),
        user: None,
        before: Value::Null,
        after: json!({ "job": job }),
        more: Value::Null,
    };
    record(&mut tx, by, change).await?;
    tx.commit().await?;
    Ok(schedule.job.lane())
}
