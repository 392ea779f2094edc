//! `cervella search "…"`: the hits and how long each step took.

use clap::Args;
use jiff::civil::Date;
use serde::Serialize;

use super::output;
use crate::app::{App, AppError};
use crate::domain::{Language, PassageId, Scope};
use crate::retrieval::{Explanation, Hit, Hits, SearchQuery, SearchTimings};

#[derive(Debug, Args)]
pub(super) struct SearchArguments {
    query: String,
    /// How many hits
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    top: u16,
    /// Only documents in this language
    #[arg(long, value_name = "it|en")]
    doc_lang: Option<Language>,
    /// Only documents of this collection
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Say of each hit how it came to its score
    #[arg(long)]
    explain: bool,
    /// Print the hits as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct SearchOutput<'a> {
    hits: Vec<HitOutput<'a>>,
    timings_ms: SearchTimings,
}

#[derive(Serialize)]
struct HitOutput<'a> {
    rank: usize,
    score: f32,
    collection: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    title: &'a str,
    heading: String,
    language: Language,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<Date>,
    passage_id: PassageId,
    text: String,
    /// What the ranking was made of.
    cosine: f32,
    bm25: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

impl SearchArguments {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        anyhow::ensure!(!self.query.trim().is_empty(), "the query is empty: say what to search for");
        let searcher = app.searcher(app.embedder()?)?;
        let scope = match self.collection {
            None => Scope::Everything,
            Some(name) => {
                let generation = searcher.generation();
                let known = &generation.summary().collections;
                if !known.contains(&name) {
                    return Err(AppError::NoCollection { name, known: known.join(", ") }.into());
                }
                Scope::Collections([name].into())
            }
        };
        let query =
            SearchQuery { document_language: self.doc_lang, scope, ..SearchQuery::new(self.query, self.top.into()) };
        let hits = searcher.search(&query)?;
        if self.json { output::json(&told(&hits, self.explain)) } else { print(&hits, self.explain) }
    }
}

fn told(hits: &Hits, explain: bool) -> SearchOutput<'_> {
    let told = |(at, hit)| HitOutput { explanation: None, ..hit_told(at, hit) };
    let explained = |(at, hit)| hit_told(at, hit);
    let hits_told = hits.hits.iter().enumerate();
    let output = if explain { hits_told.map(explained).collect() } else { hits_told.map(told).collect() };
    SearchOutput { hits: output, timings_ms: hits.timings }
}

fn hit_told(at: usize, hit: &Hit) -> HitOutput<'_> {
    let passage = &hit.passage;
    HitOutput {
        rank: at + 1,
        score: hit.score,
        collection: &passage.collection,
        path: &passage.path,
        link: passage.link.as_deref(),
        title: &passage.title,
        heading: passage.heading(),
        language: passage.language,
        date: passage.date,
        passage_id: passage.id,
        text: hit.joined_text(),
        cosine: hit.cosine,
        bm25: hit.lexical,
        explanation: Some(hit.explanation),
    }
}

fn print(hits: &Hits, explain: bool) -> anyhow::Result<()> {
    for (at, hit) in hits.hits.iter().enumerate() {
        let passage = &hit.passage;
        output::line(format!("{}. {}  ({}, {:.2})", at + 1, passage.place(), passage.path, hit.score))?;
        if explain {
            output::line(format!("   [{}]", explained(hit)))?;
        }
        for text in hit.joined_text().lines() {
            output::line(format!("   {text}"))?;
        }
        output::line("")?;
    }
    let timings = hits.timings;
    eprintln!("{} hits in {:.0} ms", hits.hits.len(), timings.total);
    Ok(())
}

fn explained(hit: &Hit) -> String {
    let Explanation { dense_place, whole, best_part, lexical_place, share, cross_encoder } = hit.explanation;
    let words = match (lexical_place, hit.lexical) {
        (Some(place), Some(bm25)) => {
            format!("words: place {place}, BM25 {bm25:.1}, {:.0} % of the query", share * 100.0)
        }
        _ => "words: none of the rarer ones".to_owned(),
    };
    let cross_encoder = cross_encoder.map(|score| format!(" · cross-encoder {score:.3}")).unwrap_or_default();
    format!(
        "score {:.3} · meaning: place {dense_place}, cosine {:.3} (whole {whole:.3}, best part {best_part:.3}) · \
         {words}{cross_encoder}",
        hit.score, hit.cosine
    )
}
