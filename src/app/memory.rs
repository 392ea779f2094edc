//! Memory that is no longer used goes back to the system.

use std::time::Duration;

use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

/// Gaps of some megabytes come about meanwhile; to give them back takes a tenth of a second, in which other threads may wait.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(300);

/// After work that took much memory for a while. The allocator keeps what is freed below anything that is still in use: after an
/// index run that was a gigabyte, which no program of the machine could have.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call of the C library that may be made at any time by any thread; it takes a number and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back, until `stop` is cancelled, what lies free between what is kept: each answer is made by another thread, and what it
/// frees is seldom in one place.
pub async fn give_back_regularly(stop: CancellationToken) {
    let mut ticks = interval_at(Instant::now() + GIVE_BACK_INTERVAL, GIVE_BACK_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        // It waits for the system: not on a thread that serves connections.
        if tokio::task::spawn_blocking(give_back).await.is_err() {
            return;
        }
    }
}
