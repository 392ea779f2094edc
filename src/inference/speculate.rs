//! Guesses of the next tokens from what was already read: answers from documents repeat them. A guess costs one batched
//! pass and is shown only as far as the model says the same, so it changes the time and never the text.
//!
//! Source: prompt lookup, a form of speculative decoding (Leviathan, Kalman and Matias,
//! <https://arxiv.org/abs/2211.17192>) whose draft is an n-gram match in the prompt.

use std::collections::HashMap;

/// Longest and shortest run of tokens that must match what was just written.
const MATCH_MAX: usize = 4;
const MATCH_MIN: usize = 2;
/// Most tokens of a guess.
pub(super) const DRAFT_MAX: usize = 15;
/// What is assumed of a guess before any was tried.
const ACCEPTANCE_FIRST: f64 = 0.6;
/// Weight of the newest guess in the running estimate.
const ACCEPTANCE_STEP: f64 = 0.25;
/// A guess that does not pay is tried again after so many tokens, in case the text has begun to quote.
const RETRY_TOKENS: usize = 24;

/// The guesses of one generation.
pub(super) struct PromptLookup {
    /// Where each run of [`MATCH_MIN`] tokens was last followed by something.
    last_seen: HashMap<[u32; MATCH_MIN], usize>,
    /// Tokens of the history that are in the table.
    indexed: usize,
    /// Probability that a guessed token is right, given that those before it are.
    acceptance: f64,
    /// Tokens since the last guess.
    idle: usize,
}

impl PromptLookup {
    pub(super) fn new() -> Self {
        PromptLookup { last_seen: HashMap::new(), indexed: 0, acceptance: ACCEPTANCE_FIRST, idle: 0 }
    }

    /// Guesses what follows `history`, at most `limit` tokens, as many as pay: `cost(rows)` is what a step of so many
    /// rows takes, in any unit. Empty when nothing matches or nothing would be gained.
    pub(super) fn draft(&mut self, history: &[u32], limit: usize, cost: impl Fn(usize) -> f64) -> Vec<u32> {
        let at = self.find(history);
        self.index(history);
        let Some(at) = at else { return Vec::new() };
        let found = &history[at..history.len().min(at + limit.min(DRAFT_MAX))];
        let length = self.best_length(found.len(), cost);
        self.idle += 1;
        let length = if length == 0 && self.idle >= RETRY_TOKENS { found.len().min(2) } else { length };
        found[..length].to_vec()
    }

    /// Tells how many of `drafted` tokens were right.
    pub(super) fn learn(&mut self, drafted: usize, accepted: usize) {
        if drafted == 0 {
            return;
        }
        self.idle = 0;
        // Of the tokens that were judged: those that were right, and the first that was not.
        let judged = (accepted + 1).min(drafted);
        let share = accepted as f64 / judged as f64;
        let weight = 1.0 - (1.0 - ACCEPTANCE_STEP).powi(judged as i32);
        self.acceptance += weight * (share - self.acceptance);
    }

    /// The length with the most tokens for its time.
    fn best_length(&self, longest: usize, cost: impl Fn(usize) -> f64) -> usize {
        let mut expected = 1.0;
        let mut right = 1.0;
        let (mut best, mut best_length) = (1.0 / cost(1), 0);
        for length in 1..=longest {
            right *= self.acceptance;
            expected += right;
            let rate = expected / cost(1 + length);
            if rate > best {
                (best, best_length) = (rate, length);
            }
        }
        best_length
    }

    /// The place behind the latest earlier appearance of the end of `history`; the longer match counts.
    fn find(&self, history: &[u32]) -> Option<usize> {
        let end: [u32; MATCH_MIN] = history.last_chunk().copied()?;
        let at = *self.last_seen.get(&end)?;
        // A longer match is looked for a little further back than the newest of the short ones.
        let longest = |at: usize| {
            let same = |back: &usize| at >= *back && history[at - back] == history[history.len() - back];
            (1..=MATCH_MAX).take_while(same).count()
        };
        let candidates = (MATCH_MIN..=at).rev().take(2048).filter(|&at| history[at - MATCH_MIN..at] == end);
        candidates.take(8).max_by_key(|&at| (longest(at), at)).or(Some(at))
    }

    fn index(&mut self, history: &[u32]) {
        // The end of the history has no follower yet.
        for at in self.indexed.max(MATCH_MIN)..history.len() {
            let key: [u32; MATCH_MIN] = history[at - MATCH_MIN..at].try_into().expect("a run of that length");
            self.last_seen.insert(key, at);
        }
        self.indexed = history.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(history: &[u32], limit: usize) -> Vec<u32> {
        let mut lookup = PromptLookup::new();
        lookup.index(history);
        lookup.draft(history, limit, |_| 1.0)
    }

    #[test]
    fn what_followed_the_same_tokens_is_guessed() {
        assert_eq!(draft(&[1, 2, 3, 4, 5, 9, 1, 2], 3), [3, 4, 5]);
        assert_eq!(draft(&[1, 2, 3, 4, 5, 9, 1, 2], 1), [3]);
        assert!(draft(&[1, 2, 3, 4], 5).is_empty());
        assert!(draft(&[], 5).is_empty());
    }

    #[test]
    fn the_longer_match_counts_and_then_the_later_one() {
        assert_eq!(draft(&[7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2], 1), [3]);
        assert_eq!(draft(&[6, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2], 1), [4]);
    }

    #[test]
    fn guesses_that_do_not_pay_stop_and_are_tried_again() {
        let history = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2];
        let mut lookup = PromptLookup::new();
        lookup.index(&history);
        let cost = |rows: usize| 1.0 + 0.2 * (rows - 1) as f64;
        assert!(!lookup.draft(&history, 8, cost).is_empty());
        for _ in 0..20 {
            lookup.learn(4, 0);
        }
        let quiet = (0..RETRY_TOKENS).filter(|_| lookup.draft(&history, 8, cost).is_empty()).count();
        assert_eq!(quiet, RETRY_TOKENS - 1);
        for _ in 0..20 {
            lookup.learn(4, 4);
        }
        assert!(lookup.draft(&history, 8, cost).len() >= 6);
    }
}
