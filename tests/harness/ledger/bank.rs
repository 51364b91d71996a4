//! What the bank got and did, against the rows.

use std::collections::BTreeSet;

use drop_sandbox::Fault;

use super::{Books, Broken, Row, Rule};

/// The most orders that may leave for one payment, each time that it is asked for: the first, and three after a 500, 502 or 503.
const ATTEMPTS: usize = 4;

pub(super) fn one_payment(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    for row in &books.payments {
        let orders = row.orders(&books.bank);
        let paid = orders.iter().filter(|order| order.moved).count();
        if paid > 1 {
            broken.push(Broken::new(
                Rule::OnePayment,
                &row.id,
                format_args!("was paid {paid} times"),
            ));
        }
        if orders.len() > 1 + unseen(books, row) {
            broken.push(Broken::new(
                Rule::OnePayment,
                &row.id,
                format_args!("is {} orders at the bank", orders.len()),
            ));
        }
        let is_told = row
            .story
            .0
            .iter()
            .any(|step| step.action == "payment.accepted_after_failure");
        if orders.len() > 1 && row.payment_id.is_some() && !is_told {
            broken.push(Broken::new(
                Rule::OnePayment,
                &row.id,
                "is more than one order at the bank, and nobody was told",
            ));
        }
        if orders.iter().any(|order| order.authorisations > 1) {
            broken.push(Broken::new(
                Rule::OnePayment,
                &row.id,
                "had its approval started twice, so that the first link may be dead",
            ));
        }
        let told = books.heard.iter().filter(|heard| heard.shown["id"] == *row.id);
        let links: BTreeSet<_> = told.filter_map(|heard| heard.shown["scaRedirect"].as_str()).collect();
        let other = links
            .iter()
            .filter(|link| row.sca_redirect.as_deref() != Some(link))
            .count();
        if links.len() > 1 || other > 0 {
            broken.push(Broken::new(
                Rule::OnePayment,
                &row.id,
                format_args!("the links handed out are not the one that is stored: {links:?}"),
            ));
        }
    }
    for order in &books.bank.orders {
        if !books.payments.iter().any(|row| row.request_id == order.request_id) {
            broken.push(Broken::new(
                Rule::OnePayment,
                &order.id,
                "is an order of no payment of ours",
            ));
        }
    }
    broken
}

/// How many orders a bank that does not deduplicate made of the payment while it answered 500, 502 or 503, after which the
/// contract (3.3) wants the order sent again: nobody is handed their links, so nobody can approve them.
fn unseen(books: &Books, row: &Row) -> usize {
    let posts = books.bank.posts.iter().filter(|post| {
        let executed = post.fault.as_ref().is_some_and(Fault::executes);
        let is_its = post.header("x-request-id") == Some(row.request_id.as_str());
        is_its && executed && matches!(post.status, Some(500 | 502 | 503))
    });
    posts.count()
}

pub(super) fn written_before_sent(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    for arrived in &books.bank.arrived {
        let row = of(books, &arrived.request_id);
        let written = match &arrived.under_way {
            Some(under_way) => under_way.contains(&arrived.body_sha256),
            // Nobody could look then. What had been committed is there now.
            None => row.is_some_and(|row| {
                row.attempts
                    .0
                    .iter()
                    .any(|attempt| attempt.body_sha256 == arrived.body_sha256)
            }),
        };
        if !written {
            broken.push(Broken::new(
                Rule::WrittenBeforeSent,
                &arrived.request_id,
                "an order arrived before its attempt was written",
            ));
        }
    }
    for row in &books.payments {
        // One that was refused for its access token is the same attempt as the one that follows it.
        let posts =
            books.bank.posts.iter().filter(|post| {
                post.header("x-request-id") == Some(row.request_id.as_str()) && post.status != Some(401)
            });
        let (posts, attempts) = (posts.count(), row.attempts.0.len());
        if posts > attempts {
            broken.push(Broken::new(
                Rule::WrittenBeforeSent,
                &row.id,
                format_args!("{posts} orders left for {attempts} attempts"),
            ));
        }
    }
    broken
}

pub(super) fn sent_as_asked(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    for post in &books.bank.posts {
        let key = post.header("x-request-id").unwrap_or_default();
        let Some(row) = of(books, key) else { continue };
        let (amount, currency) = (
            post.body["instructedAmount"]["amount"].as_str(),
            post.body["instructedAmount"]["currency"].as_str(),
        );
        let minor = amount.and_then(minor);
        if (minor, currency, post.body["creditorName"].as_str())
            != (
                Some(row.amount),
                Some(row.currency.as_str()),
                Some(row.creditor_name.as_str()),
            )
        {
            broken.push(Broken::new(
                Rule::SentAsAsked,
                &row.id,
                format_args!("{} was sent for {} {}", post.body, row.amount, row.currency),
            ));
        }
        if row
            .attempts
            .0
            .iter()
            // Of what a restore has forgotten, no body is known.
            .any(|attempt| attempt.body_sha256 != post.body_sha256 && attempt.body_sha256 != "0".repeat(64))
        {
            broken.push(Broken::new(
                Rule::SentAsAsked,
                &row.id,
                "another body was sent than was written down",
            ));
        }
    }
    broken
}

pub(super) fn sent_again(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    for row in &books.payments {
        let posts: Vec<_> = books
            .bank
            .posts
            .iter()
            .filter(|post| post.header("x-request-id") == Some(row.request_id.as_str()))
            .collect();
        // Answers of which nobody heard: their process died.
        let attempts = row.attempts.0.iter();
        let mut unheard = attempts.filter(|attempt| attempt.outcome == "ambiguous").count();
        if let Some((_, before)) = posts.split_last() {
            for post in before {
                let failed = matches!(post.status, Some(500 | 502 | 503));
                let allows = post.status == Some(401) || (failed && books.retries_5xx);
                // Where one key is one payment, whatever leaves the outcome open allows it too.
                let refused = post
                    .status
                    .is_some_and(|status| (400..500).contains(&status) && status != 408);
                let unknown = !refused || unheard > 0;
                unheard = unheard.saturating_sub(usize::from(refused && !allows));
                if !(allows || unknown && books.dedupe_proven) {
                    broken.push(Broken::new(
                        Rule::SentAgain,
                        &row.id,
                        format_args!("was sent again after {:?}", post.status),
                    ));
                }
            }
        }
        let failed = posts
            .iter()
            .filter(|post| post.status.is_some_and(|status| status >= 500));
        let retried = row.story.0.iter().filter(|step| step.action == "payment.retried");
        if failed.count() > ATTEMPTS * (1 + retried.count()) {
            broken.push(Broken::new(
                Rule::SentAgain,
                &row.id,
                "failed at the bank more than four times",
            ));
        }
    }
    broken
}

/// Under the payment's lock the wish and the attempt come one after the other.
pub(super) fn unwanted(books: &Books) -> Vec<Broken> {
    let say = |of: &str| Broken::new(Rule::Unwanted, of, "was sent although its owner had wished it back");
    let arrived = books.bank.arrived.iter().filter(|arrived| arrived.unwanted);
    let arrived = arrived.map(|arrived| say(&arrived.request_id));
    let begun = books
        .payments
        .iter()
        .filter(|row| row.attempts.0.iter().any(|attempt| attempt.unwanted));
    arrived.chain(begun.map(|row| say(&row.id))).collect()
}

pub(super) fn truth(books: &Books) -> Vec<Broken> {
    let by_the_bank = books.payments.iter().filter(|row| !row.is_settled_by_hand());
    by_the_bank
        .filter_map(|row| Some(Broken::new(Rule::Truth, &row.id, untruth(books, row)?)))
        .collect()
}

/// What the row says and the bank does not.
fn untruth(books: &Books, row: &Row) -> Option<&'static str> {
    let orders = row.orders(&books.bank);
    let is_paid = orders.iter().any(|order| order.moved);
    let is_accepted = orders
        .iter()
        .any(|order| order.approved || !matches!(order.status.as_str(), "RCVD" | "PDNG" | "PATC" | "ACTC"));
    match (row.state.status.as_str(), row.state.bank_final) {
        ("completed", true) if !is_paid => Some("is completed, and the bank has not paid it"),
        ("completed", false) if !is_accepted => Some("is completed, and the bank has not accepted it"),
        ("failed" | "cancelled", true) if is_paid => Some("ended without payment, and the bank has paid it"),
        // Refused, or never sent: no word of the bank's stands behind it.
        ("failed" | "cancelled", true) if row.state.bank_status.is_none() && !orders.is_empty() => {
            Some("is said not to be at the bank, and is there")
        }
        ("failed" | "cancelled", true)
            if row.state.bank_status.is_some()
                && orders
                    .iter()
                    .any(|order| row.payment_id.as_ref() == Some(&order.id) && !is_over(&order.status)) =>
        {
            Some("ended without payment, and the bank goes on with it")
        }
        _ => None,
    }
}

fn is_over(code: &str) -> bool {
    matches!(code, "RJCT" | "CANC" | "ACSC" | "ACCC")
}

fn of<'a>(books: &'a Books, request_id: &str) -> Option<&'a Row> {
    books.payments.iter().find(|row| row.request_id == request_id)
}

/// Hundredths of a decimal text with two decimals, which is how kroner are sent.
pub(super) fn minor(amount: &str) -> Option<i64> {
    let (whole, parts) = amount.split_once('.').unwrap_or((amount, "00"));
    let digits = format!("{whole}{parts:0<2}");
    (parts.len() <= 2).then(|| digits.parse().ok()).flatten()
}
