//! What must survive a restart: the inbox of platform events, how far each answer's delivery is, conversations, access,
//! feedback, the audit log and small settings. One folder, one process, rows in a sled database; what the rows are for
//! is known to `chat` and `answer`. Documents, passages and vectors are not kept here.
//!
//! All calls wait for the disk: async code runs them on a thread that may.

mod access;
mod audit;
mod commit;
mod confirmed;
mod conversations;
mod engine;
mod error;
mod export;
mod feedback;
mod flags;
mod frame;
mod inbox;
mod keys;
mod migrations;
mod opening;
mod outbox;
mod retention;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use crate::domain::QuestionKey;
pub use access::{AccessEntry, Standing};
pub use audit::AuditEntry;
pub use conversations::Conversation;
pub use error::StoreError;
pub use export::{ExportSummary, check as check_export, restore as restore_export};
pub use feedback::{Feedback, FeedbackVerdict};
pub use inbox::{Accepted, InboxId};
pub use outbox::{DeliveredMessage, Delivery};
pub use retention::{Retention, Swept};

use engine::Engine;
use keys::Key;
use opening::{FolderLock, Survey};

/// After a failure of the disk the database is opened again, at most this often.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// An open store; clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// `None` while it cannot be opened again after a failure of the disk.
    engine: RwLock<Option<Engine>>,
    /// The disk failed: the database takes no writes until it is opened again.
    failed: AtomicBool,
    reopened_at: Mutex<Option<Instant>>,
    reopen_every: Duration,
    next_inbox: AtomicU64,
    next_audit: AtomicU64,
    /// Where a sweep goes on.
    sweep_at: Mutex<Option<Key>>,
    /// Held while an export is written.
    exporting: Mutex<()>,
    damaged_rows: u64,
    put_aside: Option<PathBuf>,
    restored_from: Option<i64>,
    folder: PathBuf,
    /// Dropped last, when nobody writes any more.
    _lock: FolderLock,
}

impl Store {
    /// Opens the store in this folder, which is made when it is missing, and brings its layout up to date. A store that
    /// cannot be read is put aside under `<folder>.damaged-<unix time>`, and its newest export takes its place, or else a fresh
    /// one.
    ///
    /// # Errors
    /// `Locked` when another process has it open, `Newer` when a later version wrote it, errors of the disk.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        Store::open_with(folder, REOPEN_EVERY)
    }

    fn open_with(folder: &Path, reopen_every: Duration) -> Result<Store, StoreError> {
        let opened = opening::open(folder)?;
        let Survey { next_inbox, next_audit, damaged_rows } = opened.survey;
        Ok(Store(Arc::new(Inner {
            engine: RwLock::new(Some(opened.engine)),
            failed: AtomicBool::new(false),
            reopened_at: Mutex::new(None),
            reopen_every,
            next_inbox: AtomicU64::new(next_inbox),
            next_audit: AtomicU64::new(next_audit),
            sweep_at: Mutex::new(None),
            exporting: Mutex::new(()),
            damaged_rows,
            put_aside: opened.put_aside,
            restored_from: opened.restored_from,
            folder: folder.to_owned(),
            _lock: opened.lock,
        })))
    }

    /// Where the store that was found at the start was put, if it could not be read.
    pub fn put_aside(&self) -> Option<&Path> {
        self.0.put_aside.as_deref()
    }

    /// When the export was made that took the place of the store that was put aside, in unix time.
    pub fn restored_from(&self) -> Option<i64> {
        self.0.restored_from
    }

    /// Rows that could not be read when the store was opened.
    pub fn damaged_rows(&self) -> u64 {
        self.0.damaged_rows
    }

    /// The number of the layout of its rows.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn layout(&self) -> Result<u32, StoreError> {
        self.with(migrations::layout)
    }

    /// Returns when everything written before is on the disk.
    ///
    /// # Errors
    /// `Full` and other errors of the disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.with(Engine::flush)
    }

    /// Runs `work` on the open database. A write and its flush belong into one call: between two of them the database
    /// may be opened again, without what was not flushed.
    fn with<T>(&self, work: impl FnOnce(&Engine) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.0.failed.load(Ordering::Acquire) {
            self.reopen()?;
        }
        let guard = self.0.engine.read().unwrap_or_else(PoisonError::into_inner);
        let engine = guard.as_ref().ok_or(StoreError::Unavailable)?;
        // sled panics on some kinds of damage.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(engine))).unwrap_or(Err(StoreError::Damaged));
        if outcome.as_ref().is_err_and(StoreError::ends_the_database) {
            self.0.failed.store(true, Ordering::Release);
        }
        outcome
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut engine = self.0.engine.write().unwrap_or_else(PoisonError::into_inner);
        if !self.0.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut reopened_at = self.0.reopened_at.lock().unwrap_or_else(PoisonError::into_inner);
        if reopened_at.is_some_and(|at| at.elapsed() < self.0.reopen_every) {
            return Err(StoreError::Unavailable);
        }
        *engine = None;
        let opened = opening::reopen(&self.0.folder);
        *reopened_at = Some(Instant::now());
        *engine = Some(opened?);
        self.0.failed.store(false, Ordering::Release);
        tracing::info!(folder = %self.0.folder.display(), "the store was opened again after a failure of the disk");
        Ok(())
    }
}
