//! All that the folders and the models cannot give back, as a folder: the store, the index, what was measured, and the
//! settings without their secrets. `manifest.json` is written last and holds the hash of every other file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{App, control};
use crate::ingest::{self, IngestError};
use crate::retrieval::{IndexStore, RetrievalError};
use crate::store::{ExportSummary, Store, StoreError, check_export, restore_export};

const VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
const STORE: &str = "store.export";
const INDEX: &str = "index";
const MEASUREMENTS: &str = "measurements";
const SETTINGS: &str = "settings.toml";
/// Behind the name of a backup that is being made.
const PARTIAL: &str = ".partial";
/// Names of backups that are made one after the other, in UTC.
const NAME: &str = "%Y-%m-%dT%H%M%SZ";

#[derive(Debug, Error)]
pub enum BackupError {
    #[error("{} is there already: name a folder that is not", .0.display())]
    Exists(PathBuf),
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is no backup, or an unfinished one: it holds no {MANIFEST}", .0.display())]
    NoBackup(PathBuf),
    #[error("the backup cannot be used: {file} {what}")]
    Damaged { file: String, what: &'static str },
    #[error("a later version made the backup ({found}, this one knows {VERSION}): restore it with that version")]
    Newer { found: u32 },
    #[error("the store was not exported: {0}")]
    Export(String),
    #[error("the service runs: stop it before its data is restored")]
    Running,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Index(#[from] RetrievalError),
    #[error(transparent)]
    Forgotten(#[from] IngestError),
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupManifest {
    pub version: u32,
    /// Version of the program that made it.
    pub program: String,
    /// Unix time in seconds.
    pub made_at: i64,
    /// `None`: there was no store.
    pub store_rows: Option<u64>,
    pub has_index: bool,
    files: BTreeMap<String, FileSum>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileSum {
    bytes: u64,
    /// BLAKE3, hexadecimal.
    hash: String,
}

impl BackupManifest {
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

/// What a restored backup has replaced.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Restored {
    pub manifest: BackupManifest,
    /// Where the store is that was there before.
    pub store_put_aside: Option<PathBuf>,
}

impl App {
    /// Makes a backup in a new folder, while the service runs or not.
    ///
    /// # Errors
    /// `Exists`, what cannot be read or written; nothing is left behind under the folder's name.
    pub fn back_up(&self, folder: &Path, now: i64) -> Result<BackupManifest, BackupError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let partial = folder.with_file_name(format!("{name}{PARTIAL}"));
        for taken in [folder, &partial] {
            if taken.exists() {
                return Err(BackupError::Exists(taken.to_owned()));
            }
        }
        let made = self.fill(&partial, now);
        if made.is_err() {
            let _ = fs::remove_dir_all(&partial);
        }
        let manifest = made?;
        fs::rename(&partial, folder).map_err(file("rename", &partial))?;
        sync(folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(manifest)
    }

    /// Makes a backup inside of a folder, named by its time, and removes those that were made like this before but for the
    /// newest `keep`.
    ///
    /// # Errors
    /// As [`App::back_up`]; an old one that cannot be removed.
    pub fn back_up_into(&self, folder: &Path, keep: usize, now: i64) -> Result<(PathBuf, BackupManifest), BackupError> {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        created.map_err(file("create", folder))?;
        let name = jiff::Timestamp::from_second(now).unwrap_or_default().strftime(NAME).to_string();
        let made = folder.join(name);
        let manifest = self.back_up(&made, now)?;
        let mut old = Vec::new();
        for entry in fs::read_dir(folder).map_err(file("read", folder))? {
            let path = entry.map_err(file("read", folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_named = |name: &str| jiff::civil::DateTime::strptime(NAME, name).is_ok();
            if name.strip_suffix(PARTIAL).is_some_and(is_named) {
                // A killed command left it.
                fs::remove_dir_all(&path).map_err(file("remove", &path))?;
            } else if is_named(&name) && path.join(MANIFEST).is_file() {
                // Nothing that only lies beside them.
                old.push(path);
            }
        }
        old.sort();
        for path in old.into_iter().rev().skip(keep) {
            fs::remove_dir_all(&path).map_err(file("remove", &path))?;
        }
        Ok((made, manifest))
    }

    fn fill(&self, folder: &Path, now: i64) -> Result<BackupManifest, BackupError> {
        // It holds what only the service may read.
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        created.map_err(file("create", folder))?;
        let store = self.exported_store(&folder.join(STORE), now)?;
        let has_index = match self.index_store().copy_to(&folder.join(INDEX)) {
            Err(RetrievalError::NoIndex(_)) => false,
            copied => copied.map(|()| true)?,
        };
        copy_folder(&self.measurements(), &folder.join(MEASUREMENTS))?;
        // Secrets are written as stars.
        let path = folder.join(SETTINGS);
        let settings = toml::to_string(self.settings()).map_err(|e| file("write", &path)(io::Error::other(e)))?;
        write(&path, settings.as_bytes())?;
        let mut files = BTreeMap::new();
        sums(folder, "", &mut files)?;
        let manifest = BackupManifest {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: now,
            store_rows: store.map(|store| store.rows),
            has_index,
            files,
        };
        let path = folder.join(MANIFEST);
        let json = serde_json::to_vec_pretty(&manifest).map_err(|e| file("write", &path)(e.into()))?;
        write(&path, &json)?;
        sync(folder)?;
        Ok(manifest)
    }

    /// Exports the store into a file; `None`: there is no store.
    fn exported_store(&self, to: &Path, now: i64) -> Result<Option<ExportSummary>, BackupError> {
        let folder = self.store_folder();
        if !folder.exists() {
            return Ok(None);
        }
        let export = match Store::open(&folder) {
            Ok(store) => store.export(now)?,
            Err(StoreError::Locked(locked)) => {
                let asked = control::ask_for_export(self.data()).map_err(BackupError::Export)?;
                asked.ok_or(StoreError::Locked(locked))?
            }
            Err(error) => return Err(error.into()),
        };
        copy(&export, to)?;
        give_to_owner_of(self.data()).map_err(file("give its owner what lies in", self.data()))?;
        Ok(Some(check_export(to)?))
    }

    /// Puts what a backup holds where it was, all of it checked before anything changes. The store and the index each change
    /// at once; a second call after a crash finishes it. What was forgotten since stays so; the settings are left to the operator.
    ///
    /// # Errors
    /// `NoBackup`, `Damaged`, `Newer`, `Running`; what cannot be read or written.
    pub fn restore(&self, folder: &Path, now: i64) -> Result<Restored, BackupError> {
        let manifest = read_manifest(folder)?;
        verify(folder, &manifest)?;
        if manifest.store_rows.is_some() {
            check_export(&folder.join(STORE))?;
        }
        fs::create_dir_all(self.data()).map_err(file("create", self.data()))?;
        let (index, copy) = (self.index_store(), folder.join(INDEX));
        let lock = if manifest.has_index {
            IndexStore::check_copy(&copy)?;
            Some(index.lock()?)
        } else {
            None
        };
        let mut store_put_aside = None;
        if manifest.store_rows.is_some() {
            store_put_aside = match restore_export(&folder.join(STORE), &self.store_folder(), now) {
                Err(StoreError::Locked(_)) => return Err(BackupError::Running),
                restored => restored?.1,
            };
        }
        if let Some(lock) = lock {
            ingest::restore_index(&index, lock, &copy)?;
        }
        copy_folder(&folder.join(MEASUREMENTS), &self.measurements())?;
        give_to_owner_of(self.data()).map_err(file("give its owner what lies in", self.data()))?;
        Ok(Restored { manifest, store_put_aside })
    }
}

/// What root wrote into a folder of another user, such as the service's, becomes that user's.
fn give_to_owner_of(folder: &Path) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    for entry in walkdir::WalkDir::new(folder).same_file_system(true) {
        let entry = entry?;
        if entry.metadata()?.uid() == 0 {
            lchown(entry.path(), Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

fn read_manifest(folder: &Path) -> Result<BackupManifest, BackupError> {
    /// What every version can tell of another one.
    #[derive(Deserialize)]
    struct AnyVersion {
        version: u32,
    }
    let path = folder.join(MANIFEST);
    let json = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BackupError::NoBackup(folder.to_owned())),
        json => json.map_err(file("read", &path))?,
    };
    let damaged = |_| BackupError::Damaged { file: MANIFEST.to_owned(), what: "cannot be read" };
    let AnyVersion { version } = serde_json::from_slice(&json).map_err(damaged)?;
    if version > VERSION {
        return Err(BackupError::Newer { found: version });
    }
    serde_json::from_slice(&json).map_err(damaged)
}

fn verify(folder: &Path, manifest: &BackupManifest) -> Result<(), BackupError> {
    for (name, sum) in &manifest.files {
        let damaged = |what| BackupError::Damaged { file: name.clone(), what };
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(damaged("is not below its folder"));
        }
        match sum_of(&folder.join(name)) {
            Err(BackupError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(damaged("is missing"));
            }
            found if found.as_ref().is_ok_and(|found| found != sum) => return Err(damaged("is not as it was written")),
            found => found.map(drop)?,
        }
    }
    Ok(())
}

/// Of all files below a folder, by their paths from it.
fn sums(folder: &Path, above: &str, found: &mut BTreeMap<String, FileSum>) -> Result<(), BackupError> {
    for entry in fs::read_dir(folder).map_err(file("read", folder))? {
        let path = entry.map_err(file("read", folder))?.path();
        let name = format!("{above}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            sums(&path, &format!("{name}/"), found)?;
        } else {
            found.insert(name, sum_of(&path)?);
        }
    }
    Ok(())
}

fn sum_of(path: &Path) -> Result<FileSum, BackupError> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(drop));
    read.map_err(file("read", path))?;
    Ok(FileSum { bytes: hasher.count(), hash: hasher.finalize().to_hex().to_string() })
}

/// Copies the files of a folder, those that are there already aside; one that is not there has none.
fn copy_folder(from: &Path, to: &Path) -> Result<(), BackupError> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(file("read", from))?,
    };
    fs::create_dir_all(to).map_err(file("create", to))?;
    for entry in entries {
        let path = entry.map_err(file("read", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_file() && !target.exists() {
            copy(&path, &target)?;
        }
    }
    sync(to)
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::copy(from, to).map_err(file("copy", from))?;
    sync(to)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut created = File::create(path).map_err(file("write", path))?;
    created.write_all(bytes).and_then(|()| created.sync_all()).map_err(file("write", path))
}

/// A file or a folder, onto the disk.
fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|opened| opened.sync_all()).map_err(file("write", path))
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    const NOW: i64 = 1_790_000_000;

    fn app(data: &Path) -> App {
        let mut settings = Settings::default();
        settings.data.folder = data.to_owned();
        settings.models.folder = data.join("models");
        App::new(settings).unwrap()
    }

    #[test]
    fn of_backups_made_one_after_the_other_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (app, nightly) = (app(&folder.path().join("data")), folder.path().join("nightly"));
        let other = nightly.join("2026-01-01T033000Z");
        fs::create_dir_all(&other).unwrap();
        fs::create_dir_all(nightly.join("2026-01-02T033000Z.partial/index")).unwrap();
        let made: Vec<PathBuf> = (0..4).map(|night| app.back_up_into(&nightly, 2, NOW + night).unwrap().0).collect();
        let mut left: Vec<PathBuf> = fs::read_dir(&nightly).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        // What holds no backup is not ours to remove.
        assert_eq!(left, [other, made[2].clone(), made[3].clone()]);
    }

    #[test]
    fn what_is_no_whole_backup_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let (app, copy) = (app(&folder.path().join("data")), folder.path().join("copy"));
        fs::create_dir_all(app.measurements()).unwrap();
        fs::write(app.measurements().join("2026-11-26.jsonl"), "{}\n").unwrap();
        Store::open(&app.store_folder()).unwrap().set_flag("paused", Some("1")).unwrap();
        app.back_up(&copy, NOW).unwrap();
        assert!(app.restore(&copy, NOW).is_ok());
        assert!(matches!(app.back_up(&copy, NOW), Err(BackupError::Exists(_))));
        let refused = |expect: &str| {
            let said = app.restore(&copy, NOW).unwrap_err().to_string();
            assert!(said.contains(expect), "{said}");
        };
        let spoil = |name: &str, change: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>, expect: &str| {
            let path = copy.join(name);
            let bytes = fs::read(&path).unwrap();
            match change(bytes.clone()) {
                Some(changed) => fs::write(&path, changed).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            refused(expect);
            fs::write(&path, bytes).unwrap();
        };
        let cut = |bytes: Vec<u8>| Some(bytes[..bytes.len() - 1].to_vec());
        spoil(STORE, &cut, "store.export is not as it was written");
        spoil(STORE, &|_| None, "store.export is missing");
        spoil("measurements/2026-11-26.jsonl", &cut, "measurements/2026-11-26.jsonl is not as it was written");
        spoil(MANIFEST, &cut, "manifest.json cannot be read");
        spoil(MANIFEST, &|_| None, "is no backup, or an unfinished one");
        spoil(
            MANIFEST,
            &|_| Some(br#"{"version":9}"#.to_vec()),
            "a later version made the backup (9, this one knows 1)",
        );
        let outside =
            |bytes| Some(String::from_utf8(bytes).unwrap().replace("\"store.export", "\"../store.export").into());
        spoil(MANIFEST, &outside, "is not below its folder");
        assert!(app.restore(&copy, NOW).is_ok());
    }
}
