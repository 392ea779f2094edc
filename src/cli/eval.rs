//! `cervella eval FILE.jsonl`: search and the evidence gate, measured on questions whose answers are known.

mod answers;
mod changes;
mod fit;
mod measures;
mod passage_kv;
mod plots;
mod questions;
mod report;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::output;
use crate::answer::{Evidence, Gate};
use crate::app::App;
use crate::domain::Language;
use crate::retrieval::{SearchQuery, Searcher, Weights};
use measures::{GateFigures, RankFigures};
pub(super) use measures::{Percentiles, mean, ndcg};
pub(super) use questions::EvalQuestion;

/// Hits that are looked at.
const DEPTH: usize = 10;

#[derive(Debug, Args)]
pub(super) struct EvalArguments {
    /// Questions, one JSON object a line
    #[arg(required_unless_present_any = ["fit", "changes"])]
    file: Option<PathBuf>,
    /// Fit the evidence gate to what `eval --json` printed, on one index or several, and print its weights
    #[arg(long, value_name = "RESULTS", num_args = 1.., conflicts_with_all = ["file", "compare", "answers", "quotes", "weights", "json"])]
    fit: Vec<PathBuf>,
    /// Say which questions fare otherwise in the second of two runs, by what `eval --json` printed of them
    #[arg(long, value_names = ["BEFORE", "AFTER"], num_args = 2, conflicts_with_all = ["file", "fit", "compare", "answers", "quotes", "weights", "html"])]
    changes: Vec<PathBuf>,
    /// Beside BM25 alone, vectors alone, plain reciprocal-rank fusion of both, and ours without each of its parts
    #[arg(long)]
    compare: bool,
    /// Ask the questions and measure their answers
    #[arg(long, conflicts_with_all = ["compare", "weights"])]
    answers: bool,
    /// As --answers, without the model that writes: answers are quotes
    #[arg(long, conflicts_with_all = ["compare", "weights", "answers"])]
    quotes: bool,
    /// Compare prompts that are read in one with prompts whose passages were read before, by what the model of the settings would write.
    /// As many questions as --limit says
    #[arg(long, conflicts_with_all = ["compare", "weights", "answers", "quotes", "html"])]
    passage_kv: bool,
    /// Questions of --passage-kv
    #[arg(long, value_name = "N", default_value_t = 50, requires = "passage_kv")]
    limit: usize,
    /// Also write a report for people, with plots, into this file
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["compare", "fit"])]
    html: Option<PathBuf>,
    /// Weights to try, as JSON: `{"lexical": 0.5}`
    #[arg(long, value_name = "JSON", value_parser = weights_of)]
    weights: Option<Weights>,
    /// Print the figures as JSON, with the result of each question
    #[arg(long)]
    json: bool,
}

fn weights_of(json: &str) -> Result<Weights, serde_json::Error> {
    serde_json::from_str(json)
}

#[derive(Serialize)]
struct EvalResult {
    id: String,
    lang: Language,
    kind: String,
    answerable: bool,
    /// Whether the index holds one of its right documents.
    indexed: bool,
    /// Place of the first right document, from 1.
    rank: Option<usize>,
    /// Places of all right documents among the first ten, from 1.
    right_ranks: Vec<usize>,
    right_documents: usize,
    /// Probability that the hits hold the answer, and what it was made of.
    evidence: f64,
    grounds: Evidence,
    search_ms: f64,
}

#[derive(Serialize)]
struct Group {
    name: String,
    #[serde(flatten)]
    figures: RankFigures,
}

#[derive(Serialize)]
struct Evaluation {
    questions: usize,
    search: Vec<Group>,
    gate: GateFigures,
    search_ms: Percentiles,
    results: Vec<EvalResult>,
}

impl EvalArguments {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<()> {
        let evidence_min = app.settings().answer.evidence_min;
        if let [before, after] = &self.changes[..] {
            return changes::run(before, after, evidence_min, self.json);
        }
        let Some(file) = &self.file else { return fit::run(&self.fit) };
        let questions = EvalQuestion::read(file)?;
        if self.answers || self.quotes {
            return answers::run(app, &questions, self.answers, self.html.as_deref(), self.json).await;
        }
        if self.passage_kv {
            return passage_kv::run(app, &questions, self.limit, self.json).await;
        }
        let searcher = app.searcher(app.embedder()?)?;
        // The first search pays for cold caches.
        searcher.search(&SearchQuery::new("prova test", 1))?;
        let evaluate = |weights: Weights| -> anyhow::Result<Evaluation> {
            let measured = questions.iter().map(|question| measure(question, &searcher, weights));
            Ok(evaluate(measured.collect::<anyhow::Result<_>>()?, evidence_min))
        };
        let weights = self.weights.unwrap_or_default();
        if !self.compare {
            let evaluation = evaluate(weights)?;
            if let Some(html) = &self.html {
                report::write_search(html, &evaluation, &questions, evidence_min)?;
            }
            return if self.json { output::json(&evaluation) } else { print(&evaluation) };
        }
        let systems = systems(weights).into_iter();
        let compared: Vec<Compared> = systems
            .map(|(system, weights)| Ok(Compared { system, evaluation: evaluate(weights)? }))
            .collect::<anyhow::Result<_>>()?;
        if self.json { output::json(&compared) } else { print_compared(&compared) }
    }
}

#[derive(Serialize)]
struct Compared {
    system: String,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// Simple systems, ours, and ours without each of its parts.
fn systems(ours: Weights) -> Vec<(String, Weights)> {
    let simple = Weights::SIMPLE.into_iter().map(|(name, weights)| (name.to_owned(), weights));
    let without = ours.without_each_part().into_iter().map(|(part, weights)| (format!("- {part}"), weights));
    simple.chain([("ours".to_owned(), ours)]).chain(without).collect()
}

fn measure(question: &EvalQuestion, searcher: &Searcher, weights: Weights) -> anyhow::Result<EvalResult> {
    let start = Instant::now();
    let hits = searcher.search(&question.query(weights))?.hits;
    let search_ms = start.elapsed().as_secs_f64() * 1000.0;
    let right_ranks = question.right_ranks(&hits);
    let grounds = searcher.search(&question.query_like(Evidence::query(&question.question), weights))?.hits;
    let grounds = Evidence::of(&searcher.asked_words(&question.question, &grounds)?, &grounds);
    Ok(EvalResult {
        id: question.id.clone(),
        lang: question.lang,
        kind: question.kind.clone(),
        answerable: question.answerable,
        indexed: question.is_indexed(&searcher.generation())?,
        rank: right_ranks.first().copied(),
        right_ranks,
        right_documents: question.right_documents(),
        evidence: Gate::fitted().probability(&grounds),
        grounds,
        search_ms,
    })
}

fn evaluate(results: Vec<EvalResult>, evidence_min: f64) -> Evaluation {
    let group = |name: String, of: &dyn Fn(&EvalResult) -> bool| {
        let members: Vec<&EvalResult> = results.iter().filter(|result| result.answerable && of(result)).collect();
        (!members.is_empty()).then(|| Group { name, figures: RankFigures::of(&members) })
    };
    let mut kinds: Vec<&str> = results.iter().map(|result| result.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut search: Vec<Group> = group("all".to_owned(), &|_| true).into_iter().collect();
    for language in Language::ALL {
        search.extend(group(language.code().to_owned(), &|result| result.lang == language));
    }
    for kind in kinds {
        search.extend(group(kind.to_owned(), &|result| result.kind == kind));
        for language in Language::ALL {
            search
                .extend(group(format!("{kind} {language}"), &|result| result.kind == kind && result.lang == language));
        }
    }
    Evaluation {
        questions: results.len(),
        search,
        gate: GateFigures::of(&results, evidence_min),
        search_ms: Percentiles::of(results.iter().map(|result| result.search_ms).collect()),
        results,
    }
}

fn print_compared(compared: &[Compared]) -> anyhow::Result<()> {
    output::line("system            questions            n    R@1    R@3    R@5   R@10  nDCG@10  MRR@10")?;
    for Compared { system, evaluation } in compared {
        for group in &evaluation.search {
            output::line(format!("{system:17} {}", figures(group)))?;
        }
    }
    Ok(())
}

fn figures(Group { name, figures: f }: &Group) -> String {
    format!(
        "{name:18} {:>3}  {:.3}  {:.3}  {:.3}  {:.3}    {:.3}   {:.3}",
        f.questions, f.recall_at_1, f.recall_at_3, f.recall_at_5, f.recall_at_10, f.ndcg_at_10, f.mrr_at_10
    )
}

fn print(evaluation: &Evaluation) -> anyhow::Result<()> {
    output::line("questions            n    R@1    R@3    R@5   R@10  nDCG@10  MRR@10")?;
    for group in &evaluation.search {
        output::line(figures(group))?;
    }
    let gate = &evaluation.gate;
    output::line(format!(
        "\nabstention: precision {:.3}, recall {:.3} ({} of {} unanswerable questions refused, {} of {} answerable ones, {} of \
         the {} of them whose document is among the first {})",
        gate.abstention_precision,
        gate.abstention_recall,
        gate.refused_unanswerable,
        gate.unanswerable,
        gate.refused_answerable,
        gate.answerable,
        gate.refused_found,
        gate.found,
        measures::FOUND
    ))?;
    let curve = gate
        .curve
        .iter()
        .map(|point| format!("{:.1}: {}/{}", point.evidence_min, point.refused_unanswerable, point.refused_answerable));
    let curve: Vec<String> = curve.collect();
    output::line(format!("refused of the unanswerable/answerable by answer.evidence_min: {}", curve.join(", ")))?;
    let ms = &evaluation.search_ms;
    output::line(format!("search: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms", ms.p50, ms.p95, ms.p99))
}
