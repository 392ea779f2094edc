//! A query on both sides at the same time, fused and ranked.

use std::ops::Range;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::filter::Filter;
use super::fusion::{self, Fused};
use super::lexical::{LexicalHit, Words};
use super::ranking::Ranking;
use super::{AskedWords, Embedder, Generation, IndexStore, IndexedPassage, Reranker, RetrievalError, Weights};
use crate::domain::{Language, Passage, PassageId, Scope};

/// Candidates taken from each side.
const CANDIDATES: usize = 100;
/// Candidates looked at for every hit that is asked for; the rest of them may be folded away.
const LOOK_AHEAD: usize = 4;

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
    pub weights: Weights,
}

impl SearchQuery {
    /// The `top` best hits of all there is, one of each document first.
    pub fn new(text: impl Into<String>, top: usize) -> Self {
        SearchQuery {
            text: text.into(),
            top,
            document_language: None,
            scope: Scope::Everything,
            per_document: 1,
            weights: Weights::default(),
        }
    }
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
    pub explanation: Explanation,
    /// The parts of the passage in their order; see [`IndexedPassage::parts`].
    pub parts: Vec<HitPart>,
    /// See [`IndexedPassage::follows`].
    pub follows: Option<String>,
    /// Hits by themselves, worse ones, whose passages continue this one in its section; in their order in the document.
    pub neighbours: Vec<Hit>,
}

impl Hit {
    /// This one and its neighbours, in their order in the document.
    pub fn joined(&self) -> impl Iterator<Item = &Hit> {
        let before = self.neighbours.partition_point(|other| other.passage.ordinal < self.passage.ordinal);
        let (before, after) = self.neighbours.split_at(before);
        before.iter().chain([self]).chain(after)
    }

    /// The text of its passage and its neighbours', as it stands in the document.
    pub fn joined_text(&self) -> String {
        let mut text = String::new();
        for (at, hit) in self.joined().enumerate() {
            text.push_str(hit.follows.as_deref().filter(|_| at > 0).unwrap_or_default());
            text.push_str(&hit.passage.text);
        }
        text
    }
}

#[cfg(test)]
impl Hit {
    /// An English passage with nothing around it.
    pub(crate) fn of(path: &str, text: &str) -> Self {
        let passage = Passage {
            id: PassageId([0; 16]),
            collection: "knowledge".to_owned(),
            path: path.to_owned(),
            title: String::new(),
            headings: Vec::new(),
            anchor: None,
            link: None,
            language: Language::English,
            date: None,
            ordinal: 0,
            text: text.to_owned(),
        };
        Hit {
            passage,
            context: None,
            score: 0.0,
            cosine: 0.0,
            lexical: None,
            explanation: Explanation::default(),
            parts: Vec::new(),
            follows: None,
            neighbours: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct HitPart {
    /// Where it stands in the passage's text.
    pub range: Range<usize>,
    /// Of the part and the query, centred; between -1 and 1.
    pub cosine: f32,
}

/// How a hit came to its score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// Place by meaning alone, from 1.
    pub dense_place: usize,
    /// Cosine of the whole passage, and of its best part.
    pub whole: f32,
    pub best_part: f32,
    /// Place by words alone, from 1; `None`: none of them stands in the passage, or in too many others.
    pub lexical_place: Option<usize>,
    /// Share of what the query's words could score at all, between 0 and 1.
    pub share: f32,
    /// What the cross-encoder said of it; more is better. `None`: there is none, or it did not read this hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_encoder: Option<f32>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SearchTimings {
    pub embed: f64,
    pub dense: f64,
    pub lexical: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<f64>,
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
    reranker: Option<Reranker>,
    live: RwLock<Arc<Generation>>,
}

impl Searcher {
    /// # Errors
    /// `NoIndex`, `Damaged`, or `OtherModel` when the vectors were made by another model than the embedder's.
    pub fn open(store: IndexStore, embedder: Arc<Embedder>) -> Result<Self, RetrievalError> {
        let live = open_for(&store, &embedder)?;
        Ok(Searcher { store, embedder, reranker: None, live: RwLock::new(Arc::new(live)) })
    }

    /// With the first hits in the order of a cross-encoder.
    pub fn with_reranker(self, reranker: Option<Reranker>) -> Self {
        Searcher { reranker, ..self }
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

    /// Whether the thread of one of its models is gone, or has been at one request for longer than any takes.
    pub fn is_stuck(&self, request_max: Duration) -> bool {
        self.embedder.is_stuck(request_max)
            || self.reranker.as_ref().is_some_and(|reranker| reranker.is_stuck(request_max))
    }

    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.live.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Where each part of a passage stands in its text, with its cosine to the vector of another text; empty: the passage is
    /// not in the live generation.
    ///
    /// # Errors
    /// Errors of the index.
    pub fn parts_beside(&self, id: PassageId, vector: &[f32]) -> Result<Vec<(Range<usize>, f32)>, RetrievalError> {
        self.generation().parts_beside(id, vector)
    }

    /// Searches the live generation. Hits that cannot be put in the cross-encoder's order stay in ours.
    ///
    /// # Errors
    /// `Busy` or `Stopped` from the embedder, errors of the index.
    pub fn search(&self, query: &SearchQuery) -> Result<Hits, RetrievalError> {
        let Some(reranker) = &self.reranker else { return search(&self.generation(), &self.embedder, query) };
        let deeper = SearchQuery { top: query.top.max(reranker.depth()), ..query.clone() };
        let mut found = search(&self.generation(), &self.embedder, &deeper)?;
        let start = Instant::now();
        if let Err(error) = reranker.reorder(&query.text, &mut found.hits) {
            tracing::warn!("hits stay in the order of the search: {error}");
        }
        let taken = milliseconds(start);
        found.hits.truncate(query.top);
        found.timings.rerank = Some(taken);
        found.timings.total += taken;
        Ok(found)
    }

    /// The words of a question, as the live generation knows them. If its language cannot be told it is taken to be that
    /// of the first of its hits.
    ///
    /// # Errors
    /// Errors of the index.
    pub fn asked_words(&self, question: &str, hits: &[Hit]) -> Result<AskedWords, RetrievalError> {
        let generation = self.generation();
        let language = hits.first().map_or(Language::English, |hit| hit.passage.language);
        AskedWords::of(question, language, &generation.lexical, &generation.pairs)
    }
}

/// Searches one generation, live or not.
///
/// # Errors
/// `Busy` or `Stopped` from the embedder, errors of the index.
pub fn search(generation: &Generation, embedder: &Embedder, query: &SearchQuery) -> Result<Hits, RetrievalError> {
    search_by(generation, query, || match query.weights.centred {
        true => embedder.centred_query(&query.text),
        false => embedder.query(&query.text),
    })
}

/// As [`search`], with the query's vector from elsewhere: `dims` values, unit length.
///
/// # Errors
/// What `vector` returns, errors of the index.
pub fn search_by(
    generation: &Generation,
    query: &SearchQuery,
    vector: impl FnOnce() -> Result<Vec<f32>, RetrievalError>,
) -> Result<Hits, RetrievalError> {
    let start = Instant::now();
    let mut timings = SearchTimings::default();
    let Some(filter) = Filter::of(query.document_language, &query.scope, &generation.summary().collections) else {
        return Ok(Hits::default());
    };
    let (lexical, dense) = std::thread::scope(|scope| {
        let lexical = scope.spawn(|| {
            let start = Instant::now();
            let language_of = |id| generation.vectors.tag(id).map(|tag| tag.language);
            let words = Words::of(&query.text, &query.weights, &generation.pairs);
            let hits = generation.lexical.search(&words, CANDIDATES, &filter, language_of);
            (hits, milliseconds(start))
        });
        let start = Instant::now();
        let dense = vector().map(|vector| {
            timings.embed = milliseconds(start);
            let start = Instant::now();
            let meaning = generation.meaning(&vector, &query.weights);
            let candidates = meaning.candidates(CANDIDATES, &filter);
            timings.dense = milliseconds(start);
            (meaning, candidates)
        });
        (lexical.join(), dense)
    });
    let (lexical, lexical_ms) =
        lexical.map_err(|_| RetrievalError::damaged("the full-text index", "the search panicked"))?;
    let (lexical, (meaning, mut candidates)) = (lexical?, dense?);
    timings.lexical = lexical_ms;
    candidates.extend(lexical.iter().map(|hit| hit.id));
    let dense = candidates.into_iter().map(|id| (id, meaning.fit(id).cosine)).collect();

    let fused = fusion::fuse(&lexical, dense, &query.weights);
    let mut ranking = Ranking::new(query);
    for fused in fused.into_iter().take(query.top.saturating_mul(LOOK_AHEAD)) {
        // Fetching a text costs as much as finding it.
        if ranking.is_full() {
            break;
        }
        let Some(indexed) = generation.passage(fused.id)? else { continue };
        let of_parts = indexed.parts().into_iter().zip(meaning.fits_of_parts(fused.id));
        let parts = of_parts.map(|(part, cosine)| HitPart { range: part.range, cosine }).collect();
        let IndexedPassage { passage, context, follows } = indexed;
        let fit = meaning.fit(fused.id);
        let Fused { score, cosine, dense_place, lexical_place, .. } = fused;
        let words: Option<&LexicalHit> = lexical_place.and_then(|place| lexical.get(place - 1));
        let explanation = Explanation {
            dense_place,
            whole: fit.whole,
            best_part: fit.best_part,
            lexical_place,
            share: words.map_or(0.0, |hit| hit.share),
            cross_encoder: None,
        };
        ranking.push(Hit {
            passage,
            context,
            score,
            cosine,
            lexical: words.map(|hit| hit.score),
            explanation,
            parts,
            follows,
            neighbours: Vec::new(),
        });
    }
    let hits = ranking.into_hits();
    timings.total = milliseconds(start);
    Ok(Hits { hits, timings })
}

fn open_for(store: &IndexStore, embedder: &Embedder) -> Result<Generation, RetrievalError> {
    let generation = store.open_current()?;
    if generation.summary().model.hash != embedder.model().hash {
        return Err(RetrievalError::OtherModel { model: embedder.model().name.clone() });
    }
    Ok(generation)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
