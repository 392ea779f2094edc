//! `cervella bench perplexity`: how well a model predicts a text, to compare engines on the same file.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;

use crate::inference::{KvCache, KvFormat, Llama, ModelFile, Tokens};

/// Measure the perplexity of a text.
///
/// The text is cut into windows of `--context` tokens, each read from its beginning; the last half of every window
/// counts, so that no token is judged without context. llama.cpp's own tool counts the same way.
#[derive(Args, Clone, Debug)]
pub struct PerplexityBench {
    /// GGUF file of the model
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Text in UTF-8
    text: PathBuf,
    /// Tokens of a window
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=1 << 17))]
    context: u32,
    /// Hold keys and values in 8 bits instead of 16
    #[arg(long)]
    kv_int8: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct PerplexityFigures {
    engine: &'static str,
    perplexity: f64,
    /// Tokens that were predicted.
    tokens: usize,
    context: usize,
}

impl PerplexityBench {
    /// Measures and prints.
    ///
    /// # Errors
    /// The model cannot be loaded, or the text is shorter than a window.
    pub fn run(&self) -> anyhow::Result<()> {
        let text =
            std::fs::read_to_string(&self.text).with_context(|| format!("cannot read {}", self.text.display()))?;
        let file = ModelFile::open(&self.model)?;
        let tokens = Tokens::read(&file)?.encode(&text)?;
        let mut model = Llama::load(&file)?;
        let context = self.context as usize;
        ensure!(tokens.len() >= context, "the text has {} tokens, a window has {context}", tokens.len());
        let format = if self.kv_int8 { KvFormat::Int8 } else { KvFormat::F16 };
        let mut cache = KvCache::new(model.config(), context, format)?;
        let (mut sum, mut count) = (0.0, 0);
        for window in tokens.chunks_exact(context) {
            cache.truncate(0);
            let logits = model.all_logits(window, &mut cache)?;
            let vocabulary = model.config().vocabulary_size;
            for (position, logits) in logits.chunks_exact(vocabulary).enumerate().skip(context / 2) {
                if let Some(&next) = window.get(position + 1) {
                    sum -= log_probability(logits, next as usize);
                    count += 1;
                }
            }
        }
        let perplexity = (sum / count as f64).exp();
        let figures = PerplexityFigures { engine: "cervella", perplexity, tokens: count, context };
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&figures)?)?;
        } else {
            writeln!(out, "perplexity {perplexity:.4} over {count} tokens, windows of {context}")?;
        }
        Ok(())
    }
}

/// Natural logarithm of the probability that `logits` give to `token`.
fn log_probability(logits: &[f32], token: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    f64::from(logits[token] - max) - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_a_softmax() {
        let logits = [1.0, 2.0, 3.0f32];
        let total: f64 = (0..3).map(|token| log_probability(&logits, token).exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
        assert!((log_probability(&logits, 2) - log_probability(&logits, 1) - 1.0).abs() < 1e-9);
    }
}
