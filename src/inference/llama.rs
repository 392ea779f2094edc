//! The Llama network for GGUF files: Llama 3.x and every model of that architecture. RMSNorm, grouped-query attention
//! with rotary positions, SwiGLU. Weights are read where they lie in the file; sequences live in [`KvCache`].
//!
//! Source: Llama 3 (<https://arxiv.org/abs/2407.21783>), section 3.2, and the tensor names of GGUF's `llama`.

use std::collections::HashSet;

use candle_core::quantized::{GgmlDType, QMatMul};
use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Module, Tensor};
use candle_nn::ops::rms_norm;
use candle_nn::rotary_emb::rope_i;

use super::attention::attend;
use super::config::LlamaConfig;
use super::error::{InferenceError, Result};
use super::kv::KvCache;
use super::rope::Rope;
use super::rows::for_rows;
use super::weights::ModelFile;

/// Prompts are read in chunks of this many tokens: the activations of a chunk stay in the caches of the CPU, and
/// between two chunks a job can be cancelled.
pub const PREFILL_CHUNK_TOKENS: usize = 64;

/// A loaded model. It holds no sequence and can serve several, one call at a time.
pub struct Llama {
    config: LlamaConfig,
    rope: Rope,
    embedding: QMatMul,
    layers: Vec<Layer>,
    norm: Tensor,
    output: QMatMul,
}

struct Layer {
    attention_norm: Tensor,
    q: QMatMul,
    k: QMatMul,
    v: QMatMul,
    attention_output: QMatMul,
    feed_forward_norm: Tensor,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
}

impl Llama {
    /// Takes the weights of `file`. When `output.weight` is missing the token embeddings serve as output too.
    ///
    /// # Errors
    /// Metadata or tensors are missing or misshapen, or the file holds tensors that this network does not use:
    /// leaving those out would give wrong answers without a word.
    pub fn load(file: &ModelFile) -> Result<Self> {
        let config = LlamaConfig::read(file)?;
        let mut loader = Loader {
            file,
            expandable_bytes: EXPANDED_BYTES_MAX,
            used: HashSet::from(["rope_freqs.weight".to_owned()]),
        };
        let vocabulary = (config.vocabulary_size, config.embedding_size);
        let embedding = loader.matrix("token_embd.weight", vocabulary)?;
        let output = match file.tensor_shape("output.weight") {
            Some(_) => loader.matrix("output.weight", vocabulary)?,
            None => embedding.clone(),
        };
        let norm = loader.vector("output_norm.weight", config.embedding_size)?;
        let layers = (0..config.layer_count).map(|layer| loader.layer(layer, &config)).collect::<Result<_>>()?;
        if let Some(unknown) = file.tensor_names().find(|&name| !loader.used.contains(name)) {
            let what = format!("the tensor `{unknown}`");
            return Err(InferenceError::Unsupported { path: file.path().to_owned(), what });
        }
        let rope = Rope::new(config.rope_base, config.head_size, &config.rope_scaling);
        Ok(Llama { config, rope, embedding, layers, norm, output })
    }

    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Reads `tokens` behind what `cache` holds and returns the logits of the last one, of shape `(vocabulary,)`.
    ///
    /// # Errors
    /// No tokens, more than there is room for, or a failed computation; the cache then holds what it held before,
    /// plus the chunks that were read completely.
    pub fn forward(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Tensor> {
        self.forward_while(tokens, cache, || true)?.ok_or(InferenceError::Stopped)
    }

    /// Like [`forward`](Self::forward), but asks `go_on` before every chunk of [`PREFILL_CHUNK_TOKENS`]; `None` when
    /// it said no. The cache then holds the chunks before that.
    ///
    /// # Errors
    /// See [`forward`](Self::forward).
    pub fn forward_while(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Option<Tensor>> {
        cache.reserve(tokens.len())?;
        let mut last = None;
        for chunk in tokens.chunks(PREFILL_CHUNK_TOKENS) {
            if !go_on() {
                return Ok(None);
            }
            last = Some(self.read(chunk, cache)?);
        }
        let hidden = last.ok_or(InferenceError::EmptyPrompt)?;
        let hidden = hidden.narrow(0, hidden.dim(0)? - 1, 1)?;
        Ok(Some(self.logits(&hidden)?.squeeze(0)?))
    }

    /// Logits of every one of `tokens`, of shape `(tokens, vocabulary)`: for perplexity, and for tests.
    ///
    /// # Errors
    /// See [`forward`](Self::forward).
    pub fn all_logits(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Tensor> {
        cache.reserve(tokens.len())?;
        let mut logits = Vec::new();
        for chunk in tokens.chunks(PREFILL_CHUNK_TOKENS) {
            logits.push(self.logits(&self.read(chunk, cache)?)?);
        }
        if logits.is_empty() {
            return Err(InferenceError::EmptyPrompt);
        }
        Ok(Tensor::cat(&logits, 0)?)
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let hidden = rms_norm(&hidden.contiguous()?, &self.norm, self.config.rms_epsilon)?;
        Ok(project(&self.output, &hidden)?)
    }

    /// One chunk through all layers; returns the residual stream, `(tokens, embedding)`.
    fn read(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Tensor> {
        let (cos, sin) = self.rope.angles(cache.len(), tokens.len())?;
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let mut hidden = self.embedding.embedding(&ids)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = rms_norm(&hidden, &layer.attention_norm, self.config.rms_epsilon)?;
            let mixed = self.attention(layer, index, &normed, (&cos, &sin), cache)?;
            hidden = (hidden + project(&layer.attention_output, &mixed)?)?;
            let normed = rms_norm(&hidden, &layer.feed_forward_norm, self.config.rms_epsilon)?;
            let gate = project(&layer.gate, &normed)?;
            gate.inplace_op2(&project(&layer.up, &normed)?, &SwiGlu)?;
            hidden = (hidden + project(&layer.down, &gate)?)?;
        }
        cache.commit(tokens);
        Ok(hidden)
    }

    /// `normed` is `(tokens, embedding)`; returns the heads side by side, `(tokens, heads * head_size)`.
    fn attention(
        &self,
        layer: &Layer,
        index: usize,
        normed: &Tensor,
        (cos, sin): (&Tensor, &Tensor),
        cache: &KvCache,
    ) -> candle_core::Result<Tensor> {
        let LlamaConfig { head_count, kv_head_count, head_size, .. } = self.config;
        let count = normed.dim(0)?;
        let q = project(&layer.q, normed)?.reshape((count, head_count, head_size))?.transpose(0, 1)?.contiguous()?;
        let q = rope_i(&q.unsqueeze(0)?, cos, sin)?.squeeze(0)?;
        // Keys keep the order (token, head) of the cache: each token is a batch of its own with its own angle.
        let k = project(&layer.k, normed)?.reshape((count, kv_head_count, 1, head_size))?;
        let k = rope_i(&k, &cos.unsqueeze(1)?, &sin.unsqueeze(1)?)?.squeeze(2)?;
        let v = project(&layer.v, normed)?.reshape((count, kv_head_count, head_size))?;
        let (keys, values) = cache.append(index, &k, &v)?;
        attend(&q, &keys, &values)
    }
}

/// `(rows, inputs)` times the transposed `(outputs, inputs)` weights: `(rows, outputs)`.
fn project(weights: &QMatMul, rows: &Tensor) -> candle_core::Result<Tensor> {
    weights.forward(rows)
}

/// `gate = silu(gate) * up` in place.
struct SwiGlu;

impl InplaceOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &mut CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(gate), CpuStorage::F32(up)) = (gate, up) else {
            candle_core::bail!("activations have to be f32");
        };
        let (Some((start, end)), Some((up_start, up_end))) =
            (gate_layout.contiguous_offsets(), up_layout.contiguous_offsets())
        else {
            candle_core::bail!("activations have to be contiguous");
        };
        let (_, width) = gate_layout.shape().dims2()?;
        let up = &up[up_start..up_end];
        for_rows(&mut gate[start..end], width, |row, gate| {
            for (gate, up) in gate.iter_mut().zip(&up[row * width..(row + 1) * width]) {
                *gate = *gate / (1.0 + (-*gate).exp()) * up;
            }
        });
        Ok(())
    }
}

/// Candle multiplies Q4_1, Q5_0 and Q5_1 one value at a time on x86. Small models of these types are expanded to f32,
/// which loses nothing and is several times as fast; this is as much memory as that may take.
const EXPANDED_BYTES_MAX: usize = 1 << 30;

struct Loader<'a> {
    file: &'a ModelFile,
    /// What is left of [`EXPANDED_BYTES_MAX`].
    expandable_bytes: usize,
    used: HashSet<String>,
}

impl Loader<'_> {
    fn matrix(&mut self, name: &str, shape: (usize, usize)) -> Result<QMatMul> {
        self.used.insert(name.to_owned());
        let weights = self.file.matrix(name, shape)?;
        let slow = matches!(weights.dtype(), GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1);
        let bytes = shape.0 * shape.1 * size_of::<f32>();
        if slow && bytes <= self.expandable_bytes {
            self.expandable_bytes -= bytes;
            return Ok(QMatMul::Tensor(weights.dequantize(&Device::Cpu)?));
        }
        Ok(QMatMul::QTensor(weights))
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor> {
        self.used.insert(name.to_owned());
        self.file.vector(name, len)
    }

    fn layer(&mut self, index: usize, config: &LlamaConfig) -> Result<Layer> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let (width, inner) = (config.embedding_size, config.feed_forward_size);
        let heads = config.head_count * config.head_size;
        let kv_heads = config.kv_head_count * config.head_size;
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm"), width)?,
            q: self.matrix(&name("attn_q"), (heads, width))?,
            k: self.matrix(&name("attn_k"), (kv_heads, width))?,
            v: self.matrix(&name("attn_v"), (kv_heads, width))?,
            attention_output: self.matrix(&name("attn_output"), (width, heads))?,
            feed_forward_norm: self.vector(&name("ffn_norm"), width)?,
            gate: self.matrix(&name("ffn_gate"), (inner, width))?,
            up: self.matrix(&name("ffn_up"), (inner, width))?,
            down: self.matrix(&name("ffn_down"), (width, inner))?,
        })
    }
}
