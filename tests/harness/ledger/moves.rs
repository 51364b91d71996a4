//! The moves of a payment, written down from the documents (the status codes and events of the bank, the time for approval,
//! taking back) and not from the state machine of the service, which is held against them here.

use super::State;

/// The bank's codes before its acceptance, in the order of a payment's way.
const EARLY: [&str; 4] = ["RCVD", "PDNG", "PATC", "ACTC"];
/// Those between its acceptance and the money's move, in the same order.
const ACCEPTED: [&str; 5] = ["ACCP", "ACFC", "ACWC", "ACSP", "ACWP"];
/// Settled on the debtor's, then on the creditor's account.
const SETTLED: [&str; 2] = ["ACSC", "ACCC"];
/// What `PISP_PROVISIONAL_COMPLETED` lists, if anything: the owner sees `completed` before the bank is final.
const PROVISIONAL: &str = "ACCP";
/// Why an order fails that is not at the bank: it refused it, or it never left.
const REFUSALS: [&str; 5] = ["not_sent", "rate_limited", "refused", "consent_expired", "kyc_required"];

/// Whether one thing that can happen to a payment takes it from the one state to the other.
pub(super) fn leads_to(from: &State, to: &State) -> bool {
    next(from).contains(to)
}

/// Every state that one event leads to, and no other.
fn next(from: &State) -> Vec<State> {
    let (status, code) = (from.status.as_str(), from.bank_status.as_deref());
    let is_timed_out = from.reason.as_deref() == Some("sca_timeout");
    if from.bank_final {
        // The last word stays, but for the second half of a settlement.
        let settles_further = status == "completed" && code == Some("ACSC");
        return Vec::from_iter(settles_further.then(|| state("completed", None, Some("ACCC"), true)));
    }
    let mut next = Vec::new();
    if status == "processing" {
        if code.is_none() {
            next.extend(REFUSALS.map(|reason| state("failed", Some(reason), None, true)));
            next.push(state("cancelled", None, None, true));
        }
        if code.is_none_or(|code| EARLY.contains(&code)) {
            next.push(state("failed", Some("sca_timeout"), code, false));
        }
        next.push(state("cancelled", None, code, false));
    }
    if status == "cancelled" || is_timed_out {
        // The bank took the withdrawal and does not know the payment any more.
        next.push(State {
            bank_final: true,
            ..from.clone()
        });
    }
    for ahead in not_behind(code) {
        let unchanged = State {
            bank_status: Some((*ahead).to_owned()),
            ..from.clone()
        };
        let is_accepted = ACCEPTED.contains(ahead);
        match status {
            // It lives, whatever its owner was told.
            "failed" | "cancelled" if is_accepted => next.push(state("processing", None, Some(ahead), false)),
            _ => next.extend((unchanged != *from).then_some(unchanged)),
        }
        if status == "processing" && *ahead == PROVISIONAL {
            next.push(state("completed", None, Some(ahead), false));
        }
    }
    next.extend(SETTLED.map(|code| state("completed", None, Some(code), true)));
    next.push(state("failed", Some("bank_rejected"), Some("RJCT"), true));
    next.push(if is_timed_out {
        // Withdrawn by us because of the time: its owner knows.
        state("failed", Some("sca_timeout"), Some("CANC"), true)
    } else {
        state("cancelled", None, Some("CANC"), true)
    });
    next
}

/// The codes that are no last word and lie on the way from this one on: said once more, it counts once more.
fn not_behind(code: Option<&str>) -> &'static [&'static str] {
    const WAY: [&str; 9] = [
        EARLY[0],
        EARLY[1],
        EARLY[2],
        EARLY[3],
        ACCEPTED[0],
        ACCEPTED[1],
        ACCEPTED[2],
        ACCEPTED[3],
        ACCEPTED[4],
    ];
    let passed = WAY.iter().position(|on_the_way| Some(*on_the_way) == code);
    &WAY[passed.unwrap_or(0)..]
}

fn state(status: &str, reason: Option<&str>, bank_status: Option<&str>, bank_final: bool) -> State {
    State {
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        bank_status: bank_status.map(str::to_owned),
        bank_final,
    }
}

#[cfg(test)]
mod tests {
    use drop_common::domain::{
        bank_status::BankStatus,
        payment_status::{FailureReason, PaymentState, Transition},
    };

    use super::*;

    fn read(state: &State) -> PaymentState {
        PaymentState {
            status: state.status.parse().expect("a status"),
            reason: state.reason.as_deref().map(|word| word.parse().expect("a reason")),
            bank_status: state.bank_status.as_deref().map(|code| code.parse().expect("a code")),
            bank_final: state.bank_final,
        }
    }

    fn written(machine: PaymentState) -> State {
        state(
            machine.status.as_str(),
            machine.reason.map(FailureReason::as_str),
            machine.bank_status.map(BankStatus::as_str),
            machine.bank_final,
        )
    }

    /// Every state that the service moves this one to.
    fn moved(from: PaymentState) -> Vec<State> {
        let codes = BankStatus::ALL.iter().flat_map(|code| {
            let provisional: [&[BankStatus]; 2] = [&[], &[BankStatus::ProfileChecked]];
            provisional.map(|listed| from.on_bank_code(code.as_str(), listed))
        });
        let refusals = FailureReason::ALL
            .iter()
            .filter(|reason| !matches!(reason, FailureReason::BankRejected | FailureReason::ScaTimeout))
            .map(|reason| from.on_refused(*reason));
        let others = [
            from.on_sca_timeout(),
            from.on_not_sent(),
            from.on_taken_back(),
            from.on_withdrawn(),
            from.on_gone_after_cancel(),
        ];
        let all = codes.chain(refusals).chain(others).filter(|moved| moved.changed);
        all.map(|Transition { state, .. }| written(state)).collect()
    }

    #[test]
    fn the_service_moves_a_payment_as_the_documents_say_and_in_no_other_way() {
        let (mut seen, mut ahead) = (Vec::new(), vec![State::requested()]);
        while let Some(from) = ahead.pop() {
            if seen.contains(&from) {
                continue;
            }
            let (documented, done) = (next(&from), moved(read(&from)));
            for to in &done {
                assert!(documented.contains(to), "{from:?} must not lead to {to:?}");
            }
            for to in &documented {
                assert!(done.contains(to), "{from:?} must lead to {to:?}");
            }
            ahead.extend(documented);
            seen.push(from);
        }
        assert_eq!(seen.len(), STATES);
    }

    /// Processing with no code or one of nine; timed out with no code or an early one and gone then, or with CANC; cancelled
    /// with no code or one of nine, open or gone, or with CANC; completed with one of five or settled in one of two ways;
    /// refused for one of five reasons; rejected.
    const STATES: usize = 10 + (10 + 1) + (20 + 1) + (5 + 2) + 5 + 1;
}
