//! The behaviour of the service, one sentence a test.

mod accounts;
mod architecture;
mod atomic;
mod fleet;
mod kyc;
mod login;
mod payments;
