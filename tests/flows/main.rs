//! The behaviour of the service, one sentence a test.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

mod accounts;
mod architecture;
mod atomic;
mod balances;
mod circuits;
mod consents;
mod database;
mod deployment;
mod fleet;
mod holds;
mod inbox;
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
mod refreshes;
mod retention;
mod schedule;
mod sessions;
mod tokens;
