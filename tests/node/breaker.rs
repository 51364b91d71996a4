//! A process that asks the breaker what each line of its standard input says, and answers with a line.

use std::{
    io::{Write, stdin, stdout},
    time::Duration,
};

use anyhow::{Context, bail};
use drop_common::{
    config::Environment,
    resilience::breaker::{Breaker, BreakerKey},
    storage::{self, PoolOptions},
};
use uuid::Uuid;

const KEY: BreakerKey = BreakerKey::NeonomicsPisp;

/// `probe`: `<id> <epoch>` of the probe that it may make, or `none`. `fail <epoch> [<probe>]`: two failures reported at
/// once, `<open> <opened>` of each. Until the input ends.
pub(crate) async fn run(environment: &Environment) -> anyhow::Result<()> {
    let url = environment.get("DATABASE_URL").context("DATABASE_URL is missing")?;
    let options = PoolOptions {
        max: 2,
        acquire_timeout: Duration::from_secs(5),
    };
    let breaker = Breaker::new(storage::connect_lazy(&url.to_owned().into(), options)?);
    // It has nothing else to do meanwhile.
    for line in stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            ["probe"] => breaker
                .probe(KEY)
                .await?
                .map_or_else(|| "none".to_owned(), |probe| format!("{} {}", probe.id, probe.epoch)),
            ["fail", epoch, ref probe @ ..] => {
                let epoch: i64 = epoch.parse()?;
                let probe = probe.first().map(|id| id.parse::<Uuid>()).transpose()?;
                let report = || breaker.fail(KEY, epoch, probe, Duration::ZERO);
                let (one, other) = tokio::try_join!(report(), report())?;
                format!("{} {} {} {}", one.open, one.opened, other.open, other.opened)
            }
            _ => bail!("that is nothing to ask a breaker: {line}"),
        };
        writeln!(stdout(), "{answer}")?;
    }
    Ok(())
}
