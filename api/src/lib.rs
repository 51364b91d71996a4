//! The public API: what surrounds the operations, and the operations.

pub mod accounts;
pub mod app;
pub mod browser;
pub mod client_address;
pub mod consents;
pub mod cookies;
pub mod error;
pub mod health;
pub mod idempotency;
pub mod kyc;
pub mod layers;
pub mod logins;
pub mod notifications;
pub mod openapi;
pub mod operations;
pub mod payments;
pub mod prefer;
pub mod rate_limit;
mod run;
pub mod server;
pub mod session;
pub mod sessions;
pub mod signed_json;
pub mod state;
pub mod text;
pub mod users;
pub mod wait;
pub mod webhooks;
pub mod writer;

pub use run::{run, serve};
