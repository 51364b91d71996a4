//! Logins: what is known of one.

use anyhow::Context as _;
use clap::Subcommand;
use drop_common::domain::ids::LoginId;
use sqlx::PgPool;

use super::{Output, answers, print};

/// What is done with logins.
#[derive(Debug, Subcommand)]
pub enum LoginsVerb {
    /// Show how a login stands, and all that is known to have happened to it.
    Show {
        /// The login, `lgn_…`.
        id: LoginId,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn operate(db: &PgPool, verb: LoginsVerb) -> anyhow::Result<()> {
    match verb {
        LoginsVerb::Show { id, output } => {
            let told = answers::login_story(db, id).await?;
            print::login(&told.with_context(|| format!("nothing is known of {id}"))?, output.json)
        }
    }
}
