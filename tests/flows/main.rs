//! The behaviour of the service, one sentence a test.

mod accounts;
mod architecture;
mod kyc;
mod login;
mod metrics;
mod payments;
