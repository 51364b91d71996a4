//! The queue, the breaker and the limits over a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "these jobs take a given time on purpose")]
mod breaker;
mod database;
mod faults;
mod jobs;
mod limits;
mod outcomes;
mod pressure;
mod probing;
mod scale;
mod workers;
