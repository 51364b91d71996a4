//! Stopping claims from a lane, and letting them go on.

use std::time::Duration;

use drop_common::{
    queue::{
        Lane, look,
        operate::{self, Pause},
    },
    storage,
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, Change, record, refusal};

/// Claims nothing more from a lane, for this long or until somebody resumes it.
pub(crate) async fn pause(db: &PgPool, lane: Lane, lasting: Option<Duration>, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    operate::lock_lane(&mut tx, lane).await?;
    let before = standing(&look::lanes(&mut *tx).await?, lane);
    let pause = Pause {
        by: &by.operator,
        because: &by.reason,
        lasting,
    };
    if !operate::pause(&mut tx, lane, pause).await? {
        return Err(refusal(format!(
            "lane {} is so already, or closed since a restore",
            lane.name()
        )));
    }
    let after = standing(&look::lanes(&mut *tx).await?, lane);
    record(&mut tx, by, change("lane.paused", lane, before, after)).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets claims go on.
pub(crate) async fn resume(db: &PgPool, lane: Lane, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    operate::lock_lane(&mut tx, lane).await?;
    let before = standing(&look::lanes(&mut *tx).await?, lane);
    if !operate::resume(&mut tx, lane).await? {
        return Err(refusal(format!(
            "lane {} is so already, or closed since a restore",
            lane.name()
        )));
    }
    let after = json!({ "paused": false });
    record(&mut tx, by, change("lane.resumed", lane, before, after)).await?;
    tx.commit().await?;
    Ok(())
}

fn change(action: &'static str, lane: Lane, before: Value, after: Value) -> Change<'static> {
    Change {
        action,
        object: lane.name().to_owned(),
        user: None,
        before,
        after,
        more: Value::Null,
    }
}

fn standing(lanes: &[look::LaneStanding], lane: Lane) -> Value {
    let found = lanes.iter().find(|standing| standing.lane == lane);
    found.map_or(Value::Null, |standing| match standing.paused_until {
        Some(until) => json!({ "paused": standing.paused, "until": until }),
        None => json!({ "paused": standing.paused }),
    })
}
