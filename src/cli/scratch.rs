//! A folder for what a measurement writes.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Removed at the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// In the data folder, where there is room and nobody else looks: what is written may be made of documents.
    pub(super) fn new(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join(format!("measuring-{}", std::process::id()));
        let made = std::fs::create_dir_all(data).and_then(|()| DirBuilder::new().mode(0o700).create(&folder));
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Scratch(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
