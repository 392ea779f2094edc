//! Waits between attempts: doubling, with a random share, up to a bound.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// Failures from which on it is more than a hiccup: some seconds.
const LASTING: u32 = 4;

#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt: between half and all of 0.5 s, 1 s, 2 s … 30 s, so that many who failed
    /// together do not come back together.
    pub fn wait(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(6)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // A hasher with random keys is all the randomness that this needs.
        let share = RandomState::new().hash_one(self.failures) as f64 / u64::MAX as f64;
        whole.mul_f64(0.5 + share / 2.0)
    }

    /// Whether this was the failure from which on it is more than a hiccup: true once until the next success.
    pub fn begins_to_last(&self) -> bool {
        self.failures == LASTING
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        for whole_ms in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let wait = backoff.wait();
            assert!(wait >= Duration::from_millis(whole_ms / 2), "{wait:?} for {whole_ms}");
            assert!(wait <= Duration::from_millis(whole_ms), "{wait:?} for {whole_ms}");
        }
        assert!(!backoff.begins_to_last());
        backoff.reset();
        let lasts = (0..8).filter(|_| {
            backoff.wait();
            backoff.begins_to_last()
        });
        assert_eq!(lasts.count(), 1);
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
