//! A consent to read a bank's accounts (contract 3.2).

use chrono::{Days, NaiveDate, TimeDelta};

use super::words::closed_words;

/// How long a consent is asked for: then the person must approve anew (RTS Art. 10a). The bank may shorten it.
const CONSENT_LIFE: TimeDelta = TimeDelta::days(180);

/// A consent that nobody approved within this is given up.
pub const APPROVAL_LIFE: TimeDelta = TimeDelta::hours(24);

/// How long before its end the person is asked to renew it.
pub const RENEWAL_NOTICE: Days = Days::new(14);

closed_words! {
    /// A consent's state in our words.
    ConsentStatus, "consent status";
    /// Ours: wanted by the person, not yet at the bank.
    Requested = "requested",
    /// At the bank, waiting for the person's approval.
    Received = "received",
    /// Approved: accounts may be read.
    Valid = "valid",
    /// The person or the bank said no.
    Rejected = "rejected",
    /// Its time is over.
    Expired = "expired",
    /// Taken back by the person at the bank.
    Revoked = "revoked",
    /// Ended by us at the bank.
    Terminated = "terminated",
    /// A newer consent of the same person took its accounts over.
    Replaced = "replaced",
    /// Ours: the bank never took it.
    Failed = "failed",
    /// Ours: unlinked, or found dead by the bank's answer.
    Deleted = "deleted",
}

impl ConsentStatus {
    /// The bank's word. `None` for an unknown one: nothing changes, and it is counted.
    pub fn from_provider(word: &str) -> Option<Self> {
        match word {
            // Some of several approvals are missing: the person is not through yet.
            "received" | "partiallyAuthorised" => Some(Self::Received),
            "valid" => Some(Self::Valid),
            "rejected" => Some(Self::Rejected),
            "expired" => Some(Self::Expired),
            "revokedByPsu" => Some(Self::Revoked),
            "terminatedByTpp" => Some(Self::Terminated),
            _ => None,
        }
    }
}

/// How long to wait for the next look at a consent that waits for the person, by its age: most approve it at once.
/// `None`: nobody will.
pub fn next_look(age: TimeDelta) -> Option<TimeDelta> {
    // Upper bound of the age, and the wait below it.
    const STEPS: [(TimeDelta, TimeDelta); 4] = [
        (TimeDelta::minutes(5), TimeDelta::seconds(10)),
        (TimeDelta::minutes(15), TimeDelta::seconds(30)),
        (TimeDelta::hours(1), TimeDelta::minutes(1)),
        (APPROVAL_LIFE, TimeDelta::minutes(5)),
    ];
    STEPS.iter().find(|(below, _)| age < *below).map(|(_, wait)| *wait)
}

/// The `validUntil` that is asked for on `today`.
pub fn valid_until(today: NaiveDate) -> NaiveDate {
    today + CONSENT_LIFE
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("received", Some(ConsentStatus::Received))]
    #[case("partiallyAuthorised", Some(ConsentStatus::Received))]
    #[case("valid", Some(ConsentStatus::Valid))]
    #[case("rejected", Some(ConsentStatus::Rejected))]
    #[case("expired", Some(ConsentStatus::Expired))]
    #[case("revokedByPsu", Some(ConsentStatus::Revoked))]
    #[case("terminatedByTpp", Some(ConsentStatus::Terminated))]
    #[case("VALID", None)]
    #[case("replaced", None)]
    #[case("", None)]
    fn the_banks_words_are_mapped_and_no_other_is_guessed(#[case] word: &str, #[case] status: Option<ConsentStatus>) {
        assert_eq!(ConsentStatus::from_provider(word), status);
    }

    #[rstest]
    #[case(TimeDelta::seconds(-5), Some(TimeDelta::seconds(10)))]
    #[case(TimeDelta::minutes(5), Some(TimeDelta::seconds(30)))]
    #[case(TimeDelta::hours(2), Some(TimeDelta::minutes(5)))]
    #[case(TimeDelta::hours(24), None)]
    fn looks_at_a_waiting_consent_become_rarer_and_end_after_a_day(
        #[case] age: TimeDelta,
        #[case] wait: Option<TimeDelta>,
    ) {
        assert_eq!(next_look(age), wait);
    }

    #[test]
    fn a_consent_is_asked_for_180_days() {
        assert_eq!(
            valid_until("2026-02-23".parse().unwrap()),
            "2026-08-22".parse().unwrap()
        );
    }
}
