//! Notices that something in the knowledge folders may have changed. What changed is found by an index run, which
//! compares contents: events come late, twice or never, and only how soon a change is seen depends on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::walk::is_hidden;

/// The folders under watch, for as long as it lives.
pub struct FolderWatch {
    _watcher: Option<RecommendedWatcher>,
    changed: Arc<Notify>,
    /// The folders that tell nothing by themselves, each with the reason, and have to be compared regularly.
    pub silent: Vec<(PathBuf, String)>,
}

impl FolderWatch {
    pub fn start<'a>(folders: impl Iterator<Item = &'a PathBuf>) -> Self {
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        let mut silent = Vec::new();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may hide a change.
            if event.as_ref().map_or(true, may_change_documents) {
                told.notify_one();
            }
        });
        let mut watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                silent.push((PathBuf::from("/"), error.to_string()));
                None
            }
        };
        for folder in folders {
            if let Some(kind) = network_file_system(folder) {
                silent.push((folder.clone(), format!("{kind} does not tell what other machines change")));
            }
            let watched = watcher.as_mut().map(|watcher| watcher.watch(folder, RecursiveMode::Recursive));
            if let Some(Err(error)) = watched {
                silent.push((folder.clone(), error.to_string()));
            }
        }
        FolderWatch { _watcher: watcher, changed, silent }
    }

    /// Returns when something may have changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Reading a file, as an index run does, is no change.
fn may_change_documents(event: &Event) -> bool {
    let changes = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    };
    let is_seen = |path: &PathBuf| path.file_name().is_none_or(|name| !is_hidden(name.as_encoded_bytes()));
    event.need_rescan() || (changes && event.paths.iter().any(is_seen))
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
    use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind};
    use std::time::Duration;

    #[track_caller]
    fn check(kind: EventKind, path: &str, expect: bool) {
        assert_eq!(may_change_documents(&Event::new(kind).add_path(path.into())), expect, "{kind:?} of {path}");
    }

    #[test]
    fn what_changes_a_document_is_told_from_what_reads_it() {
        check(EventKind::Create(CreateKind::File), "/k/a.md", true);
        check(EventKind::Remove(RemoveKind::Folder), "/k/a", true);
        check(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/k/a.md", true);
        check(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/k/a.md", true);
        check(EventKind::Access(AccessKind::Close(AccessMode::Read)), "/k/a.md", false);
        check(EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)), "/k/a.md", false);
        check(EventKind::Create(CreateKind::File), "/k/.a.md.swp", false);
    }

    #[tokio::test]
    async fn a_file_in_a_new_folder_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let watch = FolderWatch::start([folder.path().to_owned()].iter());
        assert_eq!(watch.silent, []);
        for name in ["a.md", "new/b.md", "new/newer/c.md"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "text").unwrap();
            tokio::time::timeout(Duration::from_secs(20), watch.changed()).await.expect(name);
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_watched_is_named() {
        let watch = FolderWatch::start([PathBuf::from("/no/such/folder")].iter());
        assert_eq!(watch.silent[0].0, PathBuf::from("/no/such/folder"));
    }
}
