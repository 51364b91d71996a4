//! What the launcher prints. A reader who went away (`| head`) is no reason to fail.
use std::io::{IsTerminal, Write};

const GREEN: &str = "32";
const RED: &str = "31";
const GREY: &str = "90";

/// A line of the launcher itself.
pub(crate) fn say(text: &str) {
    line(text);
}

/// What is being waited for.
pub(crate) fn waiting(text: &str) {
    line(&paint(GREY, &format!("… {text}")));
}

/// A step of the walk-through that went as expected: what happened, the HTTP status, and how long it took.
pub(crate) fn step_done(number: usize, of: usize, what: &str, status: u16, milliseconds: u128) {
    line(&format!(
        "{} {number}/{of}  {what:<66} {status}  {milliseconds:>6} ms",
        paint(GREEN, "✓")
    ));
}

/// A step that did not: with the HTTP status that came instead, if one came.
pub(crate) fn step_failed(number: usize, of: usize, what: &str, status: Option<u16>, milliseconds: u128) {
    let status = status.map_or_else(|| "---".to_owned(), |status| status.to_string());
    line(&format!(
        "{} {number}/{of}  {what:<66} {status}  {milliseconds:>6} ms",
        paint(RED, "✗")
    ));
}

/// Why the run ends badly.
pub(crate) fn failed(text: &str) {
    line(&paint(RED, text));
}

/// A line a child wrote.
pub(crate) fn log(child: &str, text: &str) {
    line(&format!("{} {text}", paint(colour_of(child), &format!("{child:<8}|"))));
}

fn colour_of(child: &str) -> &'static str {
    match child {
        "api" => "36",
        "worker" => "35",
        "sandbox" => "33",
        _ => "34",
    }
}

/// Colour is for people: only on a terminal, and not where `NO_COLOR` asks for none.
fn paint(colour: &str, text: &str) -> String {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && std::io::stdout().is_terminal() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
