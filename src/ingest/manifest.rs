//! What the index knows of every file: kept beside the passages, in the same generation, so that the two never differ.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::{Collection, Language, PassageId};
use crate::retrieval::{Generation, RetrievalError};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// By name.
    pub collections: BTreeMap<String, CollectionEntry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionEntry {
    /// As it was when its folders were read.
    pub collection: Collection,
    /// Of each folder by its real path: the device that it was on.
    #[serde(default)]
    pub devices: BTreeMap<PathBuf, u64>,
    /// By path, as passages name it.
    pub files: BTreeMap<String, FileEntry>,
}

/// A file of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFile<'a> {
    pub collection: &'a str,
    pub path: &'a str,
    pub entry: &'a FileEntry,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Hash of the content, hexadecimal.
    pub hash: String,
    pub bytes: u64,
    pub state: FileState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    Indexed {
        title: String,
        language: Language,
        passages: Vec<PassageId>,
        /// What of it could not be read, and why, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unread: Option<String>,
    },
    /// The reason, for people.
    Skipped { reason: String },
}

impl Manifest {
    /// # Errors
    /// It cannot be read.
    pub fn of(generation: &Generation) -> Result<Self, RetrievalError> {
        let json = generation.manifest()?;
        serde_json::from_slice(&json)
            .map_err(|e| RetrievalError::Damaged { path: generation.name().into(), what: format!("its manifest: {e}") })
    }

    /// Whether these collections are the ones that were read.
    pub fn is_of(&self, collections: &[Collection]) -> bool {
        let same = |collection: &Collection| {
            self.collections.get(&collection.name).is_some_and(|entry| entry.collection == *collection)
        };
        collections.len() == self.collections.len() && collections.iter().all(same)
    }

    /// The collections as they were read, by name.
    pub fn settings(&self) -> impl Iterator<Item = &Collection> {
        self.collections.values().map(|entry| &entry.collection)
    }

    /// Every file, by collection and path.
    pub fn files(&self) -> impl Iterator<Item = KnownFile<'_>> {
        self.collections.iter().flat_map(|(collection, of_collection)| {
            of_collection.files.iter().map(move |(path, entry)| KnownFile { collection, path, entry })
        })
    }

    pub(super) fn holds(&self, collection: &str, path: &str) -> bool {
        self.collections.get(collection).is_some_and(|entry| entry.files.contains_key(path))
    }

    /// Files that gave passages.
    pub fn documents(&self) -> usize {
        self.files().filter(|file| !file.entry.passages().is_empty()).count()
    }
}

impl FileEntry {
    /// Why the file, or something of it, was not read.
    pub fn unread(&self) -> Option<&str> {
        match &self.state {
            FileState::Indexed { unread, .. } => unread.as_deref(),
            FileState::Skipped { reason } => Some(reason),
        }
    }

    pub fn passages(&self) -> &[PassageId] {
        match &self.state {
            FileState::Indexed { passages, .. } => passages,
            FileState::Skipped { .. } => &[],
        }
    }
}

/// How the folders differ from what was indexed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    pub unchanged: Vec<String>,
}

impl CollectionEntry {
    /// Compares with the hashes of the files that are there now, and with how they are to be read.
    pub(super) fn difference(&self, collection: &Collection, now: &BTreeMap<String, String>) -> Difference {
        let reads_alike = self.collection.language == collection.language && self.collection.link == collection.link;
        let mut difference = Difference::default();
        for (path, hash) in now {
            let list = match self.files.get(path) {
                None => &mut difference.added,
                Some(entry) if entry.hash == *hash && reads_alike => &mut difference.unchanged,
                Some(_) => &mut difference.changed,
            };
            list.push(path.clone());
        }
        difference.removed = self.files.keys().filter(|path| !now.contains_key(*path)).cloned().collect();
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_added_changed_removed_or_unchanged() {
        let entry = |hash: &str| FileEntry {
            hash: hash.to_owned(),
            bytes: 1,
            state: FileState::Skipped { reason: String::new() },
        };
        let before = [("a.md", "1"), ("b.md", "2"), ("c.md", "3")];
        let files = before.map(|(path, hash)| (path.to_owned(), entry(hash))).into();
        let entry = CollectionEntry { collection: Collection::default(), devices: BTreeMap::new(), files };
        let now = [("a.md", "1"), ("b.md", "9"), ("d.md", "4")].map(|(path, hash)| (path.to_owned(), hash.to_owned()));
        let now = BTreeMap::from(now);
        let difference = entry.difference(&Collection::default(), &now);
        assert_eq!(difference.unchanged, ["a.md"]);
        assert_eq!(difference.changed, ["b.md"]);
        assert_eq!(difference.added, ["d.md"]);
        assert_eq!(difference.removed, ["c.md"]);
        let other = Collection { language: Some(Language::Italian), ..Collection::default() };
        assert_eq!(entry.difference(&other, &now).changed, ["a.md", "b.md"]);
    }
}
