//! The behaviour of the service, one sentence a test.

mod architecture;
mod kyc;
mod login;
