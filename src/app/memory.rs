//! Memory that is no longer used goes back to the system.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// In which some megabytes are freed in pieces between what stays.
const EVERY: Duration = Duration::from_secs(300);

/// After work that took much memory for a while. The allocator keeps what is freed below anything that is still in use: after an
/// index run that was a gigabyte, which no program of the machine could have.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call of the C library that may be made at any time by any thread; it takes a number and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What answers leave behind: each is made by another thread, and the gaps between what is kept are never in one place. Until
/// `stop` is cancelled.
pub async fn give_back_regularly(stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        // It waits for the system: not on a thread that serves connections.
        if let Err(error) = tokio::task::spawn_blocking(give_back).await {
            tracing::warn!(%error, "memory was not given back");
        }
    }
}
