//! `cervella eval --passage-kv`: what it costs in quality to put passages into a prompt that were read before, instead of reading the
//! prompt. The measure is the full prompt, read in one: how far the next token's distribution is from it over the first tokens of
//! its answer, whether what is written says what a right answer says, and how whole answers come out.

mod whole_answers;

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{EvalQuestion, mean};
use crate::app::App;
use crate::cli::output;
use crate::cli::scratch::Scratch;
use crate::inference::{
    ChatMessage, ChatRole, Engine, Feed, KvCache, KvFormat, Llama, ModelFile, Piece, PieceFormat, ReadAheadOptions,
    STEP_ROWS_MAX, Tokens, Wanted, divergence, likeliest, log_probabilities,
};
use crate::prompt::{self, Candidate};
use crate::retrieval::{SearchQuery, Searcher, Weights};
use whole_answers::WholeAnswers;

/// Tokens of the full prompt's answer over which distributions are compared.
const COMPARED_TOKENS: usize = 24;
/// Of the disk, for what is read ahead meanwhile.
const BYTES_MAX: u64 = 20_000_000_000;
/// Tokens that are written to see what they say.
const WRITTEN_TOKENS: usize = 64;

/// A way to read a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// In one: the measure of the others.
    Full,
    NoPassages,
    FirstPassage,
    /// Passages from before; `share` of each but the first is read anew in its place.
    Ahead {
        behind_rules: bool,
        share: f64,
        anew: Anew,
        format: PieceFormat,
    },
}

/// Which tokens of a passage are read anew.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Anew {
    First,
    /// Those that are farthest from what they are in the full prompt, in the second layer: the first has not seen other tokens
    /// yet. To find them where nobody knows the full prompt, all tokens have to go through the first layers (CacheBlend,
    /// https://arxiv.org/abs/2405.16444).
    FarthestInSecondLayer,
    /// The same in all layers, which nobody can know without the full prompt.
    Farthest,
}

const fn ahead(share: f64, format: PieceFormat) -> Way {
    Way::Ahead { behind_rules: true, share, anew: Anew::First, format }
}

const fn farthest(anew: Anew) -> Way {
    Way::Ahead { behind_rules: true, share: 0.15, anew, format: PieceFormat::F16 }
}

const WAYS: &[(&str, Way)] = &[
    ("all read in one", Way::Full),
    ("no passages", Way::NoPassages),
    ("first passage alone", Way::FirstPassage),
    (
        "ahead, without rules",
        Way::Ahead { behind_rules: false, share: 0.0, anew: Anew::First, format: PieceFormat::F16 },
    ),
    ("ahead, f16", ahead(0.0, PieceFormat::F16)),
    ("ahead, f16, 15 % anew", ahead(0.15, PieceFormat::F16)),
    ("ahead, f16, 30 % anew", ahead(0.30, PieceFormat::F16)),
    ("f16, 15 % farthest, layer 2", farthest(Anew::FarthestInSecondLayer)),
    ("f16, 15 % farthest, all", farthest(Anew::Farthest)),
    ("ahead, 8 bits", ahead(0.0, PieceFormat::Int8)),
    ("ahead, 8 bits, 15 % anew", ahead(0.15, PieceFormat::Int8)),
    ("ahead, 8 bits, 30 % anew", ahead(0.30, PieceFormat::Int8)),
    ("ahead, 4 bits, 15 % anew", ahead(0.15, PieceFormat::Int4)),
];

#[derive(Serialize)]
struct WayFigures {
    way: &'static str,
    /// Mean divergence of the next token's distribution from that of the full prompt, in nats.
    kl: f64,
    /// Share of tokens whose likeliest successor is the same.
    same_token: f64,
    /// Of the questions whose answer is written down: share of its parts that are written.
    says: f64,
    /// Rows that the model computes for a prompt, behind the rules.
    rows: f64,
}

#[derive(Serialize)]
struct Figures {
    questions: usize,
    prompt_tokens: f64,
    passages: f64,
    ways: Vec<WayFigures>,
    whole_answers: Vec<WholeAnswers>,
}

/// Compares all ways on the answerable questions whose prompt holds more than one passage.
pub(super) async fn run(app: &App, questions: &[EvalQuestion], limit: usize, json: bool) -> anyhow::Result<()> {
    let options = &app.settings().answer;
    ensure!(
        options.first_token_target_ms > 0,
        "answer.first_token_target_ms is 0: nobody would wait for less than the whole prompt"
    );
    let folder = Scratch::new(app.data())?;
    let mut engine_options = app.engine_options(&app.settings().models.answer)?;
    let (mut measured, mut asked): (Vec<Vec<Measured>>, _) = (Vec::new(), Vec::new());
    let (mut prompt_tokens, mut passages) = (Vec::new(), Vec::new());
    {
        let searcher = app.searcher(app.embedder()?)?;
        let mut reader = Reader::open(&engine_options.model)?;
        for question in questions.iter().filter(|question| question.answerable) {
            if measured.len() == limit {
                break;
            }
            let Some(case) = reader.case(app, &searcher, question)? else { continue };
            prompt_tokens.push(case.tokens().len() as f64);
            passages.push(case.passages.len() as f64);
            measured.push(reader.measure(&case, &question.must_contain)?);
            asked.push(question);
        }
    }
    ensure!(!measured.is_empty(), "no question finds more than one passage that fits the prompt");
    engine_options.read_ahead = Some(ReadAheadOptions {
        folder: folder.path().to_owned(),
        bytes_max: BYTES_MAX,
        format: PieceFormat::default(),
        share_anew: app.settings().inference.passage_anew,
        // Measured to its end, whatever comes out.
        ..ReadAheadOptions::default()
    });
    let engine =
        tokio::task::spawn_blocking(move || Engine::start(engine_options)).await.context("loading panicked")??;
    let whole_answers = whole_answers::compare(app, &Arc::new(engine), &asked).await?;
    let column = |at: usize, of: &dyn Fn(&Measured) -> Option<f64>| {
        mean(measured.iter().filter_map(|ways| of(&ways[at])).collect::<Vec<_>>().into_iter())
    };
    let ways = WAYS.iter().enumerate().map(|(at, (way, _))| WayFigures {
        way,
        kl: column(at, &|measured| Some(measured.kl)),
        same_token: column(at, &|measured| Some(measured.same_token)),
        says: column(at, &|measured| measured.says),
        rows: column(at, &|measured| Some(measured.rows as f64)),
    });
    let figures = Figures {
        questions: measured.len(),
        prompt_tokens: mean(prompt_tokens.into_iter()),
        passages: mean(passages.into_iter()),
        ways: ways.collect(),
        whole_answers,
    };
    if json { output::json(&figures) } else { print(&figures) }
}

fn print(figures: &Figures) -> anyhow::Result<()> {
    let Figures { questions, prompt_tokens, passages, ways, whole_answers } = figures;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{questions} questions, {passages:.1} passages in {prompt_tokens:.0} prompt tokens")?;
    writeln!(out, "{:28} {:>7} {:>11} {:>6} {:>6}", "", "KL", "same token", "says", "rows")?;
    for WayFigures { way, kl, same_token, says, rows } in ways {
        writeln!(out, "{way:28} {kl:>7.3} {same_token:>11.3} {says:>6.3} {rows:>6.0}")?;
    }
    WholeAnswers::print(whole_answers)
}

/// A prompt in the parts that it is made of.
struct Case {
    rules: Vec<u32>,
    passages: Vec<Vec<u32>>,
    /// The passages as if each were the first.
    firsts: Vec<Vec<u32>>,
    question: Vec<u32>,
}

impl Case {
    fn tokens(&self) -> Vec<u32> {
        [&self.rules, &self.passages.concat(), &self.question].into_iter().flatten().copied().collect()
    }
}

struct Measured {
    kl: f64,
    same_token: f64,
    says: Option<f64>,
    rows: usize,
}

/// A prompt that was read.
struct ReadPrompt {
    cache: KvCache,
    logits: Vec<f32>,
    /// That were computed, behind the rules.
    rows: usize,
}

struct Reader {
    model: Llama,
    tokens: Tokens,
}

impl Reader {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = ModelFile::open(path)?;
        Ok(Reader { tokens: Tokens::read(&file)?, model: Llama::load(&file)? })
    }

    /// The prompt of a question; `None`: it has fewer than two passages.
    fn case(&self, app: &App, searcher: &Searcher, question: &EvalQuestion) -> anyhow::Result<Option<Case>> {
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

    fn measure(&mut self, case: &Case, must_contain: &[String]) -> anyhow::Result<Vec<Measured>> {
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
        let Way::Ahead { behind_rules, share, anew, format } = way else {
            let passages = match way {
                Way::FirstPassage => case.passages[0].clone(),
                Way::NoPassages => Vec::new(),
                _ => case.passages.concat(),
            };
            return self.read_whole(case, &passages);
        };
        let alone = &alone[usize::from(behind_rules)];
        let pieces = alone.iter().zip(&case.firsts).map(|(cache, first)| {
            let start = cache.len() - first.len();
            cache.piece(start..cache.len(), self.model.rope(), format)
        });
        let pieces: Vec<Piece> = pieces.collect();
        let mut cache = self.cache(case)?;
        self.model.forward(&case.rules, &mut cache)?;
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, (passage, (first, piece))) in case.passages.iter().zip(case.firsts.iter().zip(&pieces)).enumerate() {
            let start = cache.len();
            ensure!(passage.len() == first.len(), "the number of a passage takes one token");
            cache.place(passage, piece, self.model.rope());
            let other = passage.iter().zip(first).rposition(|(own, first)| own != first).map_or(0, |at| at + 1);
            // The first one stands where it was read.
            let is_in_place = at == 0 && behind_rules;
            let count = if is_in_place { 0 } else { (share * passage.len() as f64).ceil() as usize };
            let layers = match anew {
                Anew::First => None,
                Anew::FarthestInSecondLayer => Some(1..2),
                Anew::Farthest => Some(0..piece.shape().layers),
            };
            let mut positions: Vec<usize> = (0..passage.len()).collect();
            if let Some(layers) = layers {
                let here = |of: &KvCache| of.piece(start..start + passage.len(), self.model.rope(), PieceFormat::F16);
                let far = here(&cache).distances(&here(full), layers);
                positions[other..].sort_by(|left, right| far[*right].total_cmp(&far[*left]));
            }
            positions.truncate(count.max(other));
            positions.sort_unstable();
            runs.extend(positions.into_iter().map(|position| start + position..start + position + 1));
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
