//! `cervella forget PATH`: takes a document out of the index now, and keeps it out.

use clap::Args;

use super::output;
use crate::app::{App, AppError};
use crate::ingest::{self, ForgetReport, ForgottenDocument};

#[derive(Debug, Args)]
pub(super) struct ForgetArguments {
    /// The document as hits name it, or its file
    path: String,
    /// Only in this collection
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Have it read again with the next index run
    #[arg(long)]
    undo: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl ForgetArguments {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        let (store, collection) = (app.index_store(), self.collection.as_deref());
        if self.undo {
            let back = ingest::undo_forget(&store, collection, &self.path).map_err(AppError::from)?;
            return if self.json { output::json(&back) } else { print_undone(&back) };
        }
        let report = ingest::forget(&store, collection, &self.path).map_err(AppError::from)?;
        if self.json {
            output::json(&report)?;
        } else {
            print(&report)?;
        }
        match store.open_current() {
            Ok(generation) => app.forget_pieces(&generation),
            Err(error) => tracing::warn!(%error, "what the model has read of it is removed with the next start"),
        }
        anyhow::ensure!(report.passages_left == 0, "{} passages are still in the index", report.passages_left);
        Ok(())
    }
}

fn print_undone(documents: &[ForgottenDocument]) -> anyhow::Result<()> {
    documents.iter().try_for_each(|ForgottenDocument { collection, path, .. }| {
        output::line(format!("{path} of {collection} is read again with the next index run"))
    })
}

fn print(report: &ForgetReport) -> anyhow::Result<()> {
    for ForgottenDocument { collection, path, .. } in &report.documents {
        output::line(format!("forgotten: {path} of {collection}"))?;
    }
    output::line(format!(
        "{} passages taken out of the index, {} left; answers that were already given keep their quotes",
        report.passages, report.passages_left
    ))?;
    for file in &report.files_left {
        output::line(format!("{} is still there, and is not read any more", file.display()))?;
    }
    Ok(())
}
