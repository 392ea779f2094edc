//! Collections to the list of files that can be read. Nothing is opened here.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use walkdir::{DirEntry, WalkDir};

use super::extract::Format;
use super::patterns::Patterns;
use crate::domain::Collection;

/// A file that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Absolute.
    pub path: PathBuf,
    /// Path inside its folder, with `/`.
    pub relative: String,
    /// Name of the document in its collection: `relative`. If an earlier folder of the collection has a file of that path
    /// too, the folder's own name (and a number, should that be taken as well) stands before it.
    pub name: String,
    pub format: Format,
    pub bytes: u64,
    pub modified: SystemTime,
}

/// A file or folder that should have been read and was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub path: PathBuf,
    /// Completes "skipped: …".
    pub reason: String,
}

/// What a walk over the folders of a collection found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Sorted by `name`.
    pub files: Vec<FoundFile>,
    /// Sorted by path.
    pub skipped: Vec<Skipped>,
    /// Files whose format is not read.
    pub unsupported: usize,
    /// A folder of the collection that could not be read at all.
    pub missing: Option<Skipped>,
    /// For each folder the number of its device, and whether it holds nothing: a share that is not mounted leaves an
    /// empty folder on another device.
    pub roots: Vec<RootState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootState {
    pub folder: PathBuf,
    pub device: u64,
    pub is_empty: bool,
}

/// The folders of all collections, by their real paths: a file belongs to the innermost one that holds it, so that a
/// folder with readers of its own inside an open one stays closed.
pub struct Roots(Vec<PathBuf>);

impl Roots {
    /// # Errors
    /// A folder is not there: without it, nobody can tell which files are not for others to read.
    pub fn of(collections: &[Collection]) -> Result<Self, Skipped> {
        let folders = collections.iter().flat_map(|collection| &collection.folders);
        let root = |folder: &PathBuf| {
            folder.canonicalize().map_err(|error| Skipped { path: folder.clone(), reason: describe(&error) })
        };
        folders.map(root).collect::<Result<_, _>>().map(Roots)
    }

    fn is_one(&self, path: &Path) -> bool {
        self.0.iter().any(|root| root == path)
    }

    /// Whether no other root lies between `root` and this path inside it.
    fn owned_by(&self, root: &Path, path: &Path) -> bool {
        path.starts_with(root)
            && !self.0.iter().any(|other| other != root && other.starts_with(root) && path.starts_with(other))
    }
}

/// Finds the files of a collection. Hidden files and folders are passed over; a link is followed to a file of the same
/// folder only, so that walks end and nothing outside is read, and only if that file is not found by its own name.
pub fn walk(collection: &Collection, roots: &Roots) -> Walked {
    let mut walked = Walked::default();
    let patterns = match Patterns::of(collection) {
        Ok(patterns) => patterns,
        Err(error) => {
            collection.folders.iter().for_each(|folder| skip(&mut walked, folder, error.to_string()));
            return walked;
        }
    };
    let mut walk = Walk { roots, code: &collection.code, patterns, names: HashSet::new(), links: Vec::new(), walked };
    let mut seen = HashSet::new();
    for folder in &collection.folders {
        match folder.canonicalize() {
            Ok(root) if root.is_dir() => {
                if seen.insert(root.clone()) {
                    walk.folder(&root);
                }
            }
            Ok(_) => walk.walked.missing = Some(Skipped { path: folder.clone(), reason: "not a folder".to_owned() }),
            Err(error) => walk.walked.missing = Some(Skipped { path: folder.clone(), reason: describe(&error) }),
        }
    }
    walk.take_links();
    let mut walked = walk.walked;
    walked.files.sort_by(|a, b| a.name.cmp(&b.name));
    walked.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    walked
}

struct Walk<'a> {
    roots: &'a Roots,
    code: &'a [String],
    patterns: Patterns,
    names: HashSet<String>,
    links: Vec<Link>,
    walked: Walked,
}

/// A link to a file, which has no name yet.
struct Link {
    target: PathBuf,
    root: PathBuf,
    file: FoundFile,
}

impl Walk<'_> {
    fn folder(&mut self, root: &Path) {
        let mut entries = WalkDir::new(root).sort_by_file_name().into_iter();
        let device = std::fs::metadata(root).map_or(0, |meta| meta.dev());
        let is_empty = std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
        self.walked.roots.push(RootState { folder: root.to_owned(), device, is_empty });
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if entry.depth() == 0 => {}
                Ok(entry) if entry.file_type().is_dir() => {
                    let hidden = is_hidden(entry.file_name().as_encoded_bytes());
                    let left_out = || relative(entry.path(), root).is_some_and(|path| self.patterns.leave_out(&path));
                    if hidden || self.roots.is_one(entry.path()) || left_out() {
                        entries.skip_current_dir();
                    }
                }
                Ok(entry) => {
                    if let Err(reason) = self.file(&entry, root) {
                        skip(&mut self.walked, entry.path(), reason);
                    }
                }
                Err(error) => {
                    let reason = error.io_error().map_or_else(|| "cannot be walked".to_owned(), describe);
                    let path = error.path().unwrap_or(root);
                    match error.depth() {
                        0 => self.walked.missing = Some(Skipped { path: path.to_owned(), reason }),
                        _ => skip(&mut self.walked, path, reason),
                    }
                }
            }
        }
    }

    /// Takes a file, or passes it over; the error is the reason why it should have been read and is not.
    fn file(&mut self, entry: &DirEntry, root: &Path) -> Result<(), String> {
        let path = entry.path();
        if is_hidden(entry.file_name().as_encoded_bytes()) {
            return Ok(());
        }
        let relative = relative(path, root);
        if relative.as_ref().is_some_and(|relative| !self.patterns.take(relative)) {
            return Ok(());
        }
        let is_link = entry.path_is_symlink();
        let Some(format) = Format::with_code(path, self.code) else {
            self.walked.unsupported += usize::from(!is_link || path.is_file());
            return Ok(());
        };
        let target = is_link.then(|| path.canonicalize()).transpose().map_err(|error| describe(&error))?;
        if let Some(target) = &target {
            if !self.roots.owned_by(root, target) {
                return Err("a link that leads out of the folder".to_owned());
            }
            // What a linked folder holds is found at its own place.
            if target.is_dir() {
                return Ok(());
            }
        }
        let meta = path.metadata().map_err(|error| describe(&error))?;
        if !meta.is_file() {
            return Err("not a regular file".to_owned());
        }
        let relative = relative.ok_or("its name is not Unicode")?;
        let mut file = FoundFile {
            path: path.to_owned(),
            name: String::new(),
            relative,
            format,
            bytes: meta.len(),
            modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        };
        match target {
            Some(target) => self.links.push(Link { target, root: root.to_owned(), file }),
            None => {
                file.name = free_name(&file.relative, root, &mut self.names);
                self.walked.files.push(file);
            }
        }
        Ok(())
    }

    /// Takes the links to files that no other name was found for: hidden ones, or those that a pattern leaves out.
    fn take_links(&mut self) {
        let mut found: HashSet<PathBuf> = self.walked.files.iter().map(|file| file.path.clone()).collect();
        for Link { target, root, mut file } in std::mem::take(&mut self.links) {
            if found.insert(target) {
                file.name = free_name(&file.relative, &root, &mut self.names);
                self.walked.files.push(file);
            }
        }
    }
}

/// Dot files, and the lock files that office programs leave beside an open document.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") || name.starts_with(b"~$")
}

fn relative(path: &Path, root: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path
        .strip_prefix(root)
        .ok()?
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    Some(parts?.join("/"))
}

fn free_name(relative: &str, root: &Path, names: &mut HashSet<String>) -> String {
    let folder = root.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let mut name = relative.to_owned();
    let mut number = 1;
    while !names.insert(name.clone()) {
        name = if number == 1 { format!("{folder}/{relative}") } else { format!("{folder}-{number}/{relative}") };
        number += 1;
    }
    name
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".into(),
        io::ErrorKind::PermissionDenied => "no permission to read it".into(),
        _ => error.to_string(),
    }
}

fn skip(walked: &mut Walked, path: &Path, reason: impl Into<String>) {
    walked.skipped.push(Skipped { path: path.to_owned(), reason: reason.into() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "testo").unwrap();
        }
        folder
    }

    fn names(walked: &Walked) -> Vec<&str> {
        walked.files.iter().map(|file| file.name.as_str()).collect()
    }

    fn collection(folders: &[PathBuf]) -> Collection {
        Collection { folders: folders.to_vec(), ..Collection::default() }
    }

    fn walk(folders: &[PathBuf]) -> Walked {
        let collection = collection(folders);
        let roots = Roots(folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect());
        super::walk(&collection, &roots)
    }

    #[test]
    fn files_are_found_in_order_and_the_rest_is_counted() {
        let folder = folder(&[
            "b/z.md",
            "b/a.HTML",
            "a.txt",
            ".git/x.md",
            ".nascosto.md",
            "b/~$a.docx",
            "logo.png",
            "b/Makefile",
        ]);
        let walked = walk(&[folder.path().to_owned()]);
        assert_eq!(names(&walked), ["a.txt", "b/a.HTML", "b/z.md"]);
        assert_eq!((walked.unsupported, walked.skipped.len()), (2, 0));
        assert_eq!(walked.files[0].bytes, 5);
        assert!(walked.files.iter().all(|file| file.path.is_absolute()));
    }

    #[test]
    fn links_lead_nowhere_but_inside() {
        let outside = folder(&["segreto.md"]);
        let folder = folder(&["a/uno.md", "a/.dati/due.md"]);
        let at = |name: &str| folder.path().join(name);
        symlink(at("a/.dati/due.md"), at("due.md")).unwrap();
        symlink(at("a/.dati/due.md"), at("due-bis.md")).unwrap();
        symlink(at("a/uno.md"), at("alias.md")).unwrap();
        symlink(outside.path().join("segreto.md"), at("tre.md")).unwrap();
        symlink(outside.path(), at("fuori")).unwrap();
        symlink(folder.path(), at("a/giro")).unwrap();
        symlink(at("mai.md"), at("rotto.md")).unwrap();
        let walked = walk(&[folder.path().to_owned()]);
        assert_eq!(names(&walked), ["a/uno.md", "due-bis.md"]);
        let reasons: Vec<&str> = walked.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        assert_eq!(reasons, ["it does not exist", "a link that leads out of the folder"]);
    }

    #[test]
    fn the_same_path_in_two_folders_stays_two_documents() {
        let parent = folder(&["it/ferie.md", "en/ferie.md", "x/en/ferie.md"]);
        let at = |name: &str| parent.path().join(name);
        let walked = walk(&[at("it"), at("en"), at("x/en")]);
        assert_eq!(names(&walked), ["en-2/ferie.md", "en/ferie.md", "ferie.md"]);
    }

    #[test]
    fn a_link_that_is_no_document_takes_no_name() {
        let parent = folder(&["it/ferie.md", "en/orari.md"]);
        let at = |name: &str| parent.path().join(name);
        symlink(at("it/ferie.md"), at("it/orari.md")).unwrap();
        assert_eq!(names(&walk(&[at("it"), at("en")])), ["ferie.md", "orari.md"]);
    }

    #[test]
    fn a_folder_inside_another_is_walked_once() {
        let folder = folder(&["a/uno.md", "due.md"]);
        let twice = folder.path().join("a/../a");
        let walked = walk(&[folder.path().to_owned(), folder.path().join("a"), twice]);
        assert_eq!(names(&walked), ["due.md", "uno.md"]);
    }

    #[test]
    fn a_collection_inside_another_keeps_its_files_to_itself() {
        let folder = folder(&["due.md", "hr/uno.md"]);
        let at = |name: &str| folder.path().join(name);
        symlink(at("hr/uno.md"), at("tre.md")).unwrap();
        symlink(at("due.md"), at("hr/quattro.md")).unwrap();
        let (open, closed) = (collection(&[folder.path().to_owned()]), collection(&[at("hr")]));
        let roots = Roots::of(&[open.clone(), closed.clone()]).unwrap();
        let (open, closed) = (super::walk(&open, &roots), super::walk(&closed, &roots));
        assert_eq!((names(&open), names(&closed)), (vec!["due.md"], vec!["uno.md"]));
        assert_eq!((open.skipped.len(), closed.skipped.len()), (1, 1));
    }

    #[test]
    fn what_a_collection_leaves_out_is_not_walked() {
        let folder = folder(&["a/uno.md", "a/old/due.md", "b.txt", "c.md"]);
        let collection = Collection {
            include: vec!["*.md".to_owned()],
            exclude: vec!["old".to_owned()],
            ..collection(&[folder.path().to_owned()])
        };
        let walked = super::walk(&collection, &Roots::of(std::slice::from_ref(&collection)).unwrap());
        assert_eq!(names(&walked), ["a/uno.md", "c.md"]);
        assert_eq!((walked.unsupported, walked.skipped.len()), (0, 0));
    }

    #[test]
    fn a_folder_that_is_not_there_is_reported() {
        let folder = folder(&["uno.md"]);
        for (name, reason) in [("mai", "it does not exist"), ("uno.md", "not a folder")] {
            let missing = walk(&[folder.path().join(name)]).missing.map(|missing| missing.reason);
            assert_eq!(missing.as_deref(), Some(reason));
        }
        let there = collection(&[folder.path().to_owned()]);
        let gone = collection(&[folder.path().join("hr")]);
        assert!(Roots::of(&[there, gone]).is_err(), "what lies in it now may not be for everybody");
    }
}
