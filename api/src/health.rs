//! `GET /v1/health`: what the synthetic check outside reads.

use std::time::Duration;

use drop_common::{resilience::breaker::BreakerKey, storage::health};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi, Tags};
use sqlx::PgPool;

use crate::error::{ApiError, Code};

/// The chapters of the document, in reading order.
#[derive(Debug, Clone, Copy, Tags)]
pub enum Chapter {
    /// Login with BankID, sessions, and the person who is signed in.
    Auth,
    /// Consents, bank accounts and balances.
    Accounts,
    /// Payments from a linked account.
    Payments,
    /// What the person is told.
    Notifications,
    /// The identity check.
    #[oai(rename = "KYC")]
    Kyc,
    /// Calls from providers.
    Webhooks,
    /// Whether the service works.
    Health,
}

/// How the service, or a part of it, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum Condition {
    /// It works.
    Ok,
    /// It works in part: a provider is not being called, or work waits longer than it should.
    Degraded,
}

/// The condition of the service and of its parts.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(example)]
pub struct Health {
    /// `degraded` as soon as one part is.
    pub status: Condition,
    /// The database answers, or this answer would be 503.
    pub database: Condition,
    /// Work does not wait longer than it should.
    pub queue: Condition,
    /// Logins with BankID.
    pub bankid: Condition,
    /// Payments at the bank.
    pub payments: Condition,
    /// Balances from the bank.
    pub balances: Condition,
    /// Identity checks.
    pub kyc: Condition,
}

impl poem_openapi::types::Example for Health {
    fn example() -> Self {
        let ok = Condition::Ok;
        Self {
            status: ok,
            database: ok,
            queue: ok,
            bankid: ok,
            payments: ok,
            balances: ok,
            kyc: ok,
        }
    }
}

/// The operation; public.
#[derive(Debug, Clone)]
pub struct HealthApi {
    pool: PgPool,
}

impl HealthApi {
    /// Reads the database through `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[OpenApi]
impl HealthApi {
    /// Tell whether the service works.
    ///
    /// 503 only when the database does not answer. A provider that fails makes the answer `degraded`.
    #[oai(
        path = "/v1/health",
        method = "get",
        operation_id = "getHealth",
        tag = "Chapter::Health"
    )]
    async fn health(&self) -> Result<Json<Health>, ApiError> {
        match tokio::time::timeout(Duration::from_secs(1), health::read(&self.pool)).await {
            Ok(Ok(reading)) => Ok(Json(reading.into())),
            Ok(Err(_)) | Err(_) => Err(ApiError::retry_after(Code::Unavailable, 5)),
        }
    }
}

impl From<health::Reading> for Health {
    fn from(reading: health::Reading) -> Self {
        // A bank's own circuit is a part of it.
        let cut_off = |key: BreakerKey| {
            let mut open = reading.open_circuits.iter();
            open.any(|open| {
                open.strip_prefix(key.as_str())
                    .is_some_and(|bank| bank.is_empty() || bank.starts_with('/'))
            })
        };
        let parts = [
            reading.queue_is_late,
            reading.bankid_is_unreachable,
            cut_off(BreakerKey::NeonomicsPisp),
            cut_off(BreakerKey::NeonomicsAisp),
            cut_off(BreakerKey::SumsubApi),
        ];
        let condition = |bad| if bad { Condition::Degraded } else { Condition::Ok };
        let [queue, bankid, payments, balances, kyc] = parts.map(condition);
        Self {
            status: condition(parts.contains(&true)),
            database: Condition::Ok,
            queue,
            bankid,
            payments,
            balances,
            kyc,
        }
    }
}
