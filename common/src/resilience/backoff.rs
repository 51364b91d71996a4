//! Delays between attempts. Randomness keeps many callers from coming back at the same moment.

use std::time::Duration;

use uuid::Uuid;

/// U(0, base · 2^attempt), capped: for everything that may take long (polls, reconnects, reconciliation).
pub fn full_jitter(base: Duration, attempt: u32, cap: Duration) -> Duration {
    grown(base, attempt, cap).mul_f64(unit())
}

/// base · 2^attempt, capped, times U(0.5, 1.5): for the few quick retries somebody waits for.
pub fn half_jitter(base: Duration, attempt: u32, cap: Duration) -> Duration {
    jittered(grown(base, attempt, cap))
}

/// The delay times U(0.5, 1.5).
pub fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.5 + unit())
}

/// U(low, high).
pub fn between(low: Duration, high: Duration) -> Duration {
    low + high.saturating_sub(low).mul_f64(unit())
}

fn grown(base: Duration, attempt: u32, cap: Duration) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(attempt)).min(cap)
}

/// U(0, 1). The low bits of a version 4 id are random throughout.
#[expect(clippy::cast_precision_loss, reason = "32 bits fit a double exactly")]
fn unit() -> f64 {
    let bits = Uuid::new_v4().as_u128() & u128::from(u32::MAX);
    bits as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_jitter_stays_below_the_doubled_base_and_the_cap() {
        for attempt in 0..40 {
            let delay = full_jitter(Duration::from_secs(1), attempt, Duration::from_mins(1));
            assert!(
                delay <= Duration::from_secs(1_u64 << attempt.min(6)).min(Duration::from_mins(1)),
                "{delay:?}"
            );
        }
    }

    #[test]
    fn half_jitter_stays_within_half_of_the_doubled_base() {
        for _ in 0..200 {
            let delay = half_jitter(Duration::from_secs(1), 2, Duration::from_mins(1));
            assert!(
                (Duration::from_secs(2)..=Duration::from_secs(6)).contains(&delay),
                "{delay:?}"
            );
        }
    }

    #[test]
    fn two_callers_do_not_get_the_same_delay() {
        let delays: std::collections::HashSet<_> = (0..50)
            .map(|_| full_jitter(Duration::from_secs(10), 0, Duration::from_secs(10)))
            .collect();
        assert!(delays.len() > 40, "{}", delays.len());
    }
}
