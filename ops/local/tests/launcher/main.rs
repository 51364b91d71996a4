//! What the launcher promises, asked of the built program.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

#[cfg(target_os = "linux")]
mod canaries;
mod demo;
mod given;
mod interrupt;
mod launched;
#[cfg(target_os = "linux")] // the secrets are read from /proc
mod redaction;
#[cfg(target_os = "linux")]
mod visitor;
