//! The audit log: what admins did. Entries are added, never changed and never swept.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::engine::Range;
use super::keys::{Key, Kind};
use super::{Store, StoreError};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Unix time in seconds.
    pub at: i64,
    pub who: String,
    pub action: String,
    /// Whom or what it was done to.
    pub subject: Option<String>,
    pub outcome: String,
}

impl Store {
    /// Adds an entry. On the disk when this returns.
    ///
    /// # Errors
    /// `TooLarge` and errors of the disk.
    pub fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let number = self.0.next_audit.fetch_add(1, Ordering::Relaxed);
        self.with(|engine| {
            engine.put(&Key::new(Kind::Audit).time(entry.at).number(number), entry)?;
            engine.flush()
        })
    }

    /// The newest entries that are not older than `since`, up to `limit`, newest last.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn audit_since(&self, since: i64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let range = Range::kind(Kind::Audit).from(&Key::new(Kind::Audit).time(since)).backwards();
        self.with(|engine| {
            let rows = engine.values::<AuditEntry>(&range).take(limit);
            let mut entries = rows.map(|row| row.map(|(_, entry)| entry)).collect::<Result<Vec<_>, _>>()?;
            entries.reverse();
            Ok(entries)
        })
    }
}
