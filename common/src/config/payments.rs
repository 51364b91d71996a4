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
    /// `PISP_SCA_TIMEOUT_S`, seconds, default 300 (contract): then a payment without an approval fails softly.
    pub sca_timeout: Duration,
}

impl PaymentsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let limits = Self {
            min_minor: reader.number("PAYMENT_MIN_MINOR", 100, 1..=i64::MAX),
            max_minor: reader.number("PAYMENT_MAX_MINOR", 10_000_000, 1..=i64::MAX),
            daily_minor: reader.number("PAYMENT_DAILY_MINOR", 25_000_000, 1..=i64::MAX),
            sca_timeout: reader.seconds("PISP_SCA_TIMEOUT_S", 300, 1..=3_600),
        };
        if limits.min_minor > limits.max_minor {
            reader.problem("PAYMENT_MIN_MINOR", "is above PAYMENT_MAX_MINOR");
        }
        if limits.max_minor > limits.daily_minor {
            reader.problem("PAYMENT_MAX_MINOR", "is above PAYMENT_DAILY_MINOR");
        }
        limits
    }
}
