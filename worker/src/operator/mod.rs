//! What operators do: commands, and the page on the internal listener. Both act through [`actions`], where every change has an
//! audit row in its transaction, with who and why, and with what was before and after.

mod actions;
mod cases;
mod circuits;
mod cron;
pub(crate) mod page;
mod payments;
mod print;
mod reseal;
mod restored;
mod users;
mod webhooks;

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use drop_common::{
    config::{DatabaseConfig, Environment},
    queue::{
        JobId, Lane,
        gauges::{self, LaneReading},
        operate::{self, Filter},
    },
    telemetry,
};
use sqlx::PgPool;

use self::actions::jobs::JobAction;
pub use self::{
    actions::By, cases::CasesVerb, circuits::CircuitsVerb, cron::CronVerb, payments::PaymentsVerb, reseal::Reseal,
    restored::RestoredVerb, users::UsersVerb, webhooks::WebhooksVerb,
};
use crate::run::pool;

/// Looks into the queue and changes it.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Look at jobs, run dead ones again, or discard them.
    #[command(subcommand)]
    Jobs(JobsVerb),
    /// Look at lanes, stop claims from one, or let them go on.
    #[command(subcommand)]
    Lanes(LanesVerb),
    /// Look at circuit breakers, open one, or close one.
    #[command(subcommand)]
    Circuits(CircuitsVerb),
    /// Look at schedules, or run one's job now.
    #[command(subcommand)]
    Cron(CronVerb),
    /// Look at payments that wait for a person, and settle them.
    #[command(subcommand)]
    Payments(PaymentsVerb),
    /// Look at webhooks, and have those applied that wait.
    #[command(subcommand)]
    Webhooks(WebhooksVerb),
    /// Look at the cases of the compliance officer, and close them.
    #[command(subcommand)]
    Cases(CasesVerb),
    /// Forget a person, hold what there is of one, or see what is kept of one.
    #[command(subcommand)]
    Users(UsersVerb),
    /// After a restore to a point in time: keep payments apart until the bank has told what it has.
    #[command(subcommand)]
    Restored(RestoredVerb),
    /// Seal what a replaced encryption key has sealed with the present one, so that the replaced one can go.
    Reseal(Reseal),
    /// Show how much waits, runs and is dead in each lane.
    Stats(Output),
}

/// What is done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsVerb {
    /// List jobs, newest first.
    List {
        /// Only jobs of this state.
        #[arg(long, value_parser = ["ready", "running", "done", "dead", "untold"])]
        state: Option<String>,
        /// Only jobs of this lane.
        #[arg(long, value_parser = lane)]
        lane: Option<Lane>,
        /// Only jobs of this kind.
        #[arg(long)]
        kind: Option<String>,
        /// Only jobs with a smaller number: the last one of the list before.
        #[arg(long)]
        before: Option<JobId>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Show a job with every failed attempt.
    Show {
        /// The job's number.
        id: JobId,
        #[command(flatten)]
        output: Output,
    },
    /// Run dead jobs again with all their attempts, and waiting ones at once.
    Retry {
        /// The jobs' numbers.
        #[arg(required = true)]
        ids: Vec<JobId>,
        #[command(flatten)]
        by: By,
    },
    /// End the wait of jobs: a worker makes them dead within moments, with all that follows from that.
    Cancel {
        /// The jobs' numbers.
        #[arg(required = true)]
        ids: Vec<JobId>,
        #[command(flatten)]
        by: By,
    },
    /// Delete dead jobs and their histories, but not untold ones.
    Discard {
        /// The jobs' numbers.
        #[arg(required = true)]
        ids: Vec<JobId>,
        #[command(flatten)]
        by: By,
    },
}

/// What is done with lanes.
#[derive(Debug, Subcommand)]
pub enum LanesVerb {
    /// Claim nothing more from a lane. What runs goes on; what waits, waits.
    Pause {
        /// The lane's name.
        #[arg(value_parser = lane)]
        lane: Lane,
        /// Minutes after which a worker lets it go on by itself.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_080))]
        minutes: Option<u64>,
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

/// How a result is shown.
#[derive(Debug, Args)]
pub struct Output {
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn lane(name: &str) -> Result<Lane, String> {
    Lane::from_name(name).ok_or_else(|| format!("the lanes are {}", Lane::ALL.map(Lane::name).join(", ")))
}

/// Does it, with the database of the environment.
pub async fn operate(environment: &Environment, verb: Verb) -> anyhow::Result<()> {
    let db = pool(&DatabaseConfig::alone(environment)?)?;
    telemetry::telling_alerts(Some(db.clone()), operate_over(&db, environment, verb)).await
}

async fn operate_over(db: &PgPool, environment: &Environment, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Jobs(verb) => jobs(db, verb).await,
        Verb::Lanes(LanesVerb::Pause { lane, minutes, by }) => {
            actions::lanes::pause(db, lane, minutes.map(Duration::from_mins), &by).await?;
            print::changed(1, "lane.paused");
            Ok(())
        }
        Verb::Lanes(LanesVerb::Resume { lane, by }) => {
            actions::lanes::resume(db, lane, &by).await?;
            print::changed(1, "lane.resumed");
            Ok(())
        }
        Verb::Circuits(verb) => circuits::operate(db, verb).await,
        Verb::Cron(verb) => cron::operate(db, verb).await,
        Verb::Payments(verb) => payments::operate(environment, db, verb).await,
        Verb::Webhooks(verb) => webhooks::operate(db, verb).await,
        Verb::Cases(verb) => cases::operate(db, verb).await,
        Verb::Users(verb) => users::operate(db, verb).await,
        Verb::Restored(verb) => restored::operate(environment, db, verb).await,
        Verb::Reseal(what) => reseal::operate(environment, db, what).await,
        Verb::Stats(output) => print::stats(&stats(db).await?, output.json),
    }
}

async fn stats(db: &PgPool) -> anyhow::Result<Vec<LaneReading>> {
    Ok(gauges::lanes(db).await?)
}

async fn jobs(db: &PgPool, verb: JobsVerb) -> anyhow::Result<()> {
    match verb {
        JobsVerb::List {
            state,
            lane,
            kind,
            before,
            limit,
            output,
        } => {
            let filter = Filter {
                state,
                lane,
                kind,
                before,
                limit,
            };
            print::list(&operate::list(db, &filter).await?, output.json)
        }
        JobsVerb::Show { id, output } => {
            let job = operate::show(db, id).await?;
            print::job(&job.with_context(|| format!("there is no job {id}"))?, output.json)
        }
        JobsVerb::Retry { ids, by } => change(db, &ids, JobAction::Retry, &by).await,
        JobsVerb::Cancel { ids, by } => change(db, &ids, JobAction::Cancel, &by).await,
        JobsVerb::Discard { ids, by } => change(db, &ids, JobAction::Discard, &by).await,
    }
}

async fn change(db: &PgPool, ids: &[JobId], action: JobAction, by: &By) -> anyhow::Result<()> {
    let changed = actions::jobs::change(db, ids, action, by).await?;
    print::changed(changed, action.name());
    Ok(())
}
