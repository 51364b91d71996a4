//! Circuit breakers: how they stand, what became of them, and setting one by hand.

use drop_common::resilience::breaker_hand::{self, Standing, Transition};
use maud::{Markup, html};
use poem::{Response, handler};

use super::{
    form::Act,
    layout::{self, badge},
    session::Look,
    stop::Stop,
};
use crate::operator::actions::breakers;

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let db = &look.page.context.db;
    let standings = breaker_hand::standings(db).await?;
    let history = breaker_hand::transitions(db, None, 50).await?;
    let body = html! {
        h1 { "Circuits" }
        p.quiet { "So many failures within its window open a circuit. Some time later one call probes, and its answer closes it." }
        (list(&look, &standings))
        (past(&look, &history))
    };
    Ok(layout::page(&look, "/operator/breakers", "Circuits", &body))
}

fn list(look: &Look, standings: &[Standing]) -> Markup {
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = standings
        .iter()
        .map(|circuit| {
            let half_open = circuit.open && circuit.retry_at.is_some_and(|at| at <= now);
            let state = match (circuit.open, half_open) {
                (false, _) => badge("good", "closed"),
                (true, true) => badge("warn", "half-open"),
                (true, false) => badge("bad", "open"),
            };
            let mut row = vec![
                html! { strong { (circuit.key) } },
                html! { (state) @if circuit.probing { " " (badge("warn", "probing")) } },
                layout::maybe(
                    if circuit.open {
                        circuit.opened_at
                    } else {
                        circuit.closed_at
                    },
                    now,
                ),
                layout::maybe(circuit.retry_at, now),
                html! { (circuit.failures) " of " (circuit.threshold) " in " (layout::age(circuit.window_seconds)) },
                html! { (layout::age(circuit.open_seconds)) },
            ];
            if look.who.may_change() {
                row.push(actions(look, circuit));
            }
            row
        })
        .collect();
    let mut head = vec!["Circuit", "State", "Since", "Next probe", "Failures", "Open for"];
    if look.who.may_change() {
        head.push("Change");
    }
    layout::table(&head, &rows, "No circuits.")
}

fn actions(look: &Look, circuit: &Standing) -> Markup {
    let form = |open: bool, verb: &str, class: &str| {
        html! {
            form.action method="post" action="/operator/breakers/set" {
                input type="hidden" name="key" value=(circuit.key);
                input type="hidden" name="open" value=(open);
                (layout::because(look, "/operator/breakers"))
                div.buttons { button.(class) type="submit" { (verb) " " (circuit.key) } }
            }
        }
    };
    html! {
        @if circuit.open {
            details { summary { "Close " span.hidden { (circuit.key) } } (form(false, "Close", "primary")) }
        } @else {
            @if circuit.failures > 0 { details { summary { "Reset " span.hidden { (circuit.key) } } (form(false, "Reset", "primary")) } }
            details { summary { "Open " span.hidden { (circuit.key) } } (form(true, "Open", "danger")) }
        }
    }
}

fn past(look: &Look, history: &[Transition]) -> Markup {
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = history
        .iter()
        .map(|transition| {
            let became = match transition.became.as_str() {
                "open" => badge("bad", "open"),
                "still_open" => badge("bad", "still open: the probe failed"),
                "closed" => badge("good", "closed"),
                other => badge("neutral", other),
            };
            vec![layout::moment(transition.at, now), html! { (transition.key) }, became]
        })
        .collect();
    html! {
        section aria-labelledby="history" {
            h2 #history { "History" }
            (layout::table(&["When", "Circuit", "Became"], &rows, "No circuit has opened in the last 90 days."))
        }
    }
}

#[handler]
pub(super) async fn set(act: Act) -> Result<Response, Stop> {
    let key = act.form.get("key").ok_or(Stop::NotFound)?;
    let open = act
        .form
        .parsed("open")
        .ok_or(Stop::Unusable("It is not said what is to be done."))?;
    breakers::set(&act.page.context.db, key, open, &act.by).await?;
    Ok(act.done(if open { "breaker.opened" } else { "breaker.reset" }, 1))
}
