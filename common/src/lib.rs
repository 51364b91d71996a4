//! What the API and the worker must agree on.

pub mod alerts;
mod base64;
pub mod clock;
pub mod config;
pub mod database_metrics;
pub mod domain;
pub mod failpoint;
pub mod keyring;
pub mod metrics;
pub mod openapi;
pub mod probes;
pub mod providers;
pub mod queue;
pub mod resilience;
pub mod session_token;
pub mod storage;
pub mod telemetry;
