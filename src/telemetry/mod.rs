//! How the process tells of itself: logs on stderr, word to systemd, and what it measures. None holds the text of a
//! question, a document or a secret; `withheld` alone keeps text, in files for the admin.

mod day_files;
mod measurements;
mod meter;
mod metrics;
mod panics;
mod priority;
mod recent;
mod traces;
mod withheld;

use std::io::IsTerminal;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use priority::Prioritised;

pub use day_files::{DayFiles, Found, Noted, noted_since};
pub use measurements::{Measured, Measurement, Origin};
pub use meter::Meter;
pub use metrics::{IndexStanding, ReadAheadStanding, Standing, tokens_per_second};
pub use priority::error_priority;
pub use recent::{RecentError, recent_errors};
pub use traces::Traces;
pub use withheld::Withheld;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors: commands that print results.
    Quiet,
    /// What an operator wants to know: the daemon.
    Normal,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    Text,
    /// One object on each line.
    Json,
}

/// Libraries that write what they send and receive into their logs, tokens in addresses included. What matters of it is
/// logged by the rooms that use them.
const TALKATIVE: &[&str] = &[
    "h2",
    "hyper",
    "hyper_rustls",
    "hyper_util",
    "lopdf",
    "opentelemetry",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "pdf_extract",
    "reqwest",
    "rustls",
    "slack_morphism",
    "sled",
    "teloxide",
    "teloxide_core",
    "tokio_tungstenite",
    "tower",
    "tungstenite",
    "ureq",
];

/// Sends logs to stderr, and spans to a collector where there is one, for as long as what is returned lives. `RUST_LOG` overrides
/// the verbosity of the logs alone. Libraries are heard when they warn, those that would tell a secret never, and panics always.
///
/// # Errors
/// The collector's address is none.
pub fn start(verbosity: Verbosity, form: LogForm, collector: Option<&str>) -> anyhow::Result<Option<Traces>> {
    let default = match verbosity {
        Verbosity::Quiet => "warn,ort=error",
        Verbosity::Normal => "info,ort=error",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let traces = collector.map(Traces::to).transpose()?;
    let filter = filter.add_directive(panics::ALWAYS.parse()?);
    // A second call, as in tests, keeps the first subscriber.
    let _ = subscriber(filter, form, traces.as_ref()).try_init();
    panics::log_panics();
    Ok(traces)
}

fn lines<S>(
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    terminal: bool,
    form: LogForm,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(terminal).with_target(false);
    match form {
        LogForm::Text => lines.map_event_format(Prioritised::new).boxed(),
        LogForm::Json => lines.json().map_event_format(Prioritised::new).boxed(),
    }
}

/// `filter`: of the lines of the log alone.
fn subscriber(filter: EnvFilter, form: LogForm, traces: Option<&Traces>) -> impl Subscriber + Send + Sync + 'static {
    let lines = lines(std::io::stderr, std::io::stderr().is_terminal(), form);
    let spans = traces.map(|traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer());
        layer.with_filter(LevelFilter::INFO)
    });
    let least = if spans.is_some() { LevelFilter::INFO } else { LevelFilter::ERROR };
    // What is below that is not even looked at: libraries trace every letter.
    let most = filter.max_level_hint().unwrap_or(LevelFilter::TRACE).max(least);
    let may_be_logged =
        move |metadata: &Metadata<'_>| *metadata.level() <= most && may_be_logged(metadata.target(), metadata.level());
    let discreet = filter_fn(may_be_logged).with_max_level_hint(most);
    let kept = tracing_subscriber::registry().with(spans).with(recent::keep_errors()).with(lines.with_filter(filter));
    kept.with(discreet)
}

fn may_be_logged(target: &str, level: &Level) -> bool {
    let library = target.split("::").next().unwrap_or_default();
    library == "cervella" || (*level <= Level::WARN && !TALKATIVE.contains(&library))
}

/// Tells systemd that questions are answered from now on; without systemd nothing happens.
pub fn notify_ready() {
    notify(&[sd_notify::NotifyState::Ready]);
}

/// How often systemd wants to hear that the service does its work; `None`: never.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Tells systemd that the service does its work.
pub fn notify_at_work() {
    notify(&[sd_notify::NotifyState::Watchdog]);
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

/// Resident memory of this process in megabytes (of 1,024 KB); `None` where `/proc` does not tell.
pub fn resident_mb() -> Option<u64> {
    status_mb("VmRSS:")
}

/// Highest resident memory of this process so far.
pub fn peak_resident_mb() -> Option<u64> {
    status_mb("VmHWM:")
}

fn status_mb(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_hears_is_not_looked_at() {
        for (filter, most) in [("warn,ort=error", LevelFilter::WARN), ("off", LevelFilter::ERROR)] {
            let subscriber = subscriber(EnvFilter::new(filter), LogForm::Json, None);
            assert_eq!(subscriber.max_level_hint(), Some(most), "{filter}");
        }
        let traces = Traces::to("http://127.0.0.1:9").unwrap();
        let subscriber = subscriber(EnvFilter::new("warn"), LogForm::Text, Some(&traces));
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
    }

    #[test]
    fn libraries_that_tell_what_they_send_are_never_heard() {
        assert!(may_be_logged("cervella", &Level::TRACE));
        assert!(may_be_logged("tantivy::indexer", &Level::WARN));
        assert!(!may_be_logged("tantivy::indexer", &Level::DEBUG));
        assert!(!may_be_logged("slack_morphism::socket_mode", &Level::ERROR));
        assert!(!may_be_logged("reqwest::connect", &Level::ERROR));
    }
}
