//! Folders to passages: find the files, extract their text, cut it, hand what changed to the index.
//! What a question is, nobody here knows.

mod chunk;
mod document;
mod extract;
mod forget;
mod last_run;
mod manifest;
mod patterns;
mod reading;
mod run;
mod walk;
mod watch;

pub use extract::{Format, extract_here, run_child, scans_are_read};
pub use forget::{ForgetReport, Forgotten, ForgottenDocument, forget, restore_index, undo_forget};
pub use last_run::LastRun;
pub use manifest::{FileEntry, FileState, KnownFile, Manifest};
pub use run::{Admission, IndexReport, IndexRun, IngestError, NoProgress, Progress, SkippedFile};
pub use watch::FolderWatch;
