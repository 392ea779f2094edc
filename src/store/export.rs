//! The store as one file that can be read without the database: what is restored when the database is damaged, and what a
//! backup holds. Work that is not finished is left out: when the file is read again, it was done long ago.
//!
//! ```text
//! magic (8) | version (4) | layout of the store (4)
//! length of key (4) | length of payload (4) | key | payload       for each row
//! FFFFFFFF | FFFFFFFF | number of rows (8) | BLAKE3 of all before (32)
//! ```
//!
//! Numbers are little endian.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::engine::{Engine, Range};
use super::frame::PAYLOAD_BYTES_MAX;
use super::inbox::Seen;
use super::keys::{Key, Kind};
use super::{Store, StoreError, migrations, opening};

const MAGIC: &[u8; 8] = b"CRVSTORE";
const VERSION: u32 = 1;
const END: u32 = u32::MAX;
/// Keys hold ids of platforms.
const KEY_BYTES_MAX: usize = 64 << 10;
/// Exports of a store that are kept.
const KEPT: usize = 3;
/// Before the unix time of an export that is being written.
const PARTIAL: &str = "partial-";

/// What an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSummary {
    pub rows: u64,
    pub layout: u32,
}

impl Store {
    /// When the newest export was made, in unix time; `None`: there is none that can be read.
    pub fn exported_at(&self) -> Option<i64> {
        newest(&self.0.folder).map(|(at, _)| at)
    }

    /// Writes an export beside the store, reads it again to be sure, and removes older ones. What changes meanwhile may be in
    /// it or not. Returns its file.
    ///
    /// # Errors
    /// `Folder` when the export cannot be written; errors of the store's disk.
    pub fn export(&self, now: i64) -> Result<PathBuf, StoreError> {
        let _one_at_a_time = self.0.exporting.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = exports_of(&self.0.folder);
        // Whoever backs up may run under another umask than the service.
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        created.map_err(StoreError::folder("create", &folder))?;
        remove_partial(&folder)?;
        let (partial, path) = (folder.join(format!("{PARTIAL}{now}")), folder.join(now.to_string()));
        let written = self.with(|engine| write(engine, &partial)).and_then(|_| check(&partial));
        if let Err(error) = written {
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
        fs::rename(&partial, &path).map_err(StoreError::folder("rename", &partial))?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(StoreError::folder("write", &folder))?;
        for (at, old) in exports(&folder)?.into_iter().rev().skip(KEPT) {
            if let Err(error) = fs::remove_file(&old) {
                tracing::warn!(%error, at, "an old export of the store stays");
            }
        }
        Ok(path)
    }
}

/// Removes what a killed process left.
fn remove_partial(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(StoreError::folder("read", folder))? {
        let entry = entry.map_err(StoreError::folder("read", folder))?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            fs::remove_file(entry.path()).map_err(StoreError::folder("remove", entry.path()))?;
        }
    }
    Ok(())
}

/// Reads an export to its end, without making anything of it.
///
/// # Errors
/// `Export` when it is not what was written, `Newer`.
pub fn check(path: &Path) -> Result<ExportSummary, StoreError> {
    read(path, |_, _| Ok(()))
}

/// Makes the store of an export in a folder that holds none.
///
/// # Errors
/// `Export` and `Newer` before anything is written; errors of the disk.
pub fn import(path: &Path, folder: &Path) -> Result<ExportSummary, StoreError> {
    check(path)?;
    let engine = Engine::open(folder)?;
    let summary =
        read(path, |key, payload| engine.change(|changes| changes.put_payload(&Key::from_bytes(key), payload)))?;
    engine.flush()?;
    migrations::set_layout(&engine, summary.layout)?;
    Ok(summary)
}

/// Puts the store of an export where another one lies, which is put aside as `<folder>.before-<unix time>`; returns where that
/// is, if there was one. A crash leaves one of the two.
///
/// # Errors
/// `Export` and `Newer` before anything changes, `Locked` while somebody has the store open; errors of the disk.
pub fn restore(path: &Path, folder: &Path, now: i64) -> Result<(ExportSummary, Option<PathBuf>), StoreError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.with_file_name(format!("{name}.restoring"));
    check(path)?;
    let lock = if folder.exists() { Some(opening::lock(folder)?) } else { None };
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(StoreError::folder("remove", &fresh))?;
    }
    let summary = import(path, &fresh)?;
    // At once, so that there is a store at any time; what was there lies under the other name then.
    if lock.is_some() && exchange(&fresh, folder).is_err() {
        fs::remove_dir_all(&fresh).map_err(StoreError::folder("remove", &fresh))?;
        return Err(StoreError::Exchange(folder.to_owned()));
    }
    let aside = match lock {
        Some(_) => Some(opening::put_aside(&fresh, folder, "before", now.unsigned_abs())?),
        None => {
            fs::rename(&fresh, folder).map_err(StoreError::folder("rename", &fresh))?;
            None
        }
    };
    let above = folder.parent().unwrap_or(Path::new("."));
    File::open(above).and_then(|above| above.sync_all()).map_err(StoreError::folder("write", above))?;
    Ok((summary, aside))
}

fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// The newest export of a store that can be read, and its unix time.
pub(super) fn newest(folder: &Path) -> Option<(i64, PathBuf)> {
    let found = exports(&exports_of(folder)).unwrap_or_default();
    found.into_iter().rev().find(|(_, path)| match check(path) {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!("an older export of the store is taken: {error}");
            false
        }
    })
}

fn exports_of(store: &Path) -> PathBuf {
    store.with_file_name(format!("{}.exports", store.file_name().unwrap_or_default().to_string_lossy()))
}

/// By their unix times, oldest first.
fn exports(folder: &Path) -> Result<Vec<(i64, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(StoreError::folder("read", folder))? {
        let path = entry.map_err(StoreError::folder("read", folder))?.path();
        let at = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        found.extend(at.map(|at| (at, path)));
    }
    found.sort();
    Ok(found)
}

fn write(engine: &Engine, path: &Path) -> Result<ExportSummary, StoreError> {
    let layout = migrations::layout(engine)?;
    let failed = |error| StoreError::folder("write", path)(error);
    let mut file = Hashed::new(BufWriter::new(File::create(path).map_err(failed)?));
    file.put(MAGIC).and_then(|()| file.number(VERSION)).and_then(|()| file.number(layout)).map_err(failed)?;
    let mut rows = 0_u64;
    for row in engine.scan(&Range::of(&Key::from_bytes(&[]))) {
        let row = row?;
        // What is damaged was told when the store was opened.
        let Ok(payload) = &row.payload else { continue };
        let is_unfinished = match Kind::of(row.key.as_bytes()) {
            Some(Kind::Inbox) => true,
            Some(Kind::Seen) => row.value::<Seen>().is_ok_and(|seen| !seen.done),
            _ => false,
        };
        if !is_unfinished {
            let key = row.key.as_bytes();
            let written = file.number(key.len() as u32).and_then(|()| file.number(payload.len() as u32));
            written.and_then(|()| file.put(key)).and_then(|()| file.put(payload)).map_err(failed)?;
            rows += 1;
        }
    }
    let ended = file.number(END).and_then(|()| file.number(END)).and_then(|()| file.put(&rows.to_le_bytes()));
    let hash = *file.hasher.finalize().as_bytes();
    ended.and_then(|()| file.put(&hash)).map_err(failed)?;
    let file = file.inner.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(ExportSummary { rows, layout })
}

fn read(
    path: &Path,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<ExportSummary, StoreError> {
    let file = File::open(path).map_err(StoreError::folder("read", path))?;
    let mut file = Hashed::new(BufReader::new(file));
    let damaged = |what: &str| StoreError::Export { path: path.to_owned(), what: what.to_owned() };
    let cut_off = |_: io::Error| damaged("it is cut off");
    let mut magic = [0; 8];
    file.take(&mut magic).map_err(cut_off)?;
    if &magic != MAGIC {
        return Err(damaged("it is no export of a store"));
    }
    if file.take_number().map_err(cut_off)? != VERSION {
        return Err(damaged("a later version wrote it"));
    }
    let layout = file.take_number().map_err(cut_off)?;
    if layout > migrations::known() {
        return Err(StoreError::Newer { found: layout, known: migrations::known() });
    }
    let mut rows = 0_u64;
    loop {
        let (key, payload) = (file.take_number().map_err(cut_off)?, file.take_number().map_err(cut_off)?);
        if key == END && payload == END {
            break;
        }
        let (key_bytes, payload_bytes) = (key as usize, payload as usize);
        if key_bytes > KEY_BYTES_MAX || payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(damaged("it is not as it was written"));
        }
        let mut row = vec![0; key_bytes + payload_bytes];
        file.take(&mut row).map_err(cut_off)?;
        let (key, payload) = row.split_at(key_bytes);
        each(key, payload)?;
        rows += 1;
    }
    let mut counted = [0; 8];
    file.take(&mut counted).map_err(cut_off)?;
    let hash = *file.hasher.finalize().as_bytes();
    let mut written = [0; 32];
    file.inner.read_exact(&mut written).map_err(cut_off)?;
    if u64::from_le_bytes(counted) != rows || written != hash {
        return Err(damaged("it is not as it was written"));
    }
    Ok(ExportSummary { rows, layout })
}

/// Bytes on their way, and the hash of them.
struct Hashed<F> {
    inner: F,
    hasher: blake3::Hasher,
}

impl<F> Hashed<F> {
    fn new(inner: F) -> Self {
        Hashed { inner, hasher: blake3::Hasher::new() }
    }
}

impl<F: Write> Hashed<F> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)
    }

    fn number(&mut self, number: u32) -> io::Result<()> {
        self.put(&number.to_le_bytes())
    }
}

impl<F: Read> Hashed<F> {
    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn take_number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.take(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}
