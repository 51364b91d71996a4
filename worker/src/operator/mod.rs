//! What operators do: commands, and on the internal listener a page and the same as JSON. All act through [`actions`], where every
//! change has an audit row in its transaction, with who and why, and with what was before and after.

mod actions;
mod answers;
mod cases;
mod circuits;
mod cron;
mod jobs;
mod json;
mod lanes;
mod logins;
pub(crate) mod page;
mod payments;
mod print;
mod reseal;
mod restored;
mod token;
mod told;
mod users;
mod webhooks;
mod workers;

use clap::{Args, Subcommand};
use drop_common::{
    config::{DatabaseConfig, Environment, OperatorRole},
    queue::{Lane, gauges},
    telemetry,
};
use sqlx::PgPool;

pub use self::{
    actions::By, cases::CasesVerb, circuits::CircuitsVerb, cron::CronVerb, jobs::JobsVerb, json::document,
    lanes::LanesVerb, logins::LoginsVerb, payments::PaymentsVerb, reseal::Reseal, restored::RestoredVerb,
    users::UsersVerb, webhooks::WebhooksVerb, workers::WorkersVerb,
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
    /// Look at payments and their stories, and settle those that wait for a person.
    #[command(subcommand)]
    Payments(PaymentsVerb),
    /// Look at a login and its story.
    #[command(subcommand)]
    Logins(LoginsVerb),
    /// Look at webhooks, and have those applied that wait.
    #[command(subcommand)]
    Webhooks(WebhooksVerb),
    /// Look at the cases of the compliance officer, and close them.
    #[command(subcommand)]
    Cases(CasesVerb),
    /// See somebody's identity check, forget a person, hold what there is of one, or see what is kept of one.
    #[command(subcommand)]
    Users(UsersVerb),
    /// After a restore to a point in time: keep payments apart until the bank has told what it has.
    #[command(subcommand)]
    Restored(RestoredVerb),
    /// Seal what a replaced encryption key has sealed with the present one, so that the replaced one can go.
    Reseal(Reseal),
    /// Show how much waits, runs and is dead in each lane.
    Stats(Output),
    /// Look at the processes that run jobs, keep one from claiming, or let it go on.
    #[command(subcommand)]
    Workers(WorkersVerb),
    /// List what operators did, newest first.
    Audit {
        /// Only rows with a smaller number: the last one of the list before.
        #[arg(long)]
        before: Option<i64>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Tell what an id is the id of, and which jobs know it.
    Find {
        /// A job's number, the id of a payment, a login, an event, a person or a request, that of any row that jobs are about, or the
        /// bank's id of a payment.
        id: String,
        #[command(flatten)]
        output: Output,
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
        Verb::Jobs(verb) => jobs::operate(db, verb).await,
        Verb::Lanes(verb) => lanes::operate(db, verb).await,
        Verb::Circuits(verb) => circuits::operate(db, verb).await,
        Verb::Cron(verb) => cron::operate(db, verb).await,
        Verb::Payments(verb) => payments::operate(environment, db, verb).await,
        Verb::Logins(verb) => logins::operate(db, verb).await,
        Verb::Webhooks(verb) => webhooks::operate(db, verb).await,
        Verb::Cases(verb) => cases::operate(db, verb).await,
        Verb::Users(verb) => users::operate(db, verb).await,
        Verb::Restored(verb) => restored::operate(environment, db, verb).await,
        Verb::Reseal(what) => reseal::operate(environment, db, what).await,
        Verb::Stats(output) => print::stats(&gauges::lanes(db).await?, output.json),
        Verb::Workers(verb) => workers::operate(db, verb).await,
        Verb::Audit { before, limit, output } => print::audit(
            &told::actions(db, OperatorRole::Operator, before, limit).await?,
            output.json,
        ),
        Verb::Find { id, output } => print::found(&answers::find(db, &id).await?.into(), output.json),
    }
}
