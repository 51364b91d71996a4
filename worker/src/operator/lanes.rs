//! Lanes: how they stand, pausing them and letting them go on.

use std::time::Duration;

use clap::Subcommand;
use drop_common::queue::{Lane, look};
use sqlx::PgPool;

use super::{By, Output, actions, lane, print};

/// What is done with lanes.
#[derive(Debug, Subcommand)]
pub enum LanesVerb {
    /// List them with what stops claims from them.
    List(Output),
    /// Claim nothing more from a lane. What runs goes on; what waits, waits.
    Pause {
        /// The lane's name.
        #[arg(value_parser = lane)]
        lane: Lane,
        /// Minutes after which a worker lets it go on by itself.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_080), conflicts_with = "until_resumed", required_unless_present = "until_resumed")]
        minutes: Option<u64>,
        /// It is paused until somebody resumes it.
        #[arg(long)]
        until_resumed: bool,
        #[command(flatten)]
        by: By,
    },
    /// Let claims go on.
    Resume {
        /// The lane's name.
        #[arg(value_parser = lane)]
        lane: Lane,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: LanesVerb) -> anyhow::Result<()> {
    match verb {
        LanesVerb::List(output) => print::lanes(&look::lanes(db).await?, output.json),
        LanesVerb::Pause { lane, minutes, by, .. } => {
            actions::lanes::pause(db, lane, minutes.map(Duration::from_mins), &by).await?;
            print::changed(1, "lane.paused");
            Ok(())
        }
        LanesVerb::Resume { lane, by } => {
            actions::lanes::resume(db, lane, &by).await?;
            print::changed(1, "lane.resumed");
            Ok(())
        }
    }
}
