//! What a reader of a format is told about the file, and how much reading it may cost. The budget counts bytes that
//! really came out: what an archive declares may lie. One budget serves a file and everything inside it.

use std::cell::Cell;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::{ExtractError, Format};

/// Bytes that all parts of a file together may unpack to.
const UNPACKED_BYTES_MAX: u64 = 128 << 20;
/// Bytes of text where little of a file stands for much text: a string that many cells show, a row that repeats. Below
/// what a child process may answer with.
const TEXT_BYTES_MAX: u64 = 48 << 20;
/// Time that reading the pages of a file that are images may take: some hundred pages.
pub(super) const RECOGNITION_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// The file that is read; an entry of an archive has a path that goes on inside of it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) format: Format,
    pub(super) budget: &'a Budget<'a>,
}

impl Source<'_> {
    pub(super) fn damaged(&self, reason: impl Display) -> ExtractError {
        ExtractError::Damaged { path: self.path.to_owned(), format: self.format.name(), reason: reason.to_string() }
    }

    pub(super) fn encrypted(&self) -> ExtractError {
        ExtractError::Encrypted { path: self.path.to_owned() }
    }
}

/// Counts down while a file is read.
pub(super) struct Budget<'a> {
    /// The file on the disk.
    path: &'a Path,
    unpacked: Cell<u64>,
    text: Cell<u64>,
    recognition: Cell<Duration>,
}

impl<'a> Budget<'a> {
    pub(super) fn new(path: &'a Path) -> Self {
        Budget {
            path,
            unpacked: Cell::new(UNPACKED_BYTES_MAX),
            text: Cell::new(TEXT_BYTES_MAX),
            recognition: Cell::new(RECOGNITION_TIME_MAX),
        }
    }

    /// Time in which pages that are images may still be read.
    pub(super) fn recognition_left(&self) -> Duration {
        self.recognition.get()
    }

    pub(super) fn take_recognition(&self, time: Duration) {
        self.recognition.set(self.recognition.get().saturating_sub(time));
    }

    /// Bytes that may still be unpacked.
    pub(super) fn unpacked_left(&self) -> u64 {
        self.unpacked.get()
    }

    pub(super) fn unpack(&self, bytes: u64) -> Result<(), ExtractError> {
        self.take(&self.unpacked, bytes, UNPACKED_BYTES_MAX)
    }

    pub(super) fn write(&self, bytes: usize) -> Result<(), ExtractError> {
        self.take(&self.text, bytes as u64, TEXT_BYTES_MAX)
    }

    fn take(&self, left: &Cell<u64>, bytes: u64, limit_bytes: u64) -> Result<(), ExtractError> {
        let after = left.get().checked_sub(bytes);
        // What is spent stays spent: no later part of the file fits in by chance.
        left.set(after.unwrap_or(0));
        after.map(|_| ()).ok_or_else(|| ExtractError::UnpacksTooLarge { path: self.path.to_owned(), limit_bytes })
    }
}
