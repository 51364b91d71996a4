//! Jobs: looking at them, and running them again, discarding them or ending their wait, by number or all that died of the same.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use drop_common::queue::{
    JobId, Lane,
    look::{self, Search, Seen},
    operate,
};
use poem_openapi::Enum;
use sqlx::PgPool;

use super::{
    By, Output,
    actions::jobs::{self as actions, JobAction, Share},
    answers, lane, print,
};

/// What is done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsVerb {
    /// List jobs, newest first.
    List {
        /// Only jobs of this state.
        #[arg(long)]
        state: Option<State>,
        #[command(flatten)]
        which: Which,
        /// Only jobs with a smaller number: the last one of the list before.
        #[arg(long)]
        before: Option<JobId>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        output: Output,
    },
    /// List the newest dead jobs by what they died of, with what followed.
    Dead(Output),
    /// Show a job with every failed attempt.
    Show {
        /// The job's number.
        id: JobId,
        #[command(flatten)]
        output: Output,
    },
    /// Run dead jobs again with all their attempts, and waiting ones at once.
    Retry(TheseJobs),
    /// End the wait of jobs: a worker makes them dead within moments, with all that follows from that.
    Cancel(TheseJobs),
    /// Delete dead jobs and their histories, but not untold ones.
    Discard(TheseJobs),
    /// Run again all dead jobs that match and were seen, or first a few of them. The newest come first, a thousand at most.
    RetryDead(TheseDead),
    /// Delete all dead jobs that match and were seen, with their histories, or first a few of them. The newest come first, a thousand at most.
    DiscardDead(TheseDead),
}

/// Which jobs something is done to, by whom and why.
#[derive(Debug, Args)]
pub struct TheseJobs {
    /// The jobs' numbers.
    #[arg(required = true)]
    ids: Vec<JobId>,
    #[command(flatten)]
    by: By,
}

/// Which dead jobs something is done to, by whom and why: those that match and were seen, or some of them.
#[derive(Debug, Args)]
pub struct TheseDead {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    seen: SeenDead,
    /// How many: five as a trial, a tenth, or all.
    #[arg(long)]
    share: Share,
    #[command(flatten)]
    by: By,
}

/// What a job may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Enum)]
#[oai(rename = "JobState", rename_all = "lowercase")]
pub enum State {
    /// It waits.
    Ready,
    /// Somebody runs it.
    Running,
    /// It has done what it was for.
    Done,
    /// It failed for good.
    Dead,
    /// Dead, and what follows from that could not be written yet.
    Untold,
}

impl State {
    /// As a search takes it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Untold => "untold",
        }
    }
}

/// Which jobs; what is absent does not matter.
#[derive(Debug, Args)]
pub struct Which {
    /// Only jobs of this lane.
    #[arg(long, value_parser = lane)]
    lane: Option<Lane>,
    /// Only jobs of this kind.
    #[arg(long)]
    kind: Option<String>,
    /// Only jobs with this part in their last error.
    #[arg(long)]
    error: Option<String>,
    /// Only jobs that died of this, whole, as `jobs dead` has it: … stands where numbers and ids differ.
    #[arg(long)]
    died_of: Option<String>,
}

/// Which dead jobs were seen: of a group as `jobs dead` has it, or of a list. No others are changed.
#[derive(Debug, Args)]
pub(super) struct SeenDead {
    /// The newest that was seen.
    #[arg(long)]
    newest: JobId,
    /// The oldest that was seen.
    #[arg(long)]
    oldest: JobId,
    /// When the last of those died that were seen.
    #[arg(long)]
    latest: DateTime<Utc>,
}

impl Which {
    fn search(self) -> Search {
        Search {
            lane: self.lane,
            kind: self.kind,
            error: self.error,
            died_of: self.died_of,
            state: None,
            before: None,
            limit: 0,
        }
    }
}

pub(super) async fn operate(db: &PgPool, verb: JobsVerb) -> anyhow::Result<()> {
    match verb {
        JobsVerb::List {
            state,
            which,
            before,
            limit,
            output,
        } => {
            let search = Search {
                state: state.map(|state| state.name().to_owned()),
                before,
                limit: limit.into(),
                ..which.search()
            };
            print::list(&look::list(db, &search).await?, output.json)
        }
        JobsVerb::Dead(output) => print::dead(&answers::dead_jobs(db).await?, output.json),
        JobsVerb::Show { id, output } => {
            let job = operate::show(db, id).await?;
            print::job(&job.with_context(|| format!("there is no job {id}"))?, output.json)
        }
        JobsVerb::Retry(these) => change(db, &these, JobAction::Retry).await,
        JobsVerb::Cancel(these) => change(db, &these, JobAction::Cancel).await,
        JobsVerb::Discard(these) => change(db, &these, JobAction::Discard).await,
        JobsVerb::RetryDead(these) => change_dead(db, these, JobAction::Retry).await,
        JobsVerb::DiscardDead(these) => change_dead(db, these, JobAction::Discard).await,
    }
}

async fn change(db: &PgPool, these: &TheseJobs, action: JobAction) -> anyhow::Result<()> {
    let changed = actions::change(db, &these.ids, action, &these.by).await?;
    print::changed(changed, action.name());
    Ok(())
}

async fn change_dead(db: &PgPool, these: TheseDead, action: JobAction) -> anyhow::Result<()> {
    let seen = Seen {
        newest: these.seen.newest,
        oldest: these.seen.oldest,
        latest: these.seen.latest,
    };
    let search = these.which.search();
    let changed = actions::change_dead(db, &search, seen, these.share, action, &these.by).await?;
    print::changed(changed, action.name());
    Ok(())
}
