//! From a conversation to generated text, inside the process and on the CPU: weights, the Llama network, tokens,
//! sampling, and the thread that owns them. Nothing here knows of chats, documents or answers.
//!
//! - [`Engine`] is what the other rooms use: it queues requests and streams events.
//! - [`ModelFile`] maps a GGUF file, [`Llama`] computes with it, [`KvCache`] holds one sequence.
//! - [`Tokens`] splits text, renders the model's chat format and keeps what people write out of it.

mod ahead;
mod attention;
mod config;
mod divergence;
mod elementwise;
mod error;
mod generation;
pub mod gguf;
mod job;
mod kernels;
mod kv;
mod llama;
mod matrix;
mod memory;
mod packed;
mod rates;
mod rope;
mod rows;
mod sampling;
mod scheduler;
mod speculate;
mod tokens;
mod unread;
mod weights;
mod worker;

pub use ahead::{AheadRoom, AheadStanding, Coming, ReadAheadOptions, forget_pieces, kept_pieces};
pub use config::LlamaConfig;
pub use divergence::{divergence, likeliest, log_probabilities};
pub use error::InferenceError;
pub use job::{AheadPassage, AheadPrompt, FinishReason, GenerateRequest, GenerationEvent, PromptCosts};
pub use kv::{KvCache, KvFormat, Piece, PieceFormat, PieceShape};
pub use llama::{Feed, Llama, STEP_ROWS_MAX, Wanted};
pub use memory::MemoryPlan;
pub use rope::{Llama3Scaling, Rope, RopeScaling, llama3_divisors};
pub use sampling::{REPETITION_WINDOW_TOKENS, Sampler, SamplingOptions};
pub use tokens::{ChatMessage, ChatRole, StopFilter, TokenStream, Tokens};
pub use weights::ModelFile;
pub use worker::{Engine, EngineOptions};

/// Threads that a computation is spread over: one per physical core, or as `RAYON_NUM_THREADS` says.
pub fn threads() -> usize {
    candle_core::utils::barrier_pool().n_workers() + 1
}
