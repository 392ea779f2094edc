//! The folders that are answered from, in collections.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use globset::Glob;
use serde::{Deserialize, Serialize};

use super::sections::is_subject;
use crate::domain::{Collection, DEFAULT_COLLECTION, Language, LinkTemplate, Readership};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KnowledgeSettings {
    /// The folders whose documents are answered from; whoever may ask may read them.
    pub folders: Vec<PathBuf>,
    /// Further folders by the name of their collection.
    pub collections: BTreeMap<String, CollectionSettings>,
    /// Whether the service notices changes in the folders by itself.
    pub watch: bool,
    /// Seconds until it compares the folders with the index all the same.
    pub compare_every_s: u64,
}

impl Default for KnowledgeSettings {
    fn default() -> Self {
        KnowledgeSettings { folders: Vec::new(), collections: BTreeMap::new(), watch: true, compare_every_s: 600 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CollectionSettings {
    pub folders: Vec<PathBuf>,
    /// Patterns of the files that belong to it; none: all.
    pub include: Vec<String>,
    /// Patterns of the files and folders that do not.
    pub exclude: Vec<String>,
    /// Endings of files that are read as source code, without the dot; none: source code is not read.
    pub code: Vec<String>,
    /// Of documents whose text does not tell.
    pub language: Option<Language>,
    /// Address of a document on the web; empty: there is none.
    pub link: String,
    /// Who may read it; none: whoever may ask.
    pub readers: Vec<String>,
    /// Whether its passages are read ahead before all others, and make room for none of them.
    pub read_ahead: bool,
}

impl KnowledgeSettings {
    /// Every folder with its collection.
    fn named_folders(&self) -> impl Iterator<Item = (&str, &PathBuf)> {
        let of_collections = self
            .collections
            .iter()
            .flat_map(|(name, collection)| collection.folders.iter().map(move |folder| (name.as_str(), folder)));
        self.folders.iter().map(|folder| (DEFAULT_COLLECTION, folder)).chain(of_collections)
    }

    pub(super) fn folders_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let of_collections = self.collections.values_mut().flat_map(|collection| collection.folders.iter_mut());
        self.folders.iter_mut().chain(of_collections)
    }

    /// What is to be indexed; empty when no folder is named.
    pub fn collections(&self) -> Vec<Collection> {
        let default =
            Collection { name: DEFAULT_COLLECTION.to_owned(), folders: self.folders.clone(), ..Collection::default() };
        let named = self.collections.iter().map(|(name, settings)| Collection {
            name: name.clone(),
            folders: settings.folders.clone(),
            include: settings.include.clone(),
            exclude: settings.exclude.clone(),
            code: settings.code.clone(),
            language: settings.language,
            link: Some(settings.link.clone()).filter(|link| !link.is_empty()).map(LinkTemplate),
        });
        std::iter::once(default).filter(|default| !default.folders.is_empty()).chain(named).collect()
    }

    pub fn readership(&self) -> Readership {
        let named = self.collections.iter().map(|(name, settings)| (name.clone(), settings.readers.clone()));
        Readership { readers: std::iter::once((DEFAULT_COLLECTION.to_owned(), Vec::new())).chain(named).collect() }
    }

    /// The first value that makes no sense, as its key and what is wrong with it.
    pub(super) fn nonsense(&self) -> Option<(String, String)> {
        let mut collection_of: HashMap<PathBuf, &str> = HashMap::new();
        for (name, folder) in self.named_folders() {
            let key = || match name {
                DEFAULT_COLLECTION => "knowledge.folders".to_owned(),
                _ => key(name, "folders"),
            };
            let Some(root) = folder.canonicalize().ok().filter(|root| root.is_dir()) else {
                return Some((key(), format!("there is no folder {}", folder.display())));
            };
            if let Some(other) = collection_of.insert(root, name).filter(|other| *other != name) {
                let reason =
                    format!("{} is in the collection `{other}` too: a folder belongs to one", folder.display());
                return Some((key(), reason));
            }
        }
        self.collections.iter().find_map(|(name, collection)| {
            let (part, reason) = name_fault(name).map(|fault| ("", fault)).or_else(|| collection.nonsense())?;
            Some((key(name, part), reason))
        })
    }

    /// A collection that is to be read ahead where nothing is.
    pub(super) fn ahead_without_room(&self, passage_kv_gb: usize) -> Option<(String, String)> {
        let (name, _) = self.collections.iter().find(|(_, settings)| settings.read_ahead && passage_kv_gb == 0)?;
        Some((key(name, "read_ahead"), "there is no room for it: inference.passage_kv_gb is 0".to_owned()))
    }
}

impl CollectionSettings {
    /// Its first key that makes no sense, and why.
    fn nonsense(&self) -> Option<(&'static str, String)> {
        if self.folders.is_empty() {
            return Some(("folders", "a collection needs at least one folder".to_owned()));
        }
        for (key, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            if let Some(error) = patterns.iter().find_map(|pattern| Glob::new(pattern).err()) {
                return Some((key, error.to_string()));
            }
        }
        if let Some(fault) =
            Some(&self.link).filter(|link| !link.is_empty()).and_then(|link| LinkTemplate(link.clone()).fault())
        {
            return Some(("link", format!("`{}`: {fault}", self.link)));
        }
        let is_ending =
            |ending: &String| !ending.is_empty() && ending.chars().all(|c| c.is_alphanumeric() || "+_".contains(c));
        if let Some(ending) = self.code.iter().find(|ending| !is_ending(ending)) {
            return Some(("code", format!("`{ending}` is no ending of files, such as `rs` or `py`")));
        }
        let is_reader = |reader: &String| matches!(reader.as_str(), "slack" | "telegram" | "web") || is_subject(reader);
        let wrong = self.readers.iter().find(|reader| !is_reader(reader))?;
        let reason = format!("`{wrong}` is none of `slack`, `telegram`, `web`, `slack:…` and `telegram:…` with an id");
        Some(("readers", reason))
    }
}

fn key(collection: &str, part: &str) -> String {
    format!("knowledge.collections.{collection}.{part}").trim_end_matches('.').to_owned()
}

fn name_fault(name: &str) -> Option<String> {
    const LETTERS_MAX: usize = 40;
    if name == DEFAULT_COLLECTION {
        return Some(format!("`{DEFAULT_COLLECTION}` is the collection of knowledge.folders: choose another name"));
    }
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let is_name = !name.is_empty() && name.len() <= LETTERS_MAX && name.chars().all(is_plain);
    (!is_name).then(|| format!("a name has up to {LETTERS_MAX} small letters, digits, `-` and `_`"))
}
