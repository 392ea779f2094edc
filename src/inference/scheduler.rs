//! Which generations share which steps. Everybody who has a slot takes part in every step: those who write give one
//! token and guesses, those whose prompt is being read share what rows are left, the oldest first. While somebody
//! writes, prompts are read in small pieces, so that nobody's text stands still for long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ahead::{Ahead, ReadAhead};
use super::error::{InferenceError, Result};
use super::generation::Generation;
use super::job::Job;
use super::kv::{KeptPrefixes, KvCache};
use super::llama::{Feed, Llama, STEP_ROWS_MAX};
use super::rates::Rates;
use super::speculate::DRAFT_MAX;
use super::tokens::Tokens;
use super::unread::Unread;

/// Longest that reading a prompt may hold up those who write, in seconds.
const HOLD_UP_S: f64 = 0.25;
/// A prompt advances by so many tokens in every step, however slow the machine is.
const PIECE_MIN: usize = 16;
/// How often an idle thread looks whether a passage is to be read ahead.
const LOOK_AHEAD: Duration = Duration::from_millis(500);
/// Shared tokens that are worth copying from another slot.
const COPY_MIN: usize = 8;

/// Owns the model and the slots; runs on the `generate` thread.
pub(super) struct Scheduler {
    model: Llama,
    slots: Vec<Slot>,
    kept: KeptPrefixes,
    /// `None`: nothing is read ahead.
    ahead: Option<ReadAhead>,
    tokens: Arc<Tokens>,
    rates: Arc<Rates>,
    load: Arc<Load>,
    waiting: Arc<AtomicUsize>,
    /// Counts jobs, to tell old from new.
    clock: u64,
}

/// Room for one conversation. What the last one left stays, until somebody needs the room.
struct Slot {
    cache: KvCache,
    admitted: u64,
    work: Option<Generation>,
}

/// What the running generations still have to do, for those who wait.
#[derive(Debug, Default)]
pub(super) struct Load {
    running: Mutex<Vec<Remaining>>,
    /// When the last step began, or the thread began to wait for work.
    turned: Mutex<Option<Instant>>,
}

/// Of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remaining {
    pub(super) prompt_tokens: usize,
    pub(super) new_tokens: usize,
}

impl Load {
    pub(super) fn running(&self) -> Vec<Remaining> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long the step has taken so far that is being made; `None`: there is nothing to do.
    pub(super) fn in_step(&self) -> Option<Duration> {
        if self.running().is_empty() {
            return None;
        }
        self.turned.lock().unwrap_or_else(PoisonError::into_inner).map(|turned| turned.elapsed())
    }

    fn set(&self, running: impl Iterator<Item = Remaining>) {
        let mut shared = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *self.turned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        shared.clear();
        shared.extend(running);
    }
}

/// What a scheduler shares with those who queue jobs.
pub(super) struct Shared {
    pub(super) tokens: Arc<Tokens>,
    pub(super) rates: Arc<Rates>,
    pub(super) load: Arc<Load>,
    /// Jobs that wait for a slot.
    pub(super) waiting: Arc<AtomicUsize>,
    pub(super) ahead: Option<Arc<Ahead>>,
}

impl Scheduler {
    pub(super) fn new(model: Llama, caches: Vec<KvCache>, kept: KeptPrefixes, shared: &Shared) -> Self {
        let slots = caches.into_iter().map(|cache| Slot { cache, admitted: 0, work: None }).collect();
        Scheduler {
            model,
            slots,
            kept,
            ahead: shared.ahead.clone().map(ReadAhead::new),
            waiting: shared.waiting.clone(),
            tokens: shared.tokens.clone(),
            rates: shared.rates.clone(),
            load: shared.load.clone(),
            clock: 0,
        }
    }

    /// Takes jobs until the queue is closed and all work is done. A panic ends the jobs of one step, and nothing else.
    pub(super) fn serve(&mut self, jobs: &Receiver<Job>, stop: &CancellationToken) {
        let mut open = true;
        while open || self.is_busy() {
            let turn = catch_unwind(AssertUnwindSafe(|| {
                open = self.take_in(jobs, stop, open);
                self.turn(stop)
            }));
            match turn {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.fail_all(error),
                Err(_) => {
                    tracing::error!("a step ended in a panic");
                    self.fail_all(InferenceError::Panicked);
                }
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.slots.iter().any(|slot| slot.work.is_some())
    }

    /// Fills free slots; waits for a job when there is nothing else to do. Returns whether more can come.
    fn take_in(&mut self, jobs: &Receiver<Job>, stop: &CancellationToken, open: bool) -> bool {
        while open && self.slots.iter().any(|slot| slot.work.is_none()) {
            let job = if self.is_busy() {
                match jobs.try_recv() {
                    Ok(job) => job,
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                }
            } else {
                self.load.set(std::iter::empty());
                match self.wait(jobs, stop) {
                    Some(job) => job,
                    None => return false,
                }
            };
            if stop.is_cancelled() {
                job.fail(InferenceError::Stopped);
            } else if let Some(reason) = job.interrupted(stop) {
                job.finish(reason, 0, 0);
            } else {
                self.admit(job);
            }
        }
        open
    }

    /// The next job, however long that takes; meanwhile passages are read ahead. `None`: there will be none.
    fn wait(&mut self, jobs: &Receiver<Job>, stop: &CancellationToken) -> Option<Job> {
        let Some(ahead) = &mut self.ahead else { return jobs.recv().ok() };
        loop {
            match jobs.recv_timeout(Duration::ZERO) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let go_on = || self.waiting.load(Ordering::Relaxed) == 0 && !stop.is_cancelled();
            let (model, kept) = (&mut self.model, &self.kept);
            let stepped = catch_unwind(AssertUnwindSafe(|| ahead.step(model, kept, &go_on)));
            let is_idle = match stepped {
                Ok(Ok(has_read)) => !has_read,
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a passage is not read ahead");
                    false
                }
                Err(_) => {
                    tracing::error!("reading a passage ahead ended in a panic");
                    false
                }
            };
            if is_idle {
                match jobs.recv_timeout(LOOK_AHEAD) {
                    Ok(job) => return Some(job),
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        }
    }

    /// Gives a job the free slot whose past it continues, or else the one that was idle longest with what any other
    /// slot has read of the same beginning.
    fn admit(&mut self, mut job: Job) {
        self.clock += 1;
        let free = (0..self.slots.len()).filter(|&at| self.slots[at].work.is_none());
        let chosen = free.min_by_key(|&at| {
            let slot = &self.slots[at];
            let shared = slot.cache.shared(&job.prompt);
            let continued = if shared * 2 >= slot.cache.len() { shared } else { 0 };
            (std::cmp::Reverse(continued), slot.admitted)
        });
        // `take_in` asks for a free slot before it takes a job.
        let Some(chosen) = chosen else { return job.fail(InferenceError::Stopped) };
        let (before, rest) = self.slots.split_at_mut(chosen);
        let Some((slot, after)) = rest.split_first_mut() else { return job.fail(InferenceError::Stopped) };
        let own = slot.cache.shared(&job.prompt);
        let others = before.iter().chain(after.iter()).map(|slot| &slot.cache).chain(self.kept.best(&job.prompt));
        let best = others.map(|other| (other.shared(&job.prompt), other)).max_by_key(|(shared, _)| *shared);
        if let Some((shared, other)) = best.filter(|(shared, _)| *shared >= own + COPY_MIN) {
            slot.cache.copy_prefix(other, shared);
        }
        let cached = slot.cache.reuse(&job.prompt);
        let unread = match &self.ahead {
            Some(ahead) if !job.passages.is_empty() => ahead.ahead.place(&mut slot.cache, &mut job, self.model.rope()),
            _ => Unread::new(std::iter::once(cached..job.prompt.len()).collect()),
        };
        slot.admitted = self.clock;
        slot.work = Some(Generation::new(job, unread, self.tokens.clone()));
    }

    /// One step of everybody.
    fn turn(&mut self, stop: &CancellationToken) -> Result<()> {
        for slot in &mut self.slots {
            if let Some(reason) = slot.work.as_ref().and_then(|work| work.interrupted(stop))
                && let Some(work) = slot.work.take()
            {
                work.finish(reason);
            }
        }
        self.load.set(self.slots.iter().filter_map(|slot| {
            let work = slot.work.as_ref()?;
            Some(Remaining { prompt_tokens: work.unread(), new_tokens: work.unwritten() })
        }));
        self.plan();
        let start = Instant::now();
        let mut feeds = Vec::new();
        let mut jobs = Vec::new();
        for slot in &mut self.slots {
            if let Some(work) = slot.work.as_ref().filter(|work| !work.feed.is_empty()) {
                feeds.push(Feed::at(&mut slot.cache, &work.feed, work.runs.clone(), work.wanted));
                jobs.push(work);
            }
        }
        if feeds.is_empty() {
            return Ok(());
        }
        let rows: usize = feeds.iter().map(Feed::rows).sum();
        let go_on = || !jobs.iter().all(|work| work.interrupted(stop).is_some());
        if !self.model.step(&mut feeds, &go_on)? {
            return Ok(());
        }
        self.rates.step(rows, start.elapsed());
        self.advance()
    }

    /// Tells every generation what it gives to the next step.
    fn plan(&mut self) {
        let costs = self.rates.costs();
        let writing = self.slots.iter().filter(|slot| slot.is_writing()).count();
        let mut rows_left = match writing {
            0 => STEP_ROWS_MAX,
            _ => ((self.rates.prefill_tokens_per_second() * HOLD_UP_S) as usize).clamp(PIECE_MIN, STEP_ROWS_MAX / 2),
        };
        let mut reading: Vec<&mut Slot> = Vec::new();
        for slot in &mut self.slots {
            if slot.is_writing() {
                let Slot { cache, work: Some(work), .. } = slot else { continue };
                // What others give to the step is there anyhow: a guess costs what it adds.
                work.plan_decode(cache, DRAFT_MAX / writing, |rows| costs.of(rows + writing - 1));
            } else if slot.work.is_some() {
                reading.push(slot);
            }
        }
        reading.sort_by_key(|slot| slot.admitted);
        for slot in reading {
            let Some(work) = &mut slot.work else { continue };
            work.plan_prefill(rows_left);
            rows_left -= work.feed.len();
        }
    }

    /// Hands every generation its logits; ends those that are done.
    fn advance(&mut self) -> Result<()> {
        let vocabulary = self.model.config().vocabulary_size;
        let mut logits = self.model.logits();
        for slot in &mut self.slots {
            let Some(work) = slot.work.as_mut().filter(|work| !work.feed.is_empty()) else { continue };
            let rows = work.logit_rows();
            let (own, rest) = logits.split_at(rows * vocabulary);
            logits = rest;
            let shared = work.job.shared_tokens;
            if rows > 0 && work.figures().generated_tokens == 0 && shared <= slot.cache.exact() {
                self.kept.keep(&slot.cache, shared)?;
            }
            if let Some(reason) = work.advance(&mut slot.cache, own, vocabulary)?
                && let Some(work) = slot.work.take()
            {
                self.rates.answer(work.figures().generated_tokens);
                work.finish(reason);
            }
        }
        Ok(())
    }

    /// After an error nothing that the slots hold may be trusted.
    fn fail_all(&mut self, error: InferenceError) {
        let mut error = Some(error);
        for slot in &mut self.slots {
            slot.cache.truncate(0);
            if let Some(work) = slot.work.take() {
                work.job.fail(error.take().unwrap_or(InferenceError::StepFailed));
            }
        }
    }
}

impl Slot {
    fn is_writing(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.unread() == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_that_is_being_made_takes_time() {
        let load = Load::default();
        assert_eq!(load.in_step(), None);
        load.set([Remaining { prompt_tokens: 3, new_tokens: 2 }].into_iter());
        assert!(load.in_step().is_some_and(|step| step < Duration::from_secs(3600)));
        load.set(std::iter::empty());
        assert_eq!(load.in_step(), None);
    }
}
