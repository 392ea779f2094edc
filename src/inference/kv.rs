//! Keys and values of the positions that a model has already read, with the tokens that stand there, so that a new
//! prompt pays only for what differs from the last one.

use candle_core::{DType, Device, Tensor};

use super::config::LlamaConfig;
use super::error::{InferenceError, Result};

/// The cache of one sequence: per layer two tensors of shape `(capacity, kv_heads, head_size)` in f32.
///
/// The full capacity is reserved at once, but as untouched zero pages: memory is taken position by position, the
/// history is never copied, and a view of the filled part is contiguous.
pub struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    tokens: Vec<u32>,
    capacity: usize,
}

impl KvCache {
    /// An empty cache for `capacity` positions.
    ///
    /// # Errors
    /// The address space cannot be reserved.
    pub fn new(config: &LlamaConfig, capacity: usize) -> Result<Self> {
        let shape = (capacity, config.kv_head_count, config.head_size);
        let zeros = || Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let layers = (0..config.layer_count).map(|_| Ok((zeros()?, zeros()?))).collect::<Result<_>>()?;
        Ok(KvCache { layers, tokens: Vec::new(), capacity })
    }

    /// The tokens that are held, in order.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Filled positions.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Positions there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets everything from position `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
    }

    /// Keeps the longest prefix that `prompt` shares with the held tokens and forgets the rest. Returns its length,
    /// at most `prompt.len() - 1`: the last token must be read again because its logits are not kept.
    pub fn reuse(&mut self, prompt: &[u32]) -> usize {
        let shared = self.tokens.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count();
        self.truncate(shared.min(prompt.len().saturating_sub(1)));
        self.len()
    }

    /// Refuses `count` further positions that do not fit.
    pub(crate) fn reserve(&self, count: usize) -> Result<()> {
        if self.len() + count > self.capacity {
            let prompt_tokens = self.len() + count;
            return Err(InferenceError::PromptTooLong { prompt_tokens, context_tokens: self.capacity });
        }
        Ok(())
    }

    /// Writes keys and values of new positions, each of shape `(count, kv_heads, head_size)`, behind the filled ones
    /// and returns views of all of them, of shape `(len + count, kv_heads, head_size)`. The new positions count as
    /// filled once they are [committed](Self::commit), after the last layer.
    pub(crate) fn append(&self, layer: usize, k: &Tensor, v: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let (start, end) = (self.len(), self.len() + k.dim(0)?);
        let (keys, values) = &self.layers[layer];
        keys.slice_set(k, 0, start)?;
        values.slice_set(v, 0, start)?;
        Ok((keys.narrow(0, 0, end)?, values.narrow(0, 0, end)?))
    }

    /// Declares the positions of `tokens`, which every layer has appended, filled.
    pub(crate) fn commit(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::rope::RopeScaling;

    fn cache(capacity: usize) -> KvCache {
        let config = LlamaConfig {
            vocabulary_size: 8,
            embedding_size: 8,
            layer_count: 1,
            head_count: 2,
            kv_head_count: 1,
            head_size: 4,
            feed_forward_size: 8,
            context_tokens: capacity,
            rms_epsilon: 1e-5,
            rope_base: 10_000.0,
            rope_scaling: RopeScaling::None,
        };
        KvCache::new(&config, capacity).unwrap()
    }

    fn rows(values: &[f32]) -> Tensor {
        let data: Vec<f32> = values.iter().flat_map(|&value| [value; 4]).collect();
        Tensor::from_vec(data, (values.len(), 1, 4), &Device::Cpu).unwrap()
    }

    #[test]
    fn positions_are_appended_and_overwritten_after_a_truncation() {
        let mut cache = cache(8);
        cache.append(0, &rows(&[1.0, 2.0, 3.0]), &rows(&[1.0, 2.0, 3.0])).unwrap();
        cache.commit(&[10, 11, 12]);
        cache.truncate(1);
        let (keys, _) = cache.append(0, &rows(&[7.0]), &rows(&[7.0])).unwrap();
        let keys: Vec<f32> = keys.narrow(2, 0, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(keys, [1.0, 7.0]);
    }

    #[test]
    fn the_longest_common_prefix_is_kept_but_never_the_whole_prompt() {
        let mut cache = cache(8);
        cache.commit(&[1, 2, 3, 4]);
        assert_eq!(cache.reuse(&[1, 2, 3, 4]), 3);
        cache.commit(&[4, 5]);
        assert_eq!(cache.reuse(&[1, 2, 9]), 2);
        assert_eq!(cache.tokens(), [1, 2]);
        assert_eq!(cache.reuse(&[5]), 0);
        assert_eq!(cache.reuse(&[]), 0);
    }

    #[test]
    fn more_positions_than_there_is_room_for_are_refused() {
        let mut cache = cache(4);
        cache.commit(&[1, 2, 3]);
        assert!(cache.reserve(1).is_ok());
        assert!(matches!(cache.reserve(2), Err(InferenceError::PromptTooLong { prompt_tokens: 5, context_tokens: 4 })));
    }
}
