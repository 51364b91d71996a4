//! The inbox of webhooks.

use drop_common::storage::inbox::{Detail, Summary};

use super::{facts, print_json, rows, table, text, time, word};

pub(in crate::operator) fn webhooks(events: &[Summary], json: bool) -> anyhow::Result<()> {
    let head = ["id", "type", "state", "received", "applicant", "note"];
    rows(events, json, head, |event| {
        [
            event.id.clone(),
            word(event.event_type.as_deref()),
            event.state.clone(),
            time(Some(event.received_at)),
            word(event.applicant_id.as_deref()),
            text(event.note.as_ref()),
        ]
    })
}

pub(in crate::operator) fn webhook(event: &Detail, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(event);
    }
    let summary = &event.summary;
    facts(&[
        ("id", summary.id.clone()),
        ("type", word(summary.event_type.as_deref())),
        ("state", summary.state.clone()),
        ("note", text(summary.note.as_ref())),
        ("applicant", word(summary.applicant_id.as_deref())),
        ("user", word(event.external_user_id.as_deref())),
        ("received", time(Some(summary.received_at))),
        ("applied", time(summary.applied_at)),
        ("body", word(event.body.as_deref())),
    ]);
    if !event.jobs.is_empty() {
        println!();
        let rows = event.jobs.iter().map(|job| {
            let error = text(job.last_error.as_ref());
            [job.id.to_string(), job.state.clone(), job.attempts.to_string(), error]
        });
        table(["job", "state", "attempts", "last error"], rows);
    }
    Ok(())
}
