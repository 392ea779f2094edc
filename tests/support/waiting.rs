//! Waiting for something to be seen, without asking again and again.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// What `look` finds at last, looked for at every change; `None` when `patience` ends before.
pub async fn wait_for<T, C>(
    mut changes: watch::Receiver<C>,
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        match timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            _ => return look(),
        }
    }
}
