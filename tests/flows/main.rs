//! The behaviour of the service, one sentence a test.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

mod accounts;
mod app_login;
mod architecture;
mod atomic;
mod balances;
mod browser_login;
mod cancellation;
mod circuits;
mod consents;
mod database;
mod deployment;
mod discovery;
mod events;
mod fleet;
mod holds;
mod kyc;
mod login;
mod metrics;
mod oidc;
mod operation;
mod operator;
mod ops;
mod paying;
mod payment_approval;
mod payment_attempts;
mod payments;
mod reconciling;
mod refreshes;
mod retention;
mod schedule;
mod sessions;
mod settling;
mod signing_keys;
mod tokens;
mod unlinking;
