//! The errors of this process: the newest ones, for those who ask how it stands, and how many each room had.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

const ERRORS_KEPT: usize = 3;

static RECENT: Mutex<VecDeque<RecentError>> = Mutex::new(VecDeque::new());
static BY_ROOM: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// An error as it was logged, without its details.
#[derive(Clone, Debug)]
pub struct RecentError {
    at: Instant,
    pub message: String,
}

impl RecentError {
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

/// Newest first.
pub fn recent_errors() -> Vec<RecentError> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// How many errors each room has logged; those of libraries under their own names.
pub(super) fn errors_by_room() -> BTreeMap<&'static str, u64> {
    BY_ROOM.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn room_of(target: &'static str) -> &'static str {
    let mut parts = target.split("::");
    match (parts.next(), parts.next()) {
        (Some("cervella"), Some(room)) => room,
        (library, _) => library.unwrap_or(target),
    }
}

/// Keeps what is logged as an error, whatever else is logged.
pub(super) fn keep_errors<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    KeepErrors.with_filter(LevelFilter::ERROR)
}

struct KeepErrors;

impl<S: Subscriber> Layer<S> for KeepErrors {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let room = room_of(event.metadata().target());
        *BY_ROOM.lock().unwrap_or_else(PoisonError::into_inner).entry(room).or_default() += 1;
        let mut message = Message::default();
        event.record(&mut message);
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(ERRORS_KEPT - 1);
        recent.push_front(RecentError { at: Instant::now(), message: message.0 });
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::EnvFilter;

    use super::*;
    use crate::telemetry::LogForm;

    #[test]
    fn the_newest_errors_are_kept_without_their_details() {
        // Whatever else is logged.
        let subscriber = crate::telemetry::subscriber(EnvFilter::new("off"), LogForm::Text, None);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("nothing to keep");
            for n in 0..5 {
                tracing::error!(chat = "canary", "error {n}");
            }
        });
        let kept: Vec<_> = recent_errors().into_iter().map(|error| error.message).collect();
        assert_eq!(kept, ["error 4", "error 3", "error 2"]);
        assert_eq!(errors_by_room().get("telemetry"), Some(&5));
    }
}
