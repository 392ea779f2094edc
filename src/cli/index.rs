//! `cervella index` and `cervella index status`.

mod ahead;
mod golden;
mod status;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::output;
use crate::app::{App, AppError, IndexScope};
use crate::ingest::{Admission, IndexReport, IngestError, Progress};
use golden::{Difference, Golden};

#[derive(Debug, Args)]
pub(super) struct IndexArguments {
    /// Read the folders of this collection alone
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Read every file again instead of what changed
    #[arg(long)]
    full: bool,
    /// Folders that are empty and on another disk than before were emptied; otherwise their shares count as not mounted
    #[arg(long)]
    emptied: bool,
    /// Make the new index live only if these questions find their documents as well as before
    #[arg(long, value_name = "GOLDEN.jsonl")]
    check: Option<PathBuf>,
    /// Then have the answer model read passages before anybody asks, as many as there is room for (`inference.passage_kv_gb`), but no more
    /// than 4,096 that no question found yet; Ctrl-C ends it, and what was read stays
    #[arg(long, conflicts_with = "check")]
    read_ahead: bool,
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
        if matches!(self.command, Some(IndexCommand::Status)) {
            return status::print(&app, self.json);
        }
        let stop = super::stop_on_signal()?;
        let (json, checks) = (self.json, self.check.is_some());
        if self.read_ahead && app.read_ahead().is_none() {
            return Err(AppError::NoRoomAhead.into());
        }
        let ahead = self.read_ahead.then(|| (app.clone(), stop.clone()));
        let (report, difference) =
            tokio::task::spawn_blocking(move || self.index(&app, &stop)).await.map_err(AppError::from)??;
        match (report, difference) {
            (Ok(report), difference) if json => output::json(&Checked { report: Some(report), check: difference }),
            (Err(refused), difference) if json => {
                output::json(&Checked { report: None, check: difference })?;
                Err(refused.into())
            }
            (report, difference) => {
                match difference {
                    Some(difference) => difference.print()?,
                    None if checks => eprintln!("the golden questions were not compared: nothing to compare with"),
                    None => {}
                }
                print(&report?)
            }
        }?;
        let Some((app, stop)) = ahead else { return Ok(()) };
        tokio::task::spawn_blocking(move || ahead::read(&app, &stop)).await.map_err(AppError::from)?
    }

    /// The report, or the error of a new index that was refused.
    fn index(
        self,
        app: &App,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Result<IndexReport, AppError>, Option<Difference>)> {
        let embedder = app.embedder()?;
        let golden = self.check.map(|file| Golden::read(&file, Arc::clone(&embedder))).transpose()?;
        let scope = IndexScope { collection: self.collection, full: self.full, emptied: self.emptied };
        let admission = golden.as_ref().map(|golden| golden as &dyn Admission);
        match app.index(&embedder, &scope, &Bar::new(), admission, stop) {
            Err(error) if !matches!(error, AppError::Ingest(IngestError::Refused)) => Err(error.into()),
            outcome => Ok((outcome, golden.and_then(Golden::into_difference))),
        }
    }
}

#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    report: Option<IndexReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Difference>,
}

fn print(report: &IndexReport) -> anyhow::Result<()> {
    tell_unread(report);
    let partly_read = match report.partly_read.len() {
        0 => String::new(),
        files => format!(", read in part {files}"),
    };
    output::line(format!(
        "indexed {} documents, {} passages in {} (new {}, changed {}, removed {}, unchanged {}, skipped {}{partly_read})",
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

/// Which files were not read, or only in part, on stderr.
pub(super) fn tell_unread(report: &IndexReport) {
    for (what, files) in [("skipped", &report.skipped), ("read in part", &report.partly_read)] {
        for file in files {
            eprintln!("{what} {}: {}", file.path, file.reason);
        }
    }
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
