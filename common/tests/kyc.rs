//! The KYC rule: the table of events, the watermark, and independence of the order of delivery.

#![cfg(test)]

use chrono::{DateTime, TimeDelta, Utc};
use drop_common::domain::kyc::{Applied, Decision, KycStatus, Standing, apply};
use proptest::prelude::*;
use rstest::rstest;

/// So many minutes after a time that is long past. Not parsed from a text: it is asked for millions of times.
fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_771_840_800 + 60 * minutes, 0).unwrap()
}

/// Long after every event in these tests.
fn received() -> DateTime<Utc> {
    at(1_000_000)
}

fn standing(status: KycStatus, last: Option<Decision>, minutes: i64) -> Standing {
    Standing {
        status,
        last_decision: last,
        last_event_at: last.map(|_| at(minutes)),
    }
}

/// The row after an event.
fn next(before: Standing, decision: Option<Decision>, event_at: DateTime<Utc>) -> Standing {
    match apply(before, decision, Some(event_at), received()).applied {
        Applied::NewState { standing, .. } | Applied::SameState { standing } | Applied::AuditOnly { standing, .. } => {
            standing
        }
        Applied::Stale | Applied::Recorded => before,
    }
}

#[rstest]
#[case(
    "applicantReviewed",
    Some("completed"),
    Some("GREEN"),
    None,
    Some(Decision::Approved)
)]
#[case("applicantReviewed", None, Some("GREEN"), None, Some(Decision::Approved))]
#[case(
    "applicantWorkflowCompleted",
    Some("completed"),
    Some("GREEN"),
    None,
    Some(Decision::Approved)
)]
#[case("applicantReviewed", Some("completed"), Some("RED"), None, Some(Decision::Rejected))]
#[case(
    "applicantReviewed",
    Some("completed"),
    Some("RED"),
    Some("FINAL"),
    Some(Decision::Rejected)
)]
#[case(
    "applicantReviewed",
    Some("completed"),
    Some("RED"),
    Some("OTHER"),
    Some(Decision::Rejected)
)]
#[case(
    "applicantReviewed",
    Some("completed"),
    Some("RED"),
    Some("RETRY"),
    Some(Decision::Retry)
)]
#[case("applicantReviewed", Some("completed"), Some("RETRY"), None, Some(Decision::Retry))]
#[case("applicantReviewed", Some("pending"), Some("GREEN"), None, None)]
#[case("applicantReviewed", Some("completed"), Some("green"), None, None)]
#[case("applicantReviewed", Some("completed"), Some("YELLOW"), None, None)]
#[case("applicantReviewed", Some("completed"), None, None, None)]
#[case("applicantReset", Some("init"), Some("GREEN"), None, Some(Decision::Reset))]
#[case("applicantPending", Some("pending"), Some("GREEN"), None, Some(Decision::Pending))]
#[case("applicantPrechecked", Some("queued"), None, None, Some(Decision::Pending))]
#[case("applicantOnHold", Some("onHold"), None, None, Some(Decision::Hold))]
#[case("applicantDeactivated", None, None, None, Some(Decision::Suspend))]
#[case("applicantActivated", None, Some("GREEN"), None, None)]
#[case("applicantDeleted", None, None, None, None)]
#[case("applicantCreated", Some("init"), Some("GREEN"), None, None)]
#[case("applicantActionReviewed", Some("completed"), Some("GREEN"), None, None)]
#[case("", None, None, None, None)]
fn the_type_decides_before_the_result(
    #[case] event: &str,
    #[case] review: Option<&str>,
    #[case] answer: Option<&str>,
    #[case] reject: Option<&str>,
    #[case] decision: Option<Decision>,
) {
    assert_eq!(Decision::of(event, review, answer, reject), decision);
}

#[rstest]
#[case(Decision::Approved, KycStatus::Approved, "Du er nå verifisert")]
#[case(Decision::Rejected, KycStatus::Rejected, "Verifisering avslått")]
#[case(Decision::Retry, KycStatus::Pending, "Vennligst prøv igjen")]
#[case(Decision::Reset, KycStatus::Pending, "Du må verifisere deg på nytt")]
#[case(Decision::Suspend, KycStatus::Pending, "Verifiseringen din er satt på pause")]
fn a_decision_sets_its_status_and_tells_the_person_once(
    #[case] decision: Decision,
    #[case] status: KycStatus,
    #[case] title: &'static str,
) {
    let after = standing(status, Some(decision), 5);
    for before in KycStatus::ALL {
        let outcome = apply(Standing::fresh(*before), Some(decision), Some(at(5)), at(6));
        let notice = decision.notice().unwrap();
        assert_eq!((notice.title, notice.body.is_empty()), (title, false));
        assert_eq!(
            outcome.applied,
            Applied::NewState {
                standing: after,
                notice
            }
        );
        assert_eq!(
            (outcome.event_at, outcome.clock_alert, outcome.read_status),
            (at(5), false, false)
        );
    }
}

#[test]
fn an_approval_can_be_lost_and_come_again() {
    let mut row = Standing::fresh(KycStatus::Pending);
    let story = [
        (Decision::Approved, KycStatus::Approved),
        (Decision::Rejected, KycStatus::Rejected),
        (Decision::Approved, KycStatus::Approved),
        (Decision::Retry, KycStatus::Pending),
        (Decision::Approved, KycStatus::Approved),
        (Decision::Suspend, KycStatus::Pending),
        (Decision::Approved, KycStatus::Approved),
        (Decision::Reset, KycStatus::Pending),
    ];
    for (minute, (decision, status)) in (1..).zip(story) {
        let outcome = apply(row, Some(decision), Some(at(minute)), received());
        assert!(matches!(outcome.applied, Applied::NewState { .. }), "{decision}");
        row = next(row, Some(decision), at(minute));
        assert_eq!(row.status, status, "{decision}");
    }
}

#[rstest]
#[case(Decision::Approved, KycStatus::Approved)]
#[case(Decision::Rejected, KycStatus::Rejected)]
#[case(Decision::Reset, KycStatus::Pending)]
#[case(Decision::Suspend, KycStatus::Pending)]
fn the_decision_that_stands_only_moves_the_watermark(#[case] decision: Decision, #[case] status: KycStatus) {
    let outcome = apply(
        standing(status, Some(decision), 5),
        Some(decision),
        Some(at(9)),
        received(),
    );
    assert_eq!(
        outcome.applied,
        Applied::SameState {
            standing: standing(status, Some(decision), 9)
        }
    );
}

#[test]
fn each_retry_tells_the_person_again() {
    let before = standing(KycStatus::Pending, Some(Decision::Retry), 5);
    let outcome = apply(before, Some(Decision::Retry), Some(at(9)), received());
    let after = standing(KycStatus::Pending, Some(Decision::Retry), 9);
    assert_eq!(
        outcome.applied,
        Applied::NewState {
            standing: after,
            notice: Decision::Retry.notice().unwrap()
        }
    );
}

#[rstest]
fn a_strictly_older_event_changes_nothing(
    #[values(
        Decision::Approved,
        Decision::Rejected,
        Decision::Retry,
        Decision::Reset,
        Decision::Suspend,
        Decision::Pending,
        Decision::Hold
    )]
    decision: Decision,
) {
    let row = standing(KycStatus::Approved, Some(Decision::Approved), 5);
    let outcome = apply(row, Some(decision), Some(at(4)), received());
    assert_eq!((outcome.applied, outcome.read_status), (Applied::Stale, false));
}

#[test]
fn an_event_of_equal_time_is_applied_and_the_status_is_read() {
    let row = standing(KycStatus::Approved, Some(Decision::Approved), 5);
    let outcome = apply(row, Some(Decision::Rejected), Some(at(5)), received());
    assert!(matches!(outcome.applied, Applied::NewState { standing, .. } if standing.status == KycStatus::Rejected));
    assert!(outcome.read_status);
}

#[rstest]
fn pending_and_hold_never_lower_an_approval_nor_move_the_watermark(
    #[values(Decision::Pending, Decision::Hold)] decision: Decision,
) {
    let approved = standing(KycStatus::Approved, Some(Decision::Approved), 5);
    let outcome = apply(approved, Some(decision), Some(at(9)), received());
    assert_eq!(
        outcome.applied,
        Applied::AuditOnly {
            standing: approved,
            opens_attempt: false
        }
    );
    // The approval that was decided before the pending arrives after it, and counts.
    let opened = next(Standing::fresh(KycStatus::Pending), Some(decision), at(9));
    assert_eq!(
        next(opened, Some(Decision::Approved), at(7)).status,
        KycStatus::Approved
    );
}

#[rstest]
#[case(None, true)]
#[case(Some(Decision::Retry), true)]
#[case(Some(Decision::Reset), true)]
#[case(Some(Decision::Approved), false)]
#[case(Some(Decision::Rejected), false)]
#[case(Some(Decision::Suspend), false)]
#[case(Some(Decision::Hold), false)]
fn pending_opens_an_attempt_after_nothing_a_retry_or_a_reset(#[case] last: Option<Decision>, #[case] opens: bool) {
    let before = standing(KycStatus::Pending, last, 5);
    let after = if opens {
        Standing {
            last_decision: Some(Decision::Pending),
            ..before
        }
    } else {
        before
    };
    let outcome = apply(before, Some(Decision::Pending), Some(at(9)), received());
    assert_eq!(
        outcome.applied,
        Applied::AuditOnly {
            standing: after,
            opens_attempt: opens
        }
    );
}

#[test]
fn an_event_without_a_decision_is_recorded_only() {
    let row = standing(KycStatus::Approved, Some(Decision::Approved), 5);
    for minute in [1, 5, 9] {
        let outcome = apply(row, None, Some(at(minute)), received());
        assert_eq!((outcome.applied, outcome.read_status), (Applied::Recorded, false));
    }
}

#[test]
fn a_missing_time_is_the_arrival_and_a_time_far_ahead_too() {
    let row = Standing::fresh(KycStatus::Pending);
    let time = |event| {
        let outcome = apply(row, Some(Decision::Approved), event, at(0));
        (outcome.event_at, outcome.clock_alert)
    };
    assert_eq!(time(None), (at(0), false));
    assert_eq!(time(Some(at(10))), (at(10), false));
    assert_eq!(time(Some(at(10) + TimeDelta::milliseconds(1))), (at(0), true));
}

fn events() -> impl Strategy<Value = Vec<(i64, Option<Decision>)>> {
    let decision = prop::option::weighted(0.9, prop::sample::select(Decision::ALL));
    // Distinct times; the index is the time.
    prop::collection::vec(decision, 0..9).prop_map(|all| (0..).zip(all).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_final_status_does_not_depend_on_the_order_of_delivery(
        (events, shuffled) in events().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
    ) {
        let deliver = |events: &[(i64, Option<Decision>)]| {
            let start = Standing::fresh(KycStatus::Pending);
            events.iter().fold(start, |row, (minute, decision)| next(row, *decision, at(*minute)))
        };
        let latest = events.iter().rev().find_map(|(_, decision)| decision.and_then(Decision::status));
        prop_assert_eq!(deliver(&events).status, latest.unwrap_or(KycStatus::Pending));
        prop_assert_eq!(deliver(&shuffled).status, deliver(&events).status);
    }

    #[test]
    fn the_watermark_never_goes_back(events in events().prop_shuffle()) {
        let mut row = Standing::fresh(KycStatus::Pending);
        for (minute, decision) in events {
            let after = next(row, decision, at(minute));
            prop_assert!(after.last_event_at >= row.last_event_at);
            row = after;
        }
    }

    #[test]
    fn a_redelivered_state_tells_the_person_nothing_new(decision in prop::sample::select(Decision::ALL), minutes in 0..100_i64) {
        prop_assume!(decision != Decision::Retry);
        let row = next(Standing::fresh(KycStatus::Pending), Some(decision), at(minutes));
        let again = apply(row, Some(decision), Some(at(minutes)), received()).applied;
        let news = matches!(again, Applied::NewState { .. });
        prop_assert!(!news);
    }
}

/// Some events of a story have come, in some order.
#[derive(Debug, Clone, Copy)]
struct Come {
    row: Standing,
    /// What happened in each minute, as far as it is known; the events of the others have not come.
    story: [Option<Decision>; 5],
}

impl Come {
    /// Every story of so many events goes on in every order.
    fn and_the_rest_of(self, length: usize) {
        let mut waiting = (0..length).filter(|&minute| self.story[minute].is_none()).peekable();
        if waiting.peek().is_none() {
            let newest = self
                .story
                .iter()
                .rev()
                .find_map(|decision| decision.and_then(Decision::status));
            let newest = newest.unwrap_or(KycStatus::Pending);
            assert_eq!(self.row.status, newest, "{self:?}");
            assert_eq!(self.all_once_more(length).status, newest, "{self:?}");
        }
        for minute in waiting {
            for decision in Decision::ALL {
                self.and(minute, *decision).and_the_rest_of(length);
            }
        }
    }

    /// Every event is told once more under another name, long after it was news; only of a retry that is still the last
    /// word is the person told again. The row that is left.
    fn all_once_more(mut self, length: usize) -> Standing {
        for (minute, decision) in (0..).zip(&self.story[..length]) {
            let last_word = self.row.last_event_at == Some(at(minute));
            let applied = apply(self.row, *decision, Some(at(minute)), received()).applied;
            if let Applied::NewState { standing, .. } = applied {
                assert!(
                    last_word && standing.last_decision == Some(Decision::Retry),
                    "told again of minute {minute}: {self:?}"
                );
                self.row = standing;
            } else {
                self.row = next(self.row, *decision, at(minute));
            }
        }
        self.row
    }

    /// One more comes, and is repeated under another name; only a retry is news each time.
    fn and(mut self, minute: usize, decision: Decision) -> Self {
        self.story[minute] = Some(decision);
        let is_retry = decision == Decision::Retry;
        for _ in 0..if is_retry { 1 } else { 2 } {
            let event_at = at(i64::try_from(minute).unwrap());
            let told = match apply(self.row, Some(decision), Some(event_at), received()).applied {
                Applied::NewState { standing, .. } => Some(standing),
                _ => None,
            };
            let is_change = told.is_none_or(|standing| standing.last_decision != self.row.last_decision);
            assert!(is_change || is_retry, "told again: {decision} in {self:?}");
            self.row = next(self.row, Some(decision), event_at);
        }
        self
    }
}

/// All of them, not a sample: every story of five events in every order, with everything said twice.
#[test]
fn every_order_of_up_to_five_events_ends_in_what_the_newest_decision_demands_with_one_message_for_each_change() {
    for length in 0..=5 {
        let nothing = Come {
            row: Standing::fresh(KycStatus::Pending),
            story: [None; 5],
        };
        nothing.and_the_rest_of(length);
    }
}
