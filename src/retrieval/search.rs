//! A query on both sides at the same time, fused, near-duplicates folded.

use std::sync::{Arc, RwLock};
use std::time::Instant;

use serde::Serialize;

use super::filter::Filter;
use super::fusion::{self, Fused};
use super::{Embedder, Generation, IndexStore, IndexedPassage, RetrievalError, terms};
use crate::domain::{Language, Passage, PassageId, Scope};

/// Candidates taken from each side.
const CANDIDATES: usize = 100;
/// Candidates looked at for every hit that is asked for; the rest of them may be folded away.
const LOOK_AHEAD: usize = 4;
/// Share of common terms from which on two passages in one language say the same.
const DUPLICATE_OVERLAP: f32 = 0.9;

#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuery {
    pub text: String,
    /// How many hits.
    pub top: usize,
    /// Only documents in this language.
    pub document_language: Option<Language>,
    /// Only documents of these collections.
    pub scope: Scope,
    /// How many passages of one document stand among the hits before the other documents had their turn.
    pub per_document: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub passage: Passage,
    /// See [`IndexedPassage::context`].
    pub context: Option<String>,
    /// Fused score, between 0 and 1.
    pub score: f32,
    /// Weighted mean of the query's centred cosines to the passage and to the best of its parts, between -1
    /// and 1.
    pub cosine: f32,
    /// BM25 score; `None`: no term of the query stands in the passage.
    pub lexical: Option<f32>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SearchTimings {
    pub embed: f64,
    pub dense: f64,
    pub lexical: f64,
    pub total: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hits {
    /// Best first.
    pub hits: Vec<Hit>,
    pub timings: SearchTimings,
}

/// Searches the live generation, and the next one as soon as it was adopted.
pub struct Searcher {
    store: IndexStore,
    embedder: Arc<Embedder>,
    live: RwLock<Arc<Generation>>,
}

impl Searcher {
    /// # Errors
    /// `NoIndex`, `Damaged`, or `OtherModel` when the vectors were made by another model than the embedder's.
    pub fn open(store: IndexStore, embedder: Arc<Embedder>) -> Result<Self, RetrievalError> {
        let live = open_for(&store, &embedder)?;
        Ok(Searcher { store, embedder, live: RwLock::new(Arc::new(live)) })
    }

    /// The current generation, if it is another one than the live one; it is not live before [`Searcher::adopt`].
    ///
    /// # Errors
    /// As [`Searcher::open`].
    pub fn successor(&self) -> Result<Option<Generation>, RetrievalError> {
        if self.store.current_name()? == self.generation().name() {
            return Ok(None);
        }
        open_for(&self.store, &self.embedder).map(Some)
    }

    pub fn adopt(&self, successor: Generation) {
        *self.live.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(successor);
    }

    pub fn store(&self) -> &IndexStore {
        &self.store
    }

    pub fn embedder(&self) -> &Arc<Embedder> {
        &self.embedder
    }

    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.live.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// # Errors
    /// `Busy` or `Stopped` from the embedder, errors of the index.
    pub fn search(&self, query: &SearchQuery) -> Result<Hits, RetrievalError> {
        let start = Instant::now();
        let generation = self.generation();
        let mut timings = SearchTimings::default();
        let Some(filter) = Filter::of(query.document_language, &query.scope, &generation.summary().collections) else {
            return Ok(Hits::default());
        };
        let (lexical, dense) = std::thread::scope(|scope| {
            let lexical = scope.spawn(|| {
                let start = Instant::now();
                let language_of = |id| generation.vectors.tag(id).map(|tag| tag.language);
                let hits = generation.lexical.search(&query.text, CANDIDATES, &filter, language_of);
                (hits, milliseconds(start))
            });
            let dense = self.dense(&generation, &query.text, &filter, &mut timings);
            (lexical.join(), dense)
        });
        let (vector, dense) = dense?;
        let (lexical, lexical_ms) =
            lexical.map_err(|_| RetrievalError::damaged("the full-text index", "the search panicked"))?;
        let lexical = lexical?;
        timings.lexical = lexical_ms;

        let cosine = generation.cosine(vector);
        let fused = fusion::fuse(&lexical, &dense, cosine);
        let mut candidates = Vec::new();
        for fused in fused.into_iter().take(query.top.saturating_mul(LOOK_AHEAD)) {
            let Some(IndexedPassage { passage, context }) = generation.passage(fused.id)? else { continue };
            let Fused { score, cosine, lexical, .. } = fused;
            candidates.push(Hit { passage, context, score, cosine, lexical });
        }
        let hits = spread(fold(candidates), query);
        timings.total = milliseconds(start);
        Ok(Hits { hits, timings })
    }

    fn dense(
        &self,
        generation: &Generation,
        text: &str,
        filter: &Filter<'_>,
        timings: &mut SearchTimings,
    ) -> Result<(Vec<f32>, Vec<PassageId>), RetrievalError> {
        let start = Instant::now();
        let vector = self.embedder.centred_query(text)?;
        timings.embed = milliseconds(start);
        let start = Instant::now();
        let dense_query = generation.vectors.query(vector.clone());
        let hits = generation.vectors.search(&dense_query, CANDIDATES, filter);
        timings.dense = milliseconds(start);
        Ok((vector, hits))
    }

    /// Share of the live passages in this language that hold the term, between 0 and 1.
    pub fn term_frequency(&self, term: &str, language: Language) -> Result<f32, RetrievalError> {
        let generation = self.generation();
        let passages = generation.summary().passages.max(1);
        Ok(generation.lexical.passages_with(term, language)? as f32 / passages as f32)
    }
}

fn open_for(store: &IndexStore, embedder: &Embedder) -> Result<Generation, RetrievalError> {
    let generation = store.open_current()?;
    if generation.summary().model.hash != embedder.model().hash {
        return Err(RetrievalError::OtherModel { model: embedder.model().name.clone() });
    }
    Ok(generation)
}

/// Drops every hit that says the same as a better one in the same language.
fn fold(candidates: Vec<Hit>) -> Vec<Hit> {
    let mut kept: Vec<(Hit, Vec<String>)> = Vec::with_capacity(candidates.len());
    for hit in candidates {
        let mut words = terms(&hit.passage.text, hit.passage.language);
        words.sort_unstable();
        let duplicate = kept.iter().any(|(other, other_words)| {
            other.passage.language == hit.passage.language && overlap(&words, other_words) >= DUPLICATE_OVERLAP
        });
        if !duplicate {
            kept.push((hit, words));
        }
    }
    kept.into_iter().map(|(hit, _)| hit).collect()
}

/// Jaccard index of two sorted lists of distinct terms.
fn overlap(a: &[String], b: &[String]) -> f32 {
    let common = a.iter().filter(|term| b.binary_search(term).is_ok()).count();
    let union = a.len() + b.len() - common;
    if union == 0 { 1.0 } else { common as f32 / union as f32 }
}

/// The first hits, with as many of each document as the query wants as long as others are left.
fn spread(hits: Vec<Hit>, query: &SearchQuery) -> Vec<Hit> {
    let mut first: Vec<Hit> = Vec::with_capacity(query.top);
    let mut later = Vec::new();
    for hit in hits {
        let of_document = first.iter().filter(|other| other.passage.is_of_document_of(&hit.passage)).count();
        let list = if of_document < query.per_document { &mut first } else { &mut later };
        list.push(hit);
    }
    first.extend(later);
    first.truncate(query.top);
    first
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
