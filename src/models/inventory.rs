//! What of the catalogue is installed, what else lies in the folder, and whether it is what it should be.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::catalogue::{Catalogue, CatalogueEntry, CatalogueFile, Role, Source};
use super::checksums::{Checksums, sha256_of};
use super::error::ModelsError;
use super::folder::ModelsFolder;
use super::gguf;
use super::progress::ProgressView;

/// One line of `models list`.
#[derive(Debug, Serialize)]
pub struct ModelRow {
    /// The catalogue id; for a file that the catalogue does not know, its name.
    pub id: String,
    pub role: Role,
    pub in_catalogue: bool,
    pub installed: bool,
    /// On disk when installed, else what will be fetched, as far as it is known.
    pub size_bytes: Option<u64>,
    /// Where it is, or where it will be.
    pub path: PathBuf,
    pub description: String,
    pub licence: Option<String>,
    pub source: Option<String>,
}

/// What a check of one file found.
#[derive(Debug, Serialize)]
pub struct CheckedFile {
    /// Relative to the models folder.
    pub path: String,
    #[serde(flatten)]
    pub verdict: FileVerdict,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "lowercase")]
pub enum FileVerdict {
    Right,
    /// Nobody knows what it should be.
    Unknown,
    Wrong(String),
}

impl ModelsFolder {
    /// The catalogue, then the GGUF files in the folder that it does not know.
    ///
    /// # Errors
    /// [`ModelsError::Read`] when the folder cannot be read.
    pub fn list(&self) -> Result<Vec<ModelRow>, ModelsError> {
        let mut rows: Vec<_> = Catalogue::embedded().entries().iter().map(|entry| self.entry_row(entry)).collect();
        for name in self.own_names()? {
            let path = self.path().join(&name);
            rows.push(ModelRow {
                role: Role::Answer,
                in_catalogue: false,
                installed: true,
                size_bytes: fs::metadata(&path).ok().map(|found| found.len()),
                path,
                description: String::new(),
                licence: None,
                source: None,
                id: name,
            });
        }
        Ok(rows)
    }

    /// Checks the files of `names` (catalogue ids or names of GGUF files); without names, all that is there.
    ///
    /// # Errors
    /// A name that means nothing, or an entry that is not installed; what is wrong with a file is no error here.
    pub fn verify(&self, names: &[String], view: ProgressView) -> Result<Vec<CheckedFile>, ModelsError> {
        let recorded = Checksums::read(self.path())?;
        let check = |path: &str, file: Option<&CatalogueFile>| CheckedFile {
            path: path.to_owned(),
            verdict: self.check_file(path, file, recorded.get(path), view),
        };
        let mut checked = Vec::new();
        let mut check_entry = |entry: &CatalogueEntry| {
            checked.extend(entry.files.iter().map(|file| check(&file.path, Some(file))));
        };
        let own_names = self.own_names()?;
        if names.is_empty() {
            Catalogue::embedded().entries().iter().filter(|entry| self.is_in_place(entry)).for_each(check_entry);
            checked.extend(own_names.iter().map(|name| check(name, None)));
            return Ok(checked);
        }
        let mut own = Vec::new();
        for name in names {
            match Catalogue::embedded().find(name) {
                Some(entry) if self.is_in_place(entry) => check_entry(entry),
                Some(entry) => {
                    return Err(ModelsError::NotInstalled { id: entry.id.clone(), folder: self.path().to_path_buf() });
                }
                None if own_names.contains(name) => own.push(name),
                None => {
                    return Err(ModelsError::UnknownName { name: name.clone(), folder: self.path().to_path_buf() });
                }
            }
        }
        checked.extend(own.into_iter().map(|name| check(name, None)));
        Ok(checked)
    }

    /// Where an entry is or will be: its file, or the folder of its files.
    pub(super) fn place_of(&self, entry: &CatalogueEntry) -> PathBuf {
        match entry.files.as_slice() {
            [file] => self.path().join(&file.path),
            files => {
                let first = files.first().map(|file| self.path().join(&file.path)).unwrap_or_default();
                first.parent().map(ToOwned::to_owned).unwrap_or(first)
            }
        }
    }

    /// Does a full model stand where this entry, its stand-in, would go?
    pub(super) fn full_model_in_place_of(&self, entry: &CatalogueEntry) -> bool {
        full_model_of(entry).is_some_and(|full| self.is_installed(full))
    }

    /// When the newest file of an entry was written; nothing if one is missing.
    pub(super) fn modified(&self, entry: &CatalogueEntry) -> Option<SystemTime> {
        let times = entry.files.iter().map(|file| fs::metadata(self.path().join(&file.path)).ok()?.modified().ok());
        times.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn entry_row(&self, entry: &CatalogueEntry) -> ModelRow {
        let installed = self.is_installed(entry);
        let on_disk =
            || entry.files.iter().map(|file| Some(fs::metadata(self.path().join(&file.path)).ok()?.len())).sum();
        ModelRow {
            id: entry.id.clone(),
            role: entry.role,
            in_catalogue: true,
            installed,
            size_bytes: if installed { on_disk() } else { entry.size_bytes() },
            path: self.place_of(entry),
            description: entry.description.clone(),
            licence: Some(entry.licence.clone()),
            source: Some(entry.source.to_string()),
        }
    }

    /// All files are there, in the right size.
    fn is_installed(&self, entry: &CatalogueEntry) -> bool {
        self.is_in_place(entry)
            && entry.files.iter().all(|file| {
                let found = fs::metadata(self.path().join(&file.path)).ok().filter(fs::Metadata::is_file);
                found.is_some_and(|found| file.size_bytes.is_none_or(|size_bytes| size_bytes == found.len()))
            })
    }

    /// The entry's first file is there, and it is not the one of another entry that has the same place. It may be
    /// damaged, and other files may be missing.
    fn is_in_place(&self, entry: &CatalogueEntry) -> bool {
        let Some(first) = entry.files.first() else { return false };
        let Ok(found) = fs::metadata(self.path().join(&first.path)) else { return false };
        let is_full = |full: &CatalogueEntry| full.files[0].size_bytes == Some(found.len());
        match (full_model_of(entry), stand_in_of(entry)) {
            (Some(full), _) => !is_full(full),
            (None, Some(_)) => is_full(entry),
            (None, None) => true,
        }
    }

    /// GGUF files that no entry of the catalogue owns.
    fn own_names(&self) -> Result<Vec<String>, ModelsError> {
        let mut names = self.gguf_names()?;
        names.retain(|name| Catalogue::embedded().owner_of(name).is_none());
        Ok(names)
    }

    fn check_file(
        &self,
        path: &str,
        file: Option<&CatalogueFile>,
        recorded: Option<&str>,
        view: ProgressView,
    ) -> FileVerdict {
        let place = self.path().join(path);
        let found_bytes = match fs::metadata(&place) {
            Ok(found) => found.len(),
            Err(error) => return FileVerdict::Wrong(format!("it cannot be read ({error})")),
        };
        if path.ends_with(".gguf")
            && let Err(error) = gguf::check_header(&place)
        {
            let ModelsError::NotGguf { reason, .. } = error else { return FileVerdict::Wrong(error.to_string()) };
            return FileVerdict::Wrong(format!("it is not a GGUF file: {reason}"));
        }
        if let Some(size_bytes) = file.and_then(|file| file.size_bytes).filter(|size_bytes| *size_bytes != found_bytes)
        {
            return FileVerdict::Wrong(format!("it has {found_bytes} bytes and should have {size_bytes}"));
        }
        let Some(sha256) = file.and_then(|file| file.sha256.as_deref()).or(recorded) else {
            return FileVerdict::Unknown;
        };
        let mut meter = view.meter("checking", path, found_bytes);
        let found = sha256_of(&place, |bytes| meter.advance(bytes));
        meter.end();
        match found {
            Ok(found) if found == sha256 => FileVerdict::Right,
            Ok(found) => FileVerdict::Wrong(format!("its SHA-256 is {found} and should be {sha256}")),
            Err(error) => FileVerdict::Wrong(error.to_string()),
        }
    }
}

/// The entry from the hub that has the same place as this one from PyPI.
fn full_model_of(entry: &CatalogueEntry) -> Option<&'static CatalogueEntry> {
    matches!(entry.source, Source::Pypi { .. }).then(|| same_place(entry)).flatten()
}

/// The entry from PyPI that has the same place as this one from the hub.
fn stand_in_of(entry: &CatalogueEntry) -> Option<&'static CatalogueEntry> {
    matches!(entry.source, Source::Hub { .. }).then(|| same_place(entry)).flatten()
}

fn same_place(entry: &CatalogueEntry) -> Option<&'static CatalogueEntry> {
    let others = Catalogue::embedded().entries().iter().filter(|other| other.id != entry.id);
    others.into_iter().find(|other| other.files[0].path == entry.files[0].path)
}
