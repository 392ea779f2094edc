//! The running service behind the chat page: takes questions as soon as its parts are loaded, and follows the index
//! when another process has built a new generation.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::metering::origin;
use super::{Indexing, Loaded, liveness};
use crate::answer::{AnswerEvent, Answerer};
use crate::chat::connection::Connection;
use crate::chat::web::{Answering, DocumentError, SampleQuestion, ServiceStatus};
use crate::domain::{Language, Passage, PassageId, Platform, Question, Reader};
use crate::prompt::{self, FailureReason};
use crate::telemetry::{IndexStanding, Meter, Standing};

/// How often the service looks whether the index has a new generation.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// What the chat page talks to. Made before the models are loaded, so that the page can say that they are.
pub struct Service {
    parts: OnceLock<Parts>,
    connections: OnceLock<Vec<Watched>>,
    samples: Vec<SampleQuestion>,
    meter: Arc<Meter>,
    /// What does not do its work.
    failing: watch::Sender<Option<String>>,
}

/// A chat platform and how its connection stands.
pub type Watched = (Platform, watch::Receiver<Connection>);

struct Parts {
    answerer: Arc<Answerer>,
    indexing: Arc<Indexing>,
    /// Name of the answer model; empty when answers are quotes.
    model: String,
}

impl Service {
    pub fn new(samples: Vec<SampleQuestion>, meter: Arc<Meter>) -> Arc<Self> {
        let failing = watch::Sender::default();
        Arc::new(Service { parts: OnceLock::new(), connections: OnceLock::new(), samples, meter, failing })
    }

    /// What `metrics` tells of the platforms. A second call changes nothing.
    pub fn watch(&self, connections: Vec<Watched>) {
        let _ = self.connections.set(connections);
    }

    /// From now on questions are taken. A second call changes nothing.
    pub fn ready(&self, loaded: &Loaded) {
        let Loaded { answerer, indexing, model, .. } = loaded;
        let (answerer, indexing) = (Arc::clone(answerer), Arc::clone(indexing));
        let _ = self.parts.set(Parts { answerer, indexing, model: model.clone() });
    }

    /// Looks after the parts, for systemd and `healthz`, until `stop` is cancelled.
    pub fn watch_over(&self, loaded: &Loaded, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let searcher = Arc::clone(loaded.answerer.searcher());
        let parts = liveness::Parts { searcher, engine: loaded.engine.clone() };
        liveness::watch_over(parts, self.failing.clone(), stop)
    }

    /// Follows the index until `stop` is cancelled.
    pub async fn follow_index(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let service = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                service.parts.get().map(|parts| parts.indexing.adopt()).transpose()
            });
            match looked.await {
                Ok(Ok(Some(true))) => tracing::info!("a new index is live"),
                Ok(Ok(_)) => {}
                Ok(Err(e)) => tracing::warn!(error = &e as &dyn std::error::Error, "the new index cannot be used"),
                Err(_panicked) => tracing::error!("looking for a new index failed"),
            }
        }
    }
}

impl Answering for Service {
    fn ask(&self, question: Question, cancel: CancellationToken) -> mpsc::Receiver<AnswerEvent> {
        match self.parts.get() {
            Some(parts) => parts.answerer.ask(question, cancel),
            None => {
                let (sender, receiver) = mpsc::channel(1);
                let language = question.language.unwrap_or(Language::English);
                let message = prompt::failed(language, FailureReason::Busy).unwrap_or_default();
                let _ = sender.try_send(AnswerEvent::Failed { message, trace_id: String::new() });
                receiver
            }
        }
    }

    fn document(&self, passage: PassageId) -> Result<Vec<Passage>, DocumentError> {
        let Some(parts) = self.parts.get() else { return Ok(Vec::new()) };
        parts.answerer.document_of(passage, &Reader::Page).map_err(|e| DocumentError::Unreadable(Box::new(e)))
    }

    fn status(&self) -> ServiceStatus {
        let samples = self.samples.clone();
        match self.parts.get() {
            None => ServiceStatus { samples, ..ServiceStatus::default() },
            Some(parts) => {
                let generation = parts.answerer.searcher().generation();
                ServiceStatus {
                    ready: true,
                    model: parts.model.clone(),
                    documents: generation.summary().documents,
                    passages: generation.summary().passages,
                    samples,
                }
            }
        }
    }
    fn failing(&self) -> Option<String> {
        self.failing.borrow().clone()
    }

    fn metrics(&self) -> String {
        let connections =
            self.connections.get().into_iter().flatten().filter_map(|(platform, state)| match &*state.borrow() {
                Connection::Off => None,
                state => Some((origin(*platform), *state == Connection::Connected)),
            });
        let parts = self.parts.get();
        let index = parts.map(|parts| {
            let generation = parts.answerer.searcher().generation();
            let summary = generation.summary();
            IndexStanding { documents: summary.documents, passages: summary.passages, built_at: summary.built_at }
        });
        self.meter.render(&Standing {
            questions_in_work: parts.map_or(0, |parts| parts.answerer.in_work()),
            index,
            read_ahead: parts.and_then(|parts| parts.indexing.ahead()),
            is_well: self.failing.borrow().is_none(),
            connections: connections.collect(),
        })
    }
}
