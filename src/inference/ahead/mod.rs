//! Reading passages before anybody asks, and putting what was read of them into the prompts they are found for. Who reads them is
//! [`reader`], where they lie [`shelf`], how much each is expected to be asked for [`uses`], and whether it does harm [`trial`].

mod reader;
mod shelf;
mod trial;
mod uses;

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fs, io, mem};

use super::job::{Job, PromptPassage};
use super::kv::{KvCache, KvShape, PieceFormat};
use super::memory::AHEAD_POSITIONS;
use super::rope::Rope;
use super::unread::Unread;
use crate::domain::PassageId;
pub(super) use reader::ReadAhead;
use shelf::{PieceKey, Shelf};
pub use shelf::{forget_pieces, kept_pieces};
use trial::{Sample, Trials};

/// Passages that may wait to be read.
const WANTED_MAX: usize = 4096;

/// How passages are read ahead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadAheadOptions {
    /// Where their pieces lie.
    pub folder: PathBuf,
    /// Bytes that they may take together.
    pub bytes_max: u64,
    pub format: PieceFormat,
    /// Of each passage but the first of a prompt, how much is read anew in its place where there is time, between 0 and 1.
    pub share_anew: f64,
    /// Of the rules that prompts begin with: what was read behind those of another one makes room first.
    pub edition: String,
    /// Whether it is tried out on the first prompts whether it does harm.
    pub tries_out: bool,
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

/// Passages that wait to be read.
#[derive(Debug, Default)]
struct WantedPassages {
    /// Those that somebody's prompt lacked, the latest first.
    asked: VecDeque<ToRead>,
    /// Those that nobody asked for just now.
    later: VecDeque<ToRead>,
}

impl WantedPassages {
    fn len(&self) -> usize {
        self.asked.len() + self.later.len()
    }

    fn pop(&mut self) -> Option<ToRead> {
        self.asked.pop_front().or_else(|| self.later.pop_front())
    }
}

/// For passages that nobody asked for yet.
#[derive(Debug)]
pub struct AheadRoom {
    /// That they may still take.
    bytes: u64,
    /// What they are read behind, each once.
    rules: Vec<Arc<[u32]>>,
}

impl AheadRoom {
    fn shared(&mut self, rules: &[u32]) -> Arc<[u32]> {
        if let Some(known) = self.rules.iter().find(|known| ***known == *rules) {
            return known.clone();
        }
        self.rules.push(rules.into());
        rules.into()
    }
}

/// How much is read ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AheadStanding {
    /// Passages that are to be read.
    pub waiting: usize,
    /// Passages that are.
    pub kept: usize,
    pub kept_bytes: u64,
    /// The disk took nothing the last time.
    pub is_failing: bool,
}

/// What the thread of the model shares with those who ask.
pub(super) struct Ahead {
    shelf: Shelf,
    trials: Trials,
    share_anew: f64,
    wanted: Mutex<WantedPassages>,
    /// Passages that are read but not yet kept.
    in_work: AtomicUsize,
    is_failing: AtomicBool,
    /// Questions that are being answered.
    coming: Arc<AtomicUsize>,
    /// Whether a passage is still in the index; nothing is kept of others.
    current: OnceLock<Current>,
}

type Current = Box<dyn Fn(PassageId) -> bool + Send + Sync>;

/// A question is being answered, as long as this lives: nothing is read ahead.
#[derive(Debug)]
pub struct Coming(Arc<AtomicUsize>);

impl Coming {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Coming(count.clone())
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ahead {
    /// `identity`: of the model's file.
    pub(super) fn new(options: &ReadAheadOptions, identity: [u8; 32], model: KvShape) -> Self {
        let shelf = Shelf::open(options, identity, model);
        let trials = options.folder.join(format!("trials-{}.json", shelf.owner()));
        Ahead {
            trials: Trials::open(trials, options.tries_out),
            shelf,
            share_anew: options.share_anew,
            wanted: Mutex::default(),
            in_work: AtomicUsize::new(0),
            is_failing: AtomicBool::new(false),
            coming: Arc::default(),
            current: OnceLock::new(),
        }
    }

    /// Tokens of each passage that are computed if the prompt is asked now and nothing is mended.
    pub(super) fn costs(&self, prompt: &[u32], passages: &[PromptPassage]) -> Vec<usize> {
        let rules = passages.first().map_or(0, |first| first.range.start);
        let is_read =
            |passage: &PromptPassage| passage.may_be_read_ahead() && self.shelf.holds(key(passage, &prompt[..rules]));
        passages.iter().map(|passage| passage.cost(prompt, rules, is_read(passage))).collect()
    }

    /// Wants those of the passages read next that are not, the first of them first.
    pub(super) fn want(&self, rules: &[u32], passages: &[PromptPassage]) {
        for passage in passages {
            self.shelf.uses().note(passage.id);
        }
        let mut wanted = self.wanted();
        for to_read in self.missing(&rules.into(), passages).into_iter().rev() {
            wanted.asked.retain(|known| *known != to_read);
            wanted.asked.push_front(to_read);
        }
        wanted.asked.truncate(WANTED_MAX);
    }

    /// Wants them read when there is nothing else to read, if there is room; those that are always expected make some. Returns whether
    /// there is.
    pub(super) fn want_later(&self, rules: &[u32], passages: &[PromptPassage], room: &mut AheadRoom) -> bool {
        for to_read in self.missing(&room.shared(rules), passages) {
            let mut wanted = self.wanted();
            if wanted.later.contains(&to_read) {
                continue;
            }
            let bytes = self.shelf.file_bytes(to_read.tokens.len());
            let is_always_expected = self.shelf.uses().expected(to_read.id).is_infinite();
            let left = room.bytes.checked_sub(bytes).or(is_always_expected.then_some(0));
            let Some(left) = left.filter(|_| wanted.later.len() < WANTED_MAX) else { return false };
            room.bytes = left;
            wanted.later.push_back(to_read);
        }
        true
    }

    /// What is neither read nor was asked for; from now on nothing else waits.
    pub(super) fn room(&self) -> AheadRoom {
        let mut wanted = self.wanted();
        wanted.later.clear();
        let waiting: u64 = wanted.asked.iter().map(|waiting| self.shelf.file_bytes(waiting.tokens.len())).sum();
        AheadRoom { bytes: self.shelf.room().saturating_sub(waiting), rules: Vec::new() }
    }

    fn missing(&self, rules: &Arc<[u32]>, passages: &[PromptPassage]) -> Vec<ToRead> {
        let may_be_kept =
            |passage: &&PromptPassage| passage.may_be_read_ahead() && self.shelf.may_hold(passage.first.len());
        let missing = passages.iter().filter(may_be_kept).filter(|passage| !self.shelf.holds(key(passage, rules)));
        missing.map(|passage| ToRead { id: passage.id, rules: rules.clone(), tokens: passage.first.clone() }).collect()
    }

    /// Passages are not read ahead for this model any more.
    pub(super) fn found_harm(&self) -> bool {
        self.trials.found_harm()
    }

    /// Nothing is read ahead while this lives.
    pub(super) fn coming(&self) -> Coming {
        Coming::new(&self.coming)
    }

    fn is_awaited(&self) -> bool {
        self.coming.load(Ordering::Relaxed) > 0
    }

    /// From now on only of these passages anything is kept.
    pub(super) fn keep_only(&self, is_current: Current) {
        let _ = self.current.set(is_current);
    }

    fn is_current(&self, id: PassageId) -> bool {
        self.current.get().is_none_or(|is_current| is_current(id))
    }

    /// From now on these are expected more than all others.
    pub(super) fn expect_always(&self, passages: HashSet<PassageId>) {
        self.shelf.uses().expect_always(passages);
    }

    /// Those that are always expected or were found before, the most expected first.
    pub(super) fn by_expectation(&self) -> Vec<PassageId> {
        self.shelf.uses().by_expectation()
    }

    /// Passages that are still to be read.
    pub(super) fn left(&self) -> usize {
        self.wanted().len() + self.in_work.load(Ordering::Relaxed)
    }

    pub(super) fn standing(&self) -> AheadStanding {
        let (kept, kept_bytes) = self.shelf.kept();
        AheadStanding { waiting: self.left(), kept, kept_bytes, is_failing: self.is_failing.load(Ordering::Relaxed) }
    }

    /// Takes from the disk what there is of a prompt's passages.
    pub(super) fn fetch(&self, prompt: &[u32], passages: &mut [PromptPassage]) {
        let rules = passages.first().map_or(0, |first| first.range.start);
        for passage in passages.iter_mut().filter(|passage| passage.may_be_read_ahead()) {
            passage.piece = self.shelf.get(key(passage, &prompt[..rules]));
        }
    }

    /// Puts the pieces of a job's passages behind what its slot's cache holds of the prompt. Returns what is to be read.
    pub(super) fn place(&self, cache: &mut KvCache, job: &mut Job, rope: &Rope) -> Unread {
        let passages = mem::take(&mut job.passages);
        let share_anew = share_anew(&job.prompt, &passages, job.request.ahead.tokens_max).min(self.share_anew);
        let read_before = passages.iter().filter(|passage| passage.piece.is_some()).count();
        if read_before > 1 && job.prompt.len() <= AHEAD_POSITIONS && self.trials.wants_sample() {
            let passages = passages.iter().map(PromptPassage::without_piece).collect();
            self.trials.take(Sample { prompt: job.prompt.clone(), passages, share_anew });
        }
        place(cache, &job.prompt, passages, share_anew, rope)
    }

    fn wanted(&self) -> MutexGuard<'_, WantedPassages> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shelf.uses().save();
    }
}

/// Writes a file that is there whole or not at all; not synced.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, bytes)?;
    fs::rename(&partial, path)
}

fn key<'a>(passage: &'a PromptPassage, rules: &'a [u32]) -> PieceKey<'a> {
    PieceKey { passage: passage.id, rules, tokens: &passage.first }
}

/// Puts the pieces of a prompt's passages behind what a cache holds of it. Returns what is to be read.
fn place(cache: &mut KvCache, prompt: &[u32], passages: Vec<PromptPassage>, share_anew: f64, rope: &Rope) -> Unread {
    let rules = passages.first().map_or(0, |first| first.range.start);
    let mut unread = Vec::new();
    for passage in passages {
        let Range { start, end } = passage.range;
        let anew = passage.anew(prompt, rules, share_anew);
        // Most prompts begin alike, up to the middle of the line that names the first passage.
        if end.saturating_sub(cache.len().max(start)) <= anew.len() {
            continue;
        }
        let Some(piece) = passage.piece else { continue };
        cache.truncate(start);
        if cache.len() < start {
            unread.push(cache.len()..start);
            cache.leave(&prompt[cache.len()..start]);
        }
        cache.place(&prompt[start..end], &piece, rope);
        unread.push(anew);
    }
    unread.push(cache.len()..prompt.len());
    Unread::new(unread)
}

/// How much of each passage can be read anew when so many tokens of the prompt may count, its rules among them.
fn share_anew(prompt: &[u32], passages: &[PromptPassage], tokens_max: usize) -> f64 {
    let rules = passages.first().map_or(0, |first| first.range.start);
    let (mut least, mut to_mend) = (prompt.len(), 0);
    for passage in passages.iter().filter(|passage| passage.piece.is_some()) {
        least -= passage.range.len() - passage.cost(prompt, rules, true);
        to_mend += if passage.range.start > rules { passage.range.len() } else { 0 };
    }
    tokens_max.saturating_sub(least) as f64 / to_mend.max(1) as f64
}
