//! From passages to ranked hits: a lexical side (tantivy) and a dense side (embeddings), searched at the same time and
//! fused. Knows nothing of folders, prompts or answers.

mod analysis;
mod asked;
mod centring;
mod dense;
mod embed;
mod error;
mod filter;
mod fusion;
mod generation;
mod lexical;
mod model_thread;
mod pairs;
mod parts;
mod ranking;
mod rerank;
mod search;
mod weights;

pub use analysis::{codes, terms};
pub use asked::{AskedWord, AskedWords};
pub use embed::{Embedder, EmbedderOptions, EmbeddingModel, PassageEmbedder, Precision};
pub use error::RetrievalError;
pub use generation::{
    BuildLock, Builder, Generation, GenerationSummary, IndexStore, IndexedPassage, PassageVectors, Prepared, TextHash,
};
pub use parts::Part;
pub use rerank::{Reranker, RerankerOptions};
pub use search::{Explanation, Hit, HitPart, Hits, SearchQuery, SearchTimings, Searcher, search, search_by};
pub use weights::{Fusion, Weights};
