//! Cases of the compliance officer: refusals for good, and what was found about them.

use anyhow::Context as _;
use clap::Subcommand;
use drop_common::{
    domain::ids::AmlCaseId,
    storage::{
        aml_cases,
        audit::{self, Actor, Entry},
    },
};
use serde_json::json;
use sqlx::PgPool;

use super::{By, Output, print};

/// What is done with cases.
#[derive(Debug, Subcommand)]
pub enum CasesVerb {
    /// List the open cases, the oldest first, with Sumsub's reasons.
    List {
        /// The closed ones, too.
        #[arg(long)]
        all: bool,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Close a case with what was found.
    Close {
        /// The case, `aml_…`.
        id: AmlCaseId,
        /// What was found; names no person.
        #[arg(long, value_parser = ["reported", "nothing"])]
        finding: String,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: CasesVerb) -> anyhow::Result<()> {
    match verb {
        CasesVerb::List { all, limit, output } => print::cases(&aml_cases::list(db, all, limit).await?, output.json),
        CasesVerb::Close { id, finding, by } => close(db, id, &finding, &by).await,
    }
}

async fn close(db: &PgPool, id: AmlCaseId, finding: &str, by: &By) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let closed = aml_cases::close(&mut tx, id, &by.operator, finding).await?;
    let user = closed.with_context(|| format!("there is no open case {id}; nothing was changed"))?;
    let entry = Entry {
        actor: Actor::Operator,
        user: Some(user),
        action: "aml.case_closed",
        object: id.to_string(),
        detail: json!({ "operator": by.operator, "reason": by.reason, "finding": finding }),
        request_id: None,
    };
    audit::record(&mut tx, entry).await?;
    tx.commit().await?;
    print::changed(1, "aml.case_closed");
    Ok(())
}
