//! The three providers: BankID, Neonomics, Sumsub. Every wire detail stays inside its folder.
//!
//! A client makes **one** attempt per call. Retrying, the breaker and the rate limiter belong to
//! the job around it; [`ProviderError::class`] tells the job what a failure means.

pub mod bankid;
mod certificate;
pub mod error;
pub mod http;
pub mod neonomics;
pub mod observe;
mod provider_metrics;
pub mod sumsub;
mod transport;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_testing;

pub use certificate::CertificateError;
pub use error::{Class, ProviderError};
pub use observe::{Field, Observer, Operation, SharedObserver, unobserved};
pub use provider_metrics::ProviderMetrics;

/// Installs ring as the process's TLS provider. Call it before a client is built; a second call
/// changes nothing, so every binary and test may call it.
pub fn install_tls() {
    // An error here means that a provider is installed already, which is what we want.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}
