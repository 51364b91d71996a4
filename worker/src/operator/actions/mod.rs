//! What operators do, whether by a command or on the page: each action is one transaction with its audit row, which says who,
//! why, and what was before and after.

pub(crate) mod breakers;
pub(crate) mod cases;
pub(crate) mod cron;
pub(crate) mod jobs;
pub(crate) mod lanes;
pub(crate) mod payments;
pub(crate) mod webhooks;
pub(crate) mod workers;

use std::fmt;

use clap::Args;
use drop_common::{
    config::is_operator_name,
    domain::ids::UserId,
    storage::{
        Tx,
        audit::{self, Actor, Entry},
    },
    telemetry::is_personal,
};
use serde_json::{Value, json};

/// A reason's longest text.
pub(crate) const LONGEST_REASON: usize = 300;

/// Who changes something, and why: both go into the audit log.
#[derive(Debug, Args)]
pub struct By {
    /// Why; names no person.
    #[arg(long, value_parser = reason)]
    pub(crate) reason: String,
    /// Who.
    #[arg(long, env = "DROP_OPERATOR", value_parser = operator)]
    pub(crate) operator: String,
}

/// The audit log keeps what it is told for years, and every viewer reads it.
pub(crate) fn reason(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("A reason is needed.");
    }
    if text.chars().count() > LONGEST_REASON {
        return Err("The reason is too long.");
    }
    if is_personal(text) {
        return Err("The reason looks as if it names a person, a number or an address.");
    }
    Ok(text.to_owned())
}

fn operator(name: &str) -> Result<String, &'static str> {
    let fits = is_operator_name(name).then(|| name.to_owned());
    fits.ok_or("The operator's name is letters, digits, and . _ - @ between them.")
}

/// An action that is not done because of how things stand: nothing was changed. Any other error is a failure of ours.
#[derive(Debug)]
pub(crate) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; nothing was changed", self.0)
    }
}

impl std::error::Error for Refusal {}

/// The action is refused because of this.
pub(crate) fn refusal(why: impl Into<String>) -> anyhow::Error {
    Refusal(why.into()).into()
}

/// What an action did to one object.
pub(crate) struct Change<'a> {
    /// `noun.verb`.
    pub(crate) action: &'a str,
    /// The id of what changed.
    pub(crate) object: String,
    /// Whose it is.
    pub(crate) user: Option<UserId>,
    pub(crate) before: Value,
    pub(crate) after: Value,
    /// What else belongs to it, by name.
    pub(crate) more: Value,
}

/// The audit row of a change, in its transaction.
pub(crate) async fn record(tx: &mut Tx, by: &By, change: Change<'_>) -> anyhow::Result<()> {
    let mut more = json!({ "before": change.before, "after": change.after });
    extend(&mut more, change.more);
    note(tx, by, change.user, change.action, change.object, more).await
}

/// The audit row of what has no before and after.
pub(crate) async fn note(
    tx: &mut Tx,
    by: &By,
    user: Option<UserId>,
    action: &str,
    object: String,
    more: Value,
) -> anyhow::Result<()> {
    let mut detail = json!({ "operator": by.operator, "reason": by.reason });
    extend(&mut detail, more);
    let entry = Entry {
        actor: Actor::Operator,
        user,
        action,
        object,
        detail,
        request_id: None,
    };
    Ok(audit::record(tx, entry).await?)
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
