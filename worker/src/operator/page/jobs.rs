//! Jobs by many filters, the dead by what they died of, and what is done with several at once.

use chrono::DateTime;
use drop_common::queue::{
    ALL_KINDS, Lane,
    look::{self, Dead, Found, Search, Seen},
};
use maud::{Markup, html};
use poem::{Response, handler};

use super::{
    form::{Act, Fields},
    layout::{self, job_state},
    session::Look,
    stop::Stop,
};
use crate::operator::{
    actions::jobs::{self, JobAction, Share},
    answers::{self, DeadJobs},
};

const STATES: [&str; 5] = ["ready", "running", "done", "dead", "untold"];
const A_PAGE: usize = 50;

/// What cannot be read is refused: left out, it would widen what is shown, and what is done to it.
fn search_of(fields: &Fields) -> Result<Search, Stop> {
    let lane = fields
        .get("lane")
        .map(|name| Lane::from_name(name).ok_or(Stop::Unusable("There is no such lane.")));
    let before = fields
        .get("before")
        .map(|id| id.parse().map_err(|_| Stop::Unusable("That is no job's number.")));
    Ok(Search {
        state: fields.get("state").map(str::to_owned),
        lane: lane.transpose()?,
        kind: fields.get("kind").map(str::to_owned),
        error: fields.get("error").map(str::to_owned),
        // Empty is an answer, too: those that left no error.
        died_of: fields
            .has("died_of")
            .then(|| fields.get("died_of").unwrap_or_default().to_owned()),
        before: before.transpose()?,
        limit: A_PAGE,
    })
}

/// The filter as a part of an address, and more.
fn link(search: &Search, before: Option<i64>) -> String {
    let before = before.map(|id| id.to_string()).unwrap_or_default();
    let pairs = [
        ("state", search.state.as_deref().unwrap_or_default()),
        ("lane", search.lane.map(Lane::name).unwrap_or_default()),
        ("kind", search.kind.as_deref().unwrap_or_default()),
        ("error", search.error.as_deref().unwrap_or_default()),
        ("before", before.as_str()),
    ];
    let rest = layout::encoded(&pairs);
    match &search.died_of {
        Some(error) => format!("/operator/jobs?{}&{rest}", died_of(error)),
        None => format!("/operator/jobs?{rest}"),
    }
}

/// A group's error as a part of an address, where an empty one says something, too.
fn died_of(error: &str) -> String {
    serde_urlencoded::to_string([("died_of", error)]).unwrap_or_default()
}

#[handler]
pub(super) async fn show(look: Look) -> Result<Response, Stop> {
    let search = search_of(&look.query)?;
    let found = look::search(&look.page.context.db, &search).await?;
    let dead = if search.state.as_deref() == Some("dead") {
        Some(look::count_dead(&look.page.context.db, &search, None).await?)
    } else {
        None
    };
    let body = html! {
        div.title {
            h1 { "Jobs" }
            a.button href="/operator/jobs/dead" { "Dead by error" }
        }
        (filter(&search))
        @if let Some(error) = &search.died_of {
            p.notice {
                "Only those that died of " span.error { @if error.is_empty() { "no error" } @else { (error) } } " · "
                a href=(link(&Search { died_of: None, ..search.clone() }, None)) { "of anything" }
            }
        }
        (list(&look, &search, &found))
        (layout::older(found.next.map(|next| link(&search, Some(next)))))
        @if let Some(dead) = &dead && let Some(seen) = dead.seen && look.who.may_change() { (all_of_them(&look, &search, dead, seen)) }
    };
    Ok(layout::page(&look, "/operator/jobs", "Jobs", &body))
}

fn filter(search: &Search) -> Markup {
    let option = |value: &str, chosen: Option<&str>| {
        html! {
            option value=(value) selected[chosen == Some(value)] { (value) }
        }
    };
    html! {
        form.filter action="/operator/jobs" {
            label { span { "State" }
                select name="state" {
                    option value="" { "any" }
                    @for state in STATES { (option(state, search.state.as_deref())) }
                }
            }
            label { span { "Lane" }
                select name="lane" {
                    option value="" { "any" }
                    @for lane in Lane::ALL { (option(lane.name(), search.lane.map(Lane::name))) }
                }
            }
            label { span { "Kind" }
                select name="kind" {
                    option value="" { "any" }
                    @for kind in ALL_KINDS { (option(kind, search.kind.as_deref())) }
                }
            }
            label.wide { span { "Part of the error" }
                input type="text" name="error" value=(search.error.as_deref().unwrap_or_default()) autocomplete="off";
            }
            button type="submit" { "Search" }
        }
    }
}

fn list(look: &Look, search: &Search, found: &Found) -> Markup {
    let now = look.page.context.clock.now();
    let verbs = verbs(search.state.as_deref());
    let may_change = look.who.may_change() && !verbs.is_empty();
    let rows: Vec<Vec<Markup>> = found
        .jobs
        .iter()
        .map(|job| {
            let mut row = vec![
                html! { a href={ "/operator/jobs/" (job.id) } { (job.id) } },
                html! { (job.kind) },
                html! { (job.lane) },
                job_state(&job.state),
                html! { (job.attempts) " of " (job.max_attempts) },
                layout::moment(job.finished_at.unwrap_or(job.run_at), now),
                html! { span.error { (job.last_error.as_deref().unwrap_or_default()) } },
            ];
            if may_change {
                let label = format!("Job {}", job.id);
                row.insert(
                    0,
                    html! { input type="checkbox" name="id" value=(job.id) form="selection" aria-label=(label); },
                );
            }
            row
        })
        .collect();
    let mut head = vec!["Job", "Kind", "Lane", "State", "Attempts", "Ended or due", "Last error"];
    if may_change {
        head.insert(0, "Chosen");
    }
    let empty = if found.next.is_some() {
        "None among the newest five thousand that were looked at. Search on among older ones."
    } else {
        "No job matches."
    };
    html! {
        (layout::table(&head, &rows, empty))
        @if may_change && !rows.is_empty() {
            form.action #selection method="post" action="/operator/jobs/change" {
                fieldset {
                    legend { "With the chosen" }
                    (layout::because(look, &link(search, search.before)))
                    div.buttons {
                        button.plain type="button" data-choose-all hidden { "Choose all" }
                        @for (verb, name, class) in verbs { button.(class) type="submit" name="verb" value=(verb) { (name) } }
                    }
                }
            }
        }
    }
}

/// What can be done with jobs of this state, or of any: how it is sent, what it is called, and how it looks.
fn verbs(state: Option<&str>) -> &'static [(&'static str, &'static str, &'static str)] {
    const RETRY: (&str, &str, &str) = ("retry", "Retry", "usual");
    const DISCARD: (&str, &str, &str) = ("discard", "Discard", "danger");
    const CANCEL: (&str, &str, &str) = ("cancel", "Cancel", "danger");
    match state {
        None => &[RETRY, DISCARD, CANCEL],
        Some("dead") => &[RETRY, DISCARD],
        Some("untold") => &[RETRY],
        Some("ready") => &[("retry", "Run now", "usual"), CANCEL],
        Some(_) => &[],
    }
}

/// A first few as a trial, then a tenth, then all: of those that are counted here, and of no others.
fn all_of_them(look: &Look, search: &Search, dead: &Dead, seen: Seen) -> Markup {
    let dead = dead.jobs;
    let shares = [
        ("trial", "A trial of", jobs::TRIAL.min(dead)),
        ("tenth", "A tenth:", (dead / 10).clamp(1, jobs::MOST)),
        (
            "all",
            if dead > jobs::MOST { "The newest" } else { "All" },
            dead.min(jobs::MOST),
        ),
    ];
    let more = if dead >= look::GROUPED { " or more" } else { "" };
    html! {
        form.action method="post" action="/operator/jobs/change-dead" {
            fieldset {
                legend { "With all dead jobs of this filter: " (dead) (more) }
                p.quiet { "Begin with a few, look what becomes of them, then take a tenth, then all. The newest come first; at most "
                    (jobs::MOST) " at a time." }
                input type="hidden" name="lane" value=(search.lane.map(Lane::name).unwrap_or_default());
                input type="hidden" name="kind" value=(search.kind.as_deref().unwrap_or_default());
                input type="hidden" name="error" value=(search.error.as_deref().unwrap_or_default());
                @if let Some(error) = &search.died_of { input type="hidden" name="died_of" value=(error); }
                input type="hidden" name="newest" value=(seen.newest);
                input type="hidden" name="oldest" value=(seen.oldest);
                input type="hidden" name="latest" value=(seen.latest.timestamp_micros());
                fieldset.choices {
                    legend { "How many" }
                    @for (share, name, jobs) in shares {
                        label { input type="radio" name="share" value=(share) required checked[share == "trial"]; " " (name) " " (jobs) }
                    }
                }
                (layout::because(look, &link(search, None)))
                div.buttons {
                    button type="submit" name="verb" value="retry" { "Retry" }
                    button.danger type="submit" name="verb" value="discard" { "Discard" }
                }
            }
        }
    }
}

#[handler]
pub(super) async fn show_dead(look: Look) -> Result<Response, Stop> {
    let dead = answers::dead_jobs(&look.page.context.db).await?;
    let now = look.page.context.clock.now();
    let rows: Vec<Vec<Markup>> = dead
        .iter()
        .map(|DeadJobs { group, followed }| {
            let filter = [
                ("state", "dead"),
                ("lane", group.lane.as_str()),
                ("kind", group.kind.as_str()),
            ];
            let link = format!("/operator/jobs?{}&{}", layout::encoded(&filter), died_of(&group.error));
            vec![
                html! { a href=(link) { (group.jobs) } },
                html! { (group.kind) },
                html! { span.error { @if group.error.is_empty() { "no error" } @else { (group.error) } } },
                layout::moment(group.first, now),
                layout::moment(group.latest, now),
                html! { span.quiet { (followed) } },
            ]
        })
        .collect();
    let body = html! {
        div.title { h1 { "Dead jobs by error" } a.button href="/operator/jobs?state=dead" { "One by one" } }
        (layout::table(&["Jobs", "Kind", "Error", "First", "Last", "What followed"], &rows, "No job is dead."))
        p.quiet { "Of the newest " (look::GROUPED) ". Where numbers and ids differ, … stands." }
    };
    Ok(layout::page(&look, "/operator/jobs", "Dead jobs", &body))
}

fn verb(form: &Fields) -> Result<JobAction, Stop> {
    match form.get("verb") {
        Some("retry") => Ok(JobAction::Retry),
        Some("discard") => Ok(JobAction::Discard),
        Some("cancel") => Ok(JobAction::Cancel),
        _ => Err(Stop::Unusable("It is not said what is to be done.")),
    }
}

#[handler]
pub(super) async fn change(act: Act) -> Result<Response, Stop> {
    let action = verb(&act.form)?;
    let ids = act.form.all_parsed::<i64>("id").unwrap_or_default();
    if ids.is_empty() {
        return Err(Stop::Unusable("No job is chosen."));
    }
    let changed = jobs::change(&act.page.context.db, &ids, action, &act.by).await?;
    Ok(act.done(action.name(), changed))
}

#[handler]
pub(super) async fn change_dead(act: Act) -> Result<Response, Stop> {
    let action = match verb(&act.form)? {
        JobAction::Cancel => return Err(Stop::Unusable("The dead do not wait.")),
        action => action,
    };
    let share = match act.form.get("share") {
        Some("trial") => Share::Trial,
        Some("tenth") => Share::Tenth,
        Some("all") => Share::All,
        _ => return Err(Stop::Unusable("It is not said how many.")),
    };
    let search = search_of(&act.form)?;
    let seen = seen(&act.form).ok_or(Stop::Unusable(
        "It is not said which jobs were seen. Load the page anew.",
    ))?;
    let changed = jobs::change_dead(&act.page.context.db, &search, seen, share, action, &act.by).await?;
    Ok(act.done(action.name(), changed))
}

fn seen(form: &Fields) -> Option<Seen> {
    Some(Seen {
        newest: form.parsed("newest")?,
        oldest: form.parsed("oldest")?,
        latest: DateTime::from_timestamp_micros(form.parsed("latest")?)?,
    })
}
