//! The house as the chat platforms see it: answers, quotes, its condition, index runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::metering::origin;
use super::{App, IndexScope, Indexing, Loaded};
use crate::answer::{AnswerEvent, Answerer};
use crate::chat::connection::Connection;
use crate::chat::house::{Condition, House, ReindexEvent};
use crate::domain::{Citation, PassageId, Platform, Question, Reader};
use crate::ingest::Progress;
use crate::telemetry::{self, Measured};

/// Progress that waits for a slow reader; what does not fit is left out.
const EVENTS_MAX: usize = 16;
/// Progress is told at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(1);

pub struct ChatHouse {
    app: App,
    answerer: Arc<Answerer>,
    model: String,
    started: Instant,
    indexing: Arc<Indexing>,
    connections: OnceLock<Vec<(&'static str, watch::Receiver<Connection>)>>,
}

impl ChatHouse {
    pub fn new(app: &App, loaded: &Loaded) -> Arc<Self> {
        Arc::new(ChatHouse {
            app: app.clone(),
            answerer: loaded.answerer.clone(),
            model: loaded.model.clone(),
            started: Instant::now(),
            indexing: Arc::clone(&loaded.indexing),
            connections: OnceLock::new(),
        })
    }

    /// What `condition` tells of the platforms. A second call changes nothing.
    pub fn watch(&self, connections: Vec<(&'static str, watch::Receiver<Connection>)>) {
        let _ = self.connections.set(connections);
    }
}

impl House for ChatHouse {
    fn ask(&self, question: Question, cancel: CancellationToken) -> mpsc::Receiver<AnswerEvent> {
        self.answerer.ask(question, cancel)
    }

    fn quotes(&self, text: &str, reader: &Reader, quotes_max: usize) -> Vec<Citation> {
        self.answerer.quotes(text, reader, quotes_max).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "no quotes for an inline question");
            Vec::new()
        })
    }

    fn still_shows(&self, passages: &[PassageId], reader: &Reader) -> bool {
        let shows = |&id: &PassageId| match self.answerer.document_of(id, reader) {
            Ok(document) => !document.is_empty(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "quotes are not shown again");
                false
            }
        };
        passages.iter().all(shows)
    }

    fn rated(&self, platform: Platform, helpful: bool) {
        self.app.meter().note(Measured::Rated { from: origin(platform), helpful });
    }

    fn condition(&self) -> Condition {
        let generation = self.answerer.searcher().generation();
        let summary = generation.summary();
        let connections = self.connections.get().into_iter().flatten();
        Condition {
            model: self.model.clone(),
            documents: summary.documents,
            passages: summary.passages,
            memory_mb: telemetry::resident_mb().unwrap_or_default(),
            up: self.started.elapsed(),
            errors: telemetry::recent_errors().into_iter().map(|error| (error.age(), error.message)).collect(),
            connections: connections.map(|(name, state)| (*name, state.borrow().clone())).collect(),
        }
    }

    fn collections(&self) -> Vec<String> {
        self.app.collections()
    }

    fn reindex(&self, collection: Option<String>) -> mpsc::Receiver<ReindexEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let indexing = Arc::clone(&self.indexing);
        tokio::task::spawn_blocking(move || {
            let progress = Told::new(sender);
            let last = match indexing.run(&IndexScope { collection, ..IndexScope::default() }, &progress) {
                Ok(report) => ReindexEvent::Done {
                    documents: report.documents,
                    passages: report.passages,
                    embedded: report.embedded_passages,
                    skipped: report.skipped.len() + report.partly_read.len(),
                },
                Err(error) if error.is_temporary() => ReindexEvent::Busy,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the index run failed");
                    ReindexEvent::Failed
                }
            };
            let _ = progress.sender.blocking_send(last);
        });
        receiver
    }
}

/// Passes the progress of an index run on.
struct Told {
    sender: mpsc::Sender<ReindexEvent>,
    files: AtomicUsize,
    of: AtomicUsize,
    last: std::sync::Mutex<Option<Instant>>,
}

impl Told {
    fn new(sender: mpsc::Sender<ReindexEvent>) -> Self {
        Told { sender, files: AtomicUsize::new(0), of: AtomicUsize::new(0), last: std::sync::Mutex::new(None) }
    }

    fn tell(&self) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < TOLD_EVERY) {
            return;
        }
        *last = Some(Instant::now());
        let (files, of) = (self.files.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed));
        // A full channel is a slow platform: the next progress replaces this one.
        let _ = self.sender.try_send(ReindexEvent::Reading { files, of });
    }
}

impl Progress for Told {
    fn start(&self, files: usize) {
        self.of.store(files, Ordering::Relaxed);
        self.tell();
    }

    fn file(&self, _passages: usize) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn finish(&self) {}
}
