//! What operators do, whether by a command or on the page: each action is one transaction with its audit row, which says who,
//! why, and what was before and after.

pub(crate) mod breakers;
pub(crate) mod cron;
pub(crate) mod jobs;
pub(crate) mod lanes;
pub(crate) mod payments;
pub(crate) mod webhooks;

use std::fmt;

use clap::Args;
use drop_common::{
    domain::ids::UserId,
    storage::{
        Tx,
        audit::{self, Actor, Entry},
    },
};
use serde_json::{Value, json};

/// Who changes something, and why: both go into the audit log.
#[derive(Debug, Args)]
pub struct By {
    /// Why; names no person.
    #[arg(long)]
    pub(crate) reason: String,
    /// Who.
    #[arg(long, env = "DROP_OPERATOR")]
    pub(crate) operator: String,
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
    let mut detail = json!({
        "operator": by.operator, "reason": by.reason, "before": change.before, "after": change.after,
    });
    if let (Some(detail), Value::Object(more)) = (detail.as_object_mut(), change.more) {
        detail.extend(more);
    }
    let entry = Entry {
        actor: Actor::Operator,
        user: change.user,
        action: change.action,
        object: change.object,
        detail,
        request_id: None,
    };
    Ok(audit::record(tx, entry).await?)
}
