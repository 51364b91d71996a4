//! The circuits of single banks, where each has its own. A bank's row begins with its first failure; without one it is closed.
//! No lane is behind them: whoever calls a bank asks its circuit first.

use std::time::Duration;

use sqlx::PgExecutor;

use super::breaker::{self, Breaker, BreakerKey, State};
use crate::storage::{StorageError, Tx};

/// One bank's circuit for the reading of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankCircuit(String);

impl BankCircuit {
    /// That of this bank.
    pub fn of(bank: &str) -> Self {
        Self(format!("{}/{bank}", BreakerKey::NeonomicsAisp.as_str()))
    }
}

impl AsRef<str> for BankCircuit {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Breaker {
    /// A bank's circuit as it is now.
    pub async fn of_bank(&self, bank: &BankCircuit) -> Result<State, StorageError> {
        Ok(breaker::find(&self.db, bank.as_ref()).await?.unwrap_or(State {
            epoch: 0,
            open: false,
            retry_in: Duration::ZERO,
            opened_at: None,
            closed_for: None,
            probe: None,
        }))
    }

    /// Makes the row that a bank's first failure is written into.
    pub async fn begin_bank(&self, bank: &BankCircuit) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO breaker (key) VALUES ($1) ON CONFLICT (key) DO NOTHING",
            bank.as_ref()
        )
        .execute(&self.db)
        .await?;
        Ok(())
    }

    /// Forgets the banks' circuits, where they are not used: one that was open would stay so.
    pub async fn forget_banks(&self) -> Result<(), StorageError> {
        sqlx::query!("DELETE FROM breaker WHERE key LIKE 'neonomics/aisp/%'")
            .execute(&self.db)
            .await?;
        Ok(())
    }
}

/// Whether a bank cannot be asked now: its circuit is open, and nobody may probe yet or somebody does.
pub async fn refuses(tx: &mut Tx, bank: &BankCircuit) -> Result<bool, StorageError> {
    let refuses = sqlx::query_scalar!(
        r#"SELECT open AND (retry_at > clock_timestamp() OR coalesce(probe_until > clock_timestamp(), false)) AS "refuses!"
             FROM breaker WHERE key = $1"#,
        bank.as_ref()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(refuses.unwrap_or(false))
}

/// Which circuits for the reading of accounts are open.
#[derive(Debug, Clone)]
pub struct Open(Vec<String>);

impl Open {
    /// Reads it; with the banks' own, where they are used.
    pub async fn read(db: impl PgExecutor<'_>, per_bank: bool) -> Result<Self, StorageError> {
        let open = sqlx::query_scalar!(
            "SELECT key FROM breaker WHERE open AND (key = $1 OR $2 AND key LIKE 'neonomics/aisp/%')",
            BreakerKey::NeonomicsAisp.as_str(),
            per_bank
        )
        .fetch_all(db)
        .await?;
        Ok(Self(open))
    }

    /// Whether this bank's accounts cannot be read.
    pub fn cuts_off(&self, bank: &str) -> bool {
        let (all, own) = (BreakerKey::NeonomicsAisp, BankCircuit::of(bank));
        self.0.iter().any(|open| open == all.as_str() || open == own.as_ref())
    }
}
