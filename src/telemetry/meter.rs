//! Takes what is measured to the files and to Prometheus. Nobody waits for the disk: what does not fit into the queue is
//! counted for Prometheus only.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use super::day_files::{DayFiles, Noted};
use super::measurements::Measured;
use super::metrics::{Metrics, Standing};
use super::withheld::Withheld;

/// Lines that wait for the disk.
const QUEUE_MAX: usize = 1024;

/// What the service measures of itself.
#[derive(Debug, Default)]
pub struct Meter {
    metrics: Metrics,
    /// `None`: nothing is written, or no longer.
    files: Mutex<Option<Files>>,
}

#[derive(Debug)]
struct Files {
    sender: SyncSender<Noted<Line>>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Line {
    Measured(Measured),
    Withheld(Withheld),
}

impl Meter {
    /// Writes into these files.
    pub fn with_files(measurements: DayFiles, withheld: DayFiles) -> Self {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("measure".to_owned());
        let thread = thread.spawn(move || write(measurements, withheld, &receiver));
        let files = thread.map(|thread| Files { sender, thread });
        if let Err(error) = &files {
            tracing::warn!(%error, "nothing is written of what is measured");
        }
        Meter { metrics: Metrics::default(), files: Mutex::new(files.ok()) }
    }

    pub fn note(&self, event: Measured) {
        self.metrics.count(&event);
        self.line(Line::Measured(event));
    }

    /// Keeps it for the admin.
    pub fn keep(&self, withheld: Withheld) {
        self.line(Line::Withheld(withheld));
    }

    fn line(&self, event: Line) {
        let at = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() as i64);
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Files { sender, .. }) = &*files else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send(Noted { at, event }) {
            tracing::debug!("the disk is behind: a line is left out");
        }
    }

    /// For Prometheus.
    pub fn render(&self, standing: &Standing) -> String {
        self.metrics.render(standing)
    }

    /// Writes what was noted so far; what comes later is written no more. Blocks.
    pub fn close(&self) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Files { sender, thread }) = files else { return };
        drop(sender);
        let _ = thread.join();
    }
}

fn write(mut measurements: DayFiles, mut withheld: DayFiles, lines: &Receiver<Noted<Line>>) {
    let mut is_failing = false;
    for Noted { at, event } in lines {
        // Old sentences go on their day, whether or not there are new ones.
        let turned = withheld.turn_to(at);
        let written = match event {
            Line::Measured(event) => measurements.write(&Noted { at, event }),
            Line::Withheld(event) => withheld.write(&Noted { at, event }),
        };
        let written = written.and(turned);
        if let (Err(error), false) = (&written, is_failing) {
            tracing::warn!(%error, "what is measured cannot be written: the service goes on without");
        }
        is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::domain::Language;
    use crate::telemetry::{Origin, noted_since};

    fn meter(folder: &Path) -> Meter {
        Meter::with_files(DayFiles::new(folder.join("m"), 90), DayFiles::new(folder.join("w"), 30))
    }

    #[test]
    fn what_was_noted_before_the_end_is_in_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let meter = meter(folder.path());
        for _ in 0..50 {
            meter.note(Measured::Failed { from: Origin::Page });
        }
        let withheld = Withheld::new("0a1b2c3d", "What does it cost?", Language::English, "It costs 40 euro.");
        meter.keep(withheld.clone());
        meter.close();
        meter.note(Measured::Stopped);
        let mut found = 0;
        noted_since(&folder.path().join("m"), 0, |_: Noted<Measured>| found += 1).unwrap();
        assert_eq!(found, 50);
        let mut kept: Vec<Withheld> = Vec::new();
        noted_since(&folder.path().join("w"), 0, |noted| kept.push(noted.event)).unwrap();
        assert_eq!(kept, [withheld]);
        assert!(meter.render(&Standing::default()).contains(r#"questions_total{from="page",outcome="failed"} 50"#));
    }

    #[test]
    fn a_folder_that_cannot_be_written_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        std::fs::write(&taken, "").unwrap();
        let meter = meter(&taken);
        meter.note(Measured::Failed { from: Origin::Page });
        meter.close();
        assert!(meter.render(&Standing::default()).contains(r#"questions_total{from="page",outcome="failed"} 1"#));
        assert_eq!(std::fs::read(taken).unwrap(), b"");
    }
}
