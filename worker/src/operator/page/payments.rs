//! Payments that wait for a person, and the newest of all.

use drop_common::storage::payments::{self, InReview, Listed};
use maud::{Markup, html};
use poem::{Response, handler};

use super::{
    layout::{self, badge},
    session::Look,
    stop::Stop,
};

const A_PAGE: i64 = 50;

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let db = &look.page.context.db;
    let before = look.query.parsed("before");
    let listed = payments::newest(db, None, before, A_PAGE).await?;
    let older = (listed.len() == 50)
        .then(|| {
            listed
                .last()
                .map(|last| format!("/operator/payments?before={}", last.id))
        })
        .flatten();
    let reviews = if before.is_none() {
        payments::in_review(db, look.query.parsed("waits_after"), A_PAGE).await?
    } else {
        Vec::new()
    };
    let body = html! {
        h1 { "Payments" }
        @if before.is_none() { (in_review(&look, &reviews)) }
        section aria-labelledby="newest" {
            h2 #newest { "Newest" }
            (list(&look, &listed))
        }
        (layout::older(older))
    };
    Ok(layout::page(&look, "/operator/payments", "Payments", &body))
}

fn in_review(look: &Look, reviews: &[InReview]) -> Markup {
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = reviews
        .iter()
        .map(|payment| {
            vec![
                html! { a href={ "/operator/payments/" (payment.id) } { code { (payment.id) } } },
                html! { (payment.why.as_deref().unwrap_or_default()) },
                status(&payment.status),
                html! { (payment.bank_status.as_deref().unwrap_or("–")) },
                html! { @if payment.payment_id.is_some() { "yes" } @else { "not known" } },
                layout::moment(payment.created_at, now),
            ]
        })
        .collect();
    html! {
        section aria-labelledby="review" {
            h2 #review { "To review" }
            (layout::table(&["Payment", "Why", "Status", "Bank says", "With the bank", "Asked for"], &rows, "No payment waits for a person."))
            @if reviews.len() == 50 && let Some(last) = reviews.last() {
                p.older { a.button href={ "/operator/payments?waits_after=" (last.id) } rel="next" { "More that wait" } }
            }
        }
    }
}

/// A list of payments.
pub(super) fn list(look: &Look, listed: &[Listed]) -> Markup {
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = listed
        .iter()
        .map(|payment| {
            vec![
                html! { a href={ "/operator/payments/" (payment.id) } { code { (payment.id) } } },
                html! {
                    (status(&payment.status))
                    @if let Some(reason) = &payment.reason { " " span.quiet { (reason) } }
                    @if payment.needs_review && !payment.bank_final { " " (badge("bad", "review")) }
                },
                html! { (payment.bank_status.as_deref().unwrap_or("–")) @if payment.bank_final { span.quiet { " final" } } },
                layout::moment(payment.created_at, now),
            ]
        })
        .collect();
    layout::table(&["Payment", "Status", "Bank says", "Asked for"], &rows, "No payments.")
}

/// What its person sees.
pub(super) fn status(status: &str) -> Markup {
    let colour = match status {
        "completed" => "good",
        "failed" => "bad",
        "processing" => "warn",
        _ => "neutral",
    };
    badge(colour, status)
}
