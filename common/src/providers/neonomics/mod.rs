//! Open banking in the Berlin Group's dialect. Defaults speak the contract; every deviation is a setting.

mod accounts;
mod client;
mod consents;
mod errors;
mod payments;
mod sca;
mod token;

#[cfg(test)]
mod tests;

pub use accounts::{Account, Balance};
pub use client::{CallContext, Neonomics, Psu, Redirects};
pub use consents::{Consent, ConsentState};
pub use payments::{Cancellation, Creditor, InitiatedPayment, PaymentOrder, PreparedPayment};
pub use sca::{ScaLink, ScaUrl};
