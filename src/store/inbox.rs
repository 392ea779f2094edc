//! The inbox: what the platforms told and is not done yet. An event's key outlives its row, so that the same event told
//! again is recognised.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::engine::{Changes, Range};
use super::keys::{Key, Kind};
use super::{Store, StoreError};

/// The number of a row in the inbox; higher ones came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboxId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    New(InboxId),
    /// The event was taken before.
    Seen,
}

/// What is kept of an event's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub id: u64,
    /// When it was taken.
    pub at: i64,
    pub done: bool,
    /// When a sweep first found it done: the time it is remembered from.
    pub done_since: Option<i64>,
}

/// Stands before the payload of a row, on a line of its own.
#[derive(Serialize, Deserialize)]
struct Head {
    key: String,
    at: i64,
}

impl Store {
    /// Takes an event, unless it was taken before. It is on the disk when this returns.
    ///
    /// # Errors
    /// The event may or may not have been taken: it may be told again. `TooLarge` and errors of the disk.
    pub fn accept(&self, key: &str, payload: &[u8], now: i64) -> Result<Accepted, StoreError> {
        let seen_key = seen_key(key);
        self.with(|engine| {
            let accepted = engine.change(|changes| {
                if changes.read_or_none::<Seen>(&seen_key)?.is_some() {
                    return Ok(Accepted::Seen);
                }
                let id = self.0.next_inbox.fetch_add(1, Ordering::Relaxed);
                changes.put_payload(&Key::inbox(id), &row(key, payload, now)?)?;
                changes.put(&seen_key, &Seen { id, at: now, done: false, done_since: None })?;
                Ok(Accepted::New(InboxId(id)))
            })?;
            // Also when it was seen: the thread that took it may still be waiting for the disk.
            engine.flush()?;
            Ok(accepted)
        })
    }

    /// The events that are not done, in the order in which they came. Rows that cannot be read are told to the log and
    /// left out.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn pending(&self) -> Result<Vec<(InboxId, Vec<u8>)>, StoreError> {
        self.with(|engine| {
            let mut pending = Vec::new();
            for row in engine.scan(&Range::kind(Kind::Inbox)) {
                let row = row?;
                let whole = row.payload.as_ref().ok().and_then(|whole| split(whole));
                match (row.key.last_number(), whole) {
                    (Some(id), Some((_, payload))) => pending.push((InboxId(id), payload.to_vec())),
                    _ => tracing::error!(error = %StoreError::damaged(&row.key), "an event is lost"),
                }
            }
            Ok(pending)
        })
    }

    /// Forgets an event and keeps its key. On the disk at the next flush; again for the same event does nothing.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn done(&self, id: InboxId) -> Result<(), StoreError> {
        self.with(|engine| {
            engine.change(|changes| {
                let inbox_key = Key::inbox(id.0);
                if let Some(key) = key_of(changes, &inbox_key)? {
                    let seen_key = seen_key(&key);
                    if let Some(seen) = changes.read_or_none::<Seen>(&seen_key)? {
                        changes.put(&seen_key, &Seen { done: true, ..seen })?;
                    }
                }
                changes.remove(&inbox_key)
            })
        })
    }
}

fn seen_key(key: &str) -> Key {
    Key::new(Kind::Seen).text(key)
}

fn row(key: &str, payload: &[u8], at: i64) -> Result<Vec<u8>, StoreError> {
    let head = Head { key: key.to_owned(), at };
    let mut row = serde_json::to_vec(&head).map_err(|_| StoreError::Encode { what: "inbox row".to_owned() })?;
    row.push(b'\n');
    row.extend(payload);
    Ok(row)
}

fn split(row: &[u8]) -> Option<(Head, &[u8])> {
    let end = row.iter().position(|byte| *byte == b'\n')?;
    Some((serde_json::from_slice(&row[..end]).ok()?, &row[end + 1..]))
}

/// The event's key; `None` when the row is gone or cannot be read.
fn key_of(changes: &Changes<'_>, inbox_key: &Key) -> Result<Option<String>, StoreError> {
    match changes.get(inbox_key) {
        Ok(row) => Ok(row.and_then(|row| split(&row).map(|(head, _)| head.key))),
        Err(StoreError::DamagedRow { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
