//! `cervella index status`: what is in the index, how old it is, and what was skipped.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::app::App;
use crate::cli::output;
use crate::domain::{Collection, Language};
use crate::inference::{ReadAheadOptions, kept_pieces};
use crate::ingest::{FileState, Forgotten, ForgottenDocument, KnownFile, LastRun, Manifest};

#[derive(Serialize)]
struct Status<'a> {
    generation: String,
    model: String,
    /// Seconds since 1970-01-01 UTC.
    built_at: u64,
    age_s: u64,
    /// On the disk.
    bytes: u64,
    documents: usize,
    passages: usize,
    languages: BTreeMap<Language, Counts>,
    last_run: Option<LastRun>,
    /// `None`: nothing is read ahead.
    read_ahead: Option<ReadAhead>,
    forgotten: Vec<ForgottenDocument>,
    collections: Vec<CollectionStatus<'a>>,
    files: Vec<FileStatus<'a>>,
}

/// Passages that the model has read before anybody asked.
#[derive(Serialize)]
struct ReadAhead {
    passages: usize,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Counts {
    documents: usize,
    passages: usize,
}

#[derive(Serialize)]
struct CollectionStatus<'a> {
    #[serde(flatten)]
    collection: &'a Collection,
    documents: usize,
    passages: usize,
    /// By the language of the documents.
    languages: BTreeMap<Language, Counts>,
    skipped: usize,
}

#[derive(Serialize)]
struct FileStatus<'a> {
    collection: &'a str,
    path: &'a str,
    bytes: u64,
    passages: usize,
    language: Option<Language>,
    skipped: Option<&'a str>,
    /// What of it could not be read, and why.
    unread: Option<&'a str>,
}

impl<'a> FileStatus<'a> {
    fn of(KnownFile { collection, path, entry }: KnownFile<'a>) -> Self {
        let (language, skipped, unread) = match &entry.state {
            FileState::Indexed { language, unread, .. } => (Some(*language), None, unread.as_deref()),
            FileState::Skipped { reason } => (None, Some(reason.as_str()), None),
        };
        FileStatus { collection, path, bytes: entry.bytes, passages: entry.passages().len(), language, skipped, unread }
    }
}

impl<'a> CollectionStatus<'a> {
    fn of(collection: &'a Collection, files: &[FileStatus<'_>]) -> Self {
        let files = || files.iter().filter(|file| file.collection == collection.name);
        CollectionStatus {
            collection,
            documents: files().filter(|file| file.passages > 0).count(),
            passages: files().map(|file| file.passages).sum(),
            languages: by_language(files()),
            skipped: files().filter(|file| file.skipped.is_some()).count(),
        }
    }
}

fn by_language<'a>(files: impl Iterator<Item = &'a FileStatus<'a>>) -> BTreeMap<Language, Counts> {
    let mut languages: BTreeMap<Language, Counts> = BTreeMap::new();
    for file in files {
        if let Some(language) = file.language {
            let counts = languages.entry(language).or_default();
            counts.documents += 1;
            counts.passages += file.passages;
        }
    }
    languages
}

pub(super) fn print(app: &App, json: bool) -> anyhow::Result<()> {
    let store = app.index_store();
    let generation = store.open_current()?;
    let manifest = Manifest::of(&generation)?;
    let files: Vec<FileStatus> = manifest.files().map(FileStatus::of).collect();
    let summary = generation.summary();
    let now = UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs());
    let status = Status {
        generation: generation.name(),
        model: summary.model.name.clone(),
        built_at: summary.built_at,
        age_s: now.saturating_sub(summary.built_at),
        bytes: summary.bytes(),
        documents: summary.documents,
        passages: summary.passages,
        languages: by_language(files.iter()),
        last_run: LastRun::read(&store),
        read_ahead: app.read_ahead().map(|ReadAheadOptions { folder, bytes_max, .. }| {
            let (passages, bytes) = kept_pieces(&folder);
            ReadAhead { passages, bytes, bytes_max }
        }),
        forgotten: Forgotten::of(&store)?.documents().cloned().collect(),
        collections: manifest.settings().map(|collection| CollectionStatus::of(collection, &files)).collect(),
        files,
    };
    if json { output::json(&status) } else { print_text(&status, now) }
}

fn print_text(status: &Status<'_>, now: u64) -> anyhow::Result<()> {
    output::line(format!(
        "{}: {} documents, {} passages, {:.1} MB, built {} ago, embedded with {}",
        status.generation,
        status.documents,
        status.passages,
        status.bytes as f64 / 1e6,
        output::age(status.age_s),
        status.model
    ))?;
    if let Some(run) = &status.last_run {
        let ago = output::age(now.saturating_sub(run.at));
        output::line(match &run.error {
            Some(error) => format!("last run {ago} ago failed: {error}"),
            None => format!(
                "last run {ago} ago, in {}: {} new, {} changed, {} removed",
                output::spoken(run.seconds),
                run.added,
                run.changed,
                run.removed
            ),
        })?;
    }
    if let Some(ReadAhead { passages, bytes, bytes_max }) = &status.read_ahead {
        let gigabytes = |bytes: &u64| *bytes as f64 / 1e9;
        let (taken, most) = (gigabytes(bytes), gigabytes(bytes_max));
        output::line(format!("{passages} passages read ahead, in {taken:.1} of {most:.1} GB"))?;
    }
    for name in &status.forgotten {
        output::line(format!("forgotten: {} of {}", name.path, name.collection))?;
    }
    for of in &status.collections {
        let CollectionStatus { collection, documents, passages, languages, skipped } = of;
        let name = &collection.name;
        let languages: Vec<String> =
            languages.iter().map(|(language, counts)| format!("{} {language}", counts.documents)).collect();
        let languages = if languages.is_empty() { String::new() } else { format!(" ({})", languages.join(", ")) };
        output::line(format!(
            "{name}: {documents} documents{languages}, {passages} passages, {skipped} files skipped"
        ))?;
        for file in status.files.iter().filter(|file| file.collection == name) {
            let what = match (file.skipped, file.language.map_or("?", Language::code), file.unread) {
                (Some(reason), ..) => format!("skipped: {reason}"),
                (None, language, None) => format!("{} passages, {language}", file.passages),
                (None, language, Some(unread)) => format!("{} passages, {language}; {unread}", file.passages),
            };
            output::line(format!("  {}  {what}", file.path))?;
        }
    }
    Ok(())
}
