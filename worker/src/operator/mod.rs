//! What an operator does from the command line. Every change has an audit row in its transaction, with who and why.

mod cases;
mod payments;
mod print;
mod reseal;
mod restored;
mod users;
mod webhooks;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use drop_common::{
    config::{DatabaseConfig, Environment},
    queue::{
        JobId, Lane,
        gauges::{self, LaneReading},
        operate::{self, Filter},
    },
    storage::{
        Tx,
        audit::{self, Actor, Entry},
    },
    telemetry,
};
use serde_json::json;
use sqlx::PgPool;

pub use self::{
    cases::CasesVerb, payments::PaymentsVerb, reseal::Reseal, restored::RestoredVerb, users::UsersVerb,
    webhooks::WebhooksVerb,
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

/// Who changes something, and why: both go into the audit log.
#[derive(Debug, Args)]
pub struct By {
    /// Why; names no person.
    #[arg(long)]
    reason: String,
    /// Who.
    #[arg(long, env = "DROP_OPERATOR")]
    operator: String,
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
        Verb::Lanes(LanesVerb::Pause { lane, by }) => pause(db, lane, true, &by).await,
        Verb::Lanes(LanesVerb::Resume { lane, by }) => pause(db, lane, false, &by).await,
        Verb::Payments(verb) => payments::operate(environment, db, verb).await,
        Verb::Webhooks(verb) => webhooks::operate(db, verb).await,
        Verb::Cases(verb) => cases::operate(db, verb).await,
        Verb::Users(verb) => users::operate(db, verb).await,
        Verb::Restored(verb) => restored::operate(db, verb).await,
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
        JobsVerb::Retry { ids, by } => {
            change(
                db,
                &ids,
                &by,
                "job.retried",
                "neither dead nor waiting for its time",
                operate::retry,
            )
            .await
        }
        JobsVerb::Discard { ids, by } => {
            change(db, &ids, &by, "job.discarded", "not dead, or untold", operate::discard).await
        }
    }
}

/// All of them in one transaction, or none: a number that was mistyped changes nothing.
async fn change(
    db: &PgPool,
    ids: &[JobId],
    by: &By,
    action: &str,
    else_it_is: &str,
    change: impl AsyncFn(&mut Tx, JobId) -> Result<bool, drop_common::storage::StorageError>,
) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    for &id in ids {
        let kind = operate::kind(&mut tx, id).await?;
        if !change(&mut tx, id).await? {
            bail!("job {id} is {else_it_is}; nothing was changed");
        }
        record(&mut tx, by, action, &format!("job_{id}"), kind.as_deref()).await?;
    }
    tx.commit().await?;
    print::changed(ids.len(), action);
    Ok(())
}

async fn pause(db: &PgPool, lane: Lane, paused: bool, by: &By) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let action = if paused { "lane.paused" } else { "lane.resumed" };
    if !operate::pause(&mut tx, lane, paused).await? {
        bail!(
            "lane {} is so already, or closed since a restore; nothing was changed",
            lane.name()
        );
    }
    record(&mut tx, by, action, lane.name(), None).await?;
    tx.commit().await?;
    print::changed(1, action);
    Ok(())
}

async fn record(tx: &mut Tx, by: &By, action: &str, object: &str, kind: Option<&str>) -> anyhow::Result<()> {
    let entry = Entry {
        actor: Actor::Operator,
        user: None,
        action,
        object: object.to_owned(),
        detail: json!({ "operator": by.operator, "reason": by.reason, "kind": kind }),
        request_id: None,
    };
    Ok(audit::record(tx, entry).await?)
}
