//! `cervella index` and `cervella index status`.

use std::io::IsTerminal;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::output;
use crate::app::{App, IndexScope};
use crate::domain::{Collection, Language};
use crate::ingest::{FileState, IndexReport, KnownFile, Manifest, Progress};

#[derive(Debug, Args)]
pub(super) struct IndexArguments {
    /// Read the folders of this collection alone
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Read every file again instead of what changed
    #[arg(long)]
    full: bool,
    /// Print the report as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<IndexCommand>,
}

#[derive(Debug, Subcommand)]
enum IndexCommand {
    /// Show what is in the index and what was skipped
    Status,
}

impl IndexArguments {
    pub(super) async fn run(self, app: App) -> anyhow::Result<()> {
        match self.command {
            Some(IndexCommand::Status) => status(&app, self.json),
            None => {
                let stop = super::stop_on_signal()?;
                let scope = IndexScope { collection: self.collection, full: self.full };
                let report = tokio::task::spawn_blocking(move || {
                    let embedder = app.embedder()?;
                    app.index(&embedder, &scope, &Bar::new(), &stop)
                })
                .await
                .context("the index run panicked")??;
                print(&report, self.json)
            }
        }
    }
}

fn print(report: &IndexReport, json: bool) -> anyhow::Result<()> {
    for skipped in &report.skipped {
        eprintln!("skipped {}: {}", skipped.path, skipped.reason);
    }
    if json {
        return output::json(report);
    }
    output::line(format!(
        "indexed {} documents, {} passages in {} (new {}, changed {}, removed {}, unchanged {}, skipped {})",
        report.documents,
        report.passages,
        output::spoken(report.seconds),
        report.added,
        report.changed,
        report.removed,
        report.unchanged,
        report.skipped.len()
    ))
}

#[derive(Serialize)]
struct Status<'a> {
    generation: String,
    model: String,
    built_at: u64,
    documents: usize,
    passages: usize,
    collections: Vec<CollectionStatus<'a>>,
    files: Vec<FileStatus<'a>>,
}

#[derive(Serialize)]
struct CollectionStatus<'a> {
    #[serde(flatten)]
    collection: &'a Collection,
    documents: usize,
    passages: usize,
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
}

impl<'a> FileStatus<'a> {
    fn of(KnownFile { collection, path, entry }: KnownFile<'a>) -> Self {
        let (language, skipped) = match &entry.state {
            FileState::Indexed { language, .. } => (Some(*language), None),
            FileState::Skipped { reason } => (None, Some(reason.as_str())),
        };
        FileStatus { collection, path, bytes: entry.bytes, passages: entry.passages().len(), language, skipped }
    }
}

impl<'a> CollectionStatus<'a> {
    fn of(collection: &'a Collection, files: &[FileStatus<'_>]) -> Self {
        let mut status = CollectionStatus { collection, documents: 0, passages: 0, skipped: 0 };
        for file in files.iter().filter(|file| file.collection == collection.name) {
            status.documents += usize::from(file.passages > 0);
            status.passages += file.passages;
            status.skipped += usize::from(file.skipped.is_some());
        }
        status
    }
}

fn status(app: &App, json: bool) -> anyhow::Result<()> {
    let generation = app.index_store().open_current()?;
    let manifest = Manifest::of(&generation)?;
    let files: Vec<FileStatus> = manifest.files().map(FileStatus::of).collect();
    let summary = generation.summary();
    let status = Status {
        generation: generation.name(),
        model: summary.model.name.clone(),
        built_at: summary.built_at,
        documents: summary.documents,
        passages: summary.passages,
        collections: manifest.settings().map(|collection| CollectionStatus::of(collection, &files)).collect(),
        files,
    };
    if json {
        return output::json(&status);
    }
    output::line(format!(
        "{}: {} documents, {} passages, embedded with {}",
        status.generation, status.documents, status.passages, status.model
    ))?;
    for of in &status.collections {
        let CollectionStatus { collection, documents, passages, skipped } = of;
        let name = &collection.name;
        output::line(format!("{name}: {documents} documents, {passages} passages, {skipped} files skipped"))?;
        for file in status.files.iter().filter(|file| file.collection == name) {
            let what = match (&file.skipped, file.language) {
                (Some(reason), _) => format!("skipped: {reason}"),
                (None, language) => {
                    format!("{} passages, {}", file.passages, language.map_or("?", |language| language.code()))
                }
            };
            output::line(format!("  {}  {what}", file.path))?;
        }
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        Bar(if std::io::stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() })
    }
}

impl Progress for Bar {
    fn start(&self, files: usize) {
        self.0.set_length(files as u64);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} files, {eta} left") {
            self.0.set_style(style);
        }
    }

    fn file(&self, _passages: usize) {
        self.0.inc(1);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
