//! Notices that something in the knowledge folders may have changed. What changed is found by an index run, which
//! compares contents: events come late, twice or never, and only how soon a change is seen depends on them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::extract::Format;
use super::walk::is_hidden;
use crate::domain::Collection;

/// The folders under watch, for as long as it lives.
pub struct FolderWatch {
    _watcher: Option<RecommendedWatcher>,
    changed: Arc<Notify>,
    /// Each folder with what tells whether it is still the same one.
    folders: Vec<(PathBuf, Option<Identity>)>,
    /// The folders that tell nothing by themselves, each with the reason, and have to be compared regularly.
    pub silent: Vec<(PathBuf, String)>,
}

/// Device and number of a folder.
type Identity = (u64, u64);

impl FolderWatch {
    /// Blocks while folders are many.
    pub fn start(collections: &[Collection]) -> Self {
        let folders: Vec<PathBuf> = collections.iter().flat_map(|collection| collection.folders.clone()).collect();
        let code: Vec<String> = collections.iter().flat_map(|collection| collection.code.clone()).collect();
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        let roots: Vec<PathBuf> = folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        let hear = move |event: notify::Result<Event>| {
            // An error may hide a change.
            if event.as_ref().map_or(true, |event| may_change_documents(event, &roots, &code)) {
                told.notify_one();
            }
        };
        // Linked folders are not walked either.
        let config = notify::Config::default().with_follow_symlinks(false);
        let mut silent = Vec::new();
        let mut watcher = RecommendedWatcher::new(hear, config)
            .inspect_err(|error| silent.push((PathBuf::from("/"), error.to_string())))
            .ok();
        for folder in &folders {
            if let Some(kind) = network_file_system(folder) {
                silent.push((folder.clone(), format!("{kind} does not tell what other machines change")));
            }
            let watched = watcher.as_mut().map(|watcher| {
                let root = folder.canonicalize().map_err(notify::Error::io)?;
                watcher.watch(&root, RecursiveMode::Recursive)
            });
            if let Some(Err(error)) = watched {
                silent.push((folder.clone(), error.to_string()));
            }
        }
        let known = |folder: PathBuf| {
            let identity = identity(&folder);
            (folder, identity)
        };
        let folders = folders.into_iter().map(known).collect();
        FolderWatch { _watcher: watcher, changed, folders, silent }
    }

    /// Returns when something may have changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether a folder was replaced or mounted over: what happens in it now is not heard.
    pub fn is_stale(&self) -> bool {
        self.folders.iter().any(|(folder, known)| identity(folder) != *known)
    }
}

fn identity(folder: &Path) -> Option<Identity> {
    std::fs::metadata(folder).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Reading a file, as an index run does, is no change; nor is what happens to files that are not read.
fn may_change_documents(event: &Event, roots: &[PathBuf], code: &[String]) -> bool {
    let (changes, of_file) = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => (true, true),
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => (false, false),
        EventKind::Modify(ModifyKind::Data(_))
        | EventKind::Create(CreateKind::File)
        | EventKind::Remove(RemoveKind::File) => (true, true),
        _ => (true, false),
    };
    let is_read = |path: &PathBuf| {
        let inside = roots.iter().find_map(|root| path.strip_prefix(root).ok()).unwrap_or(path);
        let hidden = inside.components().any(|part| is_hidden(part.as_os_str().as_encoded_bytes()));
        !hidden && (!of_file || Format::with_code(path, code).is_some())
    };
    event.need_rescan() || (changes && event.paths.iter().any(is_read))
}

/// Name of the file system, if files on it can change without this machine's doing.
#[cfg(target_os = "linux")]
fn network_file_system(folder: &Path) -> Option<&'static str> {
    // linux/magic.h
    const KINDS: [(i64, &str); 5] =
        [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB"), (0x517B, "SMB"), (0x6573_5546, "FUSE")];
    let magic = rustix::fs::statfs(folder).ok()?.f_type & 0xFFFF_FFFF;
    KINDS.iter().find(|(kind, _)| *kind == magic).map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_folder: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, MetadataKind};
    use std::time::Duration;

    fn of(folder: &Path) -> Collection {
        Collection { folders: vec![folder.to_owned()], ..Collection::default() }
    }

    #[track_caller]
    fn check(kind: EventKind, path: &str, expect: bool) {
        let event = Event::new(kind).add_path(path.into());
        assert_eq!(
            may_change_documents(&event, &["/.home/k".into()], &["RS".to_owned()]),
            expect,
            "{kind:?} of {path}"
        );
    }

    #[test]
    fn what_changes_a_document_is_told_from_what_reads_it() {
        check(EventKind::Create(CreateKind::File), "/.home/k/a.md", true);
        check(EventKind::Remove(RemoveKind::Folder), "/.home/k/a", true);
        check(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/.home/k/a.md", true);
        check(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/.home/k/a.md", true);
        check(EventKind::Access(AccessKind::Close(AccessMode::Read)), "/.home/k/a.md", false);
        check(EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)), "/.home/k/a.md", false);
        check(EventKind::Create(CreateKind::File), "/.home/k/.a.md.swp", false);
        check(EventKind::Create(CreateKind::File), "/.home/k/.git/notes.md", false);
        check(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/.home/k/service.log", false);
        check(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/.home/k/service.rs", true);
    }

    #[tokio::test]
    async fn a_file_in_a_new_folder_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let watch = FolderWatch::start(&[of(folder.path())]);
        assert_eq!(watch.silent, []);
        for name in ["a.md", "new/b.md", "new/newer/c.md"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            // What is written before a new folder is watched is found by the run that the folder itself sets off.
            let mut writes = 0;
            loop {
                std::fs::write(&path, "text").unwrap();
                writes += 1;
                if tokio::time::timeout(Duration::from_secs(2), watch.changed()).await.is_ok() {
                    break;
                }
                assert!(writes < 10, "{name} is not noticed");
            }
        }
        assert!(!watch.is_stale());
        let elsewhere = folder.path().with_extension("elsewhere");
        std::fs::rename(folder.path(), &elsewhere).unwrap();
        std::fs::create_dir(folder.path()).unwrap();
        assert!(watch.is_stale());
        std::fs::remove_dir_all(elsewhere).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_watched_is_named() {
        let watch = FolderWatch::start(&[of(Path::new("/no/such/folder"))]);
        assert_eq!(watch.silent[0].0, PathBuf::from("/no/such/folder"));
    }
}
