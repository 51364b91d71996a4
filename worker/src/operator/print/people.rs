//! People, what is kept of them, and what is found about them.

use drop_common::{
    domain::ids::{AmlCaseId, UserId},
    storage::{aml_cases::Case, erasure::Erased, retention::Kept},
};

use super::{facts, payments::listed, print_json, rows, table, text, time, word};
use crate::operator::answers::PersonStory;

pub(in crate::operator) fn person(told: &PersonStory, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    let person = &told.person;
    facts(&[
        ("id", told.id.clone()),
        ("check", person.kyc_status.clone()),
        ("first login", time(Some(person.created_at))),
        ("erased", time(person.erased_at)),
        ("legal hold", time(person.held_at)),
    ]);
    println!();
    let applicants = person.applicants.iter().map(|applicant| {
        [
            applicant.id.clone(),
            applicant.level.clone(),
            applicant.status.clone(),
            text(applicant.last_decision.as_ref()),
            time(applicant.last_event_at),
            time(applicant.status_read_at),
            word(applicant.failure.as_deref()),
        ]
    });
    table(
        ["applicant", "level", "status", "last word", "said", "asked", "failure"],
        applicants,
    );
    println!();
    let decisions = person.decisions.iter().map(|decided| {
        [
            time(Some(decided.provider_at)),
            decided.result.clone(),
            time(Some(decided.created_at)),
            decided.event.clone(),
        ]
    });
    table(["decided", "result", "applied", "by event"], decisions);
    println!();
    let log = person.log.iter().map(|row| {
        [
            time(Some(row.at)),
            row.actor.clone(),
            row.action.clone(),
            row.object.clone(),
            row.detail.to_string(),
        ]
    });
    table(["at", "who", "what", "on", "detail"], log);
    println!();
    listed(&told.payments);
    Ok(())
}

pub(in crate::operator) fn cases(cases: &[Case], json: bool) -> anyhow::Result<()> {
    let head = ["id", "user", "applicant", "opened", "finding", "labels"];
    rows(cases, json, head, |case| {
        [
            case.id.clone(),
            case.user.clone(),
            word(Some(&case.applicant_id)),
            time(Some(case.opened_at)),
            text(case.finding.as_ref()),
            word(Some(&case.reject_labels.join(" "))),
        ]
    })
}

/// For whoever must look into one case; there is no table of it.
pub(in crate::operator) fn kept(kept: Vec<Kept>) -> anyhow::Result<()> {
    let kept = kept.into_iter().map(|one| {
        serde_json::json!({ "class": one.class, "record": one.record, "retention_until": time(Some(one.retention_until)) })
    });
    print_json(&kept.collect::<Vec<_>>())
}

pub(in crate::operator) fn erased(erased: &[Erased], json: bool) -> anyhow::Result<()> {
    let head = ["user", "erased", "waits for"];
    rows(erased, json, head, |one| {
        [one.user.clone(), time(Some(one.erased_at)), one.waits_for.join(" ")]
    })
}

/// Somebody whom the database does not know.
pub(in crate::operator) fn unknown(user: UserId) {
    println!("there is no {user}");
}

/// Cases that keep what is left of their person where it is.
pub(in crate::operator) fn open_cases(cases: &[AmlCaseId]) {
    for case in cases {
        println!("{case} is open: nothing is moved until it is closed");
    }
}
