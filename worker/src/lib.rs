//! The worker: one file per job, and the process that runs them.

mod balance_gauges;
mod bank_circuit;
mod certificate;
mod context;
mod gauges;
mod idle_probe;
mod jobs;
pub mod operator;
mod queue_metrics;
mod recording;
mod registry;
mod retain;
mod run;
pub mod schedule;
pub mod sender;

pub use context::Context;
pub use idle_probe::probe_idle_circuits;
pub use registry::registry;
pub use retain::retain;
pub use run::{migrate, run, run_on, work};
