//! From logits to the next token.

use candle_core::{Device, Tensor};
use candle_transformers::generation::LogitsProcessor;

use super::error::Result;

/// How the next token is chosen. The default is greedy: the same prompt gives the same answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingOptions {
    /// 0 takes the most probable token; higher values flatten the distribution.
    pub temperature: f64,
    /// Only the most probable tokens whose probabilities add up to this are drawn from; `None` or 1: all.
    pub top_p: Option<f64>,
    /// Tokens less probable than this share of the most probable one are not drawn; `None` or 0: all are.
    /// Source: <https://arxiv.org/abs/2407.01082>.
    pub min_p: Option<f32>,
    /// Logits of tokens among the last [`REPETITION_WINDOW_TOKENS`] generated ones are divided by this when positive
    /// and multiplied when negative; `None` or 1: left alone.
    pub repetition_penalty: Option<f32>,
    pub seed: u64,
}

/// How far back a token counts as repeated.
pub const REPETITION_WINDOW_TOKENS: usize = 64;

impl Default for SamplingOptions {
    fn default() -> Self {
        SamplingOptions { temperature: 0.0, top_p: None, min_p: None, repetition_penalty: None, seed: 0 }
    }
}

/// Draws the tokens of one generation.
pub struct Sampler {
    options: SamplingOptions,
    processor: LogitsProcessor,
    /// Generated tokens, as far back as a penalty looks.
    recent: Vec<u32>,
}

impl Sampler {
    pub fn new(options: SamplingOptions) -> Self {
        let processor = LogitsProcessor::new(options.seed, Some(options.temperature), options.top_p);
        Sampler { options, processor, recent: Vec::new() }
    }

    /// The next token, from the logits of the vocabulary.
    ///
    /// # Errors
    /// The logits are not numbers.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        let penalty = self.options.repetition_penalty.filter(|&penalty| penalty != 1.0);
        let min_p = self.options.min_p.filter(|&share| share > 0.0 && self.options.temperature > 0.0);
        if penalty.is_none() && self.options.temperature <= 0.0 {
            return Ok(most_probable(logits));
        }
        let mut values = logits.to_vec();
        if let Some(penalty) = penalty {
            penalize(&mut values, &self.recent, penalty);
        }
        if let Some(share) = min_p {
            drop_improbable(&mut values, share, self.options.temperature as f32);
        }
        let token = self.processor.sample(&Tensor::from_slice(&values, values.len(), &Device::Cpu)?)?;
        if penalty.is_some() {
            if self.recent.len() == REPETITION_WINDOW_TOKENS {
                self.recent.remove(0);
            }
            self.recent.push(token);
        }
        Ok(token)
    }
}

/// The first of the largest.
fn most_probable(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    best.0 as u32
}

/// Source: CTRL (<https://arxiv.org/abs/1909.05858>), section 4.1, with its later correction for negative logits.
fn penalize(logits: &mut [f32], recent: &[u32], penalty: f32) {
    for (index, &token) in recent.iter().enumerate() {
        let is_first = !recent[..index].contains(&token);
        if let Some(logit) = logits.get_mut(token as usize).filter(|_| is_first) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

/// `p < share * p_max` is `logit < logit_max + temperature * ln(share)`, so no softmax is needed.
fn drop_improbable(logits: &mut [f32], share: f32, temperature: f32) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let least = max + temperature * share.min(1.0).ln();
    logits.iter_mut().filter(|logit| **logit < least).for_each(|logit| *logit = f32::NEG_INFINITY);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(options: SamplingOptions, values: &[f32]) -> Vec<u32> {
        let mut sampler = Sampler::new(options);
        let mut drawn: Vec<u32> = (0..200).map(|_| sampler.sample(values).unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn
    }

    #[test]
    fn the_default_takes_the_most_probable_token() {
        assert_eq!(drawn(SamplingOptions::default(), &[0.1, 3.0, -1.0, 2.9]), [1]);
    }

    #[test]
    fn improbable_tokens_are_not_drawn() {
        let values = [5.0, 4.9, 0.0, -3.0];
        let options = SamplingOptions { temperature: 1.0, ..Default::default() };
        assert_eq!(drawn(SamplingOptions { min_p: Some(0.5), ..options }, &values), [0, 1]);
        assert_eq!(drawn(SamplingOptions { top_p: Some(0.6), ..options }, &values), [0, 1]);
        assert_eq!(drawn(SamplingOptions { top_p: Some(0.4), ..options }, &values), [0]);
    }

    #[test]
    fn the_same_seed_draws_the_same_tokens() {
        let draw = |seed| {
            let options = SamplingOptions { temperature: 1.0, seed, ..Default::default() };
            let mut sampler = Sampler::new(options);
            (0..50).map(|_| sampler.sample(&[1.0, 1.0, 1.0, 1.0]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_repeated_token_loses_once() {
        let mut values = [2.0, -2.0, 1.0];
        penalize(&mut values, &[0, 1, 0], 2.0);
        assert_eq!(values, [1.0, -4.0, 1.0]);
    }
}
