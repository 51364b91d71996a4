use std::time::Duration;

use super::reader::Reader;

/// What one person may pay, and how long the bank's approval may take.
#[derive(Debug, Clone)]
pub struct PaymentsConfig {
    /// `PAYMENT_MIN_MINOR`, øre, default 100 (1.00 NOK).
    pub min_minor: i64,
    /// `PAYMENT_MAX_MINOR`, øre, default 10000000 (100,000 NOK).
    pub max_minor: i64,
    /// `PAYMENT_DAILY_MINOR`, øre in one day, default 25000000 (250,000 NOK).
    pub daily_minor: i64,
    /// `PISP_PRODUCT`, default `sepa-credit-transfers` (contract, also for NOK); stored with each payment.
    pub product: String,
    /// `PISP_SCA_TIMEOUT_S`, seconds, default 300 (contract): then a payment without an approval fails softly.
    pub sca_timeout: Duration,
}

impl PaymentsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let payments = Self {
            min_minor: reader.number("PAYMENT_MIN_MINOR", 100, 1..=i64::MAX),
            max_minor: reader.number("PAYMENT_MAX_MINOR", 10_000_000, 1..=i64::MAX),
            daily_minor: reader.number("PAYMENT_DAILY_MINOR", 25_000_000, 1..=i64::MAX),
            product: reader.text_or("PISP_PRODUCT", "sepa-credit-transfers"),
            sca_timeout: reader.seconds("PISP_SCA_TIMEOUT_S", 300, 1..=3_600),
        };
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !word(&payments.product) {
            reader.problem("PISP_PRODUCT", "must be letters, digits and dashes");
        }
        if payments.min_minor > payments.max_minor {
            reader.problem("PAYMENT_MIN_MINOR", "is above PAYMENT_MAX_MINOR");
        }
        if payments.max_minor > payments.daily_minor {
            reader.problem("PAYMENT_MAX_MINOR", "is above PAYMENT_DAILY_MINOR");
        }
        payments
    }
}
