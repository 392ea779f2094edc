//! What the index knows of every file: kept beside the passages, in the same generation, so that the two never differ.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::{Language, PassageId};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The folders that were read.
    pub folders: Vec<PathBuf>,
    /// By path, as passages name it.
    pub files: BTreeMap<String, FileEntry>,
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
    },
    /// The reason, for people.
    Skipped {
        reason: String,
    },
}

impl FileEntry {
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

impl Manifest {
    /// Compares with the hashes of the files that are there now.
    pub(super) fn difference(&self, now: &BTreeMap<String, String>) -> Difference {
        let mut difference = Difference::default();
        for (path, hash) in now {
            let list = match self.files.get(path) {
                None => &mut difference.added,
                Some(entry) if entry.hash == *hash => &mut difference.unchanged,
                Some(_) => &mut difference.changed,
            };
            list.push(path.clone());
        }
        difference.removed = self.files.keys().filter(|path| !now.contains_key(*path)).cloned().collect();
        difference
    }
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
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
        let manifest =
            Manifest { folders: Vec::new(), files: before.map(|(path, hash)| (path.to_owned(), entry(hash))).into() };
        let now = [("a.md", "1"), ("b.md", "9"), ("d.md", "4")].map(|(path, hash)| (path.to_owned(), hash.to_owned()));
        let difference = manifest.difference(&now.into());
        assert_eq!(difference.unchanged, ["a.md"]);
        assert_eq!(difference.changed, ["b.md"]);
        assert_eq!(difference.added, ["d.md"]);
        assert_eq!(difference.removed, ["c.md"]);
    }
}
