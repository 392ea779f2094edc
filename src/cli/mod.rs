//! One file per subcommand. Results go to stdout, everything else to stderr.

mod ask;
mod backup;
mod bench;
mod chat;
mod demo;
mod doctor;
mod eval;
mod extract;
mod forget;
mod index;
mod models;
mod output;
mod report;
mod scratch;
mod search;
mod serve;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppError};
use crate::settings::{self, Overrides, SettingsError};
use crate::telemetry::{self, LogForm, Verbosity};

/// Answers a team's questions from the team's own documents.
#[derive(Debug, Parser)]
#[command(name = "cervella", version, max_term_width = 100)]
pub struct Arguments {
    /// Settings file (TOML); see cervella.example.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the index and all state
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: the chat page, and the index kept open
    Serve(serve::ServeArguments),
    /// Try it: the sample handbook with the small demo models
    Demo(demo::DemoArguments),
    /// Bring the index up to date with the knowledge folders
    Index(index::IndexArguments),
    /// Take a document out of the index now, and keep it out
    Forget(forget::ForgetArguments),
    /// Find passages
    Search(search::SearchArguments),
    /// Answer one question
    Ask(ask::AskArguments),
    /// Ask questions in the terminal
    Chat(chat::ChatArguments),
    /// Measure search and the evidence gate on a file of questions
    Eval(eval::EvalArguments),
    /// List, fetch and verify models
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Copy store, index and settings into a new folder, while the service runs or not
    Backup(backup::BackupArguments),
    /// Bring back what a backup holds
    Restore(backup::RestoreArguments),
    /// Bring the store to the layout of this version
    Migrate(backup::MigrateArguments),
    /// Check settings, models, index, disk and memory
    Doctor(doctor::DoctorArguments),
    /// Print how the service fared: answers, times, memory, ratings
    Report(report::ReportArguments),
    /// Measure speed
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Extract one file in this process, for the process that indexes
    #[command(hide = true)]
    Extract(extract::ExtractArguments),
}

impl Arguments {
    /// How much this command logs.
    fn verbosity(&self) -> Verbosity {
        match self.command {
            Command::Serve(_) => Verbosity::Normal,
            _ => Verbosity::Quiet,
        }
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// What the command could not do; [`exit_code`] tells how the process should end.
    pub fn run(self) -> anyhow::Result<()> {
        let verbosity = self.verbosity();
        // The child that extracts a file needs neither settings nor a runtime.
        if let Command::Extract(arguments) = self.command {
            telemetry::start(verbosity, LogForm::Text, None)?;
            return arguments.run();
        }
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let overrides = Overrides { file: self.config, data: self.data, credentials };
        if let Command::Doctor(arguments) = self.command {
            telemetry::start(verbosity, LogForm::Text, None)?;
            return arguments.run(&overrides);
        }
        let settings = settings::load(&overrides)?;
        let form = match settings.telemetry.log {
            settings::LogForm::Text => LogForm::Text,
            settings::LogForm::Json => LogForm::Json,
        };
        let is_service = matches!(self.command, Command::Serve(_));
        let collector = Some(settings.telemetry.collector.as_str()).filter(|to| is_service && !to.is_empty());
        let _traces = telemetry::start(verbosity, form, collector)?;
        let app = App::new(settings)?;
        match self.command {
            Command::Serve(arguments) => block_on(arguments.run(app, overrides)),
            Command::Demo(arguments) => block_on(arguments.run(&app)),
            Command::Index(arguments) => block_on(arguments.run(app)),
            Command::Forget(arguments) => arguments.run(&app),
            Command::Search(arguments) => arguments.run(&app),
            Command::Ask(arguments) => block_on(arguments.run(&app)),
            Command::Chat(arguments) => block_on(arguments.run(&app)),
            Command::Eval(arguments) => block_on(arguments.run(&app)),
            Command::Models(command) => command.run(app.models()),
            Command::Bench(command) => command.run(&app),
            Command::Report(arguments) => arguments.run(&app),
            Command::Backup(arguments) => arguments.run(&app),
            Command::Restore(arguments) => arguments.run(&app),
            Command::Migrate(arguments) => arguments.run(&app),
            Command::Doctor(_) | Command::Extract(_) => Ok(()),
        }
    }
}

/// How long a stopped command waits for its blocking threads: a read of the terminal never ends by itself.
const THREADS_END: Duration = Duration::from_millis(500);

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_timeout(THREADS_END);
    outcome
}

/// Cancelled by Ctrl-C or SIGTERM; a second one ends the process at once.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn({
        let stop = stop.clone();
        async move {
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_cancelled() {
                    std::process::exit(1);
                }
                stop.cancel();
            }
        }
    });
    Ok(stop)
}

/// Prints an error, in one line unless it shows a place in a file: what happened, then the causes that it does not tell itself.
pub fn tell(error: &anyhow::Error) {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    let priority = telemetry::error_priority();
    format!("cervella: {line}").lines().for_each(|line| eprintln!("{priority}{line}"));
}

/// 1 failed, 2 usage, 64 bad settings, 75 try again later.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let app = error.downcast_ref::<AppError>();
    if error.is::<SettingsError>() || matches!(app, Some(AppError::NoFolders)) {
        64
    } else if app.is_some_and(AppError::is_about_arguments) {
        2
    } else if app.is_some_and(AppError::is_temporary) {
        75
    } else {
        1
    }
}
