//! Identity verification (contract 3.4): outbound calls here, the webhook's digest in [`webhook`].

mod client;
mod refusals;
mod signature;
pub mod webhook;
mod wire;

#[cfg(test)]
mod tests;

pub use client::{Applicant, ApplicantStatus, NewApplicant, SdkToken, Sumsub};
