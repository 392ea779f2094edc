//! A folder for what a measurement writes.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::app::AppError;

/// For one measurement at a time: two would slow each other down. Empty at first, whatever one that was killed has left,
/// and removed at the end.
pub(super) struct Scratch {
    path: PathBuf,
    /// The folder around it, which stays. The lock goes with the process.
    _held: File,
}

impl Scratch {
    /// In the data folder, where there is room and nobody else looks: what is written may be made of documents.
    ///
    /// # Errors
    /// Another measurement runs; errors of the file system.
    pub(super) fn new(data: &Path) -> anyhow::Result<Self> {
        let around = data.join("measuring");
        let mut closed = DirBuilder::new();
        closed.recursive(true).mode(0o700);
        let made = std::fs::create_dir_all(data).and_then(|()| closed.create(&around));
        let held = made.and_then(|()| File::open(&around));
        let held = held.with_context(|| format!("cannot make {}", around.display()))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AppError::Measuring(data.to_owned()).into()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", around.display()));
            }
        }
        let path = around.join("now");
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
        closed.create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Scratch { path, _held: held })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_measurement_left_is_gone_and_two_do_not_share() {
        let data = tempfile::tempdir().unwrap();
        let first = Scratch::new(data.path()).unwrap();
        std::fs::write(first.path().join("piece"), "left").unwrap();
        let error = Scratch::new(data.path()).err().unwrap();
        assert_eq!(crate::cli::exit_code(&error), 75, "{error}");
        assert!(first.path().join("piece").exists());
        // As a killed process ends: the lock goes, the files stay.
        let left = first.path().to_owned();
        let aside = data.path().join("aside");
        std::fs::rename(&left, &aside).unwrap();
        drop(first);
        std::fs::rename(&aside, &left).unwrap();
        let second = Scratch::new(data.path()).unwrap();
        assert!(!second.path().join("piece").exists());
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }
}
