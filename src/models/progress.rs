//! How far a download or a check is: a bar on a terminal, a line now and then elsewhere, both on stderr.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::error::size;

/// Between two lines in a log.
const LINES_APART: Duration = Duration::from_secs(10);

/// Whether progress is shown at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressView {
    /// A bar when stderr is a terminal, sparse lines when it is not.
    Stderr,
    Hidden,
}

/// One line of progress, about one file. Every byte is also counted in `activity`, which tells a slow download from a
/// dead one.
pub(super) struct Meter {
    display: Display,
    title: String,
    total_bytes: u64,
    done_bytes: u64,
    activity: Arc<AtomicU64>,
}

enum Display {
    Bar(ProgressBar),
    /// When the last line was printed.
    Lines(Instant),
    Hidden,
}

impl ProgressView {
    /// A line of its own.
    pub(super) fn note(self, text: &str) {
        if self == Self::Stderr {
            eprintln!("{text}");
        }
    }

    /// A meter that is titled "`verb` `name`".
    pub(super) fn meter(self, verb: &str, name: &str, total_bytes: u64) -> Meter {
        let display = match self {
            Self::Hidden => Display::Hidden,
            Self::Stderr if std::io::stderr().is_terminal() => Display::Bar(bar()),
            Self::Stderr => Display::Lines(Instant::now()),
        };
        let title = format!("{verb} {name}");
        let mut meter = Meter { display, title, total_bytes, done_bytes: 0, activity: Arc::default() };
        meter.restart(total_bytes);
        meter
    }
}

impl Meter {
    /// Counts the bytes in `activity` as well.
    pub(super) fn counting_in(self, activity: &Arc<AtomicU64>) -> Self {
        Self { activity: Arc::clone(activity), ..self }
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        self.activity.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }

    pub(super) fn end(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }

    fn restart(&mut self, total_bytes: u64) {
        self.total_bytes = total_bytes;
        self.done_bytes = 0;
        if let Display::Bar(bar) = &self.display {
            bar.reset();
            bar.set_length(total_bytes);
            bar.set_message(self.title.clone());
        }
    }

    fn show(&mut self) {
        match &mut self.display {
            Display::Hidden => {}
            Display::Bar(bar) => bar.set_position(self.done_bytes),
            Display::Lines(printed) if printed.elapsed() >= LINES_APART => {
                *printed = Instant::now();
                eprintln!("{}: {} of {}", self.title, size(self.done_bytes), size(self.total_bytes));
            }
            Display::Lines(_) => {}
        }
    }
}

impl hf_hub::api::Progress for Meter {
    /// Called twice by hf-hub, the second time just before the bytes that were there already are reported.
    fn init(&mut self, size: usize, _filename: &str) {
        self.restart(size as u64);
    }

    fn update(&mut self, size: usize) {
        self.advance(size as u64);
    }

    fn finish(&mut self) {
        self.end();
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
