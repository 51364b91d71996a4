//! Payments and their stories, and those of logins.

use drop_common::storage::payments::{InReview, Listed, Moment};

use super::{facts, print_json, rows, table, text, time, yes};
use crate::operator::answers::{LoginStory, PaymentStory};

pub(in crate::operator) fn payments(payments: &[InReview], json: bool) -> anyhow::Result<()> {
    let head = [
        "id",
        "X-Request-ID",
        "status",
        "bank status",
        "id at the bank",
        "created",
        "why",
    ];
    rows(payments, json, head, |payment| {
        [
            payment.id.clone(),
            payment.request_id.to_string(),
            payment.status.clone(),
            text(payment.bank_status.as_ref()),
            text(payment.payment_id.as_ref()),
            time(Some(payment.created_at)),
            text(payment.why.as_ref()),
        ]
    })
}

pub(in crate::operator) fn newest(payments: &[Listed], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&payments);
    }
    listed(payments);
    Ok(())
}

pub(super) fn listed(payments: &[Listed]) {
    let rows = payments.iter().map(|payment| {
        [
            payment.id.clone(),
            payment.status.clone(),
            text(payment.reason.as_ref()),
            text(payment.bank_status.as_ref()),
            yes(payment.bank_final),
            yes(payment.needs_review),
            time(Some(payment.created_at)),
        ]
    });
    table(
        ["id", "status", "reason", "bank status", "final", "review", "created"],
        rows,
    );
}

pub(in crate::operator) fn payment(told: &PaymentStory, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    let payment = &told.payment;
    facts(&[
        ("id", payment.id.clone()),
        ("user", payment.user.clone()),
        ("account", payment.account.clone()),
        ("X-Request-ID", payment.request_id.to_string()),
        ("id at bank", text(payment.payment_id.as_ref())),
        ("product", payment.product.clone()),
        ("status", payment.status.clone()),
        ("reason", text(payment.reason.as_ref())),
        ("bank status", text(payment.bank_status.as_ref())),
        ("bank final", yes(payment.bank_final)),
        ("review", yes(payment.needs_review)),
        ("cancellation", text(payment.cancellation.as_ref())),
        ("created", time(Some(payment.created_at))),
        ("updated", time(Some(payment.updated_at))),
        ("send until", time(Some(payment.expires_at))),
        ("approve by", time(payment.sca_deadline)),
    ]);
    println!();
    moments(&told.story);
    Ok(())
}

pub(in crate::operator) fn login(told: &LoginStory, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    if let Some(login) = &told.login {
        facts(&[
            ("id", told.id.clone()),
            ("channel", login.channel.clone()),
            ("status", login.status.clone()),
            ("failure", text(login.failure.as_ref())),
            ("user", text(login.user.as_ref())),
            ("began", time(Some(login.created_at))),
            ("until", time(Some(login.expires_at))),
        ]);
        println!();
    }
    moments(&told.story);
    Ok(())
}

fn moments(story: &[Moment]) {
    let rows = story.iter().map(|moment| {
        [
            time(Some(moment.at)),
            moment.actor.clone(),
            moment.what.clone(),
            text(moment.job),
            moment.detail.to_string(),
        ]
    });
    table(["at", "who", "what", "job", "detail"], rows);
}
