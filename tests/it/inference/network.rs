//! The network by itself: however a sequence is fed, it is the same sequence.

use std::cell::Cell;
use std::ops::Range;

use cervella::inference::{
    Feed, InferenceError, KvCache, KvFormat, Llama, ModelFile, Piece, PieceFormat, STEP_ROWS_MAX, Wanted,
};

use super::tiny::{CONTEXT_TOKENS, TinyModel};

fn tiny() -> Llama {
    let (_folder, path) = TinyModel::new().written();
    Llama::load(&ModelFile::open(&path).unwrap()).unwrap()
}

fn cache(model: &Llama) -> KvCache {
    KvCache::new(model.config(), CONTEXT_TOKENS, KvFormat::F16).unwrap()
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|index| (index * 37 + 11) % 250).collect()
}

/// A token's logits are the same to the last bit, whatever it was read together with.
#[test]
fn token_by_token_is_the_same_as_all_at_once() {
    let mut model = tiny();
    let tokens = tokens(40);
    let expected = model.all_logits(&tokens, &mut cache(&model)).unwrap();
    let vocabulary = model.config().vocabulary_size;
    let mut cache = cache(&model);
    for (&token, expected) in tokens.iter().zip(expected.chunks(vocabulary)) {
        assert_eq!(model.forward(&[token], &mut cache).unwrap(), expected);
    }
    assert_eq!(cache.tokens(), tokens);
}

#[test]
fn chunks_of_any_size_are_the_same_as_one() {
    let mut model = tiny();
    let tokens = tokens(STEP_ROWS_MAX + 117);
    let expected = model.forward(&tokens, &mut cache(&model)).unwrap().to_vec();
    for size in [100, STEP_ROWS_MAX, 511] {
        let mut cache = cache(&model);
        let mut logits = Vec::new();
        for chunk in tokens.chunks(size) {
            logits = model.forward(chunk, &mut cache).unwrap().to_vec();
        }
        assert_eq!(logits, expected);
    }
}

#[test]
fn sequences_that_share_a_step_do_not_disturb_each_other() {
    let mut model = tiny();
    let prompts = [tokens(30), tokens(75)[40..].to_vec(), tokens(3)];
    let alone: Vec<Vec<f32>> =
        prompts.iter().map(|prompt| model.forward(prompt, &mut cache(&model)).unwrap().to_vec()).collect();
    let mut caches = [cache(&model), cache(&model), cache(&model)];
    for (cache, prompt) in caches.iter_mut().zip(&prompts) {
        model.forward(&prompt[..1], cache).unwrap();
    }
    let mut feeds: Vec<Feed<'_>> =
        caches.iter_mut().zip(&prompts).map(|(cache, prompt)| Feed::new(cache, &prompt[1..], Wanted::Last)).collect();
    assert!(model.step(&mut feeds, &|| true).unwrap());
    for (logits, alone) in model.logits().chunks(model.config().vocabulary_size).zip(&alone) {
        assert_eq!(logits, alone);
    }
}

#[test]
fn a_reused_prefix_gives_what_a_fresh_sequence_gives() {
    let mut model = tiny();
    for format in [KvFormat::F16, KvFormat::Int8] {
        let new = |model: &Llama| KvCache::new(model.config(), 1024, format).unwrap();
        let mut used = new(&model);
        model.forward(&tokens(300), &mut used).unwrap();
        model.forward(&[7, 8, 9], &mut used).unwrap();
        let mut prompt = tokens(280);
        prompt.extend([200, 201, 202, 203]);
        let mut copied = new(&model);
        copied.copy_prefix(&used, 200);
        assert_eq!(used.reuse(&prompt), 280);
        let expected = model.forward(&prompt, &mut new(&model)).unwrap().to_vec();
        assert_eq!(model.forward(&prompt[280..], &mut used).unwrap(), expected);
        assert_eq!(model.forward(&prompt[200..], &mut copied).unwrap(), expected);
        assert_eq!((used.tokens(), copied.tokens()), (&prompt[..], &prompt[..]));
    }
}

#[test]
fn eight_bit_keys_and_values_change_little() {
    let mut model = tiny();
    let tokens = tokens(200);
    let exact = model.forward(&tokens, &mut cache(&model)).unwrap().to_vec();
    let mut rounded = KvCache::new(model.config(), 256, KvFormat::Int8).unwrap();
    let rounded = model.forward(&tokens, &mut rounded).unwrap();
    let largest = exact.iter().fold(0f32, |largest, logit| largest.max(logit.abs()));
    let difference = exact.iter().zip(rounded).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(difference > 0.0 && difference < 0.02 * largest, "{difference} of {largest}");
}

#[test]
fn a_step_can_be_given_up_and_done_again() {
    let mut model = tiny();
    let tokens = tokens(50);
    let expected = model.forward(&tokens, &mut cache(&model)).unwrap().to_vec();
    let mut cache = cache(&model);
    model.forward(&tokens[..20], &mut cache).unwrap();
    let asked = Cell::new(0);
    let go_on = || {
        asked.set(asked.get() + 1);
        asked.get() < 2
    };
    let mut feed = [Feed::new(&mut cache, &tokens[20..], Wanted::Last)];
    assert!(!model.step(&mut feed, &go_on).unwrap());
    assert_eq!(cache.tokens(), &tokens[..20]);
    assert_eq!(model.forward(&tokens[20..], &mut cache).unwrap(), expected);
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_the_cache_alone() {
    let mut model = tiny();
    let mut small = KvCache::new(model.config(), 8, KvFormat::F16).unwrap();
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
    let mut tied = Llama::load(&ModelFile::open(&path).unwrap()).unwrap();
    let mut cache = cache(&tied);
    assert_eq!(tied.forward(&[1, 2], &mut cache).unwrap().len(), 260);
}

/// A prompt of a beginning, two passages and a question, with pieces of the passages that were read behind the beginning.
struct Pieced {
    model: Llama,
    prompt: Vec<u32>,
    passages: [Range<usize>; 2],
    pieces: [Piece; 2],
}

impl Pieced {
    fn new(format: PieceFormat) -> Self {
        let mut model = tiny();
        let prompt = tokens(190);
        let passages = [40..100, 100..170];
        let pieces = passages.clone().map(|passage| {
            let mut alone = cache(&model);
            model.forward(&prompt[..40], &mut alone).unwrap();
            model.forward(&prompt[passage.clone()], &mut alone).unwrap();
            alone.piece(40..40 + passage.len(), model.rope(), format)
        });
        Pieced { model, prompt, passages, pieces }
    }

    fn exact(&mut self) -> Vec<f32> {
        self.model.forward(&self.prompt, &mut cache(&self.model)).unwrap().to_vec()
    }

    /// Logits of the last token when so much of each passage is read anew.
    fn mended(&mut self, share: f64) -> Vec<f32> {
        let Pieced { model, prompt, passages, pieces } = self;
        let mut cache = cache(model);
        model.forward(&prompt[..40], &mut cache).unwrap();
        for (passage, piece) in passages.iter().zip(pieces) {
            cache.place(&prompt[passage.clone()], piece, model.rope());
        }
        let anew = |passage: &Range<usize>| passage.start..passage.start + (passage.len() as f64 * share) as usize;
        let runs: Vec<Range<usize>> =
            passages.iter().map(anew).filter(|run| !run.is_empty()).chain(std::iter::once(170..prompt.len())).collect();
        let exact = runs.iter().fold(40, |exact, run| if run.start <= exact { run.end } else { exact });
        let read: Vec<u32> = runs.iter().cloned().flat_map(|run| prompt[run].to_vec()).collect();
        assert!(model.step(&mut [Feed::at(&mut cache, &read, runs, Wanted::Last)], &|| true).unwrap());
        assert_eq!(cache.tokens(), prompt);
        // Nobody goes on from what is only nearly as it would be.
        assert_eq!(cache.shared(prompt), exact.min(prompt.len() - 1));
        model.logits().to_vec()
    }
}

fn difference(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).fold(0f32, |most, (a, b)| most.max((a - b).abs()))
}

#[test]
fn pieces_that_are_read_anew_whole_are_as_if_they_had_not_been_kept() {
    for format in [PieceFormat::F16, PieceFormat::Int8, PieceFormat::Int4] {
        let mut pieced = Pieced::new(format);
        assert_eq!(pieced.mended(1.0), pieced.exact());
    }
}

#[test]
fn a_piece_in_the_place_where_it_was_read_is_what_was_read() {
    let off = |format| {
        let mut pieced = Pieced::new(format);
        let exact = pieced.exact();
        let Pieced { model, prompt, pieces, .. } = &mut pieced;
        let mut cache = cache(model);
        model.forward(&prompt[..40], &mut cache).unwrap();
        cache.place(&prompt[40..100], &pieces[0], model.rope());
        let found = model.forward(&prompt[100..], &mut cache).unwrap();
        let largest = exact.iter().fold(0f32, |largest, logit| largest.max(logit.abs()));
        difference(found, &exact) / largest
    };
    let (f16, int8, int4) = (off(PieceFormat::F16), off(PieceFormat::Int8), off(PieceFormat::Int4));
    assert!(f16 < 0.02 && f16 < int8 && int8 < int4, "{f16}, {int8}, {int4}");
}

#[test]
fn the_more_is_read_anew_the_nearer_it_comes() {
    let mut pieced = Pieced::new(PieceFormat::Int8);
    let exact = pieced.exact();
    let (none, half) = (difference(&pieced.mended(0.0), &exact), difference(&pieced.mended(0.5), &exact));
    assert!(0.0 < half && half < none, "{half} and {none}");
}
