//! The Llama network for GGUF files: Llama 3.x and every model of that architecture. RMSNorm, grouped-query attention
//! with rotary positions, SwiGLU. Sequences live in [`KvCache`]; one step reads tokens of several of them, so that the
//! weights are read once for all.
//!
//! Source: Llama 3 (<https://arxiv.org/abs/2407.21783>), section 3.2, and the tensor names of GGUF's `llama`.

mod load;
mod workspace;

use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::utils::barrier_pool;
use candle_core::{Device, Tensor};

use super::attention::{Attention, Segment};
use super::config::LlamaConfig;
use super::elementwise::{add, rms_norm, rotate, swiglu};
use super::error::{InferenceError, Result};
use super::kv::KvCache;
use super::matrix::{Matrix, Product, multiply};
use super::rope::Rope;
use super::rows::for_rows;
use workspace::Workspace;

/// Most rows of a step: the memory of its activations is reserved for so many.
pub const STEP_ROWS_MAX: usize = 512;

/// A loaded model with the memory of one step. It holds no sequence and can serve several.
pub struct Llama {
    config: LlamaConfig,
    rope: Rope,
    /// Read row by row where it lies in the file.
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    output: Arc<Matrix>,
    workspace: Workspace,
}

struct Layer {
    attention_norm: Vec<f32>,
    q: Matrix,
    k: Matrix,
    v: Matrix,
    attention_output: Matrix,
    feed_forward_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// What one sequence gives to a step.
pub struct Feed<'a> {
    cache: &'a mut KvCache,
    tokens: &'a [u32],
    /// Where the tokens stand: ascending, apart from each other, together as long as they are.
    runs: Vec<Range<usize>>,
    logits: Wanted,
}

impl<'a> Feed<'a> {
    /// Tokens behind what the cache holds.
    pub fn new(cache: &'a mut KvCache, tokens: &'a [u32], logits: Wanted) -> Self {
        let start = cache.len();
        Feed { cache, tokens, runs: std::iter::once(start..start + tokens.len()).collect(), logits }
    }

    /// Tokens at the positions of `runs`. Those that the cache holds already are read anew, behind all that stands before
    /// them by then; the last run may go on behind them.
    pub fn at(cache: &'a mut KvCache, tokens: &'a [u32], runs: Vec<Range<usize>>, logits: Wanted) -> Self {
        Feed { cache, tokens, runs, logits }
    }

    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    fn end(&self) -> usize {
        self.runs.last().map_or(0, |run| run.end)
    }

    /// The runs are what [`at`](Self::at) asks for.
    fn is_sound(&self) -> bool {
        let ascends = self.runs.windows(2).all(|pair| pair[0].end <= pair[1].start);
        let held = self.cache.len();
        let is_behind = self.runs.iter().all(|run| run.start <= held && run.start < run.end);
        ascends && is_behind && self.runs.iter().map(Range::len).sum::<usize>() == self.tokens.len()
    }
}

/// The tokens of a [`Feed`] whose logits are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Nothing,
    Last,
    All,
}

impl Wanted {
    /// Of so many tokens.
    pub fn rows(self, tokens: usize) -> usize {
        match self {
            Wanted::Nothing => 0,
            Wanted::Last => 1,
            Wanted::All => tokens,
        }
    }
}

impl Llama {
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    pub fn rope(&self) -> &Rope {
        &self.rope
    }

    /// Reads the tokens of all feeds, at most [`STEP_ROWS_MAX`] together, and computes the logits that they want; see
    /// [`logits`](Self::logits). A token's results are the same to the last bit whatever else is in the step.
    ///
    /// `go_on` is asked before every layer; `false` when it said no: then nothing was read.
    ///
    /// # Errors
    /// No tokens, more than there is room for, a token outside the vocabulary, or a failed computation: then nothing
    /// was read.
    pub fn step(&mut self, feeds: &mut [Feed<'_>], go_on: &dyn Fn() -> bool) -> Result<bool> {
        let rows: usize = feeds.iter().map(Feed::rows).sum();
        if feeds.iter().any(|feed| feed.tokens.is_empty()) || rows == 0 {
            return Err(InferenceError::EmptyPrompt);
        }
        if rows > STEP_ROWS_MAX {
            return Err(InferenceError::PromptTooLong { prompt_tokens: rows, context_tokens: STEP_ROWS_MAX });
        }
        assert!(feeds.iter().all(Feed::is_sound), "every token has its position");
        feeds.iter().try_for_each(|feed| feed.cache.reserve(feed.end().saturating_sub(feed.cache.len())))?;
        self.embed(feeds)?;
        let positions = feeds.iter().flat_map(|feed| feed.runs.iter().cloned().flatten());
        self.rope.angles(positions, &mut self.workspace.cos, &mut self.workspace.sin);
        for index in 0..self.layers.len() {
            if !go_on() {
                return Ok(false);
            }
            self.attention(index, rows, feeds)?;
            self.feed_forward(index, rows)?;
        }
        self.compute_logits(feeds)?;
        for feed in feeds {
            let new = feed.end().saturating_sub(feed.cache.len());
            feed.cache.leave(&feed.tokens[feed.tokens.len() - new..]);
            feed.runs.iter().for_each(|run| feed.cache.was_read(run));
        }
        Ok(true)
    }

    /// Logits of the last step, `vocabulary` for each token that was wanted, in the order of the feeds.
    pub fn logits(&self) -> &[f32] {
        &self.workspace.logits
    }

    /// Reads all of `tokens` behind what `cache` holds and returns the logits of the last one.
    ///
    /// # Errors
    /// See [`step`](Self::step); the cache then holds what it held before, plus the steps that were complete.
    pub fn forward(&mut self, tokens: &[u32], cache: &mut KvCache) -> Result<&[f32]> {
        cache.reserve(tokens.len())?;
        if tokens.is_empty() {
            return Err(InferenceError::EmptyPrompt);
        }
        let last = tokens.len().div_ceil(STEP_ROWS_MAX) - 1;
        for (index, tokens) in tokens.chunks(STEP_ROWS_MAX).enumerate() {
            let logits = if index == last { Wanted::Last } else { Wanted::Nothing };
            self.step(&mut [Feed::new(cache, tokens, logits)], &|| true)?;
        }
        Ok(self.logits())
    }

    /// Logits of every one of `tokens`, `vocabulary` each: for perplexity, and for tests.
    ///
    /// # Errors
    /// See [`forward`](Self::forward).
    pub fn all_logits(&mut self, tokens: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        /// The logits of so many tokens are held twice.
        const ROWS: usize = 64;
        cache.reserve(tokens.len())?;
        let mut logits = Vec::with_capacity(tokens.len() * self.config.vocabulary_size);
        for tokens in tokens.chunks(ROWS) {
            self.step(&mut [Feed::new(cache, tokens, Wanted::All)], &|| true)?;
            logits.extend_from_slice(self.logits());
        }
        Ok(logits)
    }

    fn embed(&mut self, feeds: &[Feed<'_>]) -> Result<()> {
        let ids: Vec<u32> = feeds.iter().flat_map(|feed| feed.tokens).copied().collect();
        let ids = Tensor::from_slice(&ids, ids.len(), &Device::Cpu)?;
        let embedded: Vec<f32> = self.embedding.embedding(&ids)?.flatten_all()?.to_vec1()?;
        self.workspace.hidden[..embedded.len()].copy_from_slice(&embedded);
        Ok(())
    }

    fn attention(&mut self, index: usize, rows: usize, feeds: &mut [Feed<'_>]) -> Result<()> {
        let Llama { config, layers, workspace: w, .. } = self;
        let layer = &layers[index];
        let (width, q_width, kv_width) = (config.embedding_size, config.q_width(), config.kv_width());
        normalise(&w.hidden[..rows * width], &layer.attention_norm, config.rms_epsilon, &mut w.normed);
        let (q, k, v) = (&mut w.q[..rows * q_width], &mut w.k[..rows * kv_width], &mut w.v[..rows * kv_width]);
        let products = &mut [
            Product { weights: &layer.q, out: q },
            Product { weights: &layer.k, out: k },
            Product { weights: &layer.v, out: v },
        ];
        multiply(&w.normed[..rows * width], rows, &mut w.activations, products)?;
        let half = config.head_size / 2;
        let angles = |row: usize| (&w.cos[row * half..(row + 1) * half], &w.sin[row * half..(row + 1) * half]);
        for (values, width) in [(&mut *q, q_width), (&mut *k, kv_width)] {
            for_rows(values, width, |row, values| {
                let (cos, sin) = angles(row);
                rotate(values, cos, sin);
            });
        }
        let mut row = 0;
        for feed in feeds.iter_mut() {
            for run in &feed.runs {
                let of_run = row * kv_width..(row + run.len()) * kv_width;
                feed.cache.write(index, run.start, &k[of_run.clone()], &v[of_run]);
                row += run.len();
            }
        }
        let mixed = &mut w.mixed[..rows * q_width];
        attend(config, index, feeds, q, mixed, &w.attention);
        let projected = &mut w.projected[..rows * width];
        let products = &mut [Product { weights: &layer.attention_output, out: projected }];
        multiply(mixed, rows, &mut w.activations, products)?;
        for_rows(&mut w.hidden[..rows * width], width, |row, hidden| {
            add(hidden, &w.projected[row * width..(row + 1) * width]);
        });
        Ok(())
    }

    fn feed_forward(&mut self, index: usize, rows: usize) -> Result<()> {
        let Llama { config, layers, workspace: w, .. } = self;
        let layer = &layers[index];
        let (width, inner) = (config.embedding_size, config.feed_forward_size);
        normalise(&w.hidden[..rows * width], &layer.feed_forward_norm, config.rms_epsilon, &mut w.normed);
        let products = &mut [
            Product { weights: &layer.gate, out: &mut w.gate[..rows * inner] },
            Product { weights: &layer.up, out: &mut w.up[..rows * inner] },
        ];
        multiply(&w.normed[..rows * width], rows, &mut w.activations, products)?;
        for_rows(&mut w.gate[..rows * inner], inner, |row, gate| swiglu(gate, &w.up[row * inner..(row + 1) * inner]));
        let products = &mut [Product { weights: &layer.down, out: &mut w.projected[..rows * width] }];
        multiply(&w.gate[..rows * inner], rows, &mut w.activations, products)?;
        for_rows(&mut w.hidden[..rows * width], width, |row, hidden| {
            add(hidden, &w.projected[row * width..(row + 1) * width]);
        });
        Ok(())
    }

    fn compute_logits(&mut self, feeds: &[Feed<'_>]) -> Result<()> {
        let Llama { config, workspace: w, .. } = self;
        let width = config.embedding_size;
        let mut end = 0;
        let mut wanted = 0;
        for feed in feeds {
            end += feed.tokens.len();
            for row in end - feed.logits.rows(feed.tokens.len())..end {
                let hidden = &w.hidden[row * width..(row + 1) * width];
                rms_norm(hidden, &self.norm, config.rms_epsilon, &mut w.normed[wanted * width..(wanted + 1) * width]);
                wanted += 1;
            }
        }
        w.logits.resize(wanted * config.vocabulary_size, 0.0);
        if wanted > 0 {
            let products = &mut [Product { weights: &self.output, out: &mut w.logits }];
            multiply(&w.normed[..wanted * width], wanted, &mut w.activations, products)?;
        }
        Ok(())
    }
}

/// Normalises the rows of `hidden`, as wide as `weight`, into `out`.
fn normalise(hidden: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let width = weight.len();
    for_rows(&mut out[..hidden.len()], width, |row, out| {
        rms_norm(&hidden[row * width..(row + 1) * width], weight, epsilon, out);
    });
}

/// Attention of all feeds in one layer; `q` and `mixed` are `(rows, heads * head_size)`.
fn attend(
    config: &LlamaConfig,
    layer: usize,
    feeds: &[Feed<'_>],
    mut q: &[f32],
    mut mixed: &mut [f32],
    workspaces: &workspace::AttentionWorkspaces,
) {
    let mut work = Vec::with_capacity(feeds.len());
    for (feed, run) in feeds.iter().flat_map(|feed| feed.runs.iter().map(move |run| (feed, run))) {
        let (start, rows) = (run.start, run.len());
        let (q_of_run, mixed_of_run);
        (q_of_run, q) = q.split_at(rows * config.q_width());
        (mixed_of_run, mixed) = mixed.split_at_mut(rows * config.q_width());
        let segment = Segment { kv: feed.cache.store(), layer, start, rows };
        work.push(Attention::new(segment, config.heads(), q_of_run, mixed_of_run));
    }
    let items: usize = work.iter().map(Attention::items).sum();
    barrier_pool().execute_chunked(items, |range| {
        let mut workspace = workspaces.of_this_thread();
        for item in range {
            let mut left = item;
            let at = work.iter().find(|attention| {
                let here = left < attention.items();
                if !here {
                    left -= attention.items();
                }
                here
            });
            if let Some(attention) = at {
                // SAFETY: the pool hands out each item once.
                unsafe { attention.attend(left, &mut workspace) };
            }
        }
    });
}
