//! Index runs of the running service: one at a time, whoever wants them, and the new index live when they end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{App, AppError, IndexScope, memory};
use crate::answer::Answerer;
use crate::domain::Collection;
use crate::inference::{AheadStanding, Engine};
use crate::ingest::{FolderWatch, IndexReport, IngestError, NoProgress, Progress};
use crate::retrieval::RetrievalError;
use crate::telemetry::{Measured, ReadAheadStanding};

/// So long nothing must have changed in the folders before they are read.
const QUIET: Duration = Duration::from_secs(1);
/// After a change they are read within this time, even if it goes on.
const QUIET_MAX: Duration = Duration::from_secs(4);
/// After a run nothing is read for so many times its duration, but no longer than `REST_MAX`.
const REST: u32 = 3;
const REST_MAX: Duration = Duration::from_secs(30);
/// How often folders are compared that do not tell what changes in them.
const SILENT_EVERY: Duration = Duration::from_secs(60);

pub struct Indexing {
    app: App,
    answerer: Arc<Answerer>,
    /// `None` where answers are quotes.
    engine: Option<Arc<Engine>>,
    is_running: AtomicBool,
    /// There is a new live index.
    adopted: Notify,
    /// Name of the newest index, if it is not for us or cannot be opened.
    refused: Mutex<String>,
    stop: CancellationToken,
}

impl Indexing {
    pub fn new(app: App, answerer: Arc<Answerer>, engine: Option<Arc<Engine>>, stop: CancellationToken) -> Arc<Self> {
        let (is_running, adopted, refused) = (AtomicBool::new(false), Notify::new(), Mutex::default());
        Arc::new(Indexing { app, answerer, engine, is_running, adopted, refused, stop })
    }

    /// Has passages of the live index read ahead, at once and whenever there is a new one, until the service stops.
    pub async fn keep_reading_ahead(self: Arc<Self>) {
        loop {
            let indexing = Arc::clone(&self);
            let wanted = tokio::task::spawn_blocking(move || indexing.want_passages()).await;
            if wanted.is_err() {
                tracing::error!("looking for passages to read ahead panicked");
            }
            if self.stop.run_until_cancelled(self.adopted.notified()).await.is_none() {
                return;
            }
        }
    }

    fn want_passages(&self) {
        let generation = self.answerer.searcher().generation();
        self.app.forget_pieces(&generation);
        let Some(engine) = self.engine.as_ref().filter(|engine| engine.reads_ahead()) else { return };
        match self.app.want_passages(engine, &generation, &self.stop) {
            Ok(waiting) => tracing::info!(waiting, "passages are read ahead when nobody asks"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "passages are not read ahead");
            }
        }
    }

    /// How much of it is read ahead; `None`: nothing is.
    pub fn ahead(&self) -> Option<ReadAheadStanding> {
        let AheadStanding { waiting, kept, kept_bytes, .. } = self.engine.as_ref()?.ahead()?;
        Some(ReadAheadStanding { kept, kept_bytes, waiting })
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
        let start = Instant::now();
        let report = self.app.index(self.answerer.searcher().embedder(), scope, progress, None, &self.stop);
        let is_stopped =
            |error: &AppError| error.is_temporary() || matches!(error, AppError::Ingest(IngestError::Cancelled));
        if !report.as_ref().is_err_and(is_stopped) {
            let seconds = start.elapsed().as_secs_f64();
            self.app.meter().note(Measured::Indexed { is_done: report.is_ok(), seconds });
        }
        let adopted = report.and_then(|report| self.adopt().map(|_| report));
        memory::give_back();
        adopted
    }

    /// Makes the newest index the live one, if it was made of the collections of our settings: under others, what it
    /// holds would be shown to the wrong readers. Returns whether there was one. Blocks.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn adopt(&self) -> Result<bool, AppError> {
        let searcher = self.answerer.searcher();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let current = match searcher.store().current_name() {
            // The next run makes one.
            Err(RetrievalError::NoIndex(_)) => return Ok(false),
            current => current?,
        };
        if current == *refused {
            return Ok(false);
        }
        let Some(successor) = searcher.successor().inspect_err(|_| *refused = current)? else { return Ok(false) };
        if !self.app.fits_settings(&successor)? {
            tracing::warn!("an index of other collections than those of the settings is not used: restart the service");
            *refused = successor.name();
            return Ok(false);
        }
        searcher.adopt(successor);
        // What is being read of a passage is compared with the live index when it is kept: so after it is live.
        self.app.forget_pieces(&searcher.generation());
        self.adopted.notify_one();
        Ok(true)
    }

    /// Keeps the index on a par with the folders until the service stops: at once, when something changes in them, and
    /// at intervals all the same.
    pub async fn follow_folders(self: Arc<Self>) {
        let settings = &self.app.settings().knowledge;
        let collections = settings.collections();
        if collections.is_empty() {
            return;
        }
        let mut watch = None;
        let mut failed = String::new();
        loop {
            if settings.watch && watch.as_ref().is_none_or(FolderWatch::is_stale) {
                watch = self.watch(collections.clone()).await;
            }
            let is_silent = watch.as_ref().is_some_and(|watch| !watch.silent.is_empty());
            let every = Duration::from_secs(settings.compare_every_s);
            let mut next = if is_silent { every.min(SILENT_EVERY) } else { every };
            let begun = Instant::now();
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
            let rest = (begun.elapsed() * REST).min(REST_MAX);
            let waiting = async {
                // Comparing reads every file: where folders change all the time, the machine is for the questions.
                tokio::time::sleep(rest).await;
                tokio::time::timeout(next, change(watch.as_ref())).await
            };
            if self.stop.run_until_cancelled(waiting).await.is_none() {
                return;
            }
        }
    }

    async fn watch(&self, collections: Vec<Collection>) -> Option<FolderWatch> {
        let watch = tokio::task::spawn_blocking(move || FolderWatch::start(&collections)).await.ok()?;
        for (folder, reason) in &watch.silent {
            let folder = folder.display();
            tracing::warn!(
                "{folder} is compared every {} s, because it is not watched: {reason}",
                SILENT_EVERY.as_secs()
            );
        }
        Some(watch)
    }

    async fn compare(self: &Arc<Self>) -> Result<(), AppError> {
        let indexing = Arc::clone(self);
        let run = tokio::task::spawn_blocking(move || indexing.run(&IndexScope::default(), &NoProgress));
        let report = run.await??;
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
