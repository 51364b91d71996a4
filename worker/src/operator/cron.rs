//! Schedules: their last and next slots, and running one's job now.

use clap::Subcommand;
use drop_common::storage::schedule;
use sqlx::PgPool;

use super::{By, Output, actions, print};
use crate::schedule::standings;

/// What is done with schedules.
#[derive(Debug, Subcommand)]
pub enum CronVerb {
    /// List them with their last and next slots.
    List(Output),
    /// Run one's job now. Its next slot comes as it would have.
    Run {
        /// The schedule's name.
        name: String,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: CronVerb) -> anyhow::Result<()> {
    match verb {
        CronVerb::List(output) => {
            let now = schedule::now(db).await?;
            print::schedules(&standings(db, now).await?, output.json)
        }
        CronVerb::Run { name, by } => {
            actions::cron::run_now(db, &name, &by).await?;
            print::changed(1, "cron.run");
            Ok(())
        }
    }
}
