//! `cargo run -- demo`, to its end.
use std::time::{Duration, Instant};

use crate::launched::{Launched, Place};

/// What each step says: the start of its line, what is in the rest, and the HTTP status.
const STEPS: [(&str, &str, &str); 8] = [
    ("logged in with BankID: ", "usr_", "200"),
    ("KYC requested: ", "pending", "201"),
    ("KYC reviewed: ", "approved", "200"),
    ("bank access requested: ", "received", "201"),
    ("account linked: ", "NO93********947", "200"),
    ("balance shown: ", "45230.00 NOK", "200"),
    ("payment ordered: ", "2010.00 NOK, scaRedirect 127.0.0.1:", "201"),
    ("payment approved: ", "completed", "200"),
];

#[test]
fn the_demo_walks_a_person_from_login_to_a_completed_payment_and_leaves_nothing() {
    let place = Place::new();
    let mut launcher = Launched::start(place.launcher().arg("demo"));
    launcher.wait_for("every step was as expected");
    let played = Instant::now();
    let (status, said) = launcher.ended();
    let ending = played.elapsed();

    assert_eq!(status.code(), Some(0), "{said}");
    let steps: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("✓ ")).collect();
    assert_eq!(steps.len(), STEPS.len(), "{said}");
    for (number, (line, (what, detail, status))) in (1..).zip(steps.into_iter().zip(STEPS)) {
        let happened = line.strip_prefix(&format!("{number}/8  {what}")).expect(line);
        assert!(happened.starts_with(detail), "{line}");
        let numbers: Vec<_> = happened.split_whitespace().rev().take(3).collect();
        let ["ms", milliseconds, came] = numbers[..] else {
            panic!("no time and status at the end of {line:?}");
        };
        assert_eq!(came, status, "{line}");
        assert!(milliseconds.parse::<u32>().is_ok(), "{line}");
    }
    assert!(said.ends_with("nothing is left running\n"), "{said}");
    assert_eq!(place.left(), Vec::<String>::new());
    // A moment in fact; the time a balancer would be given, five seconds, must not be in it.
    assert!(ending < Duration::from_secs(4), "{ending:?}\n{said}");
}
