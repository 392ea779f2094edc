//! `cervella eval --passage-kv`: what it costs in quality to put passages into a prompt that were read before, instead of reading the
//! prompt. The measure is the full prompt, read in one: how far the next token's distribution is from it over the first tokens of
//! its answer, whether what is written says what a right answer says, and how whole answers come out.

mod reader;
mod whole_answers;

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{EvalQuestion, mean};
use crate::app::{App, AppError};
use crate::cli::output;
use crate::cli::scratch::Scratch;
use crate::inference::{Engine, Piece, PieceFormat, ReadAheadOptions};
use reader::{Measured, Reader};
use whole_answers::WholeAnswers;

/// Of the disk, for what is read ahead meanwhile.
const BYTES_MAX: u64 = 20_000_000_000;

/// A way to read a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// In one: the measure of the others.
    Full,
    NoPassages,
    FirstPassage,
    /// Passages from before.
    Ahead(Ahead),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Ahead {
    behind_rules: bool,
    /// Of each passage but the first, read anew in its place.
    share: f64,
    anew: Anew,
    format: PieceFormat,
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

impl Anew {
    /// That are compared with those of the full prompt.
    fn layers(self, piece: &Piece) -> Option<Range<usize>> {
        match self {
            Anew::First => None,
            Anew::FarthestInSecondLayer => Some(1..2),
            Anew::Farthest => Some(0..piece.shape().layers),
        }
    }
}

const fn ahead(share: f64, format: PieceFormat) -> Way {
    Way::Ahead(Ahead { behind_rules: true, share, anew: Anew::First, format })
}

const fn farthest(anew: Anew) -> Way {
    Way::Ahead(Ahead { behind_rules: true, share: 0.15, anew, format: PieceFormat::F16 })
}

const WAYS: &[(&str, Way)] = &[
    ("all read in one", Way::Full),
    ("no passages", Way::NoPassages),
    ("first passage alone", Way::FirstPassage),
    (
        "ahead, without rules",
        Way::Ahead(Ahead { behind_rules: false, share: 0.0, anew: Anew::First, format: PieceFormat::F16 }),
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

/// Prompts as they are read in each way.
#[derive(Serialize)]
struct Prompts {
    questions: usize,
    prompt_tokens: f64,
    passages: f64,
    ways: Vec<WayFigures>,
}

#[derive(Serialize)]
struct Figures {
    #[serde(flatten)]
    prompts: Prompts,
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
    let (prompts, asked) = Prompts::read(app, &engine_options.model, questions, limit)?;
    if !json {
        // Whole answers take minutes more.
        prompts.print()?;
    }
    engine_options.read_ahead = Some(ReadAheadOptions {
        folder: folder.path().to_owned(),
        bytes_max: BYTES_MAX,
        format: PieceFormat::default(),
        share_anew: app.settings().inference.passage_anew,
        // Measured to its end, whatever comes out.
        ..ReadAheadOptions::default()
    });
    let engine = tokio::task::spawn_blocking(move || Engine::start(engine_options)).await.map_err(AppError::from)??;
    let whole_answers = whole_answers::compare(app, &Arc::new(engine), &asked).await?;
    if json { output::json(&Figures { prompts, whole_answers }) } else { WholeAnswers::print(&whole_answers) }
}

impl Prompts {
    /// Those of the first `limit` questions, and these questions.
    fn read<'a>(
        app: &App,
        model: &Path,
        questions: &'a [EvalQuestion],
        limit: usize,
    ) -> anyhow::Result<(Self, Vec<&'a EvalQuestion>)> {
        let searcher = app.searcher(app.embedder()?)?;
        let mut reader = Reader::open(model)?;
        let (mut measured, mut asked): (Vec<Vec<Measured>>, _) = (Vec::new(), Vec::new());
        let (mut prompt_tokens, mut passages) = (Vec::new(), Vec::new());
        let bar = ProgressBar::new(limit.min(questions.len()) as u64);
        for question in questions.iter().filter(|question| question.answerable) {
            if measured.len() == limit {
                break;
            }
            let Some(case) = reader.case(app, &searcher, question)? else { continue };
            prompt_tokens.push(case.tokens().len() as f64);
            passages.push(case.passages.len() as f64);
            measured.push(reader.measure(&case, &question.must_contain)?);
            asked.push(question);
            bar.inc(1);
        }
        bar.finish_and_clear();
        ensure!(!measured.is_empty(), "no question finds more than one passage that fits the prompt");
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
        let prompts = Prompts {
            questions: measured.len(),
            prompt_tokens: mean(prompt_tokens.into_iter()),
            passages: mean(passages.into_iter()),
            ways: ways.collect(),
        };
        Ok((prompts, asked))
    }

    fn print(&self) -> anyhow::Result<()> {
        let Prompts { questions, prompt_tokens, passages, ways } = self;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{questions} questions, {passages:.1} passages in {prompt_tokens:.0} prompt tokens")?;
        writeln!(out, "{:28} {:>7} {:>11} {:>6} {:>6}", "", "KL", "same token", "says", "rows")?;
        for WayFigures { way, kl, same_token, says, rows } in ways {
            writeln!(out, "{way:28} {kl:>7.3} {same_token:>11.3} {says:>6.3} {rows:>6.0}")?;
        }
        Ok(())
    }
}
