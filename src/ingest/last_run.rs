//! What the last index run did, for the admin: also a run that changed nothing, and one that failed.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::run::{IndexReport, IngestError};
use crate::retrieval::IndexStore;

const FILE: &str = "last_run.json";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it ended, in seconds since 1970-01-01 UTC.
    pub at: u64,
    pub seconds: f64,
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
    pub embedded_passages: usize,
    pub skipped: usize,
    #[serde(default)]
    pub partly_read: usize,
    /// Why it failed.
    pub error: Option<String>,
}

impl LastRun {
    pub(super) fn of(outcome: &Result<IndexReport, IngestError>, took: Duration) -> Self {
        let at = UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs());
        let run = LastRun { at, seconds: took.as_secs_f64(), ..LastRun::default() };
        match outcome {
            Ok(report) => LastRun {
                added: report.added,
                changed: report.changed,
                removed: report.removed,
                embedded_passages: report.embedded_passages,
                skipped: report.skipped.len(),
                partly_read: report.partly_read.len(),
                ..run
            },
            Err(error) => LastRun { error: Some(with_causes(error)), ..run },
        }
    }

    /// `None`: there was none, or what it left cannot be read.
    pub fn read(store: &IndexStore) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(store.root().join(FILE)).ok()?).ok()
    }

    /// Nothing depends on it: a disk that is full is told by what does.
    pub(super) fn write(&self, store: &IndexStore) {
        let _ = serde_json::to_vec(self).map(|json| store.write(FILE, &json));
    }
}

fn with_causes(error: &IngestError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
