//! A linked account's balance: which of the bank's numbers is shown, when it is stale, and how often it may be read
//! without the person (open-banking.md, section 5).

use chrono::{DateTime, TimeDelta, Utc};

use super::money::{Amount, Currency};
use super::words::closed_words;

/// How many times an account may be read in any [`READ_WINDOW`] without its owner (RTS Art. 36(5)(b)).
pub const UNATTENDED_READS: usize = 4;

/// The sliding window of [`UNATTENDED_READS`].
pub const READ_WINDOW: TimeDelta = TimeDelta::hours(24);

/// The least time between two background reads, which spreads the four over the window.
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

/// Whether the cached balance is shown with a warning.
pub fn is_stale(
    synced_at: Option<DateTime<Utc>>,
    last_read_failed: bool,
    circuit_open: bool,
    now: DateTime<Utc>,
) -> bool {
    last_read_failed || circuit_open || synced_at.is_none_or(|at| now - at > STALE_AFTER)
}

/// Whether a read counts as the person's own: a live request caused it and its client address goes along. Banks count
/// by that address, so without it the read is one of the four.
pub const fn is_attended(user_asked: bool, has_client_address: bool) -> bool {
    user_asked && has_client_address
}

/// When the next background read may go out, given the times of the unattended reads so far in any order.
pub fn next_background_read(unattended: &[DateTime<Utc>], now: DateTime<Utc>) -> DateTime<Utc> {
    let mut newest_first = unattended.to_vec();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    let spread = newest_first.first().map(|last| *last + BACKGROUND_INTERVAL);
    // The fourth-newest must have left the window before there is room for another.
    let room = newest_first
        .get(UNATTENDED_READS - 1)
        .map(|fourth| *fourth + READ_WINDOW);
    [spread, room].into_iter().flatten().fold(now, DateTime::max)
}

/// What is shown of a cached balance while payments hold `held` minor units of it.
#[must_use]
pub fn available(cached: Amount, held: i64) -> Amount {
    Amount::new(cached.minor.saturating_sub(held), cached.currency)
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
        assert!(!is_stale(Some(at(0)), false, false, at(6)));
        assert!(is_stale(Some(at(0)), false, false, at(6) + TimeDelta::seconds(1)));
        assert!(is_stale(Some(at(0)), true, false, at(0)));
        assert!(is_stale(Some(at(0)), false, true, at(0)));
        assert!(is_stale(None, false, false, at(0)));
    }

    #[test]
    fn a_read_without_the_clients_address_is_unattended() {
        assert!(is_attended(true, true));
        assert!(!is_attended(true, false));
        assert!(!is_attended(false, true));
    }

    #[test]
    fn background_reads_wait_for_their_interval_and_for_room_in_the_window() {
        assert_eq!(next_background_read(&[], at(0)), at(0));
        assert_eq!(next_background_read(&[at(0)], at(1)), at(6));
        assert_eq!(next_background_read(&[at(0)], at(9)), at(9));
        // Four in quick succession: the interval alone would let a fifth out after seven hours.
        assert_eq!(next_background_read(&[at(1), at(0), at(1), at(1)], at(2)), at(24));
    }

    #[test]
    fn held_money_is_not_shown_as_available() {
        assert_eq!(available(Amount::nok(1_000), 300), Amount::nok(700));
        assert_eq!(available(Amount::nok(100), 300), Amount::nok(-200));
        assert_eq!(available(Amount::nok(i64::MIN), 1), Amount::nok(i64::MIN));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_a_fifth_read(wishes in prop::collection::vec(0..200_i64, 1..40)) {
            let mut reads: Vec<DateTime<Utc>> = Vec::new();
            for hours in wishes {
                let now = reads.last().copied().unwrap_or_else(|| at(0)).max(at(hours));
                reads.push(next_background_read(&reads, now));
            }
            for window in reads.windows(UNATTENDED_READS + 1) {
                prop_assert!(window[UNATTENDED_READS] - window[0] >= READ_WINDOW);
            }
        }
    }
}
