//! Opening a circuit by hand, and closing one.

use drop_common::{
    resilience::breaker_hand::{self, Standing},
    storage,
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{By, Change, record, refusal};

/// Opens the circuit, or closes it and makes it forget its failures.
pub(crate) async fn set(db: &PgPool, key: &str, open: bool, by: &By) -> anyhow::Result<()> {
    let mut tx = storage::begin(db).await?;
    breaker_hand::lock(&mut tx, key).await?;
    let before = standing(&breaker_hand::standings(&mut *tx).await?, key);
    if !breaker_hand::set(&mut tx, key, open).await? {
        return Err(refusal(format!("circuit {key} is so already, or there is none")));
    }
    let after = standing(&breaker_hand::standings(&mut *tx).await?, key);
    let change = Change {
        action: if open { "breaker.opened" } else { "breaker.reset" },
        object: key.to_owned(),
        user: None,
        before,
        after,
        more: Value::Null,
    };
    record(&mut tx, by, change).await?;
    tx.commit().await?;
    Ok(())
}

fn standing(breakers: &[Standing], key: &str) -> Value {
    let found = breakers.iter().find(|standing| standing.key == key);
    found.map_or(
        Value::Null,
        |standing| json!({ "open": standing.open, "failures": standing.failures }),
    )
}
