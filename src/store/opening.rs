//! From a folder to an open database: the lock, what a killed process left, putting a damaged store aside.

use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::StoreError;
use super::engine::{Engine, Range};
use super::keys::{Key, Kind};
use super::{export, migrations};

const LOCK: &str = "LOCK";

/// Both locks may outlive a store that was closed for a moment: until the last thread of the database has ended, and
/// until a process that is just being started has let go of our files.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Held as long as the store is open. The database has a lock of its own, which comes too late: before it, leftovers
/// are removed.
pub(super) struct FolderLock(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

pub(super) struct Opened {
    pub engine: Engine,
    pub survey: Survey,
    pub put_aside: Option<PathBuf>,
    /// Unix time of the export that was read instead.
    pub restored_from: Option<i64>,
    pub lock: FolderLock,
}

/// What a look at every row tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Above all that are in use or remembered.
    pub next_inbox: u64,
    pub next_audit: u64,
    pub damaged_rows: u64,
}

/// Opens the store of a folder, or a fresh one when what is there cannot be read.
pub(super) fn open(folder: &Path) -> Result<Opened, StoreError> {
    let lock = lock(folder)?;
    match start(folder) {
        Ok((engine, survey)) => Ok(Opened { engine, survey, put_aside: None, restored_from: None, lock }),
        Err(StoreError::Damaged) => {
            let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
            let aside = put_aside(folder, folder, "damaged", now)?;
            drop(lock);
            let lock = self::lock(folder)?;
            let restored_from = restore(folder)?;
            let export = restored_from.and_then(|at| jiff::Timestamp::from_second(at).ok());
            tracing::error!(
                folder = %folder.display(),
                put_aside = %aside.display(),
                "the store cannot be read: it was put aside, and {} took its place",
                export.map_or_else(|| "an empty one".to_owned(), |at| format!("the export of {at}"))
            );
            let (engine, survey) = start(folder)?;
            Ok(Opened { engine, survey, put_aside: Some(aside), restored_from, lock })
        }
        Err(error) => Err(error),
    }
}

/// Fills an empty store from its newest export; returns when that was made.
fn restore(folder: &Path) -> Result<Option<i64>, StoreError> {
    let Some((at, path)) = export::newest(folder) else { return Ok(None) };
    match export::import(&path, folder) {
        Ok(_) => Ok(Some(at)),
        Err(error) if error.ends_the_database() => Err(error),
        Err(error) => {
            tracing::error!("the export of the store cannot be used: {error}");
            Ok(None)
        }
    }
}

/// Opens the database again whose lock we hold; nothing is put aside while the house is at work.
pub(super) fn reopen(folder: &Path) -> Result<Engine, StoreError> {
    start(folder).map(|(engine, _)| engine)
}

fn start(folder: &Path) -> Result<(Engine, Survey), StoreError> {
    remove_leftovers(folder)?;
    let had_data = fs::metadata(folder.join("db")).is_ok_and(|data| data.len() > 0);
    // sled panics on some kinds of damage.
    catch_unwind(|| {
        let engine = open_engine(folder)?;
        // A small file of nothing but noise is an empty database to sled.
        if had_data && migrations::layout(&engine)? == 0 && export::newest(folder).is_some() {
            return Err(StoreError::Damaged);
        }
        migrations::run(&engine)?;
        let survey = survey(&engine)?;
        Ok((engine, survey))
    })
    .unwrap_or(Err(StoreError::Damaged))
}

fn open_engine(folder: &Path) -> Result<Engine, StoreError> {
    let opened = patiently(|| match Engine::open(folder) {
        Err(sled::Error::Io(error)) if is_lock(&error) => None,
        opened => Some(opened),
    });
    match opened {
        None => Err(StoreError::Locked(folder.to_owned())),
        // A file is shorter than another one says it is.
        Some(Err(sled::Error::Io(error)))
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
        {
            Err(StoreError::Damaged)
        }
        // Its settings file says something that we never write.
        Some(Err(sled::Error::Unsupported(_))) => Err(StoreError::Damaged),
        Some(opened) => Ok(opened?),
    }
}

/// Tries until something comes of it, for a second.
fn patiently<T>(attempt: impl Fn() -> Option<T>) -> Option<T> {
    for _ in 1..LOCK_TRIES {
        if let Some(outcome) = attempt() {
            return Some(outcome);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    attempt()
}

// sled has no error of its own for it.
fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().starts_with("could not acquire lock")
}

/// Reads every row, so that damage is found before anybody relies on the store.
fn survey(engine: &Engine) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    for row in engine.scan(&Range::of(&Key::from_bytes(&[]))) {
        let row = row?;
        match Kind::of(row.key.as_bytes()) {
            Some(Kind::Inbox) => {
                let id = row.key.last_number().unwrap_or_default();
                survey.next_inbox = survey.next_inbox.max(id + 1);
            }
            Some(Kind::Seen) => {
                let id = row.value::<super::inbox::Seen>().map_or(0, |seen| seen.id + 1);
                survey.next_inbox = survey.next_inbox.max(id);
            }
            Some(Kind::Audit) => {
                let number = row.key.last_number().unwrap_or_default();
                survey.next_audit = survey.next_audit.max(number + 1);
            }
            _ => {}
        }
        if row.payload.is_err() {
            survey.damaged_rows += 1;
        }
    }
    if survey.damaged_rows > 0 {
        tracing::error!(rows = survey.damaged_rows, "rows of the store cannot be read");
    }
    Ok(survey)
}

pub(super) fn lock(folder: &Path) -> Result<FolderLock, StoreError> {
    fs::create_dir_all(folder).map_err(StoreError::folder("create", folder))?;
    let path = folder.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::folder("open", &path))?;
    let locked = patiently(|| match file.try_lock() {
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => Some(Err(error)),
        Ok(()) => Some(Ok(())),
    });
    locked.ok_or_else(|| StoreError::Locked(folder.to_owned()))?.map_err(StoreError::folder("lock", path))?;
    Ok(FolderLock(file))
}

/// Removes what a process that was killed while it opened the database left, and what the database would take for
/// damage.
fn remove_leftovers(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(StoreError::folder("read", folder))? {
        let entry = entry.map_err(StoreError::folder("read", folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && (name.ends_with(".generating") || name.ends_with(".in___motion")) {
            fs::remove_file(entry.path()).map_err(StoreError::folder("remove", entry.path()))?;
        }
    }
    // The settings file is written first and not at once; without data it says nothing.
    let (data, settings) = (folder.join("db"), folder.join("conf"));
    let empty = fs::metadata(&data).map_or(true, |data| data.len() == 0);
    if empty && settings.exists() {
        fs::remove_file(&settings).map_err(StoreError::folder("remove", settings))?;
    }
    Ok(())
}

/// Renames what lies in `from` after the folder of the store, a word and the time, and returns its new name.
pub(super) fn put_aside(from: &Path, folder: &Path, word: &str, now: u64) -> Result<PathBuf, StoreError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let aside = (now..u64::MAX)
        .map(|at| folder.with_file_name(format!("{name}.{word}-{at}")))
        .find(|aside| !aside.exists())
        .unwrap_or_default();
    fs::rename(from, &aside).map_err(StoreError::folder("put aside", from))?;
    Ok(aside)
}
