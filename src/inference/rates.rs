//! How fast this machine turned out to be: what the scheduler measures and what waiting people are told.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Weight of the newest measurement.
const STEP: f64 = 0.2;
/// Rows up to which a step counts as decoding.
const DECODE_ROWS_MAX: usize = 32;
/// Rows from which on a step tells how fast prompts are read.
const PREFILL_ROWS_MIN: usize = 32;
/// What another row adds to a step before it was measured: a step of sixteen rows takes about two and a half times one.
const ROW_SHARE: f64 = 0.1;
/// Tokens of an answer before any was written.
const ANSWER_TOKENS: f64 = 80.0;

/// Measured rates, shared between the thread that measures and those that ask.
#[derive(Debug)]
pub(super) struct Rates {
    inner: Mutex<Measured>,
}

#[derive(Clone, Debug)]
struct Measured {
    /// Seconds per token of a prompt.
    prefill_s: f64,
    /// Seconds of a step by its rows; 0: not measured.
    decode_s: [f64; DECODE_ROWS_MAX + 1],
    answer_tokens: f64,
}

impl Rates {
    /// `prefill_s`: a first measurement of seconds per token of a prompt, `decode_s` of a step of one row.
    pub(super) fn new(prefill_s: f64, decode_s: f64) -> Self {
        let mut measured = Measured { prefill_s, decode_s: [0.0; DECODE_ROWS_MAX + 1], answer_tokens: ANSWER_TOKENS };
        measured.decode_s[1] = decode_s;
        Rates { inner: Mutex::new(measured) }
    }

    /// A step of `rows` took so long.
    pub(super) fn step(&self, rows: usize, took: Duration) {
        let mut measured = self.lock();
        let seconds = took.as_secs_f64();
        if rows >= PREFILL_ROWS_MIN {
            measured.prefill_s += STEP * (seconds / rows as f64 - measured.prefill_s);
        }
        if let Some(known) = measured.decode_s.get_mut(rows) {
            *known = if *known == 0.0 { seconds } else { *known + STEP * (seconds - *known) };
        }
    }

    /// An answer had so many tokens.
    pub(super) fn answer(&self, tokens: usize) {
        let mut measured = self.lock();
        measured.answer_tokens += STEP * (tokens as f64 - measured.answer_tokens);
    }

    /// Tokens of a prompt that are read in a second.
    pub(super) fn prefill_tokens_per_second(&self) -> f64 {
        1.0 / self.lock().prefill_s.max(1e-9)
    }

    /// What steps of one row and more take.
    pub(super) fn costs(&self) -> StepCosts {
        StepCosts(self.lock().decode_s)
    }

    /// Seconds to read `prompt_tokens` and to write an answer of at most `new_tokens`.
    pub(super) fn seconds(&self, prompt_tokens: usize, new_tokens: usize) -> f64 {
        let measured = self.lock();
        let written = (new_tokens as f64).min(measured.answer_tokens);
        prompt_tokens as f64 * measured.prefill_s + written * measured.decode_s[1]
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Measured> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds of a step by its rows, as far as measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepCosts([f64; DECODE_ROWS_MAX + 1]);

impl StepCosts {
    /// Never falls with more rows; between two measurements a line.
    pub(super) fn of(&self, rows: usize) -> f64 {
        let (mut below, mut below_at) = (self.0[1].max(1e-9), 1);
        for (at, known) in self.0.iter().enumerate().skip(2).filter(|(_, known)| **known > 0.0) {
            let known = known.max(below);
            if at > rows {
                let share = (rows - below_at) as f64 / (at - below_at) as f64;
                return below + share * (known - below);
            }
            (below, below_at) = (known, at);
        }
        below + self.0[1] * ROW_SHARE * rows.saturating_sub(below_at) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_what_is_measured() {
        let rates = Rates::new(0.01, 0.1);
        assert!((rates.prefill_tokens_per_second() - 100.0).abs() < 1e-9);
        for _ in 0..50 {
            rates.step(100, Duration::from_secs(2));
            rates.step(1, Duration::from_millis(200));
        }
        assert!((rates.prefill_tokens_per_second() - 50.0).abs() < 0.1);
        assert!((rates.seconds(100, 10) - 4.0).abs() < 0.05);
    }

    #[test]
    fn a_step_of_more_rows_never_counts_as_cheaper() {
        let rates = Rates::new(0.01, 0.1);
        rates.step(4, Duration::from_millis(130));
        rates.step(8, Duration::from_millis(90));
        let costs = rates.costs();
        let all: Vec<f64> = (1..=40).map(|rows| costs.of(rows)).collect();
        assert!(all.windows(2).all(|pair| pair[0] <= pair[1]), "{all:?}");
        assert!((costs.of(4) - 0.13).abs() < 1e-9);
    }
}
