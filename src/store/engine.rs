//! The database behind the store: one open sled folder, rows read and written through [`frame`], and the flush that
//! makes them last. What the rows mean is not known here.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::{Batch, IVec};

use super::StoreError;
use super::commit::Commit;
use super::frame::{self, Damaged};
use super::keys::{Key, Kind};

/// Pages that the database keeps in memory: some thousand messages. Its own default is a gigabyte.
const CACHE_BYTES: u64 = 16 << 20;

/// How often the database writes by itself what nobody waits for.
const FLUSH_EVERY_MS: u64 = 500;

const ROWS: &str = "rows";

/// The number of a part follows the key.
const PART_NUMBER_BYTES: usize = 2;

pub(super) struct Engine {
    db: sled::Db,
    rows: sled::Tree,
    /// The `db` file, to sync it: the database's own flush leaves it to the disk's cache.
    file: File,
    /// Held while rows are read in order to be changed, and while parts are put together a second time.
    writes: Mutex<()>,
    commit: Commit,
}

/// A row as it was found.
pub(super) struct Row {
    pub key: Key,
    pub payload: Result<Vec<u8>, Damaged>,
}

/// Which rows a scan sees, and from which end.
#[derive(Clone, Debug)]
pub(super) struct Range {
    start: Vec<u8>,
    prefix: Vec<u8>,
    backwards: bool,
}

impl Range {
    pub(super) fn of(prefix: &Key) -> Self {
        Range { start: prefix.as_bytes().to_vec(), prefix: prefix.as_bytes().to_vec(), backwards: false }
    }

    pub(super) fn kind(kind: Kind) -> Self {
        Range::of(&Key::new(kind))
    }

    /// Begins with the first key that is not below `start`.
    pub(super) fn from(mut self, start: &Key) -> Self {
        self.start = start.as_bytes().to_vec();
        self
    }

    pub(super) fn backwards(mut self) -> Self {
        self.backwards = true;
        self
    }
}

impl Engine {
    /// Opens the folder, which nobody else may have open.
    pub(super) fn open(folder: &Path) -> Result<Self, sled::Error> {
        let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
        let db = config.open()?;
        let rows = db.open_tree(ROWS)?;
        let file = File::open(folder.join("db"))?;
        let engine = Engine { db, rows, file, writes: Mutex::new(()), commit: Commit::default() };
        engine.db.flush()?;
        engine.file.sync_all()?;
        for synced in [folder.join("conf"), folder.to_owned()] {
            File::open(synced)?.sync_all()?;
        }
        Ok(engine)
    }

    /// The bytes of the layout's number, which lies outside of the rows.
    pub(super) fn format(&self) -> Result<Option<IVec>, StoreError> {
        Ok(self.db.get("format")?)
    }

    pub(super) fn set_format(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.db.insert("format", bytes)?;
        self.commit.wrote();
        self.flush()
    }

    /// Everything that was written before this call is on the disk when it returns.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.commit.settle(|| {
            self.db.flush()?;
            self.file.sync_all().map_err(StoreError::from_io)
        })
    }

    /// The payload under a key.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        match self.parts(key)? {
            Ok(payload) => Ok(payload),
            // Another thread may have replaced the value between two of its parts.
            Err(Damaged) => {
                let _writes = self.lock();
                self.parts(key)?.map_err(|Damaged| StoreError::damaged(key))
            }
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        self.get(key)?.map(|payload| decode(key, &payload)).transpose()
    }

    pub(super) fn contains(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.rows.scan_prefix(key.as_bytes()).next().transpose()?.is_some())
    }

    fn parts(&self, key: &Key) -> Result<Result<Option<Vec<u8>>, Damaged>, StoreError> {
        let mut parts = Vec::new();
        for entry in self.rows.scan_prefix(key.as_bytes()) {
            parts.push(entry?.1);
        }
        if parts.is_empty() {
            return Ok(Ok(None));
        }
        Ok(frame::open(key.as_bytes(), &parts).map(Some))
    }

    /// The rows of a range, damaged ones among them. What is written meanwhile may be seen or not.
    pub(super) fn scan(&self, range: &Range) -> Rows<'_> {
        let mut end = range.prefix.clone();
        // No prefix ends with a byte that cannot be counted up: it is a kind, the end of a text, or empty.
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end.push(0xFF),
        }
        let start = range.start.clone().max(range.prefix.clone());
        let entries = if start < end { self.rows.range(start..end) } else { self.rows.range(end.clone()..end) };
        Rows { engine: self, entries, backwards: range.backwards, ahead: None }
    }

    /// Rows of a range as values; a damaged row is told to the log and left out.
    pub(super) fn values<T: DeserializeOwned>(
        &self,
        range: &Range,
    ) -> impl Iterator<Item = Result<(Key, T), StoreError>> + '_ {
        self.scan(range).filter_map(|row| {
            let row = match row {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            match row.value() {
                Ok(value) => Some(Ok((row.key, value))),
                Err(error) => {
                    tracing::error!(%error, "a row of the store was left out");
                    None
                }
            }
        })
    }

    /// Changes rows; all changes of one call are found after a crash, or none. They are not on the disk yet.
    pub(super) fn change<T>(
        &self,
        work: impl FnOnce(&mut Changes<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _writes = self.lock();
        let mut changes = Changes { engine: self, batch: Batch::default(), empty: true };
        let outcome = work(&mut changes)?;
        if !changes.empty {
            self.rows.apply_batch(changes.batch)?;
            self.commit.wrote();
        }
        Ok(outcome)
    }

    /// Writes one value.
    pub(super) fn put<T: Serialize>(&self, key: &Key, value: &T) -> Result<(), StoreError> {
        self.change(|changes| changes.put(key, value))
    }

    pub(super) fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.change(|changes| changes.remove(key))
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flips a bit of a value behind the frame's back.
    #[cfg(test)]
    pub(super) fn damage(&self, key: &Key) {
        let (name, value) = self.rows.scan_prefix(key.as_bytes()).next().unwrap().unwrap();
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 0x10;
        self.rows.insert(name, value).unwrap();
    }
}

impl Row {
    /// # Errors
    /// `DamagedRow`.
    pub(super) fn value<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        match &self.payload {
            Ok(payload) => decode(&self.key, payload),
            Err(Damaged) => Err(StoreError::damaged(&self.key)),
        }
    }
}

// The reason is dropped: it would quote the value.
fn decode<T: DeserializeOwned>(key: &Key, payload: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(payload).map_err(|_| StoreError::damaged(key))
}

/// Changes that are made together.
pub(super) struct Changes<'a> {
    engine: &'a Engine,
    batch: Batch,
    empty: bool,
}

impl Changes<'_> {
    /// The payload as it was before these changes.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.parts(key)?.map_err(|Damaged| StoreError::damaged(key))
    }

    /// The row as it was before these changes.
    pub(super) fn row(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        let payload = self.engine.parts(key)?.transpose();
        Ok(payload.map(|payload| Row { key: key.clone(), payload }))
    }

    /// The value as it was before these changes.
    pub(super) fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        self.get(key)?.map(|payload| decode(key, &payload)).transpose()
    }

    /// The value as it was before these changes. A damaged one is told to the log and counts as none: it is about to be
    /// replaced.
    pub(super) fn read_or_none<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        match self.read(key) {
            Err(error @ StoreError::DamagedRow { .. }) => {
                tracing::error!(%error, "a row of the store is replaced");
                Ok(None)
            }
            read => read,
        }
    }

    pub(super) fn put<T: Serialize>(&mut self, key: &Key, value: &T) -> Result<(), StoreError> {
        let payload = serde_json::to_vec(value).map_err(|_| StoreError::Encode { what: key.describe() })?;
        self.put_payload(key, &payload)
    }

    pub(super) fn put_payload(&mut self, key: &Key, payload: &[u8]) -> Result<(), StoreError> {
        if payload.len() > frame::PAYLOAD_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: payload.len(), bytes_max: frame::PAYLOAD_BYTES_MAX });
        }
        // Parts of the old value that the new one does not have.
        self.remove(key)?;
        for (number, part) in frame::seal(key.as_bytes(), payload).into_iter().enumerate() {
            let mut name = key.as_bytes().to_vec();
            name.extend((number as u16).to_be_bytes());
            self.batch.insert(name, part);
        }
        self.empty = false;
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &Key) -> Result<(), StoreError> {
        for name in self.engine.rows.scan_prefix(key.as_bytes()).keys() {
            self.batch.remove(name?);
            self.empty = false;
        }
        Ok(())
    }
}

/// The rows of a range, one after the other.
pub(super) struct Rows<'a> {
    engine: &'a Engine,
    entries: sled::Iter,
    backwards: bool,
    /// The first part of the next row.
    ahead: Option<(IVec, IVec)>,
}

impl Rows<'_> {
    fn entry(&mut self) -> Option<sled::Result<(IVec, IVec)>> {
        match self.ahead.take() {
            Some(entry) => Some(Ok(entry)),
            None if self.backwards => self.entries.next_back(),
            None => self.entries.next(),
        }
    }
}

impl Rows<'_> {
    /// The parts that lie under the next key.
    fn group(&mut self) -> Result<Option<(Key, Vec<IVec>)>, StoreError> {
        let mut group: Option<(Key, Vec<IVec>)> = None;
        while let Some(entry) = self.entry() {
            let (name, part) = entry?;
            let key = &name[..name.len().saturating_sub(PART_NUMBER_BYTES)];
            match &mut group {
                None => group = Some((Key::from_bytes(key), vec![part])),
                Some((started, parts)) if started.as_bytes() == key => parts.push(part),
                Some(_) => {
                    self.ahead = Some((name, part));
                    break;
                }
            }
        }
        if let Some((_, parts)) = group.as_mut().filter(|_| self.backwards) {
            parts.reverse();
        }
        Ok(group)
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, parts) = match self.group() {
                Ok(group) => group?,
                Err(error) => return Some(Err(error)),
            };
            let payload = match frame::open(key.as_bytes(), &parts) {
                Ok(payload) => Ok(payload),
                Err(Damaged) => match self.engine.get(&key) {
                    Ok(Some(payload)) => Ok(payload),
                    // Removed meanwhile.
                    Ok(None) => continue,
                    Err(StoreError::DamagedRow { .. }) => Err(Damaged),
                    Err(error) => return Some(Err(error)),
                },
            };
            return Some(Ok(Row { key, payload }));
        }
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => StoreError::from_io(error),
            sled::Error::Corruption { .. } => StoreError::Damaged,
            other => StoreError::Engine(other.to_string()),
        }
    }
}

impl StoreError {
    pub(super) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            kind @ (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) => {
                StoreError::Full(kind)
            }
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
            _ => StoreError::Disk(error),
        }
    }
}
