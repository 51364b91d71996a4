//! What a bank may add to a payment's status: an approval that it wants started by a call of its own, and an order that
//! it accepted with a change.

use chrono::{DateTime, NaiveDate, Utc};

use super::{age::today_in_oslo, money::Amount, words::closed_words};

closed_words! {
    /// The approval of a payment whose bank wants a call for its start. That call is made once.
    Authorisation, "authorisation";
    /// The call is to be made.
    Wanted = "wanted",
    /// The call is being made, or its process died: the bank may have it.
    Starting = "starting",
    /// The bank has given the person's link.
    Started = "started",
    /// There is no link, and none will come.
    Failed = "failed",
}

closed_words! {
    /// What is known of an order that the bank accepted with a change (ACWC).
    BankChange, "bank change";
    /// It was not read yet.
    Unread = "unread",
    /// Amount, currency and day are those that were ordered.
    Same = "same",
    /// One of them is not.
    Differs = "differs",
}

/// An order as the bank has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BankOrder {
    /// What it will pay.
    pub amount: Amount,
    /// On which day, if it says so.
    pub execution_date: Option<NaiveDate>,
}

impl BankOrder {
    /// Compares it with what was ordered, and when. We name no day, which means the day of the order; a bank that names
    /// none changes none.
    pub fn compared_with(&self, ordered: Amount, at: DateTime<Utc>) -> BankChange {
        let same_day = self.execution_date.is_none_or(|day| day == today_in_oslo(at));
        if self.amount == ordered && same_day {
            BankChange::Same
        } else {
            BankChange::Differs
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::domain::money::Currency;

    #[rstest]
    #[case::nothing(Amount::nok(201_000), None, BankChange::Same)]
    #[case::the_day_in_norway(Amount::nok(201_000), Some("2026-02-24"), BankChange::Same)]
    #[case::the_day_in_utc(Amount::nok(201_000), Some("2026-02-23"), BankChange::Differs)]
    #[case::later(Amount::nok(201_000), Some("2026-02-25"), BankChange::Differs)]
    #[case::less(Amount::nok(200_999), None, BankChange::Differs)]
    #[case::another_currency(Amount::new(201_000, Currency::Eur), None, BankChange::Differs)]
    fn amount_currency_and_day_are_compared(
        #[case] amount: Amount,
        #[case] day: Option<&str>,
        #[case] change: BankChange,
    ) {
        let at = "2026-02-23T23:30:00Z".parse().expect("a time");
        let order = BankOrder {
            amount,
            execution_date: day.map(|day| day.parse().expect("a day")),
        };
        assert_eq!(order.compared_with(Amount::nok(201_000), at), change);
    }
}
