//! `cervella index` and `cervella index status`.

use std::io::IsTerminal;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::output;
use crate::app::App;
use crate::ingest::{FileState, IndexReport, Manifest, Progress};

#[derive(Debug, Args)]
pub(super) struct IndexArguments {
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
                let report = tokio::task::spawn_blocking(move || {
                    let embedder = app.embedder()?;
                    app.index(&embedder, self.full, &Bar::new(), &stop)
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
struct Status {
    generation: String,
    model: String,
    built_at: u64,
    documents: usize,
    passages: usize,
    folders: Vec<std::path::PathBuf>,
    files: Vec<FileStatus>,
}

#[derive(Serialize)]
struct FileStatus {
    path: String,
    bytes: u64,
    passages: usize,
    language: Option<crate::domain::Language>,
    skipped: Option<String>,
}

fn status(app: &App, json: bool) -> anyhow::Result<()> {
    let generation = app.index_store().open_current()?;
    let manifest: Manifest = serde_json::from_slice(&generation.manifest()?).context("the manifest cannot be read")?;
    let files = manifest.files.into_iter().map(|(path, entry)| {
        let (language, skipped) = match &entry.state {
            FileState::Indexed { language, .. } => (Some(*language), None),
            FileState::Skipped { reason } => (None, Some(reason.clone())),
        };
        FileStatus { path, bytes: entry.bytes, passages: entry.passages().len(), language, skipped }
    });
    let summary = generation.summary();
    let status = Status {
        generation: generation.name(),
        model: summary.model.name.clone(),
        built_at: summary.built_at,
        documents: summary.documents,
        passages: summary.passages,
        folders: manifest.folders,
        files: files.collect(),
    };
    if json {
        return output::json(&status);
    }
    output::line(format!(
        "{}: {} documents, {} passages, embedded with {}",
        status.generation, status.documents, status.passages, status.model
    ))?;
    for file in &status.files {
        let what = match (&file.skipped, file.language) {
            (Some(reason), _) => format!("skipped: {reason}"),
            (None, language) => {
                format!("{} passages, {}", file.passages, language.map_or("?", |language| language.code()))
            }
        };
        output::line(format!("  {}  {what}", file.path))?;
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
