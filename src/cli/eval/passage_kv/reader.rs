//! Prompts of real questions, read in every way.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::super::{EvalQuestion, mean};
use super::{Ahead, WAYS, Way};
use crate::app::App;
use crate::inference::{
    ChatMessage, ChatRole, Feed, KvCache, KvFormat, Llama, ModelFile, PieceFormat, STEP_ROWS_MAX, Tokens, Wanted,
    divergence, likeliest, log_probabilities,
};
use crate::prompt::{self, Candidate};
use crate::retrieval::{SearchQuery, Searcher, Weights};

/// Tokens of the full prompt's answer over which distributions are compared.
const COMPARED_TOKENS: usize = 24;
/// Tokens that are written to see what they say.
const WRITTEN_TOKENS: usize = 64;

/// A prompt in the parts that it is made of.
pub(super) struct Case {
    rules: Vec<u32>,
    pub passages: Vec<Vec<u32>>,
    /// The passages as if each were the first.
    firsts: Vec<Vec<u32>>,
    question: Vec<u32>,
}

impl Case {
    pub(super) fn tokens(&self) -> Vec<u32> {
        [&self.rules, &self.passages.concat(), &self.question].into_iter().flatten().copied().collect()
    }
}

pub(super) struct Measured {
    pub kl: f64,
    pub same_token: f64,
    pub says: Option<f64>,
    pub rows: usize,
}

/// A prompt that was read.
struct ReadPrompt {
    cache: KvCache,
    logits: Vec<f32>,
    /// That were computed, behind the rules.
    rows: usize,
}

pub(super) struct Reader {
    model: Llama,
    tokens: Tokens,
}

impl Reader {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = ModelFile::open(path)?;
        Ok(Reader { tokens: Tokens::read(&file)?, model: Llama::load(&file)? })
    }

    /// The prompt of a question; `None`: it has fewer than two passages.
    pub(super) fn case(&self, app: &App, searcher: &Searcher, question: &EvalQuestion) -> anyhow::Result<Option<Case>> {
        let options = &app.settings().answer;
        let query = SearchQuery { per_document: 2, ..SearchQuery::new(&question.question, options.passages_max) };
        let hits = searcher.search(&question.query_like(query, Weights::default()))?.hits;
        let candidates: Vec<Candidate<'_>> = hits
            .iter()
            .map(|hit| Candidate { context: hit.context.as_deref(), ..Candidate::new(&hit.passage) })
            .collect();
        let messages = |system: &str, user: &str| {
            vec![ChatMessage::new(ChatRole::System, system), ChatMessage::new(ChatRole::User, user)]
        };
        let count = |system: &str, user: &str| {
            self.tokens.encode_chat(&messages(system, user)).map_or(usize::MAX, |tokens| tokens.len())
        };
        let limit = options.prompt_tokens_max;
        let prompt = prompt::prompt(question.lang, &question.question, &candidates, limit, count)?;
        let ranges = prompt::passage_ranges(&prompt.user);
        if ranges.len() < 2 {
            return Ok(None);
        }
        let cuts: Vec<usize> = ranges.iter().map(|range| range.end).collect();
        let (tokens, ends) = self.tokens.encode_chat_apart(&messages(&prompt.system, &prompt.user), &cuts)?;
        let passages = ends.windows(2).map(|pair| tokens[pair[0]..pair[1]].to_vec()).collect();
        let firsts = ranges.into_iter().map(|range| self.tokens.encode(&prompt::as_first(&prompt.user[range])));
        let last = *ends.last().context("a prompt has an end")?;
        Ok(Some(Case {
            rules: tokens[..ends[0]].to_vec(),
            passages,
            firsts: firsts.collect::<Result<_, _>>()?,
            question: tokens[last..].to_vec(),
        }))
    }

    pub(super) fn measure(&mut self, case: &Case, must_contain: &[String]) -> anyhow::Result<Vec<Measured>> {
        let alone = [self.alone(case, false)?, self.alone(case, true)?];
        let ReadPrompt { cache: mut full, logits: first, .. } = self.read_whole(case, &case.passages.concat())?;
        let written = self.write(&mut full, &first, COMPARED_TOKENS)?;
        full.truncate(case.tokens().len());
        let expected = self.distributions(&mut full, &first, &written)?;
        let mut measured = Vec::new();
        for (_, way) in WAYS {
            let ReadPrompt { mut cache, logits, rows } = self.read(case, *way, &alone, &full)?;
            let prompt_tokens = cache.len();
            let found = self.distributions(&mut cache, &logits, &written)?;
            let pairs = || expected.iter().zip(&found);
            let kl: Vec<f64> = pairs().map(|(expected, found)| divergence(expected, found)).collect();
            let same = pairs().filter(|(expected, found)| likeliest(expected) == likeliest(found)).count();
            cache.truncate(prompt_tokens);
            let text = self.write(&mut cache, &logits, WRITTEN_TOKENS)?;
            let text = self.tokens.decode(&text).to_lowercase();
            let said = must_contain.iter().filter(|part| text.contains(&part.to_lowercase())).count();
            let says = (!must_contain.is_empty()).then(|| said as f64 / must_contain.len() as f64);
            measured.push(Measured {
                kl: mean(kl.into_iter()),
                same_token: same as f64 / found.len() as f64,
                says,
                rows,
            });
        }
        Ok(measured)
    }

    fn cache(&self, case: &Case) -> anyhow::Result<KvCache> {
        Ok(KvCache::new(self.model.config(), case.tokens().len() + WRITTEN_TOKENS, KvFormat::F16)?)
    }

    /// Each passage as if it were the first, behind the rules or by itself.
    fn alone(&mut self, case: &Case, behind_rules: bool) -> anyhow::Result<Vec<KvCache>> {
        let mut rules = self.cache(case)?;
        if behind_rules {
            self.model.forward(&case.rules, &mut rules)?;
        }
        let read = case.firsts.iter().map(|first| {
            let mut alone = self.cache(case)?;
            alone.copy_prefix(&rules, rules.len());
            self.model.forward(first, &mut alone)?;
            Ok(alone)
        });
        read.collect()
    }

    fn read(&mut self, case: &Case, way: Way, alone: &[Vec<KvCache>; 2], full: &KvCache) -> anyhow::Result<ReadPrompt> {
        match way {
            Way::Full => self.read_whole(case, &case.passages.concat()),
            Way::NoPassages => self.read_whole(case, &[]),
            Way::FirstPassage => self.read_whole(case, &case.passages[0]),
            Way::Ahead(ahead) => self.read_ahead(case, ahead, &alone[usize::from(ahead.behind_rules)], full),
        }
    }

    /// `alone`: each passage as if it were the first.
    fn read_ahead(
        &mut self,
        case: &Case,
        ahead: Ahead,
        alone: &[KvCache],
        full: &KvCache,
    ) -> anyhow::Result<ReadPrompt> {
        let mut cache = self.cache(case)?;
        self.model.forward(&case.rules, &mut cache)?;
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, (passage, (first, alone))) in case.passages.iter().zip(case.firsts.iter().zip(alone)).enumerate() {
            let start = cache.len();
            ensure!(passage.len() == first.len(), "the number of a passage takes one token");
            let piece = alone.piece(alone.len() - first.len()..alone.len(), self.model.rope(), ahead.format);
            cache.place(passage, &piece, self.model.rope());
            let other = passage.iter().zip(first).rposition(|(own, first)| own != first).map_or(0, |at| at + 1);
            let mut positions: Vec<usize> = (start..cache.len()).collect();
            // The first one stands where it was read.
            let share = if at == 0 && ahead.behind_rules { 0.0 } else { ahead.share };
            if let Some(layers) = ahead.anew.layers(&piece).filter(|_| share > 0.0) {
                let here = |of: &KvCache| of.piece(start..start + passage.len(), self.model.rope(), PieceFormat::F16);
                let far = here(&cache).distances(&here(full), layers);
                positions[other..].sort_by(|left, right| far[right - start].total_cmp(&far[left - start]));
            }
            positions.truncate(((share * passage.len() as f64).ceil() as usize).max(other));
            positions.sort_unstable();
            runs.extend(positions.into_iter().map(|position| position..position + 1));
        }
        runs.push(cache.len()..cache.len() + case.question.len());
        let runs = joined(runs);
        let prompt = case.tokens();
        let rows = runs.iter().map(Range::len).sum();
        ensure!(rows <= STEP_ROWS_MAX, "{rows} rows are more than one step takes");
        let read: Vec<u32> = runs.iter().cloned().flat_map(|run| &prompt[run]).copied().collect();
        self.model.step(&mut [Feed::at(&mut cache, &read, runs, Wanted::Last)], &|| true)?;
        Ok(ReadPrompt { cache, logits: self.model.logits().to_vec(), rows })
    }

    fn read_whole(&mut self, case: &Case, passages: &[u32]) -> anyhow::Result<ReadPrompt> {
        let mut cache = self.cache(case)?;
        self.model.forward(&case.rules, &mut cache)?;
        let rest = [passages, &case.question].concat();
        let logits = self.model.forward(&rest, &mut cache)?.to_vec();
        Ok(ReadPrompt { cache, logits, rows: rest.len() })
    }

    /// The likeliest tokens behind a prompt, up to the end of the answer.
    fn write(&mut self, cache: &mut KvCache, first: &[f32], tokens_max: usize) -> anyhow::Result<Vec<u32>> {
        let mut written = vec![likeliest(first)];
        while written.len() < tokens_max && !written.last().is_some_and(|token| self.tokens.is_stop(*token)) {
            let next = likeliest(self.model.forward(&written[written.len() - 1..], cache)?);
            written.push(next);
        }
        Ok(written)
    }

    /// Logarithms of probabilities, of every token of an answer.
    fn distributions(&mut self, cache: &mut KvCache, first: &[f32], answer: &[u32]) -> anyhow::Result<Vec<Vec<f64>>> {
        let vocabulary = self.model.config().vocabulary_size;
        let mut rows = vec![log_probabilities(first)];
        if answer.len() > 1 {
            let logits = self.model.all_logits(&answer[..answer.len() - 1], cache)?;
            rows.extend(logits.chunks_exact(vocabulary).map(log_probabilities));
        }
        Ok(rows)
    }
}

/// Runs that follow each other without a gap, as one.
fn joined(runs: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => joined.push(run),
        }
    }
    joined
}
