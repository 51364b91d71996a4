//! The launcher is told to end, or killed, at different moments: nothing may be left.
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::launched::{Launched, Place, within};

/// The database's programs are starting.
const STARTING: &str = "starting the server";
/// The first step of the walk-through is done, the second under way.
const WALKING: &str = "✓ 1/8";

#[rstest]
#[case::ctrl_c("INT", "private cluster")]
#[case::terminate("TERM", STARTING)]
#[case::terminal_closed("HUP", "private cluster")]
#[case::ctrl_c_in_the_walk_through("INT", WALKING)]
#[case::terminate_in_the_walk_through("TERM", WALKING)]
fn a_signal_ends_the_run_with_130_and_leaves_nothing(#[case] signal: &str, #[case] moment: &str) {
    let place = Place::new();
    let mut launcher = Launched::start(&mut place.launcher());
    launcher.wait_for(moment);
    if moment == WALKING {
        assert_parts_run(&place);
    }
    let asked = Instant::now();
    launcher.signal(signal);
    let (status, said) = launcher.ended();
    assert_eq!(status.code(), Some(130), "{said}");
    assert_eq!(place.left(), Vec::<String>::new());
    // A moment in fact; the time a balancer would be given, five seconds, must not be in it.
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}\n{said}",
        asked.elapsed()
    );
}

#[rstest]
#[case::while_postgresql_starts(STARTING)]
#[case::in_the_walk_through(WALKING)]
fn a_launcher_that_is_killed_leaves_nothing(#[case] moment: &str) {
    let place = Place::new();
    let mut launcher = Launched::start(&mut place.launcher());
    launcher.wait_for(moment);
    if moment == WALKING {
        assert_parts_run(&place);
    }
    launcher.signal("KILL");
    let killed = Instant::now();
    within("nothing is left", || {
        let left = place.left();
        assert!(killed.elapsed() < Duration::from_secs(30), "{left:?}");
        left.is_empty()
    });
}

#[test]
fn a_server_that_cannot_be_used_is_an_error_that_says_so() {
    let place = Place::new();
    let url = "postgres://drop:hunter2@127.0.0.1:1/postgres";
    let launcher = Launched::start(place.launcher().arg("demo").env("DROP_DATABASE_URL", url));
    let (status, said) = launcher.ended();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("DROP_DATABASE_URL cannot be used"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// Otherwise that none is left would say nothing.
fn assert_parts_run(place: &Place) {
    let running = place.processes();
    for part in [" sandbox", " api", " worker", "fsync=off"] {
        assert!(
            running.iter().any(|(_, line)| line.contains(part)),
            "{part}: {running:?}"
        );
    }
    assert!(!place.left().is_empty());
}
