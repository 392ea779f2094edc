//! Folders to the list of files that can be read. Nothing is opened here.

use std::collections::HashSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use walkdir::WalkDir;

use super::extract::Format;

/// A file that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// The knowledge folder, as it was given.
    pub folder: PathBuf,
    /// Absolute.
    pub path: PathBuf,
    /// Name of the document everywhere else: the path inside its folder, with `/`. If an earlier folder has a file of
    /// that path too, the folder's own name (and a number, should that be taken as well) stands before it.
    pub relative: String,
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

/// What a walk over the folders found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Sorted by `relative`.
    pub files: Vec<FoundFile>,
    /// Sorted by path.
    pub skipped: Vec<Skipped>,
    /// Files whose format is not read.
    pub unsupported: usize,
}

/// Finds the files of all `folders`. Hidden files and folders are passed over; a link is followed to a file inside its
/// folder only, so that walks end and nothing outside is read. A folder inside another one is walked once.
pub fn walk(folders: &[PathBuf]) -> Walked {
    let mut walked = Walked::default();
    let mut seen = HashSet::new();
    let mut names = HashSet::new();
    for folder in folders {
        match folder.canonicalize() {
            Ok(root) if root.is_dir() => walk_folder(folder, &root, &mut seen, &mut names, &mut walked),
            Ok(_) => skip(&mut walked, folder, "not a folder"),
            Err(error) => skip(&mut walked, folder, describe(&error)),
        }
    }
    walked.files.sort_by(|a, b| a.relative.cmp(&b.relative));
    walked.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    walked
}

fn walk_folder(
    folder: &Path,
    root: &Path,
    seen: &mut HashSet<PathBuf>,
    names: &mut HashSet<String>,
    walked: &mut Walked,
) {
    let entries = WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name().as_encoded_bytes()));
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let reason = error.io_error().map_or_else(|| "cannot be walked".to_owned(), describe);
                skip(walked, error.path().unwrap_or(root), reason);
                continue;
            }
        };
        let path = entry.path();
        let kind = entry.file_type();
        if kind.is_dir() {
            continue;
        }
        if Format::of(path).is_none() {
            walked.unsupported += usize::from(!kind.is_symlink() || path.is_file());
            continue;
        }
        if kind.is_symlink() {
            match path.canonicalize() {
                Ok(target) if !target.starts_with(root) => {
                    skip(walked, path, "a link that leads out of the folder");
                    continue;
                }
                // What a linked folder holds is found at its own place.
                Ok(target) if target.is_dir() => continue,
                Ok(_) => {}
                Err(error) => {
                    skip(walked, path, describe(&error));
                    continue;
                }
            }
        }
        let meta = match path.metadata() {
            Ok(meta) if meta.is_file() => meta,
            Ok(_) => {
                skip(walked, path, "not a regular file");
                continue;
            }
            Err(error) => {
                skip(walked, path, describe(&error));
                continue;
            }
        };
        let Some(relative) = relative(path, root) else {
            skip(walked, path, "its name is not Unicode");
            continue;
        };
        if seen.insert(path.to_owned()) {
            walked.files.push(FoundFile {
                folder: folder.to_owned(),
                path: path.to_owned(),
                relative: free_name(&relative, root, names),
                bytes: meta.len(),
                modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
    }
}

/// Dot files, and the lock files that office programs leave beside an open document.
fn is_hidden(name: &[u8]) -> bool {
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
        walked.files.iter().map(|file| file.relative.as_str()).collect()
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
        let folder = folder(&["a/uno.md"]);
        let at = |name: &str| folder.path().join(name);
        symlink(at("a/uno.md"), at("due.md")).unwrap();
        symlink(outside.path().join("segreto.md"), at("tre.md")).unwrap();
        symlink(outside.path(), at("fuori")).unwrap();
        symlink(folder.path(), at("a/giro")).unwrap();
        symlink(at("mai.md"), at("rotto.md")).unwrap();
        let walked = walk(&[folder.path().to_owned()]);
        assert_eq!(names(&walked), ["a/uno.md", "due.md"]);
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
    fn a_folder_inside_another_is_walked_once() {
        let folder = folder(&["a/uno.md"]);
        let walked = walk(&[folder.path().to_owned(), folder.path().join("a")]);
        assert_eq!(names(&walked), ["a/uno.md"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_reported() {
        let folder = folder(&["uno.md"]);
        let walked = walk(&[folder.path().join("mai"), folder.path().join("uno.md")]);
        let reasons: Vec<&str> = walked.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        assert_eq!(reasons, ["it does not exist", "not a folder"]);
    }
}
