//! Cases of the compliance officer: refusals for good, and what was found about them.

use clap::Subcommand;
use drop_common::{domain::ids::AmlCaseId, storage::aml_cases};
use sqlx::PgPool;

use super::{By, Output, actions, print};

/// What may be found about a case.
pub(super) const FINDINGS: [&str; 2] = ["reported", "nothing"];

/// What is done with cases.
#[derive(Debug, Subcommand)]
pub enum CasesVerb {
    /// List the open cases, the oldest first, with Sumsub's reasons.
    List {
        /// The closed ones, too.
        #[arg(long)]
        all: bool,
        /// Only cases behind this one: the last one of the list before.
        #[arg(long)]
        after: Option<AmlCaseId>,
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
        #[arg(long, value_parser = FINDINGS)]
        finding: String,
        #[command(flatten)]
        by: By,
    },
}

pub(super) async fn operate(db: &PgPool, verb: CasesVerb) -> anyhow::Result<()> {
    match verb {
        CasesVerb::List {
            all,
            after,
            limit,
            output,
        } => print::cases(&aml_cases::list(db, all, after, limit).await?, output.json),
        CasesVerb::Close { id, finding, by } => {
            actions::cases::close(db, id, &finding, &by).await?;
            print::changed(1, "aml.case_closed");
            Ok(())
        }
    }
}
