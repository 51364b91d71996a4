//! A linked account's balance: which of the bank's numbers is shown, when it is stale, and how often it may be read
//! without the person: four times in 24 hours (contract 3.2; Regulation (EU) 2018/389, article 36(5)(b)).

use chrono::{DateTime, TimeDelta, Utc};

use super::money::{Amount, Currency};
use super::words::closed_words;

/// How many times an account may be read in any [`READ_WINDOW`] without its owner (RTS Art. 36(5)(b)).
pub const UNATTENDED_READS: usize = 4;

/// The sliding window of [`UNATTENDED_READS`].
pub const READ_WINDOW: TimeDelta = TimeDelta::hours(24);

/// A call is over after this: a read that is entered now leaves within it, or not at all.
pub const CALL_DEADLINE: TimeDelta = TimeDelta::seconds(45);

/// The time between two background reads, which spreads the four over the window. The first that fails for the moment is made
/// good sooner.
pub const BACKGROUND_INTERVAL: TimeDelta = TimeDelta::hours(6);

/// A cached balance older than this is shown as stale (contract: acceptable lag).
pub const STALE_AFTER: TimeDelta = TimeDelta::hours(6);

closed_words! {
    /// The kinds of balance that are shown, the best first; the words are the bank's.
    BalanceType, "balance type";
    /// What the person can spend now.
    InterimAvailable = "interimAvailable",
    /// Booked and expected entries; the contract's answer has only this one.
    Expected = "expected",
    /// Booked so far today.
    InterimBooked = "interimBooked",
    /// Available at a later date.
    ForwardAvailable = "forwardAvailable",
    /// Booked at the end of a day.
    ClosingBooked = "closingBooked",
}

/// One entry of the bank's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedBalance {
    /// What the number means.
    pub kind: BalanceType,
    /// The number; negative is legal.
    pub amount: Amount,
    /// The bank counted the credit limit in: that money is not the person's.
    pub credit_limit_included: bool,
    /// When the bank last changed it.
    pub changed_at: Option<DateTime<Utc>>,
}

/// The entry to show: in the account's currency, without credit limit, of the best kind, and of equal ones the latest.
/// `None` keeps the cache; a missing balance is never zero.
pub fn select(reported: &[ReportedBalance], currency: Currency) -> Option<ReportedBalance> {
    let fitting = reported
        .iter()
        .filter(|entry| entry.amount.currency == currency && !entry.credit_limit_included);
    fitting
        .copied()
        .min_by_key(|entry| (entry.kind, std::cmp::Reverse(entry.changed_at)))
}

/// Whether the cached balance, read so long ago, is shown with a warning.
pub fn is_stale(age: Option<TimeDelta>, last_read_failed: bool, circuit_open: bool) -> bool {
    last_read_failed || circuit_open || age.is_none_or(|age| age > STALE_AFTER)
}

/// When there is room for another unattended read, given the times of those before, the newest first; `None`: at once.
/// The call's deadline is added to the window: a read that leaves late must not make five.
pub fn room_at(newest_first: &[DateTime<Utc>]) -> Option<DateTime<Utc>> {
    let fourth = newest_first.get(UNATTENDED_READS - 1)?;
    Some(*fourth + READ_WINDOW + CALL_DEADLINE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        "2026-02-23T08:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hours)
    }

    fn entry(kind: BalanceType, minor: i64) -> ReportedBalance {
        ReportedBalance {
            kind,
            amount: Amount::nok(minor),
            credit_limit_included: false,
            changed_at: None,
        }
    }

    #[test]
    fn the_contracts_single_expected_balance_is_shown() {
        let expected = entry(BalanceType::Expected, 4_523_000);
        assert_eq!(select(&[expected], Currency::Nok), Some(expected));
    }

    #[test]
    fn each_kind_is_shown_when_no_better_one_is_there() {
        let mut worst_first: Vec<_> = BalanceType::ALL.iter().rev().map(|kind| entry(*kind, 100)).collect();
        for best in BalanceType::ALL {
            assert_eq!(select(&worst_first, Currency::Nok).map(|entry| entry.kind), Some(*best));
            worst_first.pop();
        }
        assert_eq!(select(&worst_first, Currency::Nok), None);
    }

    #[test]
    fn credit_and_other_currencies_are_not_the_persons_balance() {
        let credit = ReportedBalance {
            credit_limit_included: true,
            ..entry(BalanceType::InterimAvailable, 900_000)
        };
        let euro = ReportedBalance {
            amount: Amount::new(5, Currency::Eur),
            ..entry(BalanceType::InterimAvailable, 0)
        };
        let own = entry(BalanceType::ClosingBooked, -1_500);
        assert_eq!(select(&[credit, euro, own], Currency::Nok), Some(own));
        assert_eq!(select(&[credit, euro], Currency::Nok), None);
    }

    #[test]
    fn of_two_entries_of_a_kind_the_later_is_shown() {
        let old = ReportedBalance {
            changed_at: Some(at(0)),
            ..entry(BalanceType::Expected, 1)
        };
        let new = ReportedBalance {
            changed_at: Some(at(1)),
            ..entry(BalanceType::Expected, 2)
        };
        let undated = entry(BalanceType::Expected, 3);
        for order in [[old, new, undated], [undated, new, old]] {
            assert_eq!(select(&order, Currency::Nok), Some(new));
        }
    }

    #[test]
    fn a_balance_is_stale_after_six_hours_a_failed_read_or_behind_an_open_circuit() {
        let six = Some(STALE_AFTER);
        assert!(!is_stale(six, false, false));
        assert!(is_stale(Some(STALE_AFTER + TimeDelta::seconds(1)), false, false));
        assert!(is_stale(six, true, false));
        assert!(is_stale(six, false, true));
        assert!(is_stale(None, false, false));
    }

    #[test]
    fn there_is_room_until_the_fourth_read_and_again_when_it_has_left_the_window() {
        assert_eq!(room_at(&[]), None);
        assert_eq!(room_at(&[at(3), at(2), at(1)]), None);
        let room = at(24) + CALL_DEADLINE;
        assert_eq!(room_at(&[at(3), at(2), at(1), at(0)]), Some(room));
        assert_eq!(room_at(&[at(3), at(2), at(1), at(0), at(-5)]), Some(room));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_a_fifth_read(wishes in prop::collection::vec(0..200_i64, 1..40)) {
            let mut reads: Vec<DateTime<Utc>> = Vec::new();
            for hours in wishes {
                let newest_first: Vec<_> = reads.iter().rev().copied().collect();
                let now = reads.last().copied().unwrap_or_else(|| at(0)).max(at(hours));
                reads.push(room_at(&newest_first).map_or(now, |room| room.max(now)));
            }
            for window in reads.windows(UNATTENDED_READS + 1) {
                prop_assert!(window[UNATTENDED_READS] - window[0] >= READ_WINDOW + CALL_DEADLINE);
            }
        }
    }
}
