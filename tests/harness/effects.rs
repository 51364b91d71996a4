//! A job with one effect: what `drop-node queue` runs and the fault tests count.

use std::time::Duration;

use drop_common::queue::{Job, Lane};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

/// Inserts one row into `effects`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Effect {
    /// How it goes about it.
    pub way: Way,
}

/// What a panic says that quotes what it was about.
pub const ALOUD: &str = "13897249477 has no account";

/// How a job comes to its effect.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Way {
    /// Effect and outcome in one transaction: exactly once.
    Together,
    /// The effect first; the outcome is recorded by the queue afterwards and may be lost: at least once.
    OutcomeLater,
    /// As `Together`, this long after its start.
    After(Duration),
    /// As `Together`, after its thread did nothing else for this long.
    Blocking(Duration),
    /// Ends its process, without a word.
    Abort,
    /// Panics the first time, then as `Together`.
    PanicFirst,
    /// The same with a message, [`ALOUD`], that nobody may see.
    PanicAloud,
}

impl Job for Effect {
    const KIND: &'static str = "effect";
    const LANE: Lane = Lane::Upkeep;
    /// Faults that follow one another closely use attempts; none of these tests is about the budget.
    const MAX_ATTEMPTS: i32 = 50;
}

/// Makes the table. It has no unique index: nothing but the queue keeps an effect from happening twice.
pub async fn create_table(db: &PgPool) -> sqlx::Result<()> {
    sqlx::query(
        "CREATE TABLE effects (job bigint NOT NULL, attempt int NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())",
    )
    .execute(db)
    .await?;
    Ok(())
}
