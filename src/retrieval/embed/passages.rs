//! The embedding of passages while an index run makes the next generation.

use fastembed::TextEmbedding;

use super::model::{Loaded, load_model, load_runtime};
use super::{EmbedderOptions, EmbeddingModel, PASSAGE_PREFIX, embed};
use crate::retrieval::RetrievalError;

/// What is embedded in one go, with its padding: less than a second of work on two cores.
const BATCH_BYTES: usize = 8192;
/// How far the threads of an index run step back: a tenth of the processor is left to them while others want all of it.
const NICENESS: i32 = 10;

/// A copy of the embedding model that works when nobody else wants the processor.
pub struct PassageEmbedder {
    session: TextEmbedding,
}

impl PassageEmbedder {
    /// Makes the calling thread, and with it the model's, give way to all others: it should be one that ends soon.
    pub(super) fn load(options: &EmbedderOptions) -> Result<(Self, EmbeddingModel), RetrievalError> {
        // Without it the run is as good, and the questions wait longer.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let Loaded { model, session, .. } = load_model(options, load_runtime(&options.runtime)?)?;
        Ok((PassageEmbedder { session }, model))
    }

    /// The vectors of passages, in their order: `dims` values each, unit length. Calls `on_batch` after each second or
    /// so; it may end the work with an error of its own.
    ///
    /// # Errors
    /// `Embedding` from the model, and what `on_batch` returns.
    pub fn embed<E: From<RetrievalError>>(
        &mut self,
        texts: &[String],
        on_batch: impl Fn() -> Result<(), E>,
    ) -> Result<Vec<Vec<f32>>, E> {
        in_batches(texts, |batch| {
            let vectors = embed(&mut self.session, &batch)?;
            on_batch()?;
            Ok(vectors)
        })
    }
}

/// Embeds texts as passages, those of like length together: a batch is padded to its longest.
pub(super) fn in_batches<E>(
    texts: &[String],
    mut embed: impl FnMut(Vec<String>) -> Result<Vec<Vec<f32>>, E>,
) -> Result<Vec<Vec<f32>>, E> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&at| texts[at].len());
    let mut vectors = vec![Vec::new(); texts.len()];
    while let Some(&longest) = order.last() {
        let size = (BATCH_BYTES / texts[longest].len().max(1)).max(1);
        let batch = order.split_off(order.len().saturating_sub(size));
        let prefixed = batch.iter().map(|&at| format!("{PASSAGE_PREFIX}{}", texts[at])).collect();
        batch.iter().zip(embed(prefixed)?).for_each(|(&at, vector)| vectors[at] = vector);
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_gets_its_own_vector_and_no_batch_is_too_large(
            lengths in proptest::collection::vec(0usize..20_000, 0..100),
        ) {
            let texts: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            let vectors = in_batches(&texts, |batch| {
                let longest = batch.iter().map(String::len).max().unwrap_or(0) - PASSAGE_PREFIX.len();
                assert!(batch.len() == 1 || batch.len() * longest <= BATCH_BYTES);
                Ok::<_, ()>(batch.iter().map(|text| vec![(text.len() - PASSAGE_PREFIX.len()) as f32]).collect())
            });
            prop_assert_eq!(vectors.unwrap(), lengths.iter().map(|&length| vec![length as f32]).collect::<Vec<_>>());
        }
    }
}
