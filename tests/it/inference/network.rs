//! The network by itself: however a sequence is fed, it is the same sequence.

use candle_core::Tensor;
use cervella::inference::{InferenceError, KvCache, Llama, ModelFile, PREFILL_CHUNK_TOKENS};

use super::tiny::{CONTEXT_TOKENS, TinyModel};

fn tiny() -> Llama {
    let (_folder, path) = TinyModel::new().written();
    Llama::load(&ModelFile::open(&path).unwrap()).unwrap()
}

fn cache(model: &Llama) -> KvCache {
    KvCache::new(model.config(), CONTEXT_TOKENS).unwrap()
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|index| (index * 37 + 11) % 250).collect()
}

/// Sums are taken in another order when rows are many, so results differ in the last digits.
#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor) {
    let difference = (found - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let scale = expected.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(difference <= 2e-2 * scale, "logits differ by {difference}, the largest is {scale}");
}

#[test]
fn token_by_token_is_the_same_as_all_at_once() {
    let model = tiny();
    let tokens = tokens(40);
    let expected = model.all_logits(&tokens, &mut cache(&model)).unwrap();
    let mut cache = cache(&model);
    for (index, &token) in tokens.iter().enumerate() {
        let logits = model.forward(&[token], &mut cache).unwrap();
        assert_close(&logits, &expected.get(index).unwrap());
    }
    assert_eq!(cache.tokens(), tokens);
}

#[test]
fn chunks_of_any_size_are_the_same_as_one() {
    let model = tiny();
    let tokens = tokens(2 * PREFILL_CHUNK_TOKENS + 17);
    let expected = model.forward(&tokens, &mut cache(&model)).unwrap();
    for chunk in [100, PREFILL_CHUNK_TOKENS, 511] {
        let mut cache = cache(&model);
        let logits = tokens.chunks(chunk).map(|chunk| model.forward(chunk, &mut cache).unwrap()).last().unwrap();
        assert_close(&logits, &expected);
    }
}

#[test]
fn a_reused_prefix_gives_what_a_fresh_sequence_gives() {
    let model = tiny();
    let mut used = cache(&model);
    model.forward(&tokens(300), &mut used).unwrap();
    model.forward(&[7, 8, 9], &mut used).unwrap();
    let mut prompt = tokens(280);
    prompt.extend([200, 201, 202, 203]);
    assert_eq!(used.reuse(&prompt), 280);
    let found = model.forward(&prompt[280..], &mut used).unwrap();
    let expected = model.forward(&prompt, &mut cache(&model)).unwrap();
    assert_close(&found, &expected);
    assert_eq!(used.tokens(), prompt);
}

#[test]
fn a_prompt_can_be_given_up_between_chunks_and_taken_up_again() {
    let model = tiny();
    let tokens = tokens(3 * PREFILL_CHUNK_TOKENS);
    let mut cache = cache(&model);
    let mut asked = 0;
    let given_up = model.forward_while(&tokens, &mut cache, || {
        asked += 1;
        asked < 3
    });
    assert!(given_up.unwrap().is_none());
    assert_eq!(cache.tokens(), &tokens[..2 * PREFILL_CHUNK_TOKENS]);
    let cached = cache.reuse(&tokens);
    let found = model.forward(&tokens[cached..], &mut cache).unwrap();
    assert_close(&found, &model.forward(&tokens, &mut self::cache(&model)).unwrap());
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_the_cache_alone() {
    let model = tiny();
    let mut small = KvCache::new(model.config(), 8).unwrap();
    model.forward(&[1, 2, 3], &mut small).unwrap();
    let error = model.forward(&tokens(6), &mut small).unwrap_err();
    assert!(matches!(error, InferenceError::PromptTooLong { prompt_tokens: 9, context_tokens: 8 }));
    assert_eq!(small.tokens(), [1, 2, 3]);
    assert!(matches!(model.forward(&[], &mut small), Err(InferenceError::EmptyPrompt)));
    assert!(model.forward(&[9999], &mut small).is_err(), "a token outside the vocabulary");
    assert_eq!(small.tokens(), [1, 2, 3]);
}

#[test]
fn embeddings_serve_as_output_when_the_file_has_none() {
    let mut model = TinyModel::new();
    model.tensors.retain(|(name, _)| name != "output.weight");
    let (_folder, path) = model.written();
    let tied = Llama::load(&ModelFile::open(&path).unwrap()).unwrap();
    assert_eq!(tied.forward(&[1, 2], &mut cache(&tied)).unwrap().dims(), [260]);
}
