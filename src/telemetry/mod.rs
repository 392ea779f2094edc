//! How the process tells of itself: logs on stderr and word to systemd. Neither holds the text of a question, a
//! document or a secret.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors: commands that print results.
    Quiet,
    /// What an operator wants to know: the daemon.
    Normal,
}

/// Sends logs to stderr; `RUST_LOG` overrides the verbosity.
pub fn log_to_stderr(verbosity: Verbosity) {
    let default = match verbosity {
        // pdf_extract and ort tell of every file they meet.
        Verbosity::Quiet => "warn,ort=error,lopdf=off,pdf_extract=off,tantivy=warn",
        Verbosity::Normal => "info,ort=error,lopdf=off,pdf_extract=off,tantivy=warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    // A second call, as in tests, keeps the first subscriber.
    let _ = subscriber.with_target(false).try_init();
}

/// Tells systemd that questions are answered from now on; without systemd nothing happens.
pub fn notify_ready() {
    notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd that the service is going down.
pub fn notify_stopping() {
    notify(&[sd_notify::NotifyState::Stopping]);
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
