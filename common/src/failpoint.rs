//! Named points at which a test ends or holds up this process, to see that the others carry on.
//!
//! They exist only with the feature `failpoints`, which nothing but the tests turns on: without it a point expands to
//! nothing, its name included. `DROP_FAILPOINT=<name>=<action>[@nth]` arms one point for the nth time it is reached
//! (the first, unless said otherwise). Actions: `abort`, `panic` and `sleep:<ms>`.

/// A point at which a test may end or hold up this process. Which of the two definitions a crate sees is decided by
/// this crate's feature, not by its own.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::reached($name)
    };
}

/// Nothing: this build has no failpoints.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {};
}

#[cfg(feature = "failpoints")]
pub use armed::reached;

#[cfg(feature = "failpoints")]
mod armed {
    use std::{
        process,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        thread,
        time::Duration,
    };

    const VARIABLE: &str = "DROP_FAILPOINT";

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let armed = Armed::parse(&text);
        if armed.is_none() {
            tracing::error!("{VARIABLE} is not of the form <name>=abort|panic|sleep:<ms>[@nth]: {text}");
            process::exit(2); // going on would look like a fault that did no harm
        }
        armed
    });

    struct Armed {
        name: String,
        action: Action,
        nth: u64,
        reached: AtomicU64,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Action {
        Abort,
        Panic,
        Sleep(Duration),
    }

    /// Called by the macro `failpoint!`.
    pub fn reached(name: &str) {
        if let Some(armed) = &*ARMED
            && armed.name == name
            && armed.reached.fetch_add(1, Ordering::Relaxed) + 1 == armed.nth
        {
            match armed.action {
                Action::Abort => process::abort(), // as by SIGKILL: nothing is unwound or flushed
                Action::Panic => std::panic::panic_any(()),
                Action::Sleep(time) => thread::sleep(time), // the thread too, as when a machine stalls
            }
        }
    }

    impl Armed {
        fn parse(text: &str) -> Option<Self> {
            let (name, rest) = text.split_once('=')?;
            let (action, nth) = match rest.split_once('@') {
                Some((action, nth)) => (action, nth.parse().ok().filter(|nth| *nth > 0)?),
                None => (rest, 1),
            };
            let action = match action.split_once(':') {
                Some(("sleep", ms)) => Action::Sleep(Duration::from_millis(ms.parse().ok()?)),
                None if action == "abort" => Action::Abort,
                None if action == "panic" => Action::Panic,
                _ => return None,
            };
            Some(Self {
                name: name.to_owned(),
                action,
                nth,
                reached: AtomicU64::new(0),
            })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_failpoint_is_read_from_one_line() {
            let armed = Armed::parse("queue.claimed=abort").unwrap();
            assert_eq!(
                (armed.name.as_str(), armed.action, armed.nth),
                ("queue.claimed", Action::Abort, 1)
            );
            let armed = Armed::parse("queue.renewing=sleep:1500@3").unwrap();
            assert_eq!(
                (armed.action, armed.nth),
                (Action::Sleep(Duration::from_millis(1500)), 3)
            );
            for wrong in ["queue.claimed", "a=explode", "a=sleep:soon", "a=abort@0", "a=abort:1"] {
                assert!(Armed::parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}
