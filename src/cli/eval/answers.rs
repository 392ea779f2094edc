//! Whole answers, measured: whether the right questions are answered, in whose words, from which documents.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{EvalQuestion, Percentiles, mean, report};
use crate::answer::{AnswerEvent, Answerer, facts};
use crate::app::App;
use crate::cli::{output, stop_on_signal};
use crate::domain::{Answer, Language, Question, Reader, Verdict};
use crate::retrieval::Generation;

#[derive(Serialize)]
pub(super) struct AnswerResult {
    pub id: String,
    lang: Language,
    pub answerable: bool,
    pub answer: Answer,
    /// Places of the citations of right documents, from 1.
    pub right_citations: Vec<usize>,
    /// Whether it says all that a right answer says; `None`: nobody wrote down what that is.
    pub says_it: Option<bool>,
    /// Quotes that do not stand in their document.
    pub made_up_quotes: usize,
    /// Numbers and codes that are in none of the cited passages.
    pub made_up_facts: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct AnswerFigures {
    questions: usize,
    answerable: usize,
    pub answered: usize,
    unanswerable: usize,
    abstained: usize,
    /// Of the answered answerable ones: share that cite a right document, that cite it first, and of all citations those
    /// that are right.
    pub cites_right: f64,
    pub cites_right_first: f64,
    pub citation_precision: f64,
    /// Of those whose answer is written down, answered or not: share that say it.
    pub says_it: f64,
    in_the_readers_language: f64,
    made_up_quotes: usize,
    made_up_facts: usize,
    /// What the gate and the sentence check took of each answer, together.
    gate_and_check_ms: Percentiles,
    /// And what of it came on top of the writing.
    added_ms: Percentiles,
    first_text_ms: Percentiles,
    total_ms: Percentiles,
}

#[derive(Serialize)]
pub(super) struct Answers {
    #[serde(flatten)]
    pub figures: AnswerFigures,
    pub results: Vec<AnswerResult>,
}

/// Asks each question after the other; `writes`: by the model of the settings.
pub(super) async fn run(
    app: &App,
    questions: &[EvalQuestion],
    writes: bool,
    html: Option<&Path>,
    json: bool,
) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let answerer = if writes {
        let Some(loaded) = app.load(&stop).await? else { return Ok(()) };
        loaded.answerer
    } else {
        app.answerer(app.searcher(app.embedder()?)?, None)
    };
    let generation = answerer.searcher().generation();
    let mut results = Vec::with_capacity(questions.len());
    for question in questions {
        let Some(answer) = ask(&answerer, question, &stop).await? else { return Ok(()) };
        results.push(AnswerResult::of(question, answer, &generation, &app.settings().answer.contact)?);
    }
    let answers = Answers { figures: AnswerFigures::of(&results), results };
    if let Some(html) = html {
        report::write_answers(html, &answers, questions)?;
    }
    if json { output::json(&answers) } else { print(&answers.figures) }
}

/// `None`: it was stopped.
pub(super) async fn ask(
    answerer: &Arc<Answerer>,
    question: &EvalQuestion,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Answer>> {
    let mut events = answerer.ask(Question::new(&question.question, Reader::Operator), stop.clone());
    while let Some(event) = events.recv().await {
        match event {
            AnswerEvent::Done(answer) => return Ok(Some(*answer)),
            AnswerEvent::Failed { message, trace_id } => anyhow::bail!("{}: {message} ({trace_id})", question.id),
            _ => {}
        }
    }
    anyhow::ensure!(stop.is_cancelled(), "{}: the answer ended without a result", question.id);
    Ok(None)
}

impl AnswerResult {
    /// `contact`: what abstentions say besides.
    pub(super) fn of(
        question: &EvalQuestion,
        answer: Answer,
        generation: &Generation,
        contact: &str,
    ) -> anyhow::Result<Self> {
        let mut known = facts(&question.question);
        known.extend(facts(contact));
        let mut made_up_quotes = 0;
        for citation in &answer.citations {
            let cited = generation.passage(citation.passage_id)?.context("a passage that is cited is not there")?;
            let passage = cited.passage;
            made_up_quotes += usize::from(!passage.text.contains(&citation.quote));
            let above = [passage.title.as_str(), &passage.heading(), cited.context.as_deref().unwrap_or_default()];
            above.into_iter().chain([passage.text.as_str()]).for_each(|text| known.extend(facts(text)));
        }
        let text = without_marks(&answer.text);
        let mut made_up_facts: Vec<String> = facts(&text).into_iter().filter(|fact| !known.contains(fact)).collect();
        made_up_facts.sort_unstable();
        let right = answer.citations.iter().enumerate().filter(|(_, citation)| question.is_right(&citation.path));
        let right_citations = right.map(|(at, _)| at + 1).collect();
        let said = answer.text.to_lowercase();
        let says_it = (!question.must_contain.is_empty()).then(|| {
            let says = |part: &String| said.contains(&part.to_lowercase());
            answer.verdict == Verdict::Answered && question.must_contain.iter().all(says)
        });
        let EvalQuestion { lang, answerable, .. } = *question;
        let id = question.id.clone();
        Ok(AnswerResult { id, lang, answerable, answer, right_citations, says_it, made_up_quotes, made_up_facts })
    }

    pub fn is_answered(&self) -> bool {
        self.answer.verdict == Verdict::Answered
    }
}

/// An answer without its `[n]`, whose numbers are no facts.
fn without_marks(text: &str) -> String {
    let mut parts = text.split('[');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((mark, rest)) if !mark.is_empty() && mark.chars().all(|c| c.is_ascii_digit()) => plain.push_str(rest),
            _ => {
                plain.push('[');
                plain.push_str(part);
            }
        }
    }
    plain
}

impl AnswerFigures {
    /// Each with its name, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let share = |share: f64| format!("{share:.3}");
        let times = |ms: Percentiles| format!("p50 {:.0} ms, p95 {:.0} ms", ms.p50, ms.p95);
        vec![
            ("answered", format!("{} of {} answerable questions", self.answered, self.answerable)),
            ("abstained", format!("on {} of {} others", self.abstained, self.unanswerable)),
            ("cites a right document", share(self.cites_right)),
            ("cites it first", share(self.cites_right_first)),
            ("precision of citations", share(self.citation_precision)),
            ("says what a right answer says", share(self.says_it)),
            ("in the reader's language", share(self.in_the_readers_language)),
            ("made up", format!("{} quotes, {} numbers and codes", self.made_up_quotes, self.made_up_facts)),
            ("gate and check", times(self.gate_and_check_ms)),
            ("added to the writing", times(self.added_ms)),
            ("first text", times(self.first_text_ms)),
            ("whole answer", times(self.total_ms)),
        ]
    }

    pub fn of(results: &[AnswerResult]) -> Self {
        let count = |of: &dyn Fn(&AnswerResult) -> bool| results.iter().filter(|result| of(result)).count();
        let answered: Vec<&AnswerResult> =
            results.iter().filter(|result| result.answerable && result.is_answered()).collect();
        let share = |of: &dyn Fn(&AnswerResult) -> bool| mean(answered.iter().map(|result| f64::from(of(result))));
        let precision = |result: &&AnswerResult| {
            let cited: HashSet<&str> = result.answer.citations.iter().map(|citation| citation.path.as_str()).collect();
            let right: HashSet<&str> =
                result.right_citations.iter().map(|&at| result.answer.citations[at - 1].path.as_str()).collect();
            right.len() as f64 / cited.len().max(1) as f64
        };
        let says_it: Vec<bool> = results.iter().filter_map(|result| result.says_it).collect();
        let answerable = count(&|result| result.answerable);
        AnswerFigures {
            questions: results.len(),
            answerable,
            answered: answered.len(),
            unanswerable: results.len() - answerable,
            abstained: count(&|result| !result.answerable && !result.is_answered()),
            cites_right: share(&|result| !result.right_citations.is_empty()),
            cites_right_first: share(&|result| result.right_citations.first() == Some(&1)),
            citation_precision: mean(answered.iter().map(precision)),
            says_it: mean(says_it.into_iter().map(f64::from)),
            in_the_readers_language: mean(
                results.iter().map(|result| f64::from(result.answer.language == result.lang)),
            ),
            made_up_quotes: results.iter().map(|result| result.made_up_quotes).sum(),
            made_up_facts: results.iter().map(|result| result.made_up_facts.len()).sum(),
            gate_and_check_ms: Percentiles::of(
                results.iter().map(|result| result.answer.timings_ms.gate + result.answer.timings_ms.check).collect(),
            ),
            added_ms: Percentiles::of(results.iter().map(|result| result.answer.timings_ms.added).collect()),
            first_text_ms: Percentiles::of(results.iter().map(|result| result.answer.timings_ms.first_text).collect()),
            total_ms: Percentiles::of(results.iter().map(|result| result.answer.timings_ms.total).collect()),
        }
    }
}

fn print(figures: &AnswerFigures) -> anyhow::Result<()> {
    figures.lines().into_iter().try_for_each(|(name, value)| output::line(format!("{name:30} {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_no_facts() {
        assert_eq!(without_marks("Entro 24 ore. [12] O [mai] [3"), "Entro 24 ore.  O [mai] [3");
        assert_eq!(without_marks("[1][2]"), "");
    }
}
