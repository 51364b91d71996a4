//! `GET /v1/health`: what the synthetic check outside reads.

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
        match tokio::time::timeout(std::time::Duration::from_secs(1), read(&self.pool)).await {
            Ok(Ok(health)) => Ok(Json(health)),
            Ok(Err(_)) | Err(_) => Err(ApiError::retry_after(Code::Unavailable, 5)),
        }
    }
}

async fn read(pool: &PgPool) -> Result<Health, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT EXISTS (SELECT FROM lanes l CROSS JOIN LATERAL (
                            SELECT min(run_at) AS oldest FROM jobs WHERE lane = l.lane AND state = 'ready') j
                           WHERE j.oldest < now() - l.max_ready_age) AS "late!",
                  coalesce(bool_or(open) FILTER (WHERE key LIKE 'bankid/%'), false) AS "bankid!",
                  coalesce(bool_or(open) FILTER (WHERE key = 'neonomics/pisp'), false) AS "payments!",
                  coalesce(bool_or(open) FILTER (WHERE key = 'neonomics/aisp'), false) AS "balances!",
                  coalesce(bool_or(open) FILTER (WHERE key LIKE 'sumsub/%'), false) AS "kyc!"
             FROM breaker"#
    )
    .fetch_one(pool)
    .await?;
    let condition = |bad: bool| if bad { Condition::Degraded } else { Condition::Ok };
    Ok(Health {
        status: condition(row.late || row.bankid || row.payments || row.balances || row.kyc),
        database: Condition::Ok,
        queue: condition(row.late),
        bankid: condition(row.bankid),
        payments: condition(row.payments),
        balances: condition(row.balances),
        kyc: condition(row.kyc),
    })
}
