//! Keys and values of the positions that a model has already read, with the tokens that stand there, so that a new
//! prompt pays only for what differs from the last one. How they lie in memory is [`store`]'s business.

mod kept;
mod piece;
mod store;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::utils::barrier_pool;

pub use kept::KeptPrefixes;
pub use piece::{Piece, PieceFormat, PieceShape};
pub use store::{BLOCK, KvFormat, KvShape, KvStore, Lane};

use super::config::LlamaConfig;
use super::error::{InferenceError, Result};

/// Values from which on writing is spread over the threads.
const PARALLEL_VALUES_MIN: usize = 16 * 1024;

/// The cache of one sequence.
#[derive(Debug)]
pub struct KvCache {
    store: KvStore,
    tokens: Vec<u32>,
    /// Positions at the front that were read behind all that stands before them: no [`Piece`], and nothing behind one.
    exact: usize,
}

impl KvCache {
    /// An empty cache for `capacity` positions. The address space is reserved at once, memory is taken as positions are
    /// written.
    ///
    /// # Errors
    /// The address space cannot be reserved.
    pub fn new(config: &LlamaConfig, capacity: usize, format: KvFormat) -> Result<Self> {
        let shape = config.kv_shape(capacity, format);
        let bytes = shape.reserved_bytes() as u64;
        let store = KvStore::new(shape).map_err(|source| InferenceError::Memory { bytes, source })?;
        Ok(KvCache { store, tokens: Vec::new(), exact: 0 })
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
        self.store.shape().capacity
    }

    /// Forgets everything from position `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.exact = self.exact.min(len);
    }

    /// Tokens at the front of `prompt` that are held as they were read; at most `prompt.len() - 1`, because the last token
    /// must be read again: its logits are not kept.
    pub fn shared(&self, prompt: &[u32]) -> usize {
        let shared = self.tokens[..self.exact].iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count();
        shared.min(prompt.len().saturating_sub(1))
    }

    /// Keeps what `prompt` [shares](Self::shared) and forgets the rest. Returns how much that is.
    pub fn reuse(&mut self, prompt: &[u32]) -> usize {
        self.truncate(self.shared(prompt));
        self.len()
    }

    /// Takes over the first `len` positions of another cache of the same model and forgets its own.
    pub fn copy_prefix(&mut self, from: &KvCache, len: usize) {
        self.store.copy_prefix(&from.store, len);
        self.tokens.clear();
        self.tokens.extend_from_slice(&from.tokens[..len]);
        self.exact = from.exact.min(len);
    }

    /// Positions at the front that are held as they were read, from which others may go on.
    pub fn exact(&self) -> usize {
        self.exact
    }

    /// Whether keys and values are held in the same form.
    pub fn is_like(&self, other: &KvCache) -> bool {
        self.store.shape().format == other.store.shape().format
    }

    /// Refuses `count` further positions that do not fit.
    pub(super) fn reserve(&self, count: usize) -> Result<()> {
        if self.len() + count > self.capacity() {
            let prompt_tokens = self.len() + count;
            return Err(InferenceError::PromptTooLong { prompt_tokens, context_tokens: self.capacity() });
        }
        Ok(())
    }

    pub(super) fn store(&self) -> &KvStore {
        &self.store
    }

    fn store_mut(&mut self) -> &mut KvStore {
        &mut self.store
    }

    /// Writes keys (rotated) and values of positions from `start` on; those behind the filled ones count as filled once
    /// they are [committed](Self::commit), after the last layer.
    pub(super) fn write(&mut self, layer: usize, start: usize, keys: &[f32], values: &[f32]) {
        if keys.len() < PARALLEL_VALUES_MIN {
            return self.store.write(layer, start, keys, values);
        }
        let lanes: Vec<_> = self.store.lanes_mut(layer).map(Mutex::new).collect();
        barrier_pool().execute_chunked(lanes.len(), |range| {
            for index in range {
                // No two calls get the same lane: the lock only hands the borrow over to the thread.
                lanes[index].lock().unwrap_or_else(PoisonError::into_inner).write(start, keys, values);
            }
        });
    }

    /// Declares the positions of `tokens`, which every layer has written behind all before them, filled.
    pub(super) fn commit(&mut self, tokens: &[u32]) {
        let new = self.tokens.len()..self.tokens.len() + tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.was_read(&new);
    }

    /// Positions that a step has read behind all that stands before them.
    pub(super) fn was_read(&mut self, run: &Range<usize>) {
        if run.start <= self.exact {
            self.exact = self.exact.max(run.end);
        }
    }

    /// Declares positions filled that hold a piece, or that a step is going to write.
    pub(super) fn leave(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// What is held, for another process: the tokens and then keys and values.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn export(&self, to: &mut impl std::io::Write) -> std::io::Result<()> {
        to.write_all(&(self.len() as u64).to_le_bytes())?;
        for token in &self.tokens {
            to.write_all(&token.to_le_bytes())?;
        }
        self.store.export(self.len(), to)
    }

    /// Takes over what [`export`](Self::export) wrote; on an error the cache is empty.
    ///
    /// # Errors
    /// The reader's, or more positions than there is room for.
    pub(super) fn import(&mut self, from: &mut impl std::io::Read) -> std::io::Result<()> {
        self.truncate(0);
        let mut number = [0; 8];
        from.read_exact(&mut number)?;
        let len = usize::try_from(u64::from_le_bytes(number)).unwrap_or(usize::MAX);
        if len > self.capacity() {
            return Err(std::io::Error::other("more positions than there is room for"));
        }
        let mut tokens = vec![0; len];
        for token in &mut tokens {
            let mut bytes = [0; 4];
            from.read_exact(&mut bytes)?;
            *token = u32::from_le_bytes(bytes);
        }
        self.store.import(len, from)?;
        self.commit(&tokens);
        Ok(())
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
        KvCache::new(&config, capacity, KvFormat::F16).unwrap()
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

    #[test]
    fn what_was_exported_is_the_same_when_it_comes_back() {
        let mut written = cache(8);
        written.write(0, 0, &[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]);
        written.commit(&[7]);
        let mut bytes = Vec::new();
        written.export(&mut bytes).unwrap();
        let mut read = cache(4);
        read.import(&mut bytes.as_slice()).unwrap();
        assert_eq!(read.tokens(), [7]);
        let mut again = Vec::new();
        read.export(&mut again).unwrap();
        assert_eq!(again, bytes);
        for len in 0..bytes.len() {
            assert!(read.import(&mut &bytes[..len]).is_err(), "{len} bytes were taken");
            assert!(read.is_empty());
        }
    }
}
