//! `cervella models list|pull|verify`. Results go to stdout, progress to stderr.

use std::fmt::Write as _;

use anyhow::bail;
use clap::Subcommand;

use super::output;
use crate::models::{
    CheckedFile, FileVerdict, HubOptions, ModelRow, ModelsFolder, ProgressView, PullOutcome, Pulled, Puller,
};

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show the models that can be pulled and those that are installed
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch models: a name of the list, `demo`, hf.co/OWNER/REPO:QUANT, or check a GGUF file of your own
    Pull {
        #[arg(required = true, value_name = "MODEL")]
        models: Vec<String>,
    },
    /// Check sizes and checksums of installed models
    Verify {
        /// Names of the list; all that is installed when there are none
        #[arg(value_name = "MODEL")]
        models: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl ModelsCommand {
    /// Runs the command on `folder`; hub and token come from `HF_ENDPOINT` and `HF_TOKEN`.
    ///
    /// # Errors
    /// What could not be fetched or read, and for `verify` the names of the files that are wrong.
    pub fn run(&self, folder: &ModelsFolder) -> anyhow::Result<()> {
        match self {
            Self::List { json } => list(folder, *json),
            Self::Pull { models } => pull(folder, models),
            Self::Verify { models, json } => verify(folder, models, *json),
        }
    }
}

fn list(folder: &ModelsFolder, json: bool) -> anyhow::Result<()> {
    let rows = folder.list()?;
    if json {
        return output::json(&serde_json::json!({ "folder": folder.path(), "models": rows }));
    }
    output::line(table(folder, &rows))
}

fn pull(folder: &ModelsFolder, models: &[String]) -> anyhow::Result<()> {
    let puller = Puller::new(folder.clone(), HubOptions::from_env(), ProgressView::Stderr);
    for model in models {
        for pulled in puller.pull(model)? {
            output::line(result(&pulled))?;
        }
    }
    Ok(())
}

fn verify(folder: &ModelsFolder, models: &[String], json: bool) -> anyhow::Result<()> {
    let checked = folder.verify(models, ProgressView::Stderr)?;
    if json {
        output::json(&serde_json::json!({ "folder": folder.path(), "files": checked }))?;
    } else {
        for file in &checked {
            output::line(verdict(file))?;
        }
    }
    let wrong: Vec<_> = checked.iter().filter(|file| matches!(file.verdict, FileVerdict::Wrong(_))).collect();
    if !wrong.is_empty() {
        let names: Vec<_> = wrong.iter().map(|file| file.path.as_str()).collect();
        bail!("{} of {} files are wrong: {}; pull those models again", wrong.len(), checked.len(), names.join(", "));
    }
    Ok(())
}

/// Columns: name, role, size, installed or not, and the path or what the model is for.
fn table(folder: &ModelsFolder, rows: &[ModelRow]) -> String {
    let width = rows.iter().map(|row| row.id.chars().count()).max().unwrap_or(0);
    let mut text = format!("models in {}", folder.path().display());
    for row in rows {
        let size = row.size_bytes.map_or_else(|| "-".to_owned(), |bytes| indicatif::DecimalBytes(bytes).to_string());
        let installed = if row.installed { "installed" } else { "-" };
        let what = if row.installed { row.path.display().to_string() } else { row.description.clone() };
        let _ = write!(text, "\n{:width$}  {:<9}  {size:>10}  {installed:<9}  {what}", row.id, row.role);
    }
    text
}

fn result(pulled: &Pulled) -> String {
    let Pulled { name, path, outcome } = pulled;
    let place = path.display();
    match outcome {
        PullOutcome::Fetched => format!("{name} is installed: {place}"),
        PullOutcome::AlreadyThere => format!("{name} is installed already: {place}"),
        PullOutcome::FullModelThere => format!("{name} is not needed, the full model is installed: {place}"),
        PullOutcome::OwnFile => format!(
            "{place} is a GGUF file and stays where it is; to answer with it, set in the settings\n\n\
             [models]\nanswer = \"{place}\""
        ),
    }
}

fn verdict(file: &CheckedFile) -> String {
    match &file.verdict {
        FileVerdict::Right => format!("right    {}", file.path),
        FileVerdict::Unknown => format!("unknown  {} (no checksum of it is known)", file.path),
        FileVerdict::Wrong(reason) => format!("wrong    {}: {reason}", file.path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_every_model() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("own.gguf"), "GGUF").unwrap();
        let folder = ModelsFolder::new(temporary.path().to_path_buf());
        let rows = folder.list().unwrap();
        let text = table(&folder, &rows);
        assert_eq!(text.lines().count(), 1 + rows.len());
        let line = |id: &str| text.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(line("llama-3.1-8b").contains("answer        4.92 GB  -          Llama 3.1 8B Instruct"));
        assert!(line("own.gguf").contains("installed") && line("own.gguf").ends_with("own.gguf"));
    }

    #[test]
    fn verify_fails_with_the_names_of_the_wrong_files() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("own.gguf"), "not one").unwrap();
        let folder = ModelsFolder::new(temporary.path().to_path_buf());
        let command = ModelsCommand::Verify { models: Vec::new(), json: false };
        let message = command.run(&folder).unwrap_err().to_string();
        assert_eq!(message, "1 of 1 files are wrong: own.gguf; pull those models again");
    }
}
