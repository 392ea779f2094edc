//! Whether the threads of the models still do their work: looked at again and again. As long as they do, systemd's watchdog
//! is told; when they do not, it restarts the service.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::inference::Engine;
use crate::retrieval::Searcher;
use crate::telemetry;

/// How often they are looked at, where systemd wants to know it no more often.
const EVERY: Duration = Duration::from_secs(15);
/// No single step of a model takes so long.
const STEP_MAX: Duration = Duration::from_secs(60);

/// What is looked at.
pub(super) struct Parts {
    pub searcher: Arc<Searcher>,
    /// `None`: answers are quotes.
    pub engine: Option<Arc<Engine>>,
}

impl Parts {
    /// What does not do its work, for people; `None`: all do.
    fn failing(&self) -> Option<String> {
        if self.engine.as_ref().is_some_and(|engine| engine.is_stuck(STEP_MAX)) {
            return Some("the thread that writes answers does not go on".to_owned());
        }
        let is_stuck = self.searcher.is_stuck(STEP_MAX);
        is_stuck.then(|| "the thread that embeds questions does not go on".to_owned())
    }
}

/// Looks until `stop` is cancelled, and says what does not do its work.
pub(super) async fn watch_over(parts: Parts, failing: watch::Sender<Option<String>>, stop: CancellationToken) {
    let wanted = telemetry::watchdog_interval();
    let mut ticks = tokio::time::interval(wanted.map_or(EVERY, |wanted| (wanted / 3).min(EVERY)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let found = parts.failing();
        match &found {
            None if wanted.is_some() => telemetry::notify_at_work(),
            None => {}
            Some(reason) if *failing.borrow() != found => tracing::error!("the service is failing: {reason}"),
            Some(_) => {}
        }
        failing.send_replace(found);
    }
}
