use std::time::Duration;

use super::{ConfigError, Environment, PaymentProducts, reader::Reader};
use crate::domain::{money::Currency, payment_limits::PaymentLimits};

/// What one person may pay, as which product, and how long the bank's approval may take.
#[derive(Debug, Clone)]
pub struct PaymentsConfig {
    /// The currencies that are paid, each with limits of its own, against which only its own payments count. Kroner:
    /// `PAYMENT_MIN_MINOR`, øre, default 100 (1.00 NOK); `PAYMENT_MAX_MINOR`, øre, default 10000000 (100,000 NOK);
    /// `PAYMENT_DAILY_MINOR`, øre in one day, default 25000000 (250,000 NOK). Others: `PAYMENT_OTHER_LIMITS`,
    /// comma-separated `EUR=100/1000000/2500000` (least, most, most in one day, each in minor units), default none.
    pub limits: Vec<PaymentLimits>,
    /// `PISP_PRODUCT` and `PISP_PRODUCTS`: what is stored with each payment.
    pub products: PaymentProducts,
    /// `PISP_SCA_TIMEOUT_S`, seconds, default 300 (contract): then a payment without an approval fails softly.
    pub sca_timeout: Duration,
}

impl PaymentsConfig {
    /// What is paid alone, for a process that runs no jobs.
    pub fn alone(environment: &Environment) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(environment);
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    /// The limits of payments in this currency; `None`: it is not paid.
    pub fn limits_in(&self, currency: Currency) -> Option<&PaymentLimits> {
        self.limits.iter().find(|limits| limits.currency == currency)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let kroner = PaymentLimits {
            currency: Currency::Nok,
            min: reader.number("PAYMENT_MIN_MINOR", 100, 1..=i64::MAX),
            max: reader.number("PAYMENT_MAX_MINOR", 10_000_000, 1..=i64::MAX),
            daily: reader.number("PAYMENT_DAILY_MINOR", 25_000_000, 1..=i64::MAX),
        };
        if kroner.min > kroner.max {
            reader.problem("PAYMENT_MIN_MINOR", "is above PAYMENT_MAX_MINOR");
        }
        if kroner.max > kroner.daily {
            reader.problem("PAYMENT_MAX_MINOR", "is above PAYMENT_DAILY_MINOR");
        }
        let mut limits = vec![kroner];
        for entry in reader.list("PAYMENT_OTHER_LIMITS", "") {
            match other_limits(&entry) {
                Some(other) if limits.iter().all(|limits| limits.currency != other.currency) => limits.push(other),
                Some(_) => reader.problem("PAYMENT_OTHER_LIMITS", "names a currency twice, or NOK"),
                None => reader.problem(
                    "PAYMENT_OTHER_LIMITS",
                    "must be like EUR=100/1000000/2500000, each above zero and none below the one before",
                ),
            }
        }
        Self {
            limits,
            products: PaymentProducts::read(reader),
            sca_timeout: reader.seconds("PISP_SCA_TIMEOUT_S", 300, 1..=3_600),
        }
    }
}

fn other_limits(entry: &str) -> Option<PaymentLimits> {
    let (currency, numbers) = entry.split_once('=')?;
    let numbers: Result<Vec<i64>, _> = numbers.split('/').map(str::parse).collect();
    let [min, max, daily] = numbers.ok()?.try_into().ok()?;
    let limits = PaymentLimits {
        currency: currency.parse().ok()?,
        min,
        max,
        daily,
    };
    (0 < min && min <= max && max <= daily).then_some(limits)
}
