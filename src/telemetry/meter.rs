//! Takes what is measured to the files and to Prometheus. Nobody waits for the disk: what does not fit into the queue is
//! counted for Prometheus only.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use super::measurements::{Measured, Measurement, Writer};
use super::metrics::{Metrics, Standing};

/// Measurements that wait for the disk.
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
    sender: SyncSender<Measurement>,
    thread: JoinHandle<()>,
}

impl Meter {
    /// Writes into `folder`, and keeps what was measured for so many days.
    pub fn with_files(folder: PathBuf, days: u32) -> Self {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let writer = Writer::new(folder, days);
        let thread = std::thread::Builder::new().name("measure".to_owned()).spawn(move || write(writer, &receiver));
        let files = thread.map(|thread| Files { sender, thread });
        if let Err(error) = &files {
            tracing::warn!(%error, "nothing is written of what is measured");
        }
        Meter { metrics: Metrics::default(), files: Mutex::new(files.ok()) }
    }

    pub fn note(&self, event: Measured) {
        self.metrics.count(&event);
        let at = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() as i64);
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Files { sender, .. }) = &*files else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send(Measurement { at, event }) {
            tracing::debug!("the disk is behind: a measurement is left out");
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

fn write(mut writer: Writer, measurements: &Receiver<Measurement>) {
    let mut is_failing = false;
    for measurement in measurements {
        let written = writer.write(&measurement);
        if let (Err(error), false) = (&written, is_failing) {
            tracing::warn!(%error, "what is measured cannot be written: the service goes on without");
        }
        is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Origin, measurements_since};

    #[test]
    fn what_was_noted_before_the_end_is_in_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let meter = Meter::with_files(folder.path().join("m"), 90);
        for _ in 0..50 {
            meter.note(Measured::Failed { from: Origin::Page });
        }
        meter.close();
        meter.note(Measured::Stopped);
        let mut found = 0;
        measurements_since(&folder.path().join("m"), 0, |_| found += 1).unwrap();
        assert_eq!(found, 50);
        assert!(meter.render(&Standing::default()).contains(r#"questions_total{from="page",outcome="failed"} 50"#));
    }

    #[test]
    fn a_folder_that_cannot_be_written_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        std::fs::write(&taken, "").unwrap();
        let meter = Meter::with_files(taken.clone(), 90);
        meter.note(Measured::Failed { from: Origin::Page });
        meter.close();
        assert!(meter.render(&Standing::default()).contains(r#"questions_total{from="page",outcome="failed"} 1"#));
        assert_eq!(std::fs::read(taken).unwrap(), b"");
    }
}
