//! `cervella bench speculate`: what guessing from the prompt is worth, on real questions and on a text that repeats
//! itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::domain::{Language, LanguageDetector};
use crate::inference::{AheadPrompt, ChatMessage, ChatRole, Engine, GenerateRequest, GenerationEvent, SamplingOptions};
use crate::prompt::{self, Candidate};
use crate::retrieval::{SearchQuery, Searcher};

const PASSAGES: usize = 4;
const DEADLINE: Duration = Duration::from_secs(600);

/// Measure decoding with and without guesses, at temperature 0, and that the text is the same.
#[derive(Args, Clone, Debug)]
pub struct SpeculateBench {
    /// Questions, one JSON object a line, about what is in the index
    questions: PathBuf,
    /// Questions to ask
    #[arg(long, value_name = "N", default_value_t = 30)]
    limit: usize,
    /// Tokens to write for each
    #[arg(long, value_name = "M", default_value_t = 96)]
    new_tokens: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Default, Serialize)]
struct SpeculateFigures {
    questions: Side,
    /// A text whose paragraphs repeat, to be continued.
    repeating: Side,
}

#[derive(Default, Serialize)]
struct Side {
    generations: usize,
    tokens: usize,
    guessed_tokens: usize,
    plain_s: f64,
    guessing_s: f64,
    speed_up: f64,
}

struct Written {
    text: String,
    tokens: usize,
    guessed: usize,
    decode_s: f64,
}

impl SpeculateBench {
    /// Measures and prints.
    ///
    /// # Errors
    /// There is no index or no answer model, or the texts differ, which would be a defect.
    pub fn run(&self, app: &App) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(&self.questions)
            .with_context(|| format!("cannot read {}", self.questions.display()))?;
        let searcher = app.searcher(app.embedder()?)?;
        let engine = app.engine()?;
        let mut figures = SpeculateFigures::default();
        let limit = app.settings().answer.prompt_tokens_max;
        for line in text.lines().filter(|line| !line.trim().is_empty()).take(self.limit) {
            let question: serde_json::Value = serde_json::from_str(line)?;
            let question = question["question"].as_str().context("a line without `question`")?;
            self.compare(&engine, &messages(&searcher, &engine, question, limit)?, &mut figures.questions)?;
        }
        let notice = "The office opens at 8:30 and closes at 19:00. Visitors sign in at the desk and wear a badge. ";
        let rules = format!("Go on with this text.\n\n{}", notice.repeat(6));
        self.compare(&engine, &[ChatMessage::new(ChatRole::User, &rules)], &mut figures.repeating)?;
        self.print(&figures)
    }

    fn compare(&self, engine: &Engine, messages: &[ChatMessage], side: &mut Side) -> anyhow::Result<()> {
        // The prompt is read once; both measured runs find it in the cache.
        self.write(engine, messages, false)?;
        let plain = self.write(engine, messages, false)?;
        let guessing = self.write(engine, messages, true)?;
        ensure!(plain.text == guessing.text, "guesses changed a text of {} tokens", plain.tokens);
        side.generations += 1;
        side.tokens += guessing.tokens;
        side.guessed_tokens += guessing.guessed;
        side.plain_s += plain.decode_s;
        side.guessing_s += guessing.decode_s;
        side.speed_up = side.plain_s / side.guessing_s;
        Ok(())
    }

    fn write(&self, engine: &Engine, messages: &[ChatMessage], speculate: bool) -> anyhow::Result<Written> {
        let mut events = engine.submit(GenerateRequest {
            messages: messages.to_vec(),
            ahead: AheadPrompt::default(),
            new_tokens_max: self.new_tokens,
            sampling: SamplingOptions::default(),
            stop: Vec::new(),
            deadline: Instant::now() + DEADLINE,
            cancel: CancellationToken::new(),
            speculate,
        })?;
        let (mut text, mut first) = (String::new(), None);
        while let Some(event) = events.blocking_recv() {
            match event {
                GenerationEvent::Text(piece) => {
                    first.get_or_insert_with(Instant::now);
                    text.push_str(&piece);
                }
                GenerationEvent::Finished { generated_tokens: tokens, guessed_tokens: guessed, .. } => {
                    let decode_s = first.map_or(0.0, |first| first.elapsed().as_secs_f64());
                    return Ok(Written { text, tokens, guessed, decode_s });
                }
                GenerationEvent::Failed(error) => return Err(error.into()),
                GenerationEvent::Queued { .. } | GenerationEvent::Started { .. } => {}
            }
        }
        bail!("the generation ended without a word")
    }

    fn print(&self, figures: &SpeculateFigures) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(figures)?)?;
            return Ok(());
        }
        for (name, side) in [("questions", &figures.questions), ("repeating", &figures.repeating)] {
            writeln!(
                out,
                "{name:10} {:>3} generations, {:>5} tokens, {:>5} guessed right, {:.2} s plain, {:.2} s guessing: {:.2} times",
                side.generations, side.tokens, side.guessed_tokens, side.plain_s, side.guessing_s, side.speed_up
            )?;
        }
        Ok(())
    }
}

/// What the model gets for a question: the same prompt as in an answer.
fn messages(
    searcher: &Searcher,
    engine: &Engine,
    question: &str,
    tokens_max: usize,
) -> anyhow::Result<Vec<ChatMessage>> {
    let language = LanguageDetector.detect(question).unwrap_or(Language::English);
    let query = SearchQuery { per_document: 2, ..SearchQuery::new(question, PASSAGES) };
    let hits = searcher.search(&query)?.hits;
    let candidates: Vec<Candidate<'_>> =
        hits.iter().map(|hit| Candidate { context: hit.context.as_deref(), ..Candidate::new(&hit.passage) }).collect();
    let conversation = |system: &str, user: &str| {
        vec![ChatMessage::new(ChatRole::System, system), ChatMessage::new(ChatRole::User, user)]
    };
    let count = |system: &str, user: &str| engine.prompt_tokens(&conversation(system, user)).unwrap_or(usize::MAX);
    let prompt = prompt::prompt(language, question, &candidates, tokens_max, count)?;
    Ok(conversation(&prompt.system, &prompt.user))
}
