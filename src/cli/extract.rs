//! `cervella extract FILE` (hidden): the child process that parses files which could take a parser down with them.

use std::path::PathBuf;

use clap::Args;

use crate::ingest;

#[derive(Debug, Args)]
pub(super) struct ExtractArguments {
    file: PathBuf,
}

impl ExtractArguments {
    pub(super) fn run(self) -> anyhow::Result<()> {
        Ok(ingest::run_child(&self.file, std::io::stdout().lock())?)
    }
}
