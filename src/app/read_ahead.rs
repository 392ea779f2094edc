//! Which passages the model reads before anybody asks, and where what it read lies.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::{App, AppError};
use crate::answer::begun_with;
use crate::domain::{Language, PassageId};
use crate::inference::{Engine, PieceFormat, ReadAheadOptions, forget_pieces};
use crate::prompt;
use crate::retrieval::{Generation, IndexedPassage};
use crate::settings::PassageKvPrecision;

/// Passages that wait to be read though nobody asked for them yet, at most.
const SAMPLE_MAX: usize = 4096;

impl App {
    /// Where what the model has read of passages lies.
    pub fn passage_kv_folder(&self) -> PathBuf {
        self.data.join("passage_kv")
    }

    /// Gives back the disk that is taken by what was read of passages that are no longer in the index.
    pub fn forget_pieces(&self, generation: &Generation) {
        let files = forget_pieces(&self.passage_kv_folder(), |id| generation.holds(id));
        if files > 0 {
            tracing::info!(files, "what was read of passages that are gone was removed");
        }
    }

    /// How passages are read ahead; `None`: they are not.
    pub fn read_ahead(&self) -> Option<ReadAheadOptions> {
        let settings = &self.settings.inference;
        let format = match settings.passage_kv {
            PassageKvPrecision::F16 => PieceFormat::F16,
            PassageKvPrecision::Int8 => PieceFormat::Int8,
            PassageKvPrecision::Int4 => PieceFormat::Int4,
        };
        (settings.passage_kv_gb > 0).then(|| ReadAheadOptions {
            folder: self.passage_kv_folder(),
            bytes_max: settings.passage_kv_gb as u64 * 1_000_000_000,
            format,
            share_anew: settings.passage_anew,
            edition: edition(),
            tries_out: true,
        })
    }

    /// Has an engine keep nothing of passages that leave the live index while it reads.
    ///
    /// # Errors
    /// There is no index.
    pub fn keep_only_current(&self, engine: &Engine) -> Result<(), AppError> {
        let store = self.index_store();
        let live = Mutex::new(store.open_current()?);
        engine.keep_only(move |id| {
            let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
            if store.current_name().is_ok_and(|name| name != live.name())
                && let Ok(newer) = store.open_current()
            {
                *live = newer;
            }
            live.holds(id)
        });
        Ok(())
    }

    /// Passages that are to be read ahead before all others: those of collections whose settings say so.
    pub(super) fn named_passages(&self, generation: &Generation) -> HashSet<PassageId> {
        let collections = &self.settings.knowledge.collections;
        generation.passages_in(|name| collections.get(name).is_some_and(|collection| collection.read_ahead)).collect()
    }

    /// Wants passages read as long as there is room: those of collections that are to be, then those that questions found before, the
    /// most expected first, then some from all over the index. Whatever else nobody asked for waits no longer. Returns how many
    /// wait to be read.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn want_passages(
        &self,
        engine: &Engine,
        generation: &Generation,
        stop: &CancellationToken,
    ) -> Result<usize, AppError> {
        engine.expect_always(self.named_passages(generation));
        let Some(mut room) = engine.room_ahead() else { return Ok(0) };
        let expected = engine.expected_passages().into_iter().filter_map(|id| generation.passage(id).transpose());
        let mut want = |passage: Result<IndexedPassage, _>| -> Result<bool, AppError> {
            let (messages, passages) = begun_with(&passage?)?;
            Ok(!stop.is_cancelled() && engine.read_later(&messages, &passages, &mut room)?)
        };
        for passage in expected.chain(generation.sample(SAMPLE_MAX)?.into_iter().map(Ok)) {
            if !want(passage)? {
                break;
            }
        }
        Ok(engine.unread_ahead())
    }
}

/// Of the rules in all languages: what the model has read behind others is of no use.
fn edition() -> String {
    let rules = [Language::Italian, Language::English].map(|language| prompt::system(language).unwrap_or_default());
    blake3::hash(rules.concat().as_bytes()).to_hex().to_string()
}
