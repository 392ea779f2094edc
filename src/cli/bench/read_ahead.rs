//! `cervella bench read-ahead`: how much sooner an answer begins whose passages the model has read before.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use rustix::fs::{Advice, fadvise};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::median;
use crate::app::App;
use crate::cli::scratch::Scratch;
use crate::domain::PassageId;
use crate::inference::{
    AheadPassage, AheadPrompt, ChatMessage, ChatRole, Engine, EngineOptions, GenerateRequest, GenerationEvent,
    PieceFormat, PromptCosts, ReadAheadOptions, SamplingOptions, kept_pieces,
};

const DEADLINE: Duration = Duration::from_secs(1800);
/// Bytes of the disk that the measured passages may take.
const BYTES_MAX: u64 = 20_000_000_000;
const RULES: &str = "You answer colleagues' questions from the numbered passages, and from nothing else.";
/// What the passages are made of.
const WORDS: [&str; 16] = [
    "the", "office", "opens", "at", "eight", "and", "every", "visitor", "signs", "in", "before", "noon", "with", "a",
    "yellow", "badge",
];

/// Measure the time to the first token with passages that were read ahead, against reading the whole prompt.
#[derive(Args, Clone, Debug)]
pub struct ReadAheadBench {
    /// GGUF file of the model
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Passages of a prompt
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=9))]
    passages: u32,
    /// Tokens of a passage, about
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(16..=2000))]
    tokens: u32,
    /// Of each passage but the first, how much is read anew
    #[arg(long, value_name = "SHARE", default_value_t = 0.15)]
    anew: f64,
    /// And as much of them as can be read within so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    within: f64,
    /// What is kept of passages
    #[arg(long, default_value = "int8")]
    format: Format,
    /// Times that each is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Questions that are asked while a passage is being read
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    disturbed: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    F16,
    Int8,
    Int4,
}

#[derive(Serialize)]
struct ReadAheadFigures {
    model: String,
    prompt_tokens: usize,
    /// Rows that are computed of a prompt whose passages were read ahead, and within the time.
    rows: usize,
    rows_within: usize,
    bytes_per_passage: u64,
    /// Seconds to read one passage ahead.
    read_s: f64,
    /// Seconds to the first token: the whole prompt, read ahead with its files in memory and on disk alone, and mended as far as the
    /// time allows, again with its files in memory and on disk alone.
    full_s: f64,
    warm_s: f64,
    cold_s: f64,
    within_s: f64,
    within_cold_s: f64,
    /// Milliseconds until a question is begun while nothing is done, and while a passage is being read.
    begun_idle_p95_ms: f64,
    begun_disturbed_p95_ms: f64,
}

impl ReadAheadBench {
    /// Measures and prints.
    ///
    /// # Errors
    /// The model cannot be loaded, or there is no room for the passages.
    pub fn run(&self, app: &App) -> anyhow::Result<()> {
        let folder = Scratch::new(app.data())?;
        let format = match self.format {
            Format::F16 => PieceFormat::F16,
            Format::Int8 => PieceFormat::Int8,
            Format::Int4 => PieceFormat::Int4,
        };
        let read_ahead = ReadAheadOptions {
            folder: folder.path().to_owned(),
            bytes_max: BYTES_MAX,
            format,
            share_anew: self.anew,
            ..ReadAheadOptions::default()
        };
        let options = EngineOptions {
            slots: 1,
            keep_prefixes: false,
            read_ahead: Some(read_ahead),
            ..EngineOptions::new(&self.model)
        };
        let engine = Engine::start(options)?;
        let words = self.words(&engine)?;
        let asked = |first: u32| question(first..first + self.passages, words);
        // The rules are read once.
        first_token(&engine, exact(&asked(1000)))?;
        let full = self.times(|run| first_token(&engine, exact(&asked(2000 + 10 * run))))?;

        let request = asked(1);
        let start = Instant::now();
        let costs = want(&engine, &request)?;
        wait(&engine);
        let read_s = start.elapsed().as_secs_f64() / f64::from(self.passages);
        let (files, bytes) = kept_pieces(folder.path());
        ensure!(files == self.passages as usize, "{files} passages were kept");
        let time = Duration::try_from_secs_f64(self.within).context("--within is no time")?;
        let mut hasty = request.clone();
        hasty.ahead.tokens_max = engine.prompt_tokens_within(RULES, time)?;
        let warm = |request: &GenerateRequest| self.times(|_| first_token(&engine, request.clone()));
        let cold = |request: &GenerateRequest| {
            self.times(|_| {
                forget_pages(folder.path())?;
                first_token(&engine, request.clone())
            })
        };
        let (whole, within) = (warm(&request)?, warm(&hasty)?);
        let (whole_cold, within_cold) = (cold(&request)?, cold(&hasty)?);

        let short = GenerateRequest { ahead: AheadPrompt::default(), ..question(0..0, words) };
        let idle = (0..self.disturbed).map(|_| begun(&engine, short.clone())).collect::<Result<Vec<_>, _>>()?;
        let disturbed = (0..self.disturbed).map(|run| {
            want(&engine, &asked(3000 + 10 * run))?;
            // In the middle of it, each time elsewhere.
            std::thread::park_timeout(Duration::from_millis(600 + u64::from(run) * 37 % 500));
            ensure!(engine.unread_ahead() > 0, "the passages are read too fast to be disturbed");
            begun(&engine, short.clone())
        });
        let disturbed = disturbed.collect::<anyhow::Result<Vec<_>>>()?;
        self.print(&ReadAheadFigures {
            model: engine.model_name().to_owned(),
            prompt_tokens: costs.total(),
            rows: whole.rows,
            rows_within: within.rows,
            bytes_per_passage: bytes / u64::from(self.passages),
            read_s,
            full_s: full.seconds,
            warm_s: whole.seconds,
            cold_s: whole_cold.seconds,
            within_s: within.seconds,
            within_cold_s: within_cold.seconds,
            begun_idle_p95_ms: p95_ms(idle),
            begun_disturbed_p95_ms: p95_ms(disturbed),
        })
    }

    /// The median of the runs.
    fn times(&self, run: impl Fn(u32) -> anyhow::Result<FirstToken>) -> anyhow::Result<FirstToken> {
        let runs = (0..self.runs).map(run).collect::<anyhow::Result<Vec<_>>>()?;
        let rows = runs.last().map_or(0, |run| run.rows);
        Ok(FirstToken { seconds: median(runs.into_iter().map(|run| run.seconds).collect()), rows })
    }

    /// Words of a passage that has as many tokens as are wanted.
    fn words(&self, engine: &Engine) -> anyhow::Result<usize> {
        let mut words = 1;
        while engine.count_tokens(&shown(1, 1, words))? < self.tokens as usize {
            words += 1;
        }
        Ok(words)
    }

    fn print(&self, figures: &ReadAheadFigures) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(figures)?)?;
            return Ok(());
        }
        let ReadAheadFigures { full_s, warm_s, cold_s, within_s, within_cold_s, rows, rows_within, .. } = figures;
        let sooner = |seconds: &f64| full_s / seconds;
        writeln!(out, "{}, {} passages in {} tokens", figures.model, self.passages, figures.prompt_tokens)?;
        writeln!(out, "whole      {full_s:>8.2} s to the first token")?;
        writeln!(out, "ahead      {warm_s:>8.2} s, {:.1} times sooner, {rows} rows", sooner(warm_s))?;
        writeln!(out, "  from disk{cold_s:>8.2} s, {} KB a passage", figures.bytes_per_passage / 1000)?;
        writeln!(out, "in time    {within_s:>8.2} s, {:.1} times sooner, {rows_within} rows", sooner(within_s))?;
        writeln!(out, "  from disk{within_cold_s:>8.2} s")?;
        writeln!(out, "reading    {:>8.2} s a passage", figures.read_s)?;
        writeln!(
            out,
            "begun      {:>8.0} ms (p95) while a passage is read, {:.0} ms otherwise",
            figures.begun_disturbed_p95_ms, figures.begun_idle_p95_ms
        )?;
        Ok(())
    }
}

fn shown(n: usize, passage: u32, words: usize) -> String {
    let word = |at: usize| WORDS[(at * 7 + at / 11 + passage as usize * 5) % WORDS.len()];
    let text: Vec<&str> = (0..words).map(word).collect();
    format!("<passage number=\"{n}\" document=\"Office {passage}\">\n{}\n</passage>\n", text.join(" "))
}

fn question(passages: std::ops::Range<u32>, words: usize) -> GenerateRequest {
    let (mut text, mut ahead) = (String::new(), Vec::new());
    for (at, passage) in passages.enumerate() {
        let start = text.len();
        text.push_str(&shown(at + 1, passage, words));
        let mut id = [0; 16];
        id[..4].copy_from_slice(&passage.to_le_bytes());
        let first = shown(1, passage, words);
        ahead.push(AheadPassage { id: PassageId(id), range: start..text.len(), first });
    }
    text.push_str("\nQuestion: at what time does a visitor with a yellow badge have to leave the office?");
    GenerateRequest {
        messages: vec![ChatMessage::new(ChatRole::System, RULES), ChatMessage::new(ChatRole::User, text)],
        ahead: AheadPrompt { passages: ahead, tokens_max: usize::MAX },
        new_tokens_max: 1,
        sampling: SamplingOptions::default(),
        stop: Vec::new(),
        deadline: Instant::now() + DEADLINE,
        cancel: CancellationToken::new(),
        speculate: false,
    }
}

fn exact(request: &GenerateRequest) -> GenerateRequest {
    GenerateRequest { ahead: AheadPrompt::default(), ..request.clone() }
}

/// Wants the passages of a request read.
fn want(engine: &Engine, request: &GenerateRequest) -> anyhow::Result<PromptCosts> {
    engine.read_ahead(&request.messages, &request.ahead.passages)?.context("nothing is read ahead")
}

fn wait(engine: &Engine) {
    while engine.unread_ahead() > 0 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// When the one token of an answer is there, and how many rows were computed for it.
struct FirstToken {
    seconds: f64,
    rows: usize,
}

fn first_token(engine: &Engine, request: GenerateRequest) -> anyhow::Result<FirstToken> {
    let start = Instant::now();
    let mut events = engine.submit(request)?;
    let mut rows = 0;
    while let Some(event) = events.blocking_recv() {
        match event {
            GenerationEvent::Started { prompt_tokens, cached_tokens } => rows = prompt_tokens - cached_tokens,
            GenerationEvent::Finished { .. } => return Ok(FirstToken { seconds: start.elapsed().as_secs_f64(), rows }),
            GenerationEvent::Failed(error) => return Err(error.into()),
            _ => {}
        }
    }
    bail!("the generation ended without a word")
}

/// Seconds until a request has its slot.
fn begun(engine: &Engine, request: GenerateRequest) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut events = engine.submit(request)?;
    let mut begun = None;
    while let Some(event) = events.blocking_recv() {
        match event {
            GenerationEvent::Started { .. } => begun = Some(start.elapsed().as_secs_f64()),
            GenerationEvent::Failed(error) => return Err(error.into()),
            _ => {}
        }
    }
    begun.context("the generation was not begun")
}

fn p95_ms(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get((seconds.len() * 95).div_ceil(100).saturating_sub(1)).map_or(0.0, |seconds| seconds * 1000.0)
}

/// The files are read from the disk the next time.
fn forget_pages(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let file = File::open(entry?.path())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
