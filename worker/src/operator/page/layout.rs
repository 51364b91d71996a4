//! What the pages have in common: the frame, forms, times, badges.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use drop_common::metrics::OPERATOR_ACTION_NAMES;
use maud::{DOCTYPE, Markup, html};
use poem::{Response, http::StatusCode};

use super::{assets, form::TOKEN, session::Look};
use crate::operator::actions::LONGEST_REASON;

/// The sections: path, name.
const SECTIONS: [(&str, &str); 9] = [
    ("/operator", "Overview"),
    ("/operator/jobs", "Jobs"),
    ("/operator/payments", "Payments"),
    ("/operator/lanes", "Lanes"),
    ("/operator/workers", "Workers"),
    ("/operator/breakers", "Circuits"),
    ("/operator/cron", "Cron"),
    ("/operator/webhooks", "Webhooks"),
    ("/operator/audit", "Audit"),
];

/// A page without anybody: signing in, and refusals.
pub(super) fn bare(status: StatusCode, title: &str, body: &Markup) -> Response {
    let page = frame(title, None, &html! { main #main tabindex="-1" { (body) } });
    Response::builder()
        .status(status)
        .content_type("text/html; charset=utf-8")
        .body(page.into_string())
}

/// A page that goes on to another one of ours by itself, so that the browser asks for that one from here.
pub(super) fn onward(to: &str) -> Response {
    let body = html! { main #main tabindex="-1" { p { a href=(to) { "Go on" } } } };
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .body(frame("Operators", Some(to), &body).into_string())
}

/// A page of `section` for whoever looks.
pub(super) fn page(look: &Look, section: &str, title: &str, body: &Markup) -> Response {
    let who = &look.who;
    let everything = html! {
        a.skip href="#main" { "To the content" }
        header {
            a.brand href="/operator" { "Drop" }
            nav aria-label="Sections" {
                ul {
                    @for (path, name) in SECTIONS {
                        li { a href=(path) aria-current=[(path == section).then_some("page")] { (name) } }
                    }
                }
            }
            form.find role="search" action="/operator/find" {
                label.hidden for="q" { "Job, payment, login, event, person or request" }
                input #q type="search" name="q" placeholder="an id: job, tx_…, lgn_…" autocomplete="off" spellcheck="false";
            }
            div.who {
                span { (who.name) " " (role(look)) }
                @if who.session.is_some() {
                    form method="post" action="/operator/sign-out" {
                        (token(look))
                        button.plain type="submit" { "Sign out" }
                    }
                }
            }
        }
        main #main tabindex="-1" {
            @if let Some((done, changed)) = done(look) {
                p.notice.good role="status" { "Done: " (done) ", " (changed) "." }
            }
            (body)
        }
    };
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .body(frame(title, None, &everything).into_string())
}

fn role(look: &Look) -> Markup {
    if look.who.may_change() {
        badge("neutral", "operator")
    } else {
        badge("neutral", "viewer")
    }
}

/// What an action left in the address, if it is one of ours.
fn done(look: &Look) -> Option<(&'static str, u32)> {
    let did = look.query.get("did")?;
    let known = OPERATOR_ACTION_NAMES.iter().find(|known| **known == did)?;
    Some((known, look.query.parsed("n")?))
}

/// `onward`: where it goes on to by itself.
fn frame(title: &str, onward: Option<&str>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(to) = onward { meta http-equiv="refresh" content={ "0; url=" (to) }; }
                title { (title) " · Drop operators" }
                link rel="icon" href=(assets::icon().path()) type="image/svg+xml";
                link rel="stylesheet" href=(assets::style().path()) integrity=(assets::style().hash);
                script defer src=(assets::script().path()) integrity=(assets::script().hash) {}
            }
            body { (body) }
        }
    }
}

/// The field that proves a form to be ours.
pub(super) fn token(look: &Look) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(look.who.form_token(&look.page.context.keys)); }
}

/// What every form that changes something holds: the proof, where to go back to, and the reason.
pub(super) fn because(look: &Look, back: &str) -> Markup {
    html! {
        (token(look))
        input type="hidden" name="back" value=(back);
        label.reason {
            span { "Reason" }
            input type="text" name="reason" required maxlength=(LONGEST_REASON) placeholder="ticket or cause; no names" autocomplete="off";
        }
    }
}

/// A moment, with how long ago or ahead it is.
pub(super) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) title=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) {
            (at.format("%Y-%m-%d %H:%M:%S UTC")) " " span.quiet { "(" (apart(at, now)) ")" }
        }
    }
}

/// The same where there may be none.
pub(super) fn maybe(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Markup {
    at.map_or_else(|| html! { span.quiet { "–" } }, |at| moment(at, now))
}

fn apart(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at > now {
        format!("in {}", span(at - now))
    } else {
        format!("{} ago", span(now - at))
    }
}

fn span(length: TimeDelta) -> String {
    seconds(length.num_seconds())
}

/// A length of time in its two largest units at most.
pub(super) fn seconds(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// The same of a gauge.
pub(super) fn age(gauge: f64) -> String {
    seconds(whole(gauge))
}

/// A gauge's whole part.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a gauge of seconds; what does not fit stays at the edge"
)]
pub(super) fn whole(gauge: f64) -> i64 {
    gauge as i64
}

/// A word with a colour: `good`, `bad`, `warn` or `neutral`. The word says it all; the colour only helps.
pub(super) fn badge(colour: &str, word: &str) -> Markup {
    html! { span.badge.(colour) { (word) } }
}

/// A job's state.
pub(super) fn job_state(state: &str) -> Markup {
    let colour = match state {
        "done" => "good",
        "dead" | "untold" => "bad",
        "running" => "warn",
        _ => "neutral",
    };
    badge(colour, state)
}

/// A small chart of what was counted, oldest first; as a text for those who do not see it.
pub(super) fn chart(values: &[f64], what: &str) -> Markup {
    let most = values.iter().copied().fold(1.0, f64::max);
    let latest = values.last().copied().unwrap_or_default();
    let step = 120.0 / f64::from(u32::try_from(values.len().saturating_sub(1)).unwrap_or(1).max(1));
    let points: Vec<String> = (0_u32..)
        .zip(values)
        .map(|(place, value)| format!("{:.1},{:.1}", f64::from(place) * step, 25.0 - value / most * 22.0))
        .collect();
    html! {
        svg.chart viewBox="0 0 120 28" role="img" preserveAspectRatio="none"
            aria-label=(format!("{what}: now {latest:.0}, at most {most:.0} in the last hour")) {
            polyline points=(points.join(" ")) fill="none" vector-effect="non-scaling-stroke" {}
        }
    }
}

/// The link to older rows.
pub(super) fn older(link: Option<String>) -> Markup {
    html! {
        @if let Some(link) = link {
            p.older { a.button href=(link) rel="next" { "Older" } }
        }
    }
}

/// A table of a list that may be empty. On a narrow screen a row becomes a card, whose cells say their column.
pub(super) fn table(head: &[&str], rows: &[Vec<Markup>], empty: &str) -> Markup {
    html! {
        @if rows.is_empty() {
            p.empty { (empty) }
        } @else {
            table.cards {
                thead { tr { @for title in head { th scope="col" { (title) } } } }
                tbody {
                    @for row in rows {
                        tr { @for (title, cell) in head.iter().zip(row) { td data-title=(title) { (cell) } } }
                    }
                }
            }
        }
    }
}

/// A text as a part of an address.
pub(super) fn encoded(pairs: &[(&str, &str)]) -> String {
    let given: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    serde_urlencoded::to_string(given).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_text_and_never_markup() {
        let row = vec![vec![html! { (r#"<script>alert("x")</script>"#) }]];
        let shown = table(&["error"], &row, "none").into_string();
        assert!(
            shown.contains("&lt;script&gt;") && !shown.contains("<script>"),
            "{shown}"
        );
    }

    #[test]
    fn a_length_of_time_is_told_in_what_people_count_it_in() {
        let told = [0, 119, 120, 7_199, 7_260, 172_800].map(seconds);
        assert_eq!(told, ["0 s", "119 s", "2 min", "119 min", "2 h 1 min", "2 days"]);
    }
}
