//! A model file to a network: every tensor is found, of the right shape, and used.

use std::collections::HashSet;
use std::sync::Arc;

use super::workspace::Workspace;
use super::{Layer, Llama};
use crate::inference::config::LlamaConfig;
use crate::inference::error::{InferenceError, Result};
use crate::inference::matrix::Matrix;
use crate::inference::packed::PackedWeights;
use crate::inference::rope::Rope;
use crate::inference::weights::ModelFile;

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";

impl Llama {
    /// Takes the weights of `file`, packed for this processor: the first time that takes as long as reading the file
    /// and writing it again. When `output.weight` is missing the token embeddings serve as output too.
    ///
    /// # Errors
    /// Metadata or tensors are missing or misshapen, or the file holds tensors that this network does not use:
    /// leaving those out would give wrong answers without a word.
    pub fn load(file: &ModelFile) -> Result<Self> {
        let config = LlamaConfig::read(file)?;
        let tied = file.tensor_shape(OUTPUT).is_none();
        let vocabulary = (config.vocabulary_size, config.embedding_size);
        let mut checked = Checked { file, used: HashSet::from(["rope_freqs.weight".to_owned()]) };
        checked.matrix(EMBEDDING, vocabulary)?;
        if !tied {
            checked.matrix(OUTPUT, vocabulary)?;
        }
        let norm = checked.vector("output_norm.weight", config.embedding_size)?;
        for layer in 0..config.layer_count {
            checked.layer(layer, &config)?;
        }
        if let Some(unknown) = file.tensor_names().find(|&name| !checked.used.contains(name)) {
            let what = format!("the tensor `{unknown}`");
            return Err(InferenceError::Unsupported { path: file.path().to_owned(), what });
        }
        // Everything is there: now the work that takes time.
        let packed = PackedWeights::open(file, |name| tied || name != EMBEDDING)?;
        let loader = Loader { file, packed };
        let layers = (0..config.layer_count).map(|layer| loader.layer(layer, &config)).collect::<Result<_>>()?;
        let output = Arc::new(loader.matrix(if tied { EMBEDDING } else { OUTPUT }, vocabulary)?);
        // Header and norms are copied; of what comes next only rows of the embeddings are needed.
        file.forget_pages(file.bytes());
        Ok(Llama {
            rope: Rope::new(config.rope_base, config.head_size, &config.rope_scaling),
            embedding: file.matrix(EMBEDDING, vocabulary)?,
            layers,
            norm,
            output,
            workspace: Workspace::new(&config),
            config,
        })
    }
}

/// Names, shapes and places of the tensors of a layer.
fn layer_matrices(config: &LlamaConfig) -> [(&'static str, (usize, usize)); 7] {
    let (width, inner) = (config.embedding_size, config.feed_forward_size);
    let (q, kv) = (config.q_width(), config.kv_width());
    [
        ("attn_q", (q, width)),
        ("attn_k", (kv, width)),
        ("attn_v", (kv, width)),
        ("attn_output", (width, q)),
        ("ffn_gate", (inner, width)),
        ("ffn_up", (inner, width)),
        ("ffn_down", (width, inner)),
    ]
}

fn name_in_layer(layer: usize, part: &str) -> String {
    format!("blk.{layer}.{part}.weight")
}

/// Looks at every tensor without reading any.
struct Checked<'a> {
    file: &'a ModelFile,
    used: HashSet<String>,
}

impl Checked<'_> {
    fn matrix(&mut self, name: &str, shape: (usize, usize)) -> Result<()> {
        self.used.insert(name.to_owned());
        self.file.matrix(name, shape).map(drop)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        self.used.insert(name.to_owned());
        Ok(self.file.vector(name, len)?.to_vec1()?)
    }

    fn layer(&mut self, layer: usize, config: &LlamaConfig) -> Result<()> {
        for (part, shape) in layer_matrices(config) {
            self.matrix(&name_in_layer(layer, part), shape)?;
        }
        for part in ["attn_norm", "ffn_norm"] {
            self.vector(&name_in_layer(layer, part), config.embedding_size)?;
        }
        Ok(())
    }
}

struct Loader<'a> {
    file: &'a ModelFile,
    packed: PackedWeights,
}

impl Loader<'_> {
    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<Matrix> {
        match self.packed.matrix(name) {
            Some(packed) => Ok(Matrix::Packed(packed)),
            None => Ok(Matrix::candle(self.file.matrix(name, shape)?)),
        }
    }

    fn layer(&self, layer: usize, config: &LlamaConfig) -> Result<Layer> {
        let vector = |part: &str| -> Result<Vec<f32>> {
            Ok(self.file.vector(&name_in_layer(layer, part), config.embedding_size)?.to_vec1()?)
        };
        let [q, k, v, attention_output, gate, up, down] =
            layer_matrices(config).map(|(part, shape)| self.matrix(&name_in_layer(layer, part), shape));
        Ok(Layer {
            attention_norm: vector("attn_norm")?,
            q: q?,
            k: k?,
            v: v?,
            attention_output: attention_output?,
            feed_forward_norm: vector("ffn_norm")?,
            gate: gate?,
            up: up?,
            down: down?,
        })
    }
}
