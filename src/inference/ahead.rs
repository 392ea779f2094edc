//! Reading passages before anybody asks, and putting what was read of them into the prompts they are found for.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::error::Result;
use super::job::{Job, PromptPassage};
use super::kv::{KeptPrefixes, KvCache, KvFormat, PieceFormat};
use super::llama::{Feed, Llama, Wanted};
use super::rope::Rope;
use super::shelf::{PieceKey, Shelf};
use crate::domain::PassageId;

/// Passages that may wait to be read.
const WANTED_MAX: usize = 4096;
/// Rows of a step while nobody asks. It is given up within a layer when somebody does.
const ROWS: usize = 64;

/// How passages are read ahead.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadAheadOptions {
    /// Where their pieces lie.
    pub folder: PathBuf,
    /// Bytes that they may take together.
    pub bytes_max: u64,
    pub format: PieceFormat,
    /// Of each passage but the first of a prompt, how much is read anew in its place, between 0 and 1.
    pub share_anew: f64,
}

/// A passage that is to be read behind some rules.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ToRead {
    id: PassageId,
    rules: Arc<[u32]>,
    tokens: Vec<u32>,
}

impl ToRead {
    fn key(&self) -> PieceKey<'_> {
        PieceKey { passage: self.id, rules: &self.rules, tokens: &self.tokens }
    }
}

/// What the thread of the model shares with those who ask.
pub(super) struct Ahead {
    shelf: Shelf,
    share_anew: f64,
    wanted: Mutex<VecDeque<ToRead>>,
    /// Passages that are read but not yet kept.
    in_work: AtomicUsize,
    /// Whether a passage is still in the index; nothing is kept of others.
    current: OnceLock<Current>,
}

type Current = Box<dyn Fn(PassageId) -> bool + Send + Sync>;

impl Ahead {
    pub(super) fn new(shelf: Shelf, share_anew: f64) -> Self {
        Ahead { shelf, share_anew, wanted: Mutex::default(), in_work: AtomicUsize::new(0), current: OnceLock::new() }
    }

    /// Rows that are left to be read of a prompt behind its rules, if it were asked now.
    pub(super) fn unread(&self, prompt: &[u32], passages: &[PromptPassage]) -> usize {
        let Some(first) = passages.first() else { return prompt.len() };
        let rules = &prompt[..first.range.start];
        let saved: usize = passages
            .iter()
            .rev()
            .filter(|passage| self.shelf.holds(key(passage, rules)))
            .map(|passage| passage.range.len() - passage.anew(prompt, rules.len(), self.share_anew).len())
            .sum();
        prompt.len() - rules.len() - saved
    }

    /// Wants those of the passages read that are not, before all others.
    pub(super) fn want(&self, rules: &[u32], passages: &[PromptPassage]) {
        let rules: Arc<[u32]> = rules.into();
        let missing = passages
            .iter()
            .filter(|passage| self.shelf.has_room_for(passage.first.len()) && !self.shelf.holds(key(passage, &rules)));
        for passage in missing {
            let to_read = ToRead { id: passage.id, rules: rules.clone(), tokens: passage.first.clone() };
            let mut wanted = self.wanted();
            let known = wanted.iter().position(|known| *known == to_read);
            known.map(|at| wanted.remove(at));
            if wanted.len() == WANTED_MAX {
                wanted.pop_back();
            }
            wanted.push_front(to_read);
        }
    }

    /// From now on only of these passages anything is kept.
    pub(super) fn keep_only(&self, is_current: Current) {
        let _ = self.current.set(is_current);
    }

    fn is_current(&self, id: PassageId) -> bool {
        self.current.get().is_none_or(|is_current| is_current(id))
    }

    /// Passages that are still to be read.
    pub(super) fn left(&self) -> usize {
        self.wanted().len() + self.in_work.load(Ordering::Relaxed)
    }

    /// Puts the pieces of a job's passages behind what its slot's cache holds of the prompt. Returns the positions that
    /// are to be read, in their order.
    pub(super) fn place(&self, cache: &mut KvCache, job: &Job, rope: &Rope) -> Vec<Range<usize>> {
        let Job { prompt, passages, .. } = job;
        let mut unread = Vec::new();
        let rules = passages.first().map_or(0, |first| first.range.start);
        for passage in passages {
            let Range { start, end } = passage.range;
            let anew = passage.anew(prompt, rules, self.share_anew);
            // Most prompts begin alike, up to the middle of the line that names the first passage.
            if end.saturating_sub(cache.len().max(start)) <= anew.len() {
                continue;
            }
            let Some(piece) = self.shelf.get(key(passage, &prompt[..rules])) else { continue };
            cache.truncate(start);
            if cache.len() < start {
                unread.push(cache.len()..start);
                cache.leave(&prompt[cache.len()..start]);
            }
            cache.place(&prompt[start..end], &piece, rope);
            unread.push(anew);
        }
        unread.push(cache.len()..prompt.len());
        unread.retain(|run| !run.is_empty());
        unread
    }

    fn wanted(&self) -> MutexGuard<'_, VecDeque<ToRead>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<'a>(passage: &'a PromptPassage, rules: &'a [u32]) -> PieceKey<'a> {
    PieceKey { passage: passage.id, rules, tokens: &passage.first }
}

/// A passage that is being read.
struct Reading {
    passage: ToRead,
    /// The rules, and what was read of the passage.
    cache: KvCache,
}

/// The one who reads; lives on the thread of the model.
pub(super) struct ReadAhead {
    pub(super) ahead: Arc<Ahead>,
    reading: Option<Reading>,
}

impl ReadAhead {
    pub(super) fn new(ahead: Arc<Ahead>) -> Self {
        ReadAhead { ahead, reading: None }
    }

    /// Reads some of the next passage. Returns whether there was anything to do. What `go_on` stopped is done again.
    ///
    /// # Errors
    /// No memory, or a failed computation: then that passage is given up.
    pub(super) fn step(&mut self, model: &mut Llama, kept: &KeptPrefixes, go_on: &dyn Fn() -> bool) -> Result<bool> {
        let read = match self.reading.take() {
            Some(reading) => Some(reading),
            None => self.begin(model, kept)?,
        };
        let Some(Reading { passage, mut cache }) = read else {
            self.ahead.in_work.store(0, Ordering::Relaxed);
            return Ok(false);
        };
        let all: Vec<u32> = passage.rules.iter().chain(&passage.tokens).copied().collect();
        let next = cache.len()..all.len().min(cache.len() + ROWS);
        if !next.is_empty() && !model.step(&mut [Feed::new(&mut cache, &all[next], Wanted::Nothing)], go_on)? {
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
        if let Err(error) = kept {
            tracing::warn!(%error, "what was read of a passage cannot be kept: no more is read ahead until something is asked");
            self.ahead.wanted().clear();
        }
        Ok(true)
    }

    /// The next passage that is not read yet.
    fn begin(&mut self, model: &Llama, kept: &KeptPrefixes) -> Result<Option<Reading>> {
        // Before it leaves the others: nobody may see neither.
        self.ahead.in_work.store(1, Ordering::Relaxed);
        loop {
            let Some(passage) = self.ahead.wanted().pop_front() else { return Ok(None) };
            if self.ahead.shelf.holds(passage.key()) {
                continue;
            }
            let positions = passage.rules.len() + passage.tokens.len();
            let mut cache = KvCache::new(model.config(), positions, KvFormat::F16)?;
            // The kept ones may be in 8 bits, which are not good enough to go on from.
            let best = kept.best(&passage.rules).filter(|best| best.is_like(&cache));
            if let Some(best) = best {
                cache.copy_prefix(best, best.shared(&passage.rules));
            }
            return Ok(Some(Reading { passage, cache }));
        }
    }
}
