//! The behaviour of the service, one sentence a test.

mod accounts;
mod architecture;
mod atomic;
mod balances;
mod fleet;
mod kyc;
mod login;
mod metrics;
mod oidc;
mod operation;
mod operator;
mod payments;
mod refreshes;
mod schedule;
