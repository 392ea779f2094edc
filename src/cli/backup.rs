//! `cervella backup DIR`, `cervella restore DIR`, `cervella migrate`: the state of the service as a whole.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output;
use crate::app::{App, AppError};
use crate::chat::clock;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// Folder that is made; one that is there already is refused
    dir: PathBuf,
    /// Make it in this folder, under the time as its name, and keep the newest so many of those
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    keep: Option<u16>,
    /// Print what it holds as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// Folder that `cervella backup` made
    dir: PathBuf,
    /// Print what was restored as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct MigrateArguments {
    /// Print the layout as JSON
    #[arg(long)]
    json: bool,
}

impl BackupArguments {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        let now = clock::now();
        let (folder, manifest) = match self.keep {
            None => (self.dir.clone(), app.back_up(&self.dir, now)?),
            Some(keep) => app.back_up_into(&self.dir, keep.into(), now)?,
        };
        if self.json {
            return output::json(&manifest);
        }
        let store =
            manifest.store_rows.map_or_else(|| "no store".to_owned(), |rows| format!("{rows} rows of the store"));
        let index = if manifest.has_index { "the index" } else { "no index" };
        let megabytes = manifest.bytes() as f64 / 1e6;
        output::line(format!("{}: {store}, {index}, {megabytes:.1} MB", folder.display()))
    }
}

impl RestoreArguments {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        let restored = app.restore(&self.dir, clock::now())?;
        if self.json {
            return output::json(&restored);
        }
        let at = jiff::Timestamp::from_second(restored.manifest.made_at).unwrap_or_default();
        output::line(format!("restored the backup of {at} into {}", app.data().display()))?;
        if let Some(aside) = &restored.store_put_aside {
            output::line(format!("the store that was there lies in {}", aside.display()))?;
        }
        Ok(())
    }
}

impl MigrateArguments {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        let folder = app.store_folder();
        if !folder.exists() {
            return if self.json {
                output::json(&json!({ "layout": null }))
            } else {
                output::line("there is no store yet")
            };
        }
        let store = Store::open(&folder).map_err(AppError::from)?;
        let layout = store.layout().map_err(AppError::from)?;
        if self.json {
            return output::json(&json!({ "layout": layout }));
        }
        output::line(format!("the store {} has layout {layout}, the newest that this version knows", folder.display()))
    }
}
