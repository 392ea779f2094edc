//! Whether the parts still do their work: asked of each of them, again and again. As long as they do, systemd's watchdog is
//! told; when they do not, it restarts the service.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::inference::Engine;
use crate::retrieval::{RetrievalError, Searcher};
use crate::telemetry;

/// How often the parts are asked, where systemd wants to know it no more often.
const EVERY: Duration = Duration::from_secs(15);
/// For a part to answer; no single step of a model takes so long.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// What is asked.
pub(super) struct Parts {
    pub searcher: Arc<Searcher>,
    /// `None`: answers are quotes.
    pub engine: Option<Arc<Engine>>,
}

impl Parts {
    /// What does not do its work, for people; `None`: all do.
    async fn failing(&self) -> Option<String> {
        if self.engine.as_ref().is_some_and(|engine| engine.is_stuck(ANSWER_TIME)) {
            return Some("the thread that writes answers does not go on".to_owned());
        }
        let searcher = Arc::clone(&self.searcher);
        let asked = tokio::task::spawn_blocking(move || searcher.embedder().query("ok"));
        match tokio::time::timeout(ANSWER_TIME, asked).await {
            // Whoever is busy is alive.
            Ok(Ok(Ok(_) | Err(RetrievalError::Busy))) => None,
            Ok(Ok(Err(error))) => Some(format!("the embedding model does not work: {error}")),
            Ok(Err(panicked)) => Some(format!("the embedding model does not work: {panicked}")),
            Err(_) => Some("the thread of the embedding model does not answer".to_owned()),
        }
    }
}

/// Asks until `stop` is cancelled, and says what does not do its work.
pub(super) async fn watch_over(parts: Parts, failing: watch::Sender<Option<String>>, stop: CancellationToken) {
    let wanted = telemetry::watchdog_interval();
    let mut ticks = tokio::time::interval(wanted.map_or(EVERY, |wanted| (wanted / 3).min(EVERY)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(found) = stop.run_until_cancelled(parts.failing()).await else { return };
        match &found {
            None if wanted.is_some() => telemetry::notify_at_work(),
            None => {}
            Some(reason) if *failing.borrow() != found => tracing::error!("the service is failing: {reason}"),
            Some(_) => {}
        }
        failing.send_replace(found);
    }
}
