//! Circuit breakers: how they stand and what became of them, and setting one by hand.

use clap::Subcommand;
use drop_common::resilience::breaker_hand;
use sqlx::PgPool;

use super::{By, Output, actions, print};

/// What is done with circuit breakers.
#[derive(Debug, Subcommand)]
pub enum CircuitsVerb {
    /// List them with how they stand.
    List(Output),
    /// List their last openings and closings, newest first.
    History {
        /// Only of this one, such as `neonomics/pisp`.
        #[arg(long)]
        key: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Close one and make it forget its failures.
    Reset {
        /// Which, such as `neonomics/pisp`.
        key: String,
        #[command(flatten)]
        by: By,
    },
    /// Open one: nothing is sent there but a probe, which closes it when it is answered.
    Open {
        /// Which, such as `neonomics/pisp`.
        key: String,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: CircuitsVerb) -> anyhow::Result<()> {
    match verb {
        CircuitsVerb::List(output) => print::circuits(&breaker_hand::standings(db).await?, output.json),
        CircuitsVerb::History { key, limit, output } => {
            let transitions = breaker_hand::transitions(db, key.as_deref(), limit).await?;
            print::transitions(&transitions, output.json)
        }
        CircuitsVerb::Reset { key, by } => {
            actions::breakers::set(db, &key, false, &by).await?;
            print::changed(1, "breaker.reset");
            Ok(())
        }
        CircuitsVerb::Open { key, by } => {
            actions::breakers::set(db, &key, true, &by).await?;
            print::changed(1, "breaker.opened");
            Ok(())
        }
    }
}
