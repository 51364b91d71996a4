//! When a payment is looked at: often while the person waits, then ever less, for as long as a bank may take.

use std::time::Duration;

use chrono::TimeDelta;

/// What people do, coming back from the bank or looking at the payment, brings the next look at the bank forward, but not so
/// that it follows the last one within this time: a loop of theirs must not be one of calls.
pub const LOOKS_APART: Duration = Duration::from_secs(3);

/// After this polling ends: alert `unresolved`, and a person looks at it.
pub const POLL_FOR: TimeDelta = TimeDelta::days(7);

/// How long to wait for the next status read, by the payment's age: 1, 2, 5, 10 and 30 s one after the other, then each
/// minute to 15 min, each 5 min to 24 h, hourly to day 7. `None` after that.
///
/// It depends on the age alone, so a worker that takes over needs no count of the reads before.
pub fn next_poll(age: TimeDelta) -> Option<TimeDelta> {
    // Upper bound of the age, and the wait below it; the first bounds are the sums of the waits before.
    const STEPS: [(TimeDelta, TimeDelta); 8] = [
        (TimeDelta::seconds(1), TimeDelta::seconds(1)),
        (TimeDelta::seconds(3), TimeDelta::seconds(2)),
        (TimeDelta::seconds(8), TimeDelta::seconds(5)),
        (TimeDelta::seconds(18), TimeDelta::seconds(10)),
        (TimeDelta::seconds(48), TimeDelta::seconds(30)),
        (TimeDelta::minutes(15), TimeDelta::minutes(1)),
        (TimeDelta::hours(24), TimeDelta::minutes(5)),
        (POLL_FOR, TimeDelta::hours(1)),
    ];
    STEPS.iter().find(|(below, _)| age < *below).map(|(_, wait)| *wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_first_reads_follow_after_1_2_5_10_and_30_seconds_and_then_each_minute() {
        let mut age = TimeDelta::zero();
        let waits = std::iter::from_fn(|| {
            let wait = next_poll(age)?;
            age += wait;
            Some(wait.num_seconds())
        });
        assert_eq!(waits.take(7).collect::<Vec<_>>(), [1, 2, 5, 10, 30, 60, 60]);
    }

    #[rstest]
    #[case(TimeDelta::seconds(899), Some(TimeDelta::minutes(1)))]
    #[case(TimeDelta::minutes(15), Some(TimeDelta::minutes(5)))]
    #[case(TimeDelta::seconds(86_399), Some(TimeDelta::minutes(5)))]
    #[case(TimeDelta::hours(24), Some(TimeDelta::hours(1)))]
    #[case(TimeDelta::seconds(7 * 86_400 - 1), Some(TimeDelta::hours(1)))]
    #[case(TimeDelta::days(7), None)]
    #[case(TimeDelta::seconds(-5), Some(TimeDelta::seconds(1)))]
    fn reads_become_rarer_with_age_and_end_after_seven_days(#[case] age: TimeDelta, #[case] wait: Option<TimeDelta>) {
        assert_eq!(next_poll(age), wait);
    }

    proptest! {
        #[test]
        fn a_payment_of_a_day_is_read_within_the_contracts_five_minutes(age in 0..86_400_i64) {
            prop_assert!(next_poll(TimeDelta::seconds(age)).is_some_and(|wait| wait <= TimeDelta::minutes(5)));
        }
    }
}
