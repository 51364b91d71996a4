//! How much may be paid at once and in a day. Checked under the user's lock, so that parallel requests cannot pass
//! together what neither may pass after the other.

use super::money::{Amount, Currency};

/// The limits, in minor units of one currency. Other currencies are refused, never converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentLimits {
    /// The currency that the limits count.
    pub currency: Currency,
    /// The least that one payment may be.
    pub min: i64,
    /// The most that one payment may be.
    pub max: i64,
    /// The most that all payments of a day (in Oslo) may be together.
    pub daily: i64,
}

impl PaymentLimits {
    /// Checks one more payment of `amount` after `paid_today` minor units.
    pub fn check(&self, amount: Amount, paid_today: i64) -> Result<(), LimitError> {
        if amount.currency != self.currency {
            return Err(LimitError::Currency {
                expected: self.currency,
            });
        }
        if amount.minor < self.min {
            return Err(LimitError::BelowMinimum);
        }
        if amount.minor > self.max {
            return Err(LimitError::AboveMaximum);
        }
        match paid_today.checked_add(amount.minor) {
            Some(total) if total <= self.daily => Ok(()),
            Some(_) | None => Err(LimitError::Daily),
        }
    }
}

/// Which limit a payment breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Another currency than the limits'.
    #[error("payments are made in {expected} only")]
    Currency {
        /// The currency that is taken.
        expected: Currency,
    },
    /// Less than the least.
    #[error("the amount is below the minimum")]
    BelowMinimum,
    /// More than the most.
    #[error("the amount is above the maximum for one payment")]
    AboveMaximum,
    /// Too much together with today's other payments.
    #[error("the amount is above what is left of the day's limit")]
    Daily,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// 1.00 to 100,000 NOK a payment, 250,000 NOK a day.
    const LIMITS: PaymentLimits = PaymentLimits {
        currency: Currency::Nok,
        min: 100,
        max: 10_000_000,
        daily: 25_000_000,
    };

    #[rstest]
    #[case(99, 0, Err(LimitError::BelowMinimum))]
    #[case(100, 0, Ok(()))]
    #[case(10_000_000, 0, Ok(()))]
    #[case(10_000_001, 0, Err(LimitError::AboveMaximum))]
    #[case(10_000_000, 15_000_000, Ok(()))]
    #[case(10_000_000, 15_000_001, Err(LimitError::Daily))]
    #[case(100, i64::MAX, Err(LimitError::Daily))]
    fn a_payment_keeps_to_one_krone_a_hundred_thousand_and_a_quarter_million_a_day(
        #[case] minor: i64,
        #[case] paid_today: i64,
        #[case] verdict: Result<(), LimitError>,
    ) {
        assert_eq!(LIMITS.check(Amount::nok(minor), paid_today), verdict);
    }

    #[test]
    fn another_currency_is_refused_and_not_converted() {
        let euro = Amount::new(1_000, Currency::Eur);
        assert_eq!(
            LIMITS.check(euro, 0),
            Err(LimitError::Currency {
                expected: Currency::Nok
            })
        );
    }
}
