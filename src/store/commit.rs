//! Group commit: many threads that want their writes on the disk share one sync.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::StoreError;

/// How long a thread waits for the sync of another one.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Commit {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Writes so far.
    written: u64,
    /// So many of them are on the disk.
    durable: u64,
    syncing: bool,
}

impl Commit {
    /// A write was done.
    pub(super) fn wrote(&self) {
        self.lock().written += 1;
    }

    /// Returns when all writes before this call are on the disk: one thread calls `sync`, those that come meanwhile
    /// wait and share the next one.
    ///
    /// # Errors
    /// Those of `sync`; `TimedOut` when the sync of another thread does not come back.
    pub(super) fn settle(&self, sync: impl Fn() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut state = self.lock();
        let wanted = state.written;
        while state.durable < wanted {
            if state.syncing {
                let (back, waited) = self.changed.wait_timeout(state, WAIT_MAX).unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() {
                    return Err(StoreError::TimedOut);
                }
                state = back;
                continue;
            }
            let written = state.written;
            state.syncing = true;
            drop(state);
            let mut turn = Turn { commit: self, durable: 0 };
            let outcome = sync();
            turn.durable = if outcome.is_ok() { written } else { 0 };
            drop(turn);
            outcome?;
            state = self.lock();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the next thread sync, also when this one panics.
struct Turn<'a> {
    commit: &'a Commit,
    durable: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.commit.lock();
        state.syncing = false;
        state.durable = state.durable.max(self.durable);
        self.commit.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn threads_that_come_during_a_sync_share_the_next_one() {
        let commit = Commit::default();
        let (inside, go) = (Barrier::new(2), Barrier::new(2));
        let syncs = AtomicU64::new(0);
        let sync = || {
            if syncs.fetch_add(1, Ordering::SeqCst) == 0 {
                inside.wait();
                go.wait();
            }
            Ok(())
        };
        std::thread::scope(|threads| {
            threads.spawn(|| {
                commit.wrote();
                commit.settle(sync).unwrap();
            });
            inside.wait();
            for _ in 0..50 {
                commit.wrote();
            }
            for _ in 0..50 {
                threads.spawn(|| commit.settle(sync).unwrap());
            }
            go.wait();
        });
        assert_eq!(syncs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_thread_that_panics_leaves_its_turn_to_others() {
        let commit = Commit::default();
        commit.wrote();
        let sync = || commit.settle(|| panic!("the sync panics"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(sync)).is_err());
        let syncs = AtomicU64::new(0);
        commit
            .settle(|| {
                syncs.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .unwrap();
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn nothing_new_needs_no_sync() {
        let commit = Commit::default();
        commit.settle(|| panic!("nothing was written")).unwrap();
        commit.wrote();
        commit.settle(|| Ok(())).unwrap();
        commit.settle(|| panic!("all is on the disk")).unwrap();
    }

    #[test]
    fn a_failed_sync_fails_for_everybody_who_needs_it() {
        let commit = Commit::default();
        commit.wrote();
        for _ in 0..2 {
            assert!(matches!(commit.settle(|| Err(StoreError::TimedOut)), Err(StoreError::TimedOut)));
        }
        commit.settle(|| Ok(())).unwrap();
    }
}
