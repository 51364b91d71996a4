//! The header `Prefer` (RFC 7240): how long a caller wants to wait for an outcome.

use std::time::Duration;

/// What the caller prefers; anything unknown is passed over, as the standard asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefer {
    wait: Option<Duration>,
    respond_async: bool,
}

impl Prefer {
    /// Reads the header; a missing one prefers nothing.
    pub fn parse(value: Option<&str>) -> Self {
        let mut prefer = Self::default();
        for preference in value.unwrap_or_default().split(',') {
            // Parameters after a semicolon belong to preferences we do not know.
            let main = preference.split(';').next().unwrap_or_default();
            let (name, value) = main.split_once('=').map_or((main, ""), |(name, value)| (name, value));
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("respond-async") {
                prefer.respond_async = true;
            } else if name.eq_ignore_ascii_case("wait") && prefer.wait.is_none() {
                // The first one counts when a preference is repeated.
                prefer.wait = value.parse().ok().map(Duration::from_secs);
            }
        }
        prefer
    }

    /// How long to wait: what was asked for, never more than `longest`; `longest` when nothing was. `respond-async`
    /// alone means not at all, with `wait` it means: then answer 202.
    pub fn patience(self, longest: Duration) -> Duration {
        match (self.wait, self.respond_async) {
            (Some(wait), _) => wait.min(longest),
            (None, true) => Duration::ZERO,
            (None, false) => longest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: Option<&str>) -> u64 {
        Prefer::parse(value).patience(Duration::from_secs(10)).as_secs()
    }

    #[test]
    fn the_caller_chooses_within_the_limit() {
        assert_eq!(seconds(None), 10);
        assert_eq!(seconds(Some("wait=3")), 3);
        assert_eq!(seconds(Some("Wait = \"3\"; x=1, respond-async")), 3);
        assert_eq!(seconds(Some("wait=3600")), 10);
        assert_eq!(seconds(Some("respond-async")), 0);
        assert_eq!(seconds(Some("wait=2, wait=9")), 2);
    }

    #[test]
    fn nonsense_is_passed_over() {
        for value in ["", "wait", "wait=-1", "wait=soon", "handling=strict, ,;"] {
            assert_eq!(seconds(Some(value)), 10, "{value}");
        }
    }
}
