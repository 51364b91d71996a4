//! How everything stands, from the readings that the gauges are made of: it costs the database a few rows.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use drop_common::{
    metrics::PROVIDER_REQUESTS,
    queue::{
        look::{self, LaneStanding},
        processes,
    },
};
use maud::{Markup, html};
use poem::{Response, handler};

use super::{
    layout::{self, age, badge, chart},
    session::Look,
    stop::Stop,
};
use crate::gauges::Reading;

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let readings = look.page.readings.all();
    // What is known is shown also while the database is away, to whom a proxy signed in: a cookie is nobody's then.
    let standings = look::lanes(&look.page.context.db).await.ok();
    let processes = processes::all(&look.page.context.db).await.unwrap_or_default();
    let body = html! {
        div data-live {
            div.title {
                h1 { "Overview" }
                @if let Some(grafana) = &look.page.context.settings.operators.grafana_url {
                    a.button href=(grafana) rel="noreferrer" { "Dashboards" }
                }
            }
            @if standings.is_none() { p.notice.bad role="alert" { "The database does not answer. What is shown was read before." } }
            @match readings.last() {
                None => p.notice { "Nothing was read from the database yet. In a moment it will be." },
                Some((at, reading)) => {
                    (tiles(reading))
                    (lanes(reading, &readings, standings.as_deref().unwrap_or_default()))
                    p.quiet { "Read " (age(Instant::now().duration_since(*at).as_secs_f64())) " ago; charts: the last hour, as this process has seen it." }
                },
            }
            div.beside {
                @if let Some((_, reading)) = readings.last() { (circuits(reading)) }
                (providers(&look))
            }
            section aria-labelledby="workers" {
                h2 #workers { a href="/operator/workers" { "Workers" } }
                (super::workers::list(&look, &processes, false))
            }
        }
    };
    Ok(layout::page(&look, "/operator", "Overview", &body))
}

struct Tile {
    name: &'static str,
    value: String,
    /// Somebody should look.
    alarming: bool,
    link: &'static str,
}

fn tiles(reading: &Reading) -> Markup {
    let domain = &reading.domain;
    let dead: i64 = reading.lanes.iter().map(|lane| lane.dead).sum();
    let untold: i64 = reading.lanes.iter().map(|lane| lane.untold).sum();
    let tile = |name, value: String, alarming, link| Tile {
        name,
        value,
        alarming,
        link,
    };
    let count = |name, count: i64, link| tile(name, count.to_string(), count > 0, link);
    let oldest = |name, seconds: f64, limit, link| tile(name, age(seconds), seconds > limit, link);
    let tiles = [
        count(
            "Payments to review",
            domain.payments_needing_review,
            "/operator/payments",
        ),
        tile(
            "Payments under way",
            domain.payments_open.to_string(),
            false,
            "/operator/payments",
        ),
        oldest(
            "Oldest under way",
            domain.payments_oldest_open_age,
            900.0,
            "/operator/payments",
        ),
        count("Dead jobs", dead, "/operator/jobs/dead"),
        count("Untold jobs", untold, "/operator/jobs?state=untold"),
        oldest(
            "Oldest webhook not applied",
            domain.webhook_inbox_oldest_age,
            300.0,
            "/operator/webhooks?state=received",
        ),
        count(
            "Webhooks unmatched",
            domain.webhooks_unmatched,
            "/operator/webhooks?state=unmatched",
        ),
        count(
            "Webhooks quarantined",
            domain.webhooks_quarantined,
            "/operator/webhooks?state=quarantined",
        ),
        oldest(
            "Oldest check at Sumsub",
            domain.kyc_pending_oldest_age,
            86_400.0,
            "/operator/webhooks",
        ),
        oldest(
            "Oldest undelivered notice",
            domain.notifications_oldest_age,
            600.0,
            "/operator/jobs?kind=deliver-notification",
        ),
        oldest(
            "Oldest transaction of the database",
            reading.oldest_snapshot_age,
            600.0,
            "/operator/lanes",
        ),
    ];
    html! {
        ul.tiles aria-label="What waits" {
            @for tile in tiles {
                li.tile.alarming[tile.alarming] {
                    a href=(tile.link) {
                        span.name { (tile.name) }
                        span.value { (tile.value) @if tile.alarming { span.hidden { " – look at it" } } }
                    }
                }
            }
        }
    }
}

fn lanes(latest: &Reading, readings: &[(Instant, Arc<Reading>)], standings: &[LaneStanding]) -> Markup {
    let mut ordered: Vec<_> = latest.lanes.iter().collect();
    ordered.sort_by_key(|lane| lane.lane);
    let rows: Vec<Vec<Markup>> = ordered
        .into_iter()
        .map(|lane| {
            let of = |reading: &Reading| {
                let found = reading.lanes.iter().find(|read| read.lane == lane.lane);
                found.map_or(0.0, |read| read.oldest_ready_age)
            };
            let ages: Vec<f64> = readings.iter().map(|(_, reading)| of(reading)).collect();
            let standing = standings.iter().find(|standing| standing.lane == lane.lane);
            let name = lane.lane.name();
            let link = |state: &str, count: i64| html! {
                @if count > 0 { a href={ "/operator/jobs?" (layout::encoded(&[("state", state), ("lane", name)])) } { (count) } }
                @else { span.quiet { "0" } }
            };
            let late = lane.ready_age_limit.is_some_and(|limit| lane.oldest_ready_age > limit);
            vec![
                html! { strong { (name) } },
                super::lanes::state(standing),
                link("ready", lane.ready),
                html! { (lane.scheduled) },
                link("running", lane.running),
                link("dead", lane.dead),
                html! { @if late { (badge("bad", &age(lane.oldest_ready_age))) } @else { (age(lane.oldest_ready_age)) } },
                chart(&ages, "Age of the oldest ready job in seconds"),
            ]
        })
        .collect();
    html! {
        section aria-labelledby="lanes" {
            h2 #lanes { "Lanes" }
            (layout::table(&["Lane", "State", "Ready", "Scheduled", "Running", "Dead", "Oldest ready", "Last hour"], &rows, "No lanes."))
        }
    }
}

fn circuits(reading: &Reading) -> Markup {
    let rows: Vec<Vec<Markup>> = reading
        .circuits
        .iter()
        .map(|circuit| {
            let state = match (circuit.open, circuit.half_open) {
                (false, _) => badge("good", "closed"),
                (true, true) => badge("warn", "half-open"),
                (true, false) => badge("bad", "open"),
            };
            let since = if circuit.open {
                age(circuit.open_seconds)
            } else {
                "–".to_owned()
            };
            vec![
                html! { a href="/operator/breakers" { (circuit.key.as_str()) } },
                state,
                html! { (since) },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="circuits" {
            h2 #circuits { "Circuits" }
            (layout::table(&["Circuit", "State", "For"], &rows, "No circuits."))
        }
    }
}

/// What this process asked the providers, and how that went.
fn providers(look: &Look) -> Markup {
    let mut totals: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (labels, value) in look.page.context.metrics.values(&PROVIDER_REQUESTS) {
        let is_good = labels.iter().any(|label| label == "ok");
        let (all, others) = totals.entry(labels.into_iter().next().unwrap_or_default()).or_default();
        *all += value;
        *others += if is_good { 0.0 } else { value };
    }
    let rows: Vec<Vec<Markup>> = totals
        .iter()
        .map(|(provider, (all, others))| {
            vec![
                html! { strong { (provider) } },
                html! { (format!("{all:.0}")) },
                html! { @if *others > 0.0 { (badge("warn", &format!("{others:.0}"))) } @else { "0" } },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="providers" {
            h2 #providers { "Providers" }
            (layout::table(&["Provider", "Calls of this process", "Other than ok"], &rows, "No providers."))
        }
    }
}
