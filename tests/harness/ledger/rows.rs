//! What the rows say of themselves.

use std::collections::BTreeSet;

use super::{Books, Broken, Row, Rule, moves::leads_to};

pub(super) fn allowed_moves(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    for row in &books.payments {
        let history = row.history();
        for pair in history.windows(2) {
            if !leads_to(&pair[0], &pair[1]) {
                broken.push(Broken::new(
                    Rule::AllowedMoves,
                    &row.id,
                    format_args!("{:?} does not lead to {:?}", pair[0], pair[1]),
                ));
            }
        }
        if history.last() != Some(&row.state) {
            broken.push(Broken::new(
                Rule::AllowedMoves,
                &row.id,
                format_args!("is {:?} without an audit row: {history:?}", row.state),
            ));
        }
        for once in ["payment.requested", "payment.initiated"] {
            let times = row.story.0.iter().filter(|step| step.action == once).count();
            if times > 1 || (once == "payment.requested" && times == 0) {
                broken.push(Broken::new(
                    Rule::AllowedMoves,
                    &row.id,
                    format_args!("{once} was recorded {times} times"),
                ));
            }
        }
    }
    broken
}

pub(super) fn future(books: &Books) -> Vec<Broken> {
    let open = books.payments.iter().filter(|row| !row.state.bank_final);
    let forgotten = open.filter(|row| row.live_jobs == 0 && !row.needs_review || row.approval_is_left);
    let forgotten = forgotten.map(|row| Broken::new(Rule::Future, &row.id, "is open, and nobody goes on with it"));
    let unheard = books.payments.iter().filter(|row| {
        let recorded = row.story.0.iter().any(|step| step.action == "payment.needs_review");
        row.needs_review && !recorded
    });
    let unheard = unheard.map(|row| Broken::new(Rule::Future, &row.id, "waits for a person whom nobody has told"));
    forgotten.chain(unheard).collect()
}

pub(super) fn told_once(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    for row in &books.payments {
        let all = ends(row).chain(waits_for_its_person(row));
        let seen: BTreeSet<String> = all.map(|what| format!("{}:{what}", row.id)).collect();
        let told: BTreeSet<String> = row.told.0.iter().cloned().collect();
        if told.len() != row.told.0.len() {
            broken.push(Broken::new(
                Rule::ToldOnce,
                &row.id,
                format_args!("was told twice: {:?}", row.told.0),
            ));
        }
        if told != seen {
            broken.push(Broken::new(
                Rule::ToldOnce,
                &row.id,
                format_args!("ended as {seen:?} and was told {told:?}"),
            ));
        }
    }
    broken
}

/// The ends that its owner is told of: those that somebody else brought about; and that one was none, for it goes on. A
/// failure is `unconfirmed` until the bank has taken the order back, or has said its last word.
fn ends(row: &Row) -> impl Iterator<Item = &str> {
    let steps = row.story.0.iter().enumerate();
    steps
        .filter(|(_, step)| step.action == "payment.moved")
        .filter_map(|(number, step)| {
            let (from, to) = (step.detail["from"].as_str()?, step.detail["to"].as_str()?);
            let is_final = step.detail["bank_final"] == true;
            let withdrawn = || {
                let mut later = row.story.0[number..].iter();
                let ended = later.find(|step| step.action == "payment.sca_timeout");
                ended.is_some_and(|step| step.detail["withdrawn"] == true)
            };
            match to {
                "failed" if is_final => Some(to),
                _ if from == to => None,
                "failed" if !withdrawn() => Some("unconfirmed"),
                _ => Some(to),
            }
        })
}

/// Of one that operations had sent again, its owner is told when its link is there.
fn waits_for_its_person(row: &Row) -> Option<&'static str> {
    let after = row.story.0.iter().skip_while(|step| step.action != "payment.retried");
    let is_linked = |step: &super::Step| match step.action.as_str() {
        "payment.initiated" => step.detail["link"] == true,
        action => action == "payment.authorisation_started",
    };
    after.into_iter().any(is_linked).then_some("approve")
}

pub(super) fn holds(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    for account in books.accounts.iter().filter(|account| account.held != account.holds) {
        broken.push(Broken::new(
            Rule::Holds,
            &account.id,
            format_args!("holds {} for payments of {}", account.held, account.holds),
        ));
    }
    for row in &books.payments {
        let right = match (row.state.status.as_str(), row.state.bank_final) {
            ("failed" | "cancelled", true) => row.hold == 0,
            // It goes with the balance that contains the payment.
            ("completed", _) => row.hold == 0 || row.hold == row.amount,
            _ => row.hold == row.amount,
        };
        if !right {
            broken.push(Broken::new(
                Rule::Holds,
                &row.id,
                format_args!("{} is held for {}", row.hold, row.amount),
            ));
        }
    }
    broken
}
