//! The level of a line, for journald: it keeps the number in front as the priority of the line, sd-daemon(3), so that
//! `journalctl -p warning` finds it.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What belongs in front of each line on stderr that says why the program ends.
pub fn error_priority() -> &'static str {
    if journal_reads_stderr() { number(Level::ERROR) } else { "" }
}

/// Whether stderr goes to the journal: systemd names the stream that it made, systemd.exec(5).
fn journal_reads_stderr() -> bool {
    let (Ok(stream), Ok(file)) = (std::env::var("JOURNAL_STREAM"), rustix::fs::fstat(std::io::stderr())) else {
        return false;
    };
    stream == format!("{}:{}", file.st_dev, file.st_ino)
}

fn number(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// Lines as `format` has them, with their priority where the journal reads them.
pub(super) struct Prioritised<F> {
    format: F,
    for_journal: bool,
}

impl<F> Prioritised<F> {
    pub(super) fn new(format: F) -> Self {
        Prioritised { format, for_journal: journal_reads_stderr() }
    }
}

impl<S, N, F> FormatEvent<S, N> for Prioritised<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if !self.for_journal {
            return self.format.format_event(context, line, event);
        }
        let mut text = String::new();
        self.format.format_event(context, Writer::new(&mut text), event)?;
        let priority = number(*event.metadata().level());
        text.lines().try_for_each(|text| writeln!(line, "{priority}{text}"))
    }
}
