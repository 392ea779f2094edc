//! From passages to ranked hits: a lexical side (tantivy) and a dense side (embeddings), searched at the same time and
//! fused. Knows nothing of folders, prompts or answers.

mod analysis;
mod centring;
mod dense;
mod embed;
mod error;
mod filter;
mod fusion;
mod generation;
mod lexical;
mod parts;
mod search;

pub use analysis::{codes, terms};
pub use embed::{Embedder, EmbedderOptions, EmbeddingModel, Precision};
pub use error::RetrievalError;
pub use generation::{BuildLock, Builder, Generation, GenerationSummary, IndexStore, IndexedPassage, PassageVectors};
pub use search::{Hit, Hits, SearchQuery, SearchTimings, Searcher};
