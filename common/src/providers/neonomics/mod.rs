//! Open banking in the Berlin Group's dialect. Defaults speak the contract; every deviation is a setting.

mod accounts;
mod channel;
mod client;
mod consents;
mod errors;
mod payment_details;
mod payments;
mod sca;
mod token;

#[cfg(test)]
mod certificate_tests;
#[cfg(test)]
mod error_bodies;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;

pub use accounts::{Account, Balance};
pub use channel::NotSetUp;
pub use client::{CallContext, Neonomics, Psu, Redirects};
pub use consents::{Consent, ConsentState};
pub use payment_details::OrderAtBank;
pub use payments::{Cancellation, Creditor, InitiatedPayment, PaymentOrder, PreparedPayment};
pub use sca::{ScaLink, ScaUrl};
