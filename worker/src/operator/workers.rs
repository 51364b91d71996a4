//! The processes that run jobs: how they stand, keeping one from claiming, and letting it go on.

use clap::Subcommand;
use drop_common::queue::processes;
use sqlx::PgPool;
use uuid::Uuid;

use super::{By, Output, actions, print};

/// What is done with workers.
#[derive(Debug, Subcommand)]
pub enum WorkersVerb {
    /// List them with their leases, slots and restarts.
    List(Output),
    /// Keep one from claiming more, within some seconds. What it runs goes on.
    Quiet {
        /// Its id, as the list has it.
        owner: Uuid,
        #[command(flatten)]
        by: By,
    },
    /// Let one go on.
    Resume {
        /// Its id, as the list has it.
        owner: Uuid,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: WorkersVerb) -> anyhow::Result<()> {
    match verb {
        WorkersVerb::List(output) => print::processes(&processes::all(db).await?, output.json),
        WorkersVerb::Quiet { owner, by } => {
            actions::workers::set_quiet(db, owner, true, &by).await?;
            print::changed(1, "worker.quieted");
            Ok(())
        }
        WorkersVerb::Resume { owner, by } => {
            actions::workers::set_quiet(db, owner, false, &by).await?;
            print::changed(1, "worker.resumed");
            Ok(())
        }
    }
}
