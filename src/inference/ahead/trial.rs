//! Whether passages that were read ahead harm a model's answers. The first prompts that are made of them are read again when nobody asks:
//! whole, as they were put together, and with the best passage alone. Where the second is no nearer to the first than the third, nothing
//! is read ahead for this model any more.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Ahead, place, write_whole};
use crate::inference::divergence::{divergence, likeliest, log_probabilities};
use crate::inference::error::Result;
use crate::inference::job::PromptPassage;
use crate::inference::kv::{KeptPrefixes, KvCache, KvFormat};
use crate::inference::llama::{Feed, Llama, Wanted};
use crate::inference::unread::Unread;

/// Prompts that tell enough.
const TRIALS: usize = 4;
/// Of the whole prompt's answer, over which distributions are compared.
const TOKENS: usize = 8;
/// Rows of a step. It is given up within a layer when somebody asks.
const ROWS: usize = 64;

/// How far a prompt's next tokens are from those of the whole one, in nats.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Outcome {
    ahead: f64,
    first_alone: f64,
}

/// A prompt whose passages were read ahead.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) prompt: Vec<u32>,
    pub(super) passages: Vec<PromptPassage>,
    /// Of each passage, how much was read anew.
    pub(super) share_anew: f64,
}

/// The trials of one model, in a file.
#[derive(Debug)]
pub(super) struct Trials {
    path: PathBuf,
    outcomes: Mutex<Vec<Outcome>>,
    next: Mutex<Option<Sample>>,
    is_harmful: AtomicBool,
    tries_out: bool,
}

impl Trials {
    /// Those that earlier processes made; a file that cannot be read is as good as none. `tries_out`: whether more are made.
    pub(super) fn open(path: PathBuf, tries_out: bool) -> Self {
        let outcomes: Vec<Outcome> =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let is_harmful = AtomicBool::new(are_harmful(&outcomes));
        let trials = Trials { path, outcomes: Mutex::new(outcomes), next: Mutex::default(), is_harmful, tries_out };
        if trials.found_harm() {
            tracing::warn!(file = %trials.path.display(), "{HARM}");
        }
        trials
    }

    /// Nothing is to be read ahead for this model.
    pub(super) fn found_harm(&self) -> bool {
        self.is_harmful.load(Ordering::Relaxed)
    }

    /// Whether another prompt would tell something.
    pub(super) fn wants_sample(&self) -> bool {
        self.tries_out && self.outcomes().len() < TRIALS && self.next().is_none()
    }

    pub(super) fn take(&self, sample: Sample) {
        *self.next() = Some(sample);
    }

    pub(super) fn begin(&self) -> Option<Trial> {
        let sample = self.next().take().filter(|_| self.outcomes().len() < TRIALS)?;
        Some(Trial { sample, written: Vec::new(), read: Vec::new(), reading: None })
    }

    fn note(&self, outcome: Outcome) {
        let mut outcomes = self.outcomes();
        outcomes.push(outcome);
        tracing::info!(
            ahead = outcome.ahead,
            first_alone = outcome.first_alone,
            "a prompt of passages read ahead was compared with the whole"
        );
        if are_harmful(&outcomes) {
            self.is_harmful.store(true, Ordering::Relaxed);
            tracing::warn!(file = %self.path.display(), "{HARM}");
        }
        let written =
            serde_json::to_vec(&*outcomes).map_err(Into::into).and_then(|json| write_whole(&self.path, &json));
        if let Err(error) = written {
            tracing::debug!(%error, "the outcome of a trial is not kept");
        }
    }

    fn outcomes(&self) -> MutexGuard<'_, Vec<Outcome>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> MutexGuard<'_, Option<Sample>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const HARM: &str = "passages read ahead harm this model's answers: none are used (remove the file to try again)";

/// Whether prompts of passages read ahead are no nearer to the whole ones than the best passage alone.
fn are_harmful(outcomes: &[Outcome]) -> bool {
    let sum = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>();
    outcomes.len() >= TRIALS && sum(|outcome| outcome.ahead) >= sum(|outcome| outcome.first_alone)
}

/// One that is being made.
pub(super) struct Trial {
    sample: Sample,
    /// What the model writes behind the whole prompt.
    written: Vec<u32>,
    /// Of the ways to read it: the successors of each written token, in logarithms of probabilities.
    read: Vec<Vec<Vec<f64>>>,
    reading: Option<Reading>,
}

impl Trial {
    /// Goes on, until `go_on` says no. Returns whether it is over.
    ///
    /// # Errors
    /// No memory, or a failed computation.
    pub(super) fn step(
        &mut self,
        ahead: &Ahead,
        model: &mut Llama,
        kept: &KeptPrefixes,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool> {
        while self.read.len() < 3 {
            let mut reading = match self.reading.take() {
                Some(reading) => reading,
                None => match self.begin(ahead, model, kept)? {
                    Some(reading) => reading,
                    None => return Ok(true),
                },
            };
            if !reading.step(model, &mut self.written, go_on)? {
                self.reading = Some(reading);
                return Ok(false);
            }
            self.read.push(reading.successors);
        }
        let [whole, ahead_of, first_alone] = self.read.as_slice() else { return Ok(true) };
        let far = |found: &[Vec<f64>]| {
            let sum: f64 = whole.iter().zip(found).map(|(whole, found)| divergence(whole, found)).sum();
            sum / TOKENS as f64
        };
        ahead.trials.note(Outcome { ahead: far(ahead_of), first_alone: far(first_alone) });
        Ok(true)
    }

    /// The next way: whole, then as it was put together, then with the first passage alone. `None`: what it was put together of is
    /// gone, and tells nothing.
    fn begin(&mut self, ahead: &Ahead, model: &Llama, kept: &KeptPrefixes) -> Result<Option<Reading>> {
        let Sample { prompt, passages, share_anew } = &self.sample;
        let mut prompt = prompt.clone();
        if let (2, [first, .., last]) = (self.read.len(), passages.as_slice()) {
            prompt.drain(first.range.end..last.range.end);
        }
        let mut cache = KvCache::new(model.config(), prompt.len() + TOKENS, KvFormat::F16)?;
        // The kept ones may be in 8 bits, which are not good enough to go on from.
        if let Some(best) = kept.best(&prompt).filter(|best| best.is_like(&cache)) {
            cache.copy_prefix(best, best.shared(&prompt));
        }
        let unread = if self.read.len() == 1 {
            let mut passages: Vec<PromptPassage> = passages.iter().map(PromptPassage::without_piece).collect();
            ahead.fetch(&prompt, &mut passages);
            if passages.iter().filter(|passage| passage.piece.is_some()).count() < 2 {
                return Ok(None);
            }
            place(&mut cache, &prompt, passages, *share_anew, model.rope())
        } else {
            Unread::new(std::iter::once(cache.len()..prompt.len()).collect())
        };
        Ok(Some(Reading { prompt, cache, unread, successors: Vec::new() }))
    }
}

/// A prompt that is being read in one of the ways.
struct Reading {
    prompt: Vec<u32>,
    cache: KvCache,
    unread: Unread,
    successors: Vec<Vec<f64>>,
}

impl Reading {
    fn step(&mut self, model: &mut Llama, written: &mut Vec<u32>, go_on: &dyn Fn() -> bool) -> Result<bool> {
        let Reading { prompt, cache, unread, successors } = self;
        while unread.len() > 0 {
            let runs = unread.next(ROWS);
            let tokens: Vec<u32> = runs.iter().cloned().flat_map(|run| &prompt[run]).copied().collect();
            let is_last = tokens.len() == unread.len();
            let wanted = if is_last { Wanted::Last } else { Wanted::Nothing };
            if !model.step(&mut [Feed::at(cache, &tokens, runs, wanted)], go_on)? {
                return Ok(false);
            }
            unread.read(tokens.len());
            if is_last {
                successors.push(log_probabilities(model.logits()));
            }
        }
        while successors.len() < TOKENS {
            let at = successors.len() - 1;
            if written.len() == at {
                written.push(likeliest(&successors[at]));
            }
            // Behind the whole prompt they are known one by one.
            let next = &written[at..written.len().min(TOKENS - 1)];
            if !model.step(&mut [Feed::new(cache, next, Wanted::All)], go_on)? {
                return Ok(false);
            }
            let vocabulary = model.config().vocabulary_size;
            successors.extend(model.logits().chunks_exact(vocabulary).map(log_probabilities));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(all: &[(f64, f64)]) -> Vec<Outcome> {
        all.iter().map(|&(ahead, first_alone)| Outcome { ahead, first_alone }).collect()
    }

    #[test]
    fn what_is_no_better_than_one_passage_alone_is_given_up_and_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trials.json");
        let trials = Trials::open(path.clone(), true);
        assert!(trials.wants_sample() && !trials.found_harm());
        for outcome in outcomes(&[(0.3, 0.2), (0.1, 0.4), (0.6, 0.3)]) {
            trials.note(outcome);
            assert!(!trials.found_harm(), "too few tell nothing");
        }
        trials.note(Outcome { ahead: 0.1, first_alone: 0.1 });
        assert!(trials.found_harm() && !trials.wants_sample());
        let later = Trials::open(path.clone(), true);
        assert!(later.found_harm() && !later.wants_sample());
        fs::remove_file(&path).unwrap();
        assert!(!Trials::open(path, true).found_harm());
        assert!(!are_harmful(&outcomes(&[(0.02, 0.4); TRIALS])));
    }
}
