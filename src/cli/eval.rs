//! `cervella eval FILE.jsonl`: search and the evidence gate, measured on questions whose answers are known.

mod measures;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::output;
use crate::answer::Evidence;
use crate::app::App;
use crate::domain::{Language, Scope};
use crate::retrieval::{SearchQuery, Searcher};
use measures::{GateFigures, Percentiles, RankFigures};

/// Hits that are looked at.
const DEPTH: usize = 10;

#[derive(Debug, Args)]
pub(super) struct EvalArguments {
    /// Questions, one JSON object a line
    file: PathBuf,
    /// Print the figures as JSON, with the result of each question
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct EvalQuestion {
    id: String,
    lang: Language,
    question: String,
    answerable: bool,
    kind: String,
    index_langs: Vec<Language>,
    #[serde(default)]
    gold: Vec<String>,
    #[serde(default)]
    also_ok: Vec<String>,
}

#[derive(Serialize)]
struct EvalResult {
    id: String,
    lang: Language,
    kind: String,
    answerable: bool,
    /// Place of the first right document, from 1.
    rank: Option<usize>,
    /// Places of all right documents among the first ten, from 1.
    right_ranks: Vec<usize>,
    right_documents: usize,
    evidence: f64,
    cosine: f32,
    coverage: f32,
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
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        let text =
            std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let questions = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(at, line)| {
                serde_json::from_str(line).with_context(|| format!("{}, line {}", self.file.display(), at + 1))
            })
            .collect::<anyhow::Result<Vec<EvalQuestion>>>()?;
        anyhow::ensure!(!questions.is_empty(), "{} holds no question", self.file.display());
        let searcher = app.searcher(app.embedder()?)?;
        // The first search pays for cold caches.
        searcher.search(&SearchQuery {
            text: "prova test".to_owned(),
            top: 1,
            document_language: None,
            scope: Scope::Everything,
            per_document: 1,
        })?;
        let results =
            questions.iter().map(|question| measure(question, &searcher)).collect::<anyhow::Result<Vec<_>>>()?;
        let evaluation = evaluate(results, app.settings().answer.evidence_min);
        if self.json { output::json(&evaluation) } else { print(&evaluation) }
    }
}

fn measure(question: &EvalQuestion, searcher: &Searcher) -> anyhow::Result<EvalResult> {
    let document_language = match question.index_langs[..] {
        [only] => Some(only),
        _ => None,
    };
    let query = SearchQuery {
        text: question.question.clone(),
        top: DEPTH,
        document_language,
        scope: Scope::Everything,
        per_document: 1,
    };
    let start = Instant::now();
    let hits = searcher.search(&query)?.hits;
    let search_ms = start.elapsed().as_secs_f64() * 1000.0;
    let right = |path: &str| question.gold.iter().chain(&question.also_ok).any(|right| right == path);
    let mut seen: Vec<&str> = Vec::new();
    let mut right_ranks = Vec::new();
    for (at, hit) in hits.iter().enumerate() {
        // A second passage of a right document is not a second right document.
        if right(&hit.passage.path) && !seen.contains(&hit.passage.path.as_str()) {
            seen.push(&hit.passage.path);
            right_ranks.push(at + 1);
        }
    }
    let evidence = Evidence::of(&question.question, &hits, searcher)?;
    Ok(EvalResult {
        id: question.id.clone(),
        lang: question.lang,
        kind: question.kind.clone(),
        answerable: question.answerable,
        rank: right_ranks.first().copied(),
        right_ranks,
        right_documents: question.gold.len() + question.also_ok.len(),
        evidence: evidence.probability(),
        cosine: evidence.cosine,
        coverage: evidence.coverage,
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

fn print(evaluation: &Evaluation) -> anyhow::Result<()> {
    output::line("questions            n    R@1    R@3    R@5   R@10  nDCG@10  MRR@10")?;
    for Group { name, figures: f } in &evaluation.search {
        output::line(format!(
            "{name:18} {:>3}  {:.3}  {:.3}  {:.3}  {:.3}    {:.3}   {:.3}",
            f.questions, f.recall_at_1, f.recall_at_3, f.recall_at_5, f.recall_at_10, f.ndcg_at_10, f.mrr_at_10
        ))?;
    }
    let gate = &evaluation.gate;
    output::line(format!(
        "\nabstention: precision {:.3}, recall {:.3} ({} of {} unanswerable questions refused, {} of {} answerable ones)",
        gate.abstention_precision,
        gate.abstention_recall,
        gate.refused_unanswerable,
        gate.unanswerable,
        gate.refused_answerable,
        gate.answerable
    ))?;
    let ms = &evaluation.search_ms;
    output::line(format!("search: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms", ms.p50, ms.p95, ms.p99))
}
