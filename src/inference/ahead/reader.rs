//! The one who reads passages ahead, on the thread of the model, when nobody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::trial::Trial;
use super::{Ahead, ToRead, WantedPassages};
use crate::inference::error::Result;
use crate::inference::kv::{KeptPrefixes, KvCache, KvFormat};
use crate::inference::llama::{Feed, Llama, Wanted};

/// Rows of a step while nobody asks. It is given up within a layer when somebody does.
const ROWS: usize = 64;
/// How often it is written down how often passages are found.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// A passage that is being read.
struct Reading {
    passage: ToRead,
    /// The rules, and what was read of the passage.
    cache: KvCache,
}

/// The one who reads; lives on the thread of the model.
pub(in crate::inference) struct ReadAhead {
    pub(in crate::inference) ahead: Arc<Ahead>,
    reading: Option<Reading>,
    trial: Option<Trial>,
    saved: Instant,
}

impl ReadAhead {
    pub(in crate::inference) fn new(ahead: Arc<Ahead>) -> Self {
        ReadAhead { ahead, reading: None, trial: None, saved: Instant::now() }
    }

    /// Reads some of the next passage, or tries out whether that does harm. Returns whether there was anything to do. What `go_on`
    /// stopped is done again.
    ///
    /// # Errors
    /// No memory, or a failed computation: then that passage or trial is given up.
    pub(in crate::inference) fn step(
        &mut self,
        model: &mut Llama,
        kept: &KeptPrefixes,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool> {
        if self.saved.elapsed() > SAVE_EVERY {
            self.ahead.shelf.uses().save();
            self.saved = Instant::now();
        }
        if self.ahead.is_awaited() {
            return Ok(false);
        }
        let ahead = Arc::clone(&self.ahead);
        let go_on = || go_on() && !ahead.is_awaited();
        if let Some(mut trial) = self.trial.take().or_else(|| self.ahead.trials.begin()) {
            // The memory is for one of them.
            if let Some(Reading { passage, .. }) = self.reading.take() {
                self.ahead.wanted().asked.push_front(passage);
            }
            if !trial.step(&self.ahead, model, kept, &go_on)? {
                self.trial = Some(trial);
            }
            return Ok(true);
        }
        if self.ahead.found_harm() {
            *self.ahead.wanted() = WantedPassages::default();
            self.reading = None;
        }
        let Reading { passage, mut cache } = match self.reading.take() {
            Some(reading) => reading,
            None => {
                // Before it leaves the others: nobody may see neither.
                self.ahead.in_work.store(1, Ordering::Relaxed);
                let Some(passage) = self.ahead.wanted().pop() else {
                    self.ahead.in_work.store(0, Ordering::Relaxed);
                    return Ok(false);
                };
                match self.begin(passage, model, kept)? {
                    Some(reading) => reading,
                    None => return Ok(true),
                }
            }
        };
        let all: Vec<u32> = passage.rules.iter().chain(&passage.tokens).copied().collect();
        let next = cache.len()..all.len().min(cache.len() + ROWS);
        if !next.is_empty() && !model.step(&mut [Feed::new(&mut cache, &all[next], Wanted::Nothing)], &go_on)? {
            self.reading = Some(Reading { passage, cache });
            return Ok(true);
        }
        if cache.len() < all.len() {
            self.reading = Some(Reading { passage, cache });
            return Ok(true);
        }
        let piece = cache.piece(passage.rules.len()..all.len(), model.rope(), self.ahead.shelf.format());
        if !self.ahead.is_current(passage.id) {
            return Ok(true);
        }
        let kept = self.ahead.shelf.put(passage.key(), &piece);
        // Its document may have gone meanwhile.
        if !self.ahead.is_current(passage.id) {
            self.ahead.shelf.remove(passage.key());
        }
        self.ahead.is_failing.store(kept.is_err(), Ordering::Relaxed);
        if let Err(error) = kept {
            tracing::warn!(%error, "what was read of a passage cannot be kept: no more is read ahead until something is asked");
            *self.ahead.wanted() = WantedPassages::default();
        }
        Ok(true)
    }

    /// `None`: the passage need not be read.
    fn begin(&self, passage: ToRead, model: &Llama, kept: &KeptPrefixes) -> Result<Option<Reading>> {
        let shelf = &self.ahead.shelf;
        let is_worth_it = self.ahead.is_current(passage.id)
            && !shelf.holds(passage.key())
            && shelf.has_place_for(passage.id, passage.tokens.len());
        if !is_worth_it {
            return Ok(None);
        }
        let positions = passage.rules.len() + passage.tokens.len();
        let mut cache = KvCache::new(model.config(), positions, KvFormat::F16)?;
        // The kept ones may be in 8 bits, which are not good enough to go on from.
        let best = kept.best(&passage.rules).filter(|best| best.is_like(&cache));
        if let Some(best) = best {
            cache.copy_prefix(best, best.shared(&passage.rules));
        }
        Ok(Some(Reading { passage, cache }))
    }
}
