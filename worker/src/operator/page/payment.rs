//! A payment's story in one timeline, and settling one that waits for a person.

use drop_common::{
    domain::{bank_status::BankStatus, ids::PaymentId},
    storage::payments::{Moment, Story},
};
use maud::{Markup, html};
use poem::{Response, handler, web::Path};
use serde_json::Value;

use super::{
    form::Act,
    layout::{self, badge},
    session::Look,
    stop::Stop,
};
use crate::operator::{
    actions,
    answers::{self, PaymentStory},
    payments::final_code,
};

/// The bank's last words, as the form offers them.
const LAST_WORDS: [(&str, &str); 4] = [
    ("ACSC", "settled"),
    ("ACCC", "settled, and on the payee's account"),
    ("RJCT", "rejected"),
    ("CANC", "cancelled"),
];

#[handler]
pub(super) async fn show(look: Look, Path(id): Path<String>) -> Result<Response, Stop> {
    let id: PaymentId = id.parse().map_err(|_| Stop::NotFound)?;
    let db = &look.page.context.db;
    let PaymentStory { payment, story } = answers::payment_story(db, id).await?.ok_or(Stop::NotFound)?;
    let waits = payment.needs_review && !payment.bank_final;
    let body = html! {
        div.title {
            h1 { "Payment " code { (payment.id) } }
            (super::payments::status(&payment.status))
            @if waits { (badge("bad", "needs review")) }
        }
        (facts(&look, &payment))
        @if waits && look.who.may_change() { (settling(&look, &payment)) }
        section aria-labelledby="story" {
            h2 #story { "Its story" }
            ol.story { @for moment in &story { (told(moment, payment.created_at)) } }
        }
    };
    Ok(layout::page(&look, "/operator/payments", "Payment", &body))
}

fn facts(look: &Look, payment: &Story) -> Markup {
    let now = look.page.context.clock.now();
    html! {
        dl.facts {
            dt { "Asked for" } dd { (layout::moment(payment.created_at, now)) }
            dt { "Last change" } dd { (layout::moment(payment.updated_at, now)) }
            @if let Some(reason) = &payment.reason { dt { "Reason" } dd { (reason) } }
            dt { "Bank says" } dd {
                (payment.bank_status.as_deref().unwrap_or("nothing yet"))
                @if payment.bank_final { " " span.quiet { "(final)" } }
            }
            dt { "Id at the bank" } dd { @if let Some(id) = &payment.payment_id { code { (id) } } @else { span.quiet { "none known" } } }
            dt { "X-Request-ID" } dd { code { (payment.request_id) } }
            dt { "Product" } dd { (payment.product) }
            @if let Some(wish) = &payment.cancellation { dt { "Wish to cancel" } dd { (wish) } }
            @if payment.sca_deadline.is_some() { dt { "To be approved by" } dd { (layout::maybe(payment.sca_deadline, now)) } }
            dt { "May be sent until" } dd { (layout::moment(payment.expires_at, now)) }
            dt { "Person" } dd { a href={ "/operator/people/" (payment.user) } { code { (payment.user) } } }
            dt { "Account" } dd { code { (payment.account) } }
        }
    }
}

/// One moment. The colour of its mark says where it was written down; its word does, too.
pub(super) fn told(moment: &Moment, began: chrono::DateTime<chrono::Utc>) -> Markup {
    let since = (moment.at - began).num_milliseconds();
    html! {
        li.(moment.source) {
            time datetime=(moment.at.to_rfc3339()) { (moment.at.format("%Y-%m-%d %H:%M:%S%.3f UTC")) }
            span.since { "+" (format!("{}.{:03} s", since / 1_000, (since % 1_000).abs())) }
            div.what {
                strong { (moment.what) } " "
                span.quiet { (moment.source) " · " (moment.actor) }
                @if let Some(job) = moment.job { " " a href={ "/operator/jobs/" (job) } { "job " (job) } }
                (detail(&moment.detail))
            }
        }
    }
}

/// Ids and words of ours; what says nothing is left out.
pub(super) fn detail(detail: &Value) -> Markup {
    let members = detail
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null());
    html! {
        span.details {
            @for (name, value) in members {
                span.pair { (name) " " code { @match value { Value::String(text) => (text), other => (other) } } }
            }
        }
    }
}

fn settling(look: &Look, payment: &Story) -> Markup {
    let path = format!("/operator/payments/{}", payment.id);
    let known_there = payment.payment_id.is_some() || payment.bank_status.is_some();
    html! {
        section.review aria-labelledby="settle" {
            h2 #settle { "Settle" }
            p { "Ask the bank what it has under the X-Request-ID above, and under its own id where one is known. What you write here is its word, not yours." }
            details open {
                summary { "The bank has spoken its last word" }
                form.action method="post" action={ (path) "/settle" } {
                    fieldset.choices {
                        legend { "What it was" }
                        @for (code, meaning) in LAST_WORDS {
                            label { input type="radio" name="bank_status" value=(code) required; " " code { (code) } " " (meaning) }
                        }
                        @if !known_there {
                            label { input type="radio" name="bank_status" value="never_arrived" required; " It has no such payment, and will not get one" }
                        }
                    }
                    (layout::because(look, &path))
                    div.buttons { button.primary type="submit" { "Settle" } }
                }
            }
            details {
                summary { "The bank has it, and has not ended it" }
                form.action method="post" action={ (path) "/track" } {
                    label { span { "Its id at the bank" }
                        input type="text" name="payment_id" required maxlength="255" autocomplete="off" value=(payment.payment_id.as_deref().unwrap_or_default());
                    }
                    (layout::because(look, &path))
                    div.buttons { button type="submit" { "Ask the bank until it ends it" } }
                }
            }
            @if !known_there {
                details {
                    summary { "The bank failed every time, and has no such payment" }
                    form.action method="post" action={ (path) "/retry" } {
                        p.quiet { "It is sent again under the same X-Request-ID, unless an attempt may have done more than fail." }
                        (layout::because(look, &path))
                        div.buttons { button type="submit" { "Send it again" } }
                    }
                }
            }
        }
    }
}

fn payment_of(id: &str) -> Result<PaymentId, Stop> {
    id.parse().map_err(|_| Stop::NotFound)
}

#[handler]
pub(super) async fn settle(act: Act, Path(id): Path<String>) -> Result<Response, Stop> {
    let id = payment_of(&id)?;
    let code: Option<BankStatus> = match act.form.get("bank_status") {
        Some("never_arrived") => None,
        Some(code) => Some(final_code(code).map_err(|_| Stop::Unusable("That is no last word of a bank."))?),
        None => return Err(Stop::Unusable("The bank's last word is needed.")),
    };
    let context = &act.page.context;
    actions::payments::settle(&context.db, &context.metrics, id, code, &act.by).await?;
    Ok(act.done("payment.settled", 1))
}

#[handler]
pub(super) async fn track(act: Act, Path(id): Path<String>) -> Result<Response, Stop> {
    let at_bank = act.form.get("payment_id").unwrap_or_default();
    let context = &act.page.context;
    actions::payments::track(
        &context.db,
        &context.settings.payments,
        payment_of(&id)?,
        at_bank,
        &act.by,
    )
    .await?;
    Ok(act.done("payment.tracked", 1))
}

#[handler]
pub(super) async fn retry(act: Act, Path(id): Path<String>) -> Result<Response, Stop> {
    let context = &act.page.context;
    actions::payments::retry(&context.db, &context.settings.payments, payment_of(&id)?, &act.by).await?;
    Ok(act.done("payment.retried", 1))
}
