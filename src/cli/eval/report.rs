//! `cervella eval FILE --html REPORT`: an evaluation as a page.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use super::answers::Answers;
use super::measures::{CurvePoint, FOUND};
use super::plots::{Axis, Line, Plot, end_of, shares_up_to};
use super::{EvalQuestion, EvalResult, Evaluation};
use crate::domain::AnswerTimings;

const TEMPLATE: &str = include_str!("report.html");
/// Into so many ranges of probability questions are put to see how far it can be trusted.
const RANGES: usize = 5;

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    made: String,
    version: &'static str,
    figures: Table,
    /// SVG.
    plots: Vec<String>,
    questions: Table,
}

#[derive(Serialize)]
struct Table {
    columns: &'static [&'static str],
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    cells: Vec<String>,
    /// What an admin looks at first.
    is_wrong: bool,
}

/// `evidence_min`: below it a question is refused.
pub(super) fn write_search(
    file: &Path,
    evaluation: &Evaluation,
    questions: &[EvalQuestion],
    evidence_min: f64,
) -> anyhow::Result<()> {
    let figures = evaluation.search.iter().map(|group| {
        let f = &group.figures;
        let values = [f.recall_at_1, f.recall_at_3, f.recall_at_5, f.recall_at_10, f.ndcg_at_10, f.mrr_at_10];
        let cells = [group.name.clone(), f.questions.to_string()].into_iter();
        Row { cells: cells.chain(values.map(|value| format!("{value:.3}"))).collect(), is_wrong: false }
    });
    let rows = evaluation.results.iter().zip(questions).map(|(result, question)| {
        let is_refused = result.evidence < evidence_min;
        let is_missed = result.answerable && result.rank.is_none_or(|rank| rank > FOUND);
        let cells = vec![
            result.id.clone(),
            question.question.clone(),
            if result.answerable { "yes" } else { "no" }.to_owned(),
            result.rank.map_or_else(|| "–".to_owned(), |rank| rank.to_string()),
            format!("{:.2}", result.evidence),
            if is_refused { "refused" } else { "answered" }.to_owned(),
        ];
        Row { cells, is_wrong: is_missed || is_refused == result.answerable }
    });
    let page = Page {
        title: "Search and the evidence gate",
        made: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        version: env!("CARGO_PKG_VERSION"),
        figures: Table {
            columns: &["questions", "n", "R@1", "R@3", "R@5", "R@10", "nDCG@10", "MRR@10"],
            rows: figures.collect(),
        },
        plots: vec![gate(evaluation)?, trust(&evaluation.results)?, search_times(&evaluation.results)?],
        questions: Table {
            columns: &["id", "question", "answerable", "place", "probability", "gate"],
            rows: wrong_first(rows.collect()),
        },
    };
    write(file, &page)
}

pub(super) fn write_answers(file: &Path, answers: &Answers, questions: &[EvalQuestion]) -> anyhow::Result<()> {
    let figures = answers
        .figures
        .lines()
        .into_iter()
        .map(|(name, value)| Row { cells: vec![name.to_owned(), value], is_wrong: false });
    let told = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
    let rows = answers.results.iter().zip(questions).map(|(result, question)| {
        let made_up = result.made_up_quotes + result.made_up_facts.len();
        let cells = vec![
            result.id.clone(),
            question.question.clone(),
            told(result.answerable),
            if result.is_answered() { "answered" } else { "abstained" }.to_owned(),
            result.right_citations.first().map_or_else(|| "–".to_owned(), |at| at.to_string()),
            result.says_it.map_or_else(|| "–".to_owned(), told),
            made_up.to_string(),
            format!("{:.1}", result.answer.timings_ms.total / 1000.0),
        ];
        let is_right = result.is_answered() == result.answerable
            && (!result.answerable || (!result.right_citations.is_empty() && result.says_it != Some(false)));
        Row { cells, is_wrong: !is_right || made_up > 0 }
    });
    let page = Page {
        title: "Answers",
        made: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        version: env!("CARGO_PKG_VERSION"),
        figures: Table { columns: &["figure", "value"], rows: figures.collect() },
        plots: vec![answer_times(answers)?],
        questions: Table {
            columns: &["id", "question", "answerable", "verdict", "right source", "says it", "made up", "seconds"],
            rows: wrong_first(rows.collect()),
        },
    };
    write(file, &page)
}

fn write(file: &Path, page: &Page<'_>) -> anyhow::Result<()> {
    let mut environment = Environment::new();
    environment.add_template("report.html", TEMPLATE)?;
    let html = environment.get_template("report.html")?.render(Serde(page))?;
    std::fs::write(file, html).with_context(|| format!("cannot write the report to {}", file.display()))?;
    eprintln!("the report is in {}", file.display());
    Ok(())
}

fn wrong_first(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| !row.is_wrong);
    rows
}

/// What each limit would refuse.
fn gate(evaluation: &Evaluation) -> anyhow::Result<String> {
    let gate = &evaluation.gate;
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    let line = |name, of: &dyn Fn(&CurvePoint) -> f64| Line {
        name,
        points: gate.curve.iter().map(|point| (point.evidence_min, of(point))).collect(),
    };
    let lines = vec![
        line("unanswerable", &|point| share(point.refused_unanswerable, gate.unanswerable)),
        line("answerable", &|point| share(point.refused_answerable, gate.answerable)),
    ];
    let x = Axis { label: "answer.evidence_min", max: 1.0 };
    Plot { title: "Refused questions by limit", x, y: Axis { label: "share", max: 1.0 }, lines }.svg()
}

/// The probability that the gate tells beside the share of questions that it is right about.
fn trust(results: &[EvalResult]) -> anyhow::Result<String> {
    let answered = |result: &EvalResult| result.answerable && result.rank.is_some_and(|rank| rank <= FOUND);
    let range_of = |result: &EvalResult| ((result.evidence * RANGES as f64) as usize).min(RANGES - 1);
    let points = (0..RANGES).filter_map(|range| {
        let members: Vec<&EvalResult> = results.iter().filter(|result| range_of(result) == range).collect();
        let count = members.len() as f64;
        let told = members.iter().map(|result| result.evidence).sum::<f64>() / count;
        let right = members.iter().filter(|result| answered(result)).count() as f64 / count;
        (count > 0.0).then_some((told, right))
    });
    let lines = vec![
        Line { name: "measured", points: points.collect() },
        Line { name: "as told", points: vec![(0.0, 0.0), (1.0, 1.0)] },
    ];
    let x = Axis { label: "probability that the hits answer", max: 1.0 };
    Plot { title: "How far the gate can be trusted", x, y: Axis { label: "share that do", max: 1.0 }, lines }.svg()
}

fn search_times(results: &[EvalResult]) -> anyhow::Result<String> {
    let times: Vec<f64> = results.iter().map(|result| result.search_ms).collect();
    let x = Axis { label: "milliseconds", max: end_of(times.iter().copied()) };
    let lines = vec![Line { name: "search", points: shares_up_to(times) }];
    Plot { title: "Time of a search", x, y: Axis { label: "share of questions", max: 1.0 }, lines }.svg()
}

fn answer_times(answers: &Answers) -> anyhow::Result<String> {
    let seconds = |of: &dyn Fn(&AnswerTimings) -> f64| -> Vec<f64> {
        answers.results.iter().map(|result| of(&result.answer.timings_ms) / 1000.0).collect()
    };
    let (first, total) = (seconds(&|timings| timings.first_text), seconds(&|timings| timings.total));
    let x = Axis { label: "seconds", max: end_of(total.iter().copied()) };
    let lines = vec![
        Line { name: "first text", points: shares_up_to(first) },
        Line { name: "whole answer", points: shares_up_to(total) },
    ];
    Plot { title: "Time of an answer", x, y: Axis { label: "share of questions", max: 1.0 }, lines }.svg()
}
