//! Index runs of the running service: one at a time, whoever wants them, and the new index live when they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{App, AppError, IndexScope};
use crate::answer::Answerer;
use crate::ingest::{FolderWatch, IndexReport, IngestError, NoProgress, Progress};
use crate::retrieval::RetrievalError;

/// So long nothing must have changed in the folders before they are read.
const QUIET: Duration = Duration::from_secs(1);
/// After a change they are read within this time, even if it goes on.
const QUIET_MAX: Duration = Duration::from_secs(4);
/// How often folders are compared that do not tell what changes in them.
const SILENT_EVERY: Duration = Duration::from_secs(60);

pub struct Indexing {
    app: App,
    answerer: Arc<Answerer>,
    is_running: AtomicBool,
    stop: CancellationToken,
}

impl Indexing {
    pub fn new(app: App, answerer: Arc<Answerer>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Indexing { app, answerer, is_running: AtomicBool::new(false), stop })
    }

    /// Brings the index up to date and makes it the live one. Blocks.
    ///
    /// # Errors
    /// `Locked` while another run is under way, in this process or elsewhere; whatever an index run may fail with.
    pub fn run(&self, scope: &IndexScope, progress: &dyn Progress) -> Result<IndexReport, AppError> {
        if self.is_running.swap(true, Ordering::AcqRel) {
            return Err(RetrievalError::Locked(self.app.index_store().root().to_owned()).into());
        }
        let _running = Running(&self.is_running);
        let searcher = self.answerer.searcher();
        let report = self.app.index(searcher.embedder(), scope, progress, &self.stop)?;
        searcher.reload()?;
        Ok(report)
    }

    /// Keeps the index on a par with the folders until the service stops: at once, when something changes in them, and
    /// at intervals all the same.
    pub async fn follow_folders(self: Arc<Self>) {
        let settings = &self.app.settings().knowledge;
        let collections = settings.collections();
        if collections.is_empty() {
            return;
        }
        let watch = settings.watch.then(|| FolderWatch::start(collections.iter().flat_map(|c| &c.folders)));
        let mut every = Duration::from_secs(settings.compare_every_s);
        for (folder, reason) in watch.iter().flat_map(|watch| &watch.silent) {
            every = every.min(SILENT_EVERY);
            let folder = folder.display();
            tracing::warn!("{folder} is compared every {} s, because it is not watched: {reason}", every.as_secs());
        }
        let mut failed = String::new();
        loop {
            let mut next = every;
            match self.compare().await {
                Ok(()) => failed.clear(),
                // Whoever runs has begun before the last change.
                Err(error) if error.is_temporary() => next = QUIET_MAX,
                Err(AppError::Ingest(IngestError::Cancelled)) => return,
                Err(error) => {
                    if failed != error.to_string() {
                        failed = error.to_string();
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the knowledge folders were not read"
                        );
                    }
                }
            }
            let waiting = tokio::time::timeout(next, change(watch.as_ref()));
            if self.stop.run_until_cancelled(waiting).await.is_none() {
                return;
            }
        }
    }

    async fn compare(self: &Arc<Self>) -> Result<(), AppError> {
        let indexing = Arc::clone(self);
        let run = tokio::task::spawn_blocking(move || indexing.run(&IndexScope::default(), &NoProgress));
        let report = run.await.map_err(AppError::Panicked)??;
        let IndexReport { documents, passages, added, changed, removed, seconds, .. } = report;
        if added + changed + removed > 0 {
            tracing::info!(documents, passages, added, changed, removed, seconds, "the index follows the folders");
        }
        Ok(())
    }
}

/// Returns when something has changed and it is quiet again.
async fn change(watch: Option<&FolderWatch>) {
    let Some(watch) = watch else { return std::future::pending().await };
    watch.changed().await;
    let latest = Instant::now() + QUIET_MAX;
    while Instant::now() < latest && tokio::time::timeout(QUIET, watch.changed()).await.is_ok() {}
}

/// An index run is under way for as long as this lives, also when it panics.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
