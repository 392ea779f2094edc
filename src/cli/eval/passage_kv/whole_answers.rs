//! Whole answers, as people get them: by the model with all passages, with as many as the time allows, and with passages that were
//! read ahead in the same time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::sync::mpsc;

use super::super::answers::{self, AnswerFigures, AnswerResult};
use super::super::{EvalQuestion, mean};
use crate::answer::Writer;
use crate::app::App;
use crate::cli::{output, stop_on_signal};
use crate::inference::{
    AheadPassage, ChatMessage, Engine, GenerateRequest, GenerationEvent, InferenceError, PromptCosts,
};

/// Tokens behind the rules that the time allows: one passage of usual length, and the question.
const TOKENS: usize = 350;
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Serialize)]
pub(super) struct WholeAnswers {
    way: &'static str,
    #[serde(flatten)]
    figures: AnswerFigures,
    /// Sentences of an answer that no passage says.
    withheld: f64,
    prompt_tokens: f64,
    /// Of those, the ones that were computed.
    computed_tokens: f64,
}

impl WholeAnswers {
    pub(super) fn print(all: &[Self]) -> anyhow::Result<()> {
        output::line(format!(
            "\n{:28} {:>8} {:>11} {:>12} {:>9} {:>8} {:>7} {:>9}",
            "whole answers", "answered", "cites right", "cites it 1st", "precision", "says it", "withheld", "computed"
        ))?;
        all.iter().try_for_each(|WholeAnswers { way, figures, withheld, prompt_tokens, computed_tokens }| {
            let AnswerFigures { answered, cites_right, cites_right_first, citation_precision, says_it, .. } = figures;
            output::line(format!(
                "{way:28} {answered:>8} {cites_right:>11.3} {cites_right_first:>12.3} {citation_precision:>9.3} \
                 {says_it:>8.3} {withheld:>7.2} {computed_tokens:>5.0} of {prompt_tokens:.0}"
            ))
        })
    }
}

/// Answers the questions in each of the ways; `engine` reads ahead.
pub(super) async fn compare(
    app: &App,
    engine: &Arc<Engine>,
    questions: &[&EvalQuestion],
) -> anyhow::Result<Vec<WholeAnswers>> {
    let stop = stop_on_signal()?;
    let searcher = app.searcher(app.embedder()?)?;
    let generation = searcher.generation();
    let ways =
        [("all passages", usize::MAX / 2, false), ("in time", TOKENS, false), ("in time, read ahead", TOKENS, true)];
    let bar = ProgressBar::new((ways.len() * questions.len()) as u64);
    let mut all = Vec::new();
    for (way, tokens, reads_ahead) in ways {
        let writer = Arc::new(Bounded { engine: Arc::clone(engine), tokens, reads_ahead });
        let answerer = app.answerer(Arc::clone(&searcher), Some(writer));
        let mut results = Vec::new();
        for question in questions {
            let answer = answers::ask(&answerer, question, &stop).await?.context("it was stopped")?;
            results.push(AnswerResult::of(question, answer, &generation, &app.settings().answer.contact)?);
            bar.inc(1);
        }
        let each = |of: fn(&AnswerResult) -> f64| mean(results.iter().map(of));
        all.push(WholeAnswers {
            way,
            withheld: each(|result| result.answer.withheld.len() as f64),
            prompt_tokens: each(|result| result.answer.tokens.prompt as f64),
            computed_tokens: each(|result| (result.answer.tokens.prompt - result.answer.tokens.cached) as f64),
            figures: AnswerFigures::of(&results),
        });
    }
    bar.finish_and_clear();
    Ok(all)
}

/// The engine under a bound of tokens instead of time, so that a prompt does not hang on how fast the machine happens to be. What is
/// to be read ahead is read before the question goes on.
struct Bounded {
    engine: Arc<Engine>,
    tokens: usize,
    reads_ahead: bool,
}

impl Writer for Bounded {
    fn context_tokens(&self) -> usize {
        self.engine.context_tokens()
    }

    fn prompt_tokens(&self, messages: &[ChatMessage]) -> Result<usize, InferenceError> {
        self.engine.prompt_tokens(messages)
    }

    fn prompt_tokens_within(&self, rules: &str, _: Duration) -> Result<usize, InferenceError> {
        Ok(self.tokens + self.engine.prompt_tokens_within(rules, Duration::ZERO)?)
    }

    fn reads_ahead(&self) -> bool {
        self.reads_ahead
    }

    fn read_ahead(
        &self,
        messages: &[ChatMessage],
        passages: &[AheadPassage],
    ) -> Result<Option<PromptCosts>, InferenceError> {
        self.engine.read_ahead(messages, passages)?;
        while self.engine.unread_ahead() > 0 {
            std::thread::park_timeout(LOOK_EVERY);
        }
        self.engine.read_ahead(messages, passages)
    }

    fn submit(&self, request: GenerateRequest) -> Result<mpsc::Receiver<GenerationEvent>, InferenceError> {
        self.engine.submit(request)
    }
}
