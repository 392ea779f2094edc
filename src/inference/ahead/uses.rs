//! How much each passage is expected to be asked for: how often it was found lately, or that an admin named its collection. What
//! nobody asks for any more is forgotten by and by; what is lost of it costs a few passages that are read ahead too late.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::write_whole;
use crate::domain::PassageId;

/// A use counts half after so long.
const HALF_LIFE_S: f64 = 30.0 * 24.0 * 3600.0;
/// The least expected ones are forgotten.
const KNOWN_MAX: usize = 8192;

/// Of one passage, at a time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Use {
    score: f64,
    /// Unix time in seconds.
    at: f64,
}

impl Use {
    fn score_at(self, now: f64) -> f64 {
        self.score * 0.5f64.powf((now - self.at).max(0.0) / HALF_LIFE_S)
    }
}

/// The uses of all passages, in a file.
#[derive(Debug)]
pub(super) struct Uses {
    path: PathBuf,
    known: Mutex<HashMap<PassageId, Use>>,
    /// Expected whether they were found or not.
    always: Mutex<HashSet<PassageId>>,
    is_changed: AtomicBool,
}

impl Uses {
    /// Those that an earlier process knew; a file that cannot be read is as good as none.
    pub(super) fn open(path: PathBuf) -> Self {
        let known = fs::read(&path).ok().and_then(|bytes| {
            let known: Result<HashMap<PassageId, Use>, _> = serde_json::from_slice(&bytes);
            known.inspect_err(|error| tracing::info!(%error, "how often passages were found is counted anew")).ok()
        });
        let known = Mutex::new(known.unwrap_or_default());
        Uses { path, known, always: Mutex::default(), is_changed: AtomicBool::new(false) }
    }

    /// From now on these are expected more than all others, and no other ones are.
    pub(super) fn expect_always(&self, passages: HashSet<PassageId>) {
        *self.always() = passages;
    }

    /// A passage was found.
    pub(super) fn note(&self, passage: PassageId) {
        let now = now();
        let mut known = self.known();
        let score = known.get(&passage).map_or(0.0, |earlier| earlier.score_at(now)) + 1.0;
        if known.len() >= KNOWN_MAX && !known.contains_key(&passage) {
            let least = known.iter().min_by(|a, b| a.1.score_at(now).total_cmp(&b.1.score_at(now)));
            if let Some(least) = least.map(|(id, _)| *id) {
                known.remove(&least);
            }
        }
        known.insert(passage, Use { score, at: now });
        self.is_changed.store(true, Ordering::Relaxed);
    }

    /// 0: it was never found; infinite: it is always expected.
    pub(super) fn expected(&self, passage: PassageId) -> f64 {
        if self.always().contains(&passage) {
            return f64::INFINITY;
        }
        self.known().get(&passage).map_or(0.0, |known| known.score_at(now()))
    }

    /// Those that are always expected, and behind them those that were found, the most expected first.
    pub(super) fn by_expectation(&self) -> Vec<PassageId> {
        let now = now();
        let always = self.always();
        let mut found: Vec<(PassageId, f64)> =
            self.known().iter().map(|(id, known)| (*id, known.score_at(now))).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        // Of those that are always expected, too, the ones first that are found.
        let (first, others): (Vec<_>, Vec<_>) = found.iter().map(|(id, _)| *id).partition(|id| always.contains(id));
        let known: HashSet<PassageId> = first.iter().copied().collect();
        let mut never_found: Vec<PassageId> = always.difference(&known).copied().collect();
        never_found.sort_unstable();
        first.into_iter().chain(never_found).chain(others).collect()
    }

    /// Writes down what has changed.
    pub(super) fn save(&self) {
        if !self.is_changed.swap(false, Ordering::Relaxed) {
            return;
        }
        let known = self.known().clone();
        let written = serde_json::to_vec(&known).map_err(Into::into).and_then(|json| write_whole(&self.path, &json));
        if let Err(error) = written {
            tracing::warn!(%error, "how often passages are found cannot be written down");
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PassageId, Use>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn always(&self) -> MutexGuard<'_, HashSet<PassageId>> {
        self.always.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> f64 {
    UNIX_EPOCH.elapsed().map_or(0.0, |age| age.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PassageId = PassageId([1; 16]);
    const B: PassageId = PassageId([2; 16]);

    #[test]
    fn who_was_found_more_often_is_expected_more_also_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not yet there").join("uses.json");
        let uses = Uses::open(path.clone());
        [A, B, A].into_iter().for_each(|id| uses.note(id));
        uses.save();
        let later = Uses::open(path.clone());
        assert_eq!(later.by_expectation(), [A, B]);
        assert!(later.expected(A) > 1.9 && later.expected(B) > 0.9 && later.expected(PassageId([3; 16])) == 0.0);
        fs::write(&path, "{\"half").unwrap();
        assert!(Uses::open(path).by_expectation().is_empty());
    }

    #[test]
    fn who_is_always_expected_comes_before_all_who_were_found() {
        let folder = tempfile::tempdir().unwrap();
        let uses = Uses::open(folder.path().join("uses.json"));
        let c = PassageId([3; 16]);
        [A, A, B].into_iter().for_each(|id| uses.note(id));
        uses.expect_always([B, c].into());
        assert_eq!(uses.by_expectation(), [B, c, A]);
        assert!(uses.expected(c) > uses.expected(A));
        uses.expect_always([].into());
        assert_eq!((uses.by_expectation(), uses.expected(c)), (vec![A, B], 0.0));
    }

    #[test]
    fn a_use_counts_half_after_a_month() {
        let known = Use { score: 4.0, at: 1000.0 };
        assert!((known.score_at(1000.0 + HALF_LIFE_S) - 2.0).abs() < 1e-9);
        assert_eq!(known.score_at(0.0), 4.0);
    }
}
