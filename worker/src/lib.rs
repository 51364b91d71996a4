//! The worker: one file per job, and the process that runs them.

mod context;
mod jobs;
mod registry;
mod run;
pub mod schedule;

pub use context::Context;
pub use registry::registry;
pub use run::{migrate, run, work};
