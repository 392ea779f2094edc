//! The shape of a Llama model, read from GGUF metadata and checked before anything is computed with it.

use super::attention::Heads;
use super::error::{InferenceError, Result};
use super::kv::{KvFormat, KvShape, PieceFormat, PieceShape};
use super::rope::RopeScaling;
use super::weights::ModelFile;

/// Hyperparameters of a model of the `llama` architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    pub vocabulary_size: usize,
    /// Width of the residual stream.
    pub embedding_size: usize,
    pub layer_count: usize,
    /// Query heads.
    pub head_count: usize,
    /// Key and value heads; each serves `head_count / kv_head_count` query heads.
    pub kv_head_count: usize,
    pub head_size: usize,
    pub feed_forward_size: usize,
    /// Positions the model was made for.
    pub context_tokens: usize,
    pub rms_epsilon: f32,
    pub rope_base: f64,
    pub rope_scaling: RopeScaling,
}

impl LlamaConfig {
    /// Reads the hyperparameters of `file`.
    ///
    /// # Errors
    /// Another architecture, a missing key, or a value outside sane bounds.
    pub fn read(file: &ModelFile) -> Result<Self> {
        let architecture = file.text("general.architecture").unwrap_or("unknown");
        if architecture != "llama" {
            let found = architecture.to_owned();
            return Err(InferenceError::Architecture { path: file.path().to_owned(), found });
        }
        if bounded(file, "llama.expert_count", 0, 1 << 16, Some(0))? > 1 {
            return Err(unsupported(file, "a mixture of experts"));
        }
        let embedding_size = bounded(file, "llama.embedding_length", 1, 1 << 16, None)?;
        let head_count = bounded(file, "llama.attention.head_count", 1, 1 << 10, None)?;
        let kv_head_count = bounded(file, "llama.attention.head_count_kv", 1, head_count, Some(head_count))?;
        if !head_count.is_multiple_of(kv_head_count) {
            let problem = format!("{head_count} query heads do not share {kv_head_count} key heads evenly");
            return Err(file.bad_metadata("llama.attention.head_count_kv", problem));
        }
        let head_size = bounded(file, "llama.attention.key_length", 2, 1 << 10, Some(embedding_size / head_count))?;
        if !head_size.is_multiple_of(2) {
            return Err(file.bad_metadata("llama.attention.key_length", "an even number is needed"));
        }
        for key in ["llama.rope.dimension_count", "llama.attention.value_length"] {
            if bounded(file, key, 2, 1 << 10, Some(head_size))? != head_size {
                return Err(unsupported(file, &format!("`{key}` other than the head size {head_size}")));
            }
        }
        let vocabulary_size = match file.tensor_shape("token_embd.weight") {
            Some(&[rows, _]) => rows,
            _ => {
                let tensor = "token_embd.weight".to_owned();
                return Err(InferenceError::MissingTensor { path: file.path().to_owned(), tensor });
            }
        };
        let epsilon_key = "llama.attention.layer_norm_rms_epsilon";
        let rms_epsilon = file.float(epsilon_key)?.ok_or_else(|| file.missing_metadata(epsilon_key))?;
        if !(1e-12..=1e-1).contains(&rms_epsilon) {
            return Err(file.bad_metadata(epsilon_key, format!("{rms_epsilon} is out of range")));
        }
        let rope_base = file.float("llama.rope.freq_base")?.unwrap_or(10_000.0);
        if !(1.0..=1e12).contains(&rope_base) {
            return Err(file.bad_metadata("llama.rope.freq_base", format!("{rope_base} is out of range")));
        }
        Ok(LlamaConfig {
            vocabulary_size,
            embedding_size,
            layer_count: bounded(file, "llama.block_count", 1, 1 << 10, None)?,
            head_count,
            kv_head_count,
            head_size,
            feed_forward_size: bounded(file, "llama.feed_forward_length", 1, 1 << 20, None)?,
            context_tokens: bounded(file, "llama.context_length", 1, 1 << 24, None)?,
            rms_epsilon: rms_epsilon as f32,
            rope_base,
            rope_scaling: rope_scaling(file, head_size)?,
        })
    }

    /// Values in a row of queries.
    pub fn q_width(&self) -> usize {
        self.head_count * self.head_size
    }

    /// Values in a row of keys, or of values.
    pub fn kv_width(&self) -> usize {
        self.kv_head_count * self.head_size
    }

    pub(super) fn heads(&self) -> Heads {
        Heads { heads: self.head_count, kv_heads: self.kv_head_count, head_size: self.head_size }
    }

    /// What a cache of this model is made of.
    pub fn kv_shape(&self, capacity: usize, format: KvFormat) -> KvShape {
        let (layers, kv_heads, head_size) = (self.layer_count, self.kv_head_count, self.head_size);
        KvShape { layers, kv_heads, head_size, capacity, format }
    }

    /// What is kept of so many positions that are read ahead.
    pub fn piece_shape(&self, positions: usize, format: PieceFormat) -> PieceShape {
        PieceShape::of(&self.kv_shape(positions, KvFormat::F16), positions, format)
    }
}

/// Converters write the scaling of Llama 3.1 as a tensor of divisors; other kinds stand in the metadata.
fn rope_scaling(file: &ModelFile, head_size: usize) -> Result<RopeScaling> {
    if file.tensor_shape("rope_freqs.weight").is_some() {
        let divisors = file.vector("rope_freqs.weight", head_size / 2)?.to_vec1::<f32>()?;
        if divisors.iter().any(|divisor| !divisor.is_finite() || *divisor <= 0.0) {
            let problem = "the RoPE divisors are not positive".to_owned();
            return Err(InferenceError::Damaged { path: file.path().to_owned(), problem });
        }
        return Ok(RopeScaling::Divisors(divisors));
    }
    let kind = file.text("llama.rope.scaling.type").unwrap_or("none");
    let positive = |key: &str| -> Result<f64> {
        let value = file.float(key)?.ok_or_else(|| file.missing_metadata(key))?;
        if value > 0.0 { Ok(value) } else { Err(file.bad_metadata(key, "a positive number is needed")) }
    };
    match kind {
        "none" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear(positive("llama.rope.scaling.factor")?)),
        other => Err(unsupported(file, &format!("RoPE scaling of type `{other}`"))),
    }
}

fn unsupported(file: &ModelFile, what: &str) -> InferenceError {
    InferenceError::Unsupported { path: file.path().to_owned(), what: what.to_owned() }
}

fn bounded(file: &ModelFile, key: &str, min: usize, max: usize, default: Option<usize>) -> Result<usize> {
    let value = file.number(key)?.or(default).ok_or_else(|| file.missing_metadata(key))?;
    if !(min..=max).contains(&value) {
        return Err(file.bad_metadata(key, format!("{value} is not between {min} and {max}")));
    }
    Ok(value)
}
