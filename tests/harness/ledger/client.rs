//! What people heard, against the rows.

use std::collections::BTreeMap;

use super::{Books, Broken, Heard, Rule, State, bank::minor};

pub(super) fn one_key_one_payment(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut accepted: BTreeMap<(&str, &str), Vec<&Heard>> = BTreeMap::new();
    for heard in &books.heard {
        if heard.status == 500 {
            broken.push(Broken::new(Rule::OneKeyOnePayment, &heard.user, "was answered 500"));
        }
        if let (Some((key, _)), 201 | 202) = (&heard.asked, heard.status) {
            accepted.entry((&heard.user, key)).or_default().push(heard);
        }
    }
    for ((user, key), answers) in accepted {
        let of = format!("{user}, key {key}");
        let say = |what: &str| Broken::new(Rule::OneKeyOnePayment, &of, what);
        let first = &answers[0].shown;
        if answers.iter().any(|answer| facts(&answer.shown) != facts(first)) {
            broken.push(say("the answers are about different payments"));
        }
        if answers.iter().filter(|answer| !answer.replayed).count() > 1 {
            broken.push(say("more than one answer says that the key is new"));
        }
        if !answers.iter().all(|answer| describes_what_was_asked(answer)) {
            broken.push(say("another order was accepted under the key"));
        }
        let row = books.payments.iter().find(|row| first["id"] == *row.id);
        if row.is_none_or(|row| (row.user_id.as_str(), row.client_key.as_str()) != (user, key)) {
            broken.push(say("the payment that was accepted is lost"));
        }
    }
    broken
}

/// What no answer about a payment ever says otherwise.
fn facts(shown: &serde_json::Value) -> [&serde_json::Value; 5] {
    ["id", "accountId", "instructedAmount", "creditorName", "creditorAccount"].map(|name| &shown[name])
}

fn describes_what_was_asked(heard: &Heard) -> bool {
    let Some((_, order)) = &heard.asked else { return true };
    let (wanted, shown) = (&order["instructedAmount"], &heard.shown["instructedAmount"]);
    let amount = |of: &serde_json::Value| of["amount"].as_str().and_then(minor);
    amount(wanted) == amount(shown)
        && wanted["currency"] == shown["currency"]
        && order["accountId"] == heard.shown["accountId"]
}

pub(super) fn shown_as_it_was(books: &Books) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut histories: BTreeMap<&str, Vec<State>> = BTreeMap::new();
    for heard in &books.heard {
        // A problem, a page of payments, or the little that a callback shows, has no version.
        let (Some(id), true) = (heard.shown["id"].as_str(), heard.shown["version"].is_number()) else {
            continue;
        };
        let Some(row) = books.payments.iter().find(|row| row.id == id) else {
            broken.push(Broken::new(Rule::ShownAsItWas, id, "was shown, and is lost"));
            continue;
        };
        let shown = State::shown(&heard.shown);
        let history = histories.entry(&row.id).or_insert_with(|| row.history());
        if !history.contains(&shown) {
            broken.push(Broken::new(
                Rule::ShownAsItWas,
                id,
                format_args!("was shown as {shown:?}, which it never was: {history:?}"),
            ));
        }
        if heard.user != row.user_id {
            broken.push(Broken::new(
                Rule::ShownAsItWas,
                id,
                format_args!("was shown to {}", heard.user),
            ));
        }
    }
    broken
}
