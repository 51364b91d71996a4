//! The payment state machine: every row of the table, and what no sequence of reports may break.

#![cfg(test)]

use drop_common::domain::bank_status::{BankStatus, Ending, Group};
use drop_common::domain::payment_status::{FailureReason, PaymentAlert, PaymentState, PaymentStatus, Transition};
use proptest::prelude::*;
use rstest::rstest;

const ACCP: &[BankStatus] = &[BankStatus::ProfileChecked];

const ROAD: [&str; 11] = [
    "RCVD", "PDNG", "PATC", "ACTC", "ACCP", "ACFC", "ACWC", "ACSP", "ACWP", "ACSC", "ACCC",
];

/// A state by the words of its columns.
fn state(status: &str, bank_status: Option<&str>, bank_final: bool) -> PaymentState {
    let (status, reason) = status
        .split_once(':')
        .map_or((status, None), |(status, reason)| (status, Some(reason)));
    PaymentState {
        status: status.parse().unwrap(),
        reason: reason.map(|word| word.parse().unwrap()),
        bank_status: bank_status.map(|code| code.parse().unwrap()),
        bank_final,
    }
}

fn assert_moves(before: PaymentState, after: PaymentState, alert: Option<PaymentAlert>, transition: Transition) {
    assert_eq!((transition.state, transition.alert), (after, alert));
    assert_eq!(transition.changed, before != after);
    assert_eq!(transition.status_changed, before.status != after.status);
}

#[test]
fn codes_rank_in_the_order_of_the_road_and_the_two_that_leave_it_have_none() {
    let ranks: Vec<_> = ROAD
        .iter()
        .map(|code| code.parse::<BankStatus>().unwrap().rank())
        .collect();
    assert!(ranks.iter().all(Option::is_some) && ranks.is_sorted_by(|a, b| a < b));
    for code in ["RJCT", "CANC"] {
        assert_eq!(code.parse::<BankStatus>().unwrap().rank(), None);
    }
}

#[rstest]
fn an_early_code_leaves_the_payment_processing(#[values("RCVD", "PDNG", "PATC", "ACTC")] code: &str) {
    let before = PaymentState::new();
    assert_moves(
        before,
        state("processing", Some(code), false),
        None,
        before.on_bank_code(code, ACCP),
    );
}

#[rstest]
fn an_accepted_code_other_than_the_provisional_one_leaves_it_processing(
    #[values("ACFC", "ACWC", "ACSP", "ACWP")] code: &str,
) {
    let before = state("processing", Some("RCVD"), false);
    let transition = before.on_bank_code(code, ACCP);
    assert_moves(before, state("processing", Some(code), false), None, transition);
    let again = transition.state.on_bank_code(code, ACCP);
    assert_moves(transition.state, transition.state, None, again);
}

#[test]
fn accp_shows_completed_and_is_not_final_unless_the_list_is_empty() {
    let before = state("processing", Some("RCVD"), false);
    assert_moves(
        before,
        state("completed", Some("ACCP"), false),
        None,
        before.on_bank_code("ACCP", ACCP),
    );
    assert_moves(
        before,
        state("processing", Some("ACCP"), false),
        None,
        before.on_bank_code("ACCP", &[]),
    );
}

#[rstest]
#[case("ACSC", "completed")]
#[case("ACCC", "completed")]
#[case("RJCT", "failed:bank_rejected")]
#[case("CANC", "cancelled")]
fn a_final_code_ends_the_payment(#[case] code: &str, #[case] status: &str) {
    for bank_status in [None, Some("RCVD"), Some("ACSP")] {
        let before = state("processing", bank_status, false);
        assert_moves(
            before,
            state(status, Some(code), true),
            None,
            before.on_bank_code(code, ACCP),
        );
    }
}

#[rstest]
#[case("RJCT", "failed:bank_rejected")]
#[case("CANC", "cancelled")]
fn a_provisional_completion_can_be_reversed_loudly(#[case] code: &str, #[case] status: &str) {
    let before = state("completed", Some("ACCP"), false);
    let alert = Some(PaymentAlert::ProvisionalReversed);
    assert_moves(
        before,
        state(status, Some(code), true),
        alert,
        before.on_bank_code(code, ACCP),
    );
}

#[rstest]
#[case("ACSC")]
#[case("ACCC")]
fn a_provisional_completion_becomes_final_without_a_second_notification(#[case] code: &str) {
    let before = state("completed", Some("ACCP"), false);
    assert_moves(
        before,
        state("completed", Some(code), true),
        None,
        before.on_bank_code(code, ACCP),
    );
}

#[rstest]
#[case("failed:sca_timeout", "ACSC", "completed", Some(PaymentAlert::LateCompletion))]
#[case("failed:sca_timeout", "ACCC", "completed", Some(PaymentAlert::LateCompletion))]
#[case("failed:sca_timeout", "CANC", "failed:sca_timeout", None)]
#[case("failed:sca_timeout", "RJCT", "failed:bank_rejected", None)]
#[case("cancelled", "ACSC", "completed", Some(PaymentAlert::LateCompletion))]
#[case("cancelled", "CANC", "cancelled", None)]
fn a_soft_end_is_settled_by_the_banks_final_code(
    #[case] soft: &str,
    #[case] code: &str,
    #[case] end: &str,
    #[case] alert: Option<PaymentAlert>,
) {
    let before = state(soft, Some("RCVD"), false);
    assert_moves(
        before,
        state(end, Some(code), true),
        alert,
        before.on_bank_code(code, ACCP),
    );
}

#[rstest]
fn an_accepted_code_revives_a_soft_end(
    #[values("failed:sca_timeout", "cancelled")] soft: &str,
    #[values("ACCP", "ACFC", "ACWC", "ACSP", "ACWP")] code: &str,
) {
    let before = state(soft, Some("RCVD"), false);
    let alert = Some(PaymentAlert::Revived);
    assert_moves(
        before,
        state("processing", Some(code), false),
        alert,
        before.on_bank_code(code, ACCP),
    );
}

#[test]
fn a_revived_payment_completes_provisionally_with_the_next_read() {
    let revived = state("failed:sca_timeout", None, false)
        .on_bank_code("ACCP", ACCP)
        .state;
    assert_moves(
        revived,
        state("completed", Some("ACCP"), false),
        None,
        revived.on_bank_code("ACCP", ACCP),
    );
}

#[test]
fn an_early_code_after_the_timeout_moves_only_the_code() {
    let before = state("failed:sca_timeout", None, false);
    assert_moves(
        before,
        state("failed:sca_timeout", Some("ACTC"), false),
        None,
        before.on_bank_code("ACTC", ACCP),
    );
}

#[rstest]
#[case("completed", "ACSC", "RJCT")]
#[case("completed", "ACCC", "CANC")]
#[case("failed:bank_rejected", "RJCT", "ACSC")]
#[case("failed:bank_rejected", "RJCT", "CANC")]
#[case("cancelled", "CANC", "ACCC")]
#[case("failed:sca_timeout", "CANC", "ACSC")]
fn a_final_word_that_changes_is_a_conflict_and_flips_nothing(
    #[case] status: &str,
    #[case] first: &str,
    #[case] second: &str,
) {
    let before = state(status, Some(first), true);
    assert_moves(
        before,
        before,
        Some(PaymentAlert::Conflict),
        before.on_bank_code(second, ACCP),
    );
}

#[test]
fn money_that_moved_for_an_order_we_held_for_unsent_is_a_conflict() {
    let before = state("failed:not_sent", None, true);
    assert_moves(
        before,
        before,
        Some(PaymentAlert::Conflict),
        before.on_bank_code("ACSC", ACCP),
    );
    assert_moves(before, before, None, before.on_bank_code("RJCT", ACCP));
}

#[test]
fn settlement_at_the_creditor_only_updates_the_code_and_never_goes_back() {
    let before = state("completed", Some("ACSC"), true);
    let after = state("completed", Some("ACCC"), true);
    assert_moves(before, after, None, before.on_bank_code("ACCC", ACCP));
    assert_moves(after, after, None, after.on_bank_code("ACSC", ACCP));
}

#[rstest]
fn a_code_behind_the_stored_one_is_ignored(#[values("RCVD", "ACTC", "ACCP", "ACFC")] code: &str) {
    let before = state("processing", Some("ACSP"), false);
    assert_moves(before, before, None, before.on_bank_code(code, ACCP));
}

#[rstest]
fn a_moving_code_after_a_final_one_is_ignored(
    #[values(("completed", Some("ACSC")), ("failed:bank_rejected", Some("RJCT")), ("cancelled", Some("CANC")), ("failed:refused", None))]
    ended: (&str, Option<&str>),
    #[values("RCVD", "ACCP", "ACWP")] code: &str,
) {
    let before = state(ended.0, ended.1, true);
    assert_moves(before, before, None, before.on_bank_code(code, ACCP));
}

#[rstest]
fn an_unknown_code_changes_nothing_and_is_told(
    #[values("PART", "ACPD", "BLCK", "acsc", "", "null", "ACSC ")] code: &str,
) {
    for before in [
        PaymentState::new(),
        state("completed", Some("ACCP"), false),
        state("completed", Some("ACSC"), true),
    ] {
        assert_moves(
            before,
            before,
            Some(PaymentAlert::Unknown),
            before.on_bank_code(code, ACCP),
        );
    }
}

#[test]
fn the_sca_deadline_fails_only_what_the_bank_has_not_accepted() {
    for early in [None, Some("RCVD"), Some("PDNG"), Some("PATC"), Some("ACTC")] {
        let before = state("processing", early, false);
        assert_moves(
            before,
            state("failed:sca_timeout", early, false),
            None,
            before.on_sca_timeout(),
        );
    }
    let untouched = [
        state("processing", Some("ACSP"), false),
        state("completed", Some("ACCP"), false),
        state("completed", Some("ACSC"), true),
        state("cancelled", Some("RCVD"), false),
        state("failed:refused", None, true),
    ];
    for before in untouched {
        assert_moves(before, before, None, before.on_sca_timeout());
    }
}

#[rstest]
#[case(FailureReason::Refused, "failed:refused")]
#[case(FailureReason::RateLimited, "failed:rate_limited")]
#[case(FailureReason::ConsentExpired, "failed:consent_expired")]
#[case(FailureReason::KycRequired, "failed:kyc_required")]
fn a_definite_refusal_is_final_without_a_code(#[case] reason: FailureReason, #[case] status: &str) {
    let before = PaymentState::new();
    assert_moves(before, state(status, None, true), None, before.on_refused(reason));
}

#[test]
fn an_order_that_was_never_sent_fails_for_good_and_one_that_the_bank_knows_does_not() {
    let before = PaymentState::new();
    assert_moves(before, state("failed:not_sent", None, true), None, before.on_not_sent());
    for known in [
        state("processing", Some("RCVD"), false),
        state("failed:sca_timeout", None, false),
    ] {
        assert_moves(known, known, None, known.on_not_sent());
        assert_moves(known, known, None, known.on_refused(FailureReason::Refused));
    }
}

#[test]
fn a_cancellation_that_the_bank_took_is_final_with_the_next_read() {
    let cancelled = state("cancelled", Some("RCVD"), false);
    assert_moves(
        cancelled,
        state("cancelled", Some("CANC"), true),
        None,
        cancelled.on_bank_code("CANC", ACCP),
    );
    assert_moves(
        cancelled,
        state("cancelled", Some("RCVD"), true),
        None,
        cancelled.on_gone_after_cancel(),
    );
}

#[test]
fn a_payment_that_is_gone_after_the_timeouts_cancellation_stays_a_timeout() {
    let before = state("failed:sca_timeout", Some("RCVD"), false);
    assert_moves(
        before,
        state("failed:sca_timeout", Some("RCVD"), true),
        None,
        before.on_gone_after_cancel(),
    );
    let moving = state("processing", Some("RCVD"), false);
    assert_moves(moving, moving, None, moving.on_gone_after_cancel());
}

#[test]
fn what_never_left_is_cancelled_for_good_and_what_the_bank_knows_is_not_taken_back_without_it() {
    let before = PaymentState::new();
    assert_moves(before, state("cancelled", None, true), None, before.on_taken_back());
    for known in [
        state("processing", Some("RCVD"), false),
        state("failed:not_sent", None, true),
        state("failed:sca_timeout", None, false),
    ] {
        assert_moves(known, known, None, known.on_taken_back());
    }
}

#[test]
fn a_withdrawal_cancels_what_is_processing_and_nothing_that_a_person_was_told_has_ended() {
    for code in [None, Some("RCVD"), Some("ACSP")] {
        let before = state("processing", code, false);
        assert_moves(before, state("cancelled", code, false), None, before.on_withdrawn());
    }
    for told in [
        state("completed", Some("ACCP"), false),
        state("completed", Some("ACSC"), true),
        state("failed:sca_timeout", Some("RCVD"), false),
        state("cancelled", Some("CANC"), true),
    ] {
        assert_moves(told, told, None, told.on_withdrawn());
    }
}

#[derive(Debug, Clone)]
enum Event {
    Code(String),
    ScaTimeout,
    Refused,
    NotSent,
    Gone,
    TakenBack,
    Withdrawn,
}

impl Event {
    fn apply(&self, state: PaymentState, provisional: &[BankStatus]) -> Transition {
        match self {
            Self::Code(code) => state.on_bank_code(code, provisional),
            Self::ScaTimeout => state.on_sca_timeout(),
            Self::Refused => state.on_refused(FailureReason::Refused),
            Self::NotSent => state.on_not_sent(),
            Self::Gone => state.on_gone_after_cancel(),
            Self::TakenBack => state.on_taken_back(),
            Self::Withdrawn => state.on_withdrawn(),
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => prop::sample::select(BankStatus::ALL).prop_map(|code| Event::Code(code.to_string())),
        1 => "[A-Za-z]{0,5}".prop_map(Event::Code),
        1 => Just(Event::ScaTimeout),
        1 => Just(Event::Refused),
        1 => Just(Event::NotSent),
        1 => Just(Event::Gone),
        1 => Just(Event::TakenBack),
        1 => Just(Event::Withdrawn),
    ]
}

fn provisional() -> impl Strategy<Value = Vec<BankStatus>> {
    prop::sample::select(vec![
        vec![],
        vec![BankStatus::ProfileChecked],
        vec![BankStatus::ProfileChecked, BankStatus::InExecution],
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_sequence_of_events_breaks_what_must_hold(events in prop::collection::vec(event(), 0..14), provisional in provisional()) {
        let mut state = PaymentState::new();
        for event in events {
            let Transition { state: next, changed, status_changed, alert } = event.apply(state, &provisional);
            prop_assert_eq!(changed, next != state);
            prop_assert_eq!(status_changed, next.status != state.status);
            prop_assert_eq!(next.reason.is_some(), next.status == PaymentStatus::Failed);
            if state.bank_final {
                // Final stays final; only the settled code may go on.
                prop_assert_eq!(PaymentState { bank_status: state.bank_status, ..next }, state);
            }
            if let (Some(before), Some(after)) = (state.bank_status, next.bank_status) {
                prop_assert!(after.rank().is_none() || after.rank() >= before.rank(), "{} to {}", before, after);
            }
            let is_final_code = matches!(next.bank_status.map(BankStatus::group), Some(Group::Final(_)));
            prop_assert!(!is_final_code || next.bank_final);
            if let Event::Code(code) = &event && code.parse::<BankStatus>().is_err() {
                prop_assert_eq!((next, alert), (state, Some(PaymentAlert::Unknown)));
            }
            if let Some(Group::Final(ending)) = next.bank_status.map(BankStatus::group) {
                prop_assert_eq!(ending == Ending::Settled, next.status == PaymentStatus::Completed);
            }
            state = next;
        }
    }

    #[test]
    fn a_completion_rests_on_a_code_from_the_bank(events in prop::collection::vec(event(), 0..14)) {
        let state = events.iter().fold(PaymentState::new(), |state, event| event.apply(state, ACCP).state);
        if state.status == PaymentStatus::Completed {
            prop_assert!(state.bank_status.and_then(BankStatus::rank) >= BankStatus::ProfileChecked.rank());
        }
    }

    #[test]
    fn the_banks_last_final_word_is_what_remains_or_operations_hear_of_it(
        events in prop::collection::vec(event(), 0..14),
        provisional in provisional(),
        last in prop::sample::select(vec![BankStatus::Settled, BankStatus::SettledAtCreditor, BankStatus::Rejected, BankStatus::Cancelled]),
    ) {
        let before = events.iter().fold(PaymentState::new(), |state, event| event.apply(state, &provisional).state);
        let after = before.on_bank_code(last.as_str(), &provisional);
        let Group::Final(ending) = last.group() else { unreachable!("all four are final") };
        let agrees = (after.state.status == PaymentStatus::Completed) == (ending == Ending::Settled);
        prop_assert!(after.state.bank_final);
        prop_assert!(agrees || (before.bank_final && after.alert == Some(PaymentAlert::Conflict)), "{:?} {:?}", before, after);
        // Said again, it changes nothing.
        let again = after.state.on_bank_code(last.as_str(), &provisional);
        prop_assert!(!again.changed);
    }

    #[test]
    fn every_word_reads_back(code in prop::sample::select(BankStatus::ALL), reason in prop::sample::select(FailureReason::ALL), status in prop::sample::select(PaymentStatus::ALL), alert in prop::sample::select(PaymentAlert::ALL)) {
        prop_assert_eq!(code.as_str().parse(), Ok(code));
        prop_assert_eq!(reason.as_str().parse(), Ok(reason));
        prop_assert_eq!(status.as_str().parse(), Ok(status));
        prop_assert_eq!(alert.as_str().parse(), Ok(alert));
    }
}
