//! What the service did and how it fared: a line of JSON for each event, in a file for each day. No text, nobody's name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::{AnswerTimings, Language, TokenCounts, Verdict};

const ENDING: &str = ".jsonl";
/// A line is much shorter; what is longer is none of ours.
const LINE_BYTES_MAX: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Unix time in seconds.
    pub at: i64,
    #[serde(flatten)]
    pub event: Measured,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Measured {
    /// From now on questions are taken.
    Started {
        /// Name of the model that writes; empty when answers are quotes.
        model: String,
        /// What loading the models and opening the index took.
        load_ms: f64,
    },
    Answered {
        /// `slack`, `telegram`, `page` or `terminal`.
        from: Origin,
        language: Language,
        verdict: Verdict,
        /// It was given before, and people confirmed it.
        is_copy: bool,
        /// Sentences of the model that no passage said.
        withheld: usize,
        ms: AnswerTimings,
        tokens: TokenCounts,
    },
    Failed {
        from: Origin,
    },
    /// The reader stopped it, went away, or the service stopped.
    Cancelled {
        from: Origin,
    },
    Rated {
        from: Origin,
        helpful: bool,
    },
    Indexed {
        is_done: bool,
        seconds: f64,
    },
    /// Told every minute while the service runs.
    Running {
        resident_mb: u64,
        peak_mb: u64,
    },
    Stopped,
}

/// Where a question came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Slack,
    Telegram,
    Page,
    Terminal,
}

impl Origin {
    pub const ALL: [Origin; 4] = [Origin::Slack, Origin::Telegram, Origin::Page, Origin::Terminal];

    pub fn name(self) -> &'static str {
        match self {
            Origin::Slack => "slack",
            Origin::Telegram => "telegram",
            Origin::Page => "page",
            Origin::Terminal => "terminal",
        }
    }
}

/// The files, open for appending.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    /// Days that are kept.
    days: u32,
    open: Option<(Date, File)>,
}

impl Writer {
    pub(super) fn new(folder: PathBuf, days: u32) -> Self {
        Writer { folder, days, open: None }
    }

    /// # Errors
    /// Errors of the disk.
    pub(super) fn write(&mut self, measurement: &Measurement) -> io::Result<()> {
        let today = day(measurement.at);
        if self.open.as_ref().is_none_or(|(day, _)| *day != today) {
            self.open = None;
            fs::create_dir_all(&self.folder)?;
            self.remove_old(today)?;
            self.open = Some((today, open(&self.folder.join(format!("{today}{ENDING}")))?));
        }
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        let mut line = serde_json::to_vec(measurement)?;
        line.push(b'\n');
        let written = file.write_all(&line);
        if written.is_err() {
            // Half a line may be there: the next one begins anew.
            self.open = None;
        }
        written
    }

    fn remove_old(&self, today: Date) -> io::Result<()> {
        let first = today.saturating_sub(i64::from(self.days.max(1) - 1).days());
        for (day, path) in days(&self.folder)? {
            if day < first {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// At the end of a whole line.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// What reading found besides the measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Lines that are no measurements, such as one that a crash cut off.
    pub left_out: usize,
    /// There are measurements from before.
    pub has_older: bool,
}

/// Each measurement since this unix time, oldest first. A folder that is not there holds none.
///
/// # Errors
/// Errors of the disk.
pub fn measurements_since(folder: &Path, since: i64, mut each: impl FnMut(Measurement)) -> io::Result<Found> {
    let mut found = Found::default();
    for (of_file, path) in days(folder)? {
        if of_file < day(since) {
            found.has_older = true;
            continue;
        }
        let mut file = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        while file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
            match serde_json::from_slice::<Measurement>(&line) {
                Ok(measurement) if measurement.at >= since => each(measurement),
                Ok(_) => found.has_older = true,
                Err(_) => found.left_out += usize::from(!line.trim_ascii().is_empty()),
            }
            line.clear();
        }
    }
    Ok(found)
}

/// The files, oldest first.
fn days(folder: &Path) -> io::Result<Vec<(Date, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut days = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ENDING));
        if let Some(day) = name.and_then(|name| Date::from_str(name).ok()) {
            days.push((day, path));
        }
    }
    days.sort();
    Ok(days)
}

/// In UTC.
fn day(at: i64) -> Date {
    jiff::Timestamp::from_second(at).unwrap_or_default().to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_790_000_000;
    const DAY: i64 = 86_400;

    fn rated(at: i64) -> Measurement {
        Measurement { at, event: Measured::Rated { from: Origin::Slack, helpful: true } }
    }

    fn read(folder: &Path, since: i64) -> (Vec<i64>, Found) {
        let mut read = Vec::new();
        let found = measurements_since(folder, since, |measurement| read.push(measurement.at)).unwrap();
        (read, found)
    }

    #[test]
    fn what_was_measured_is_read_again_for_as_long_as_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("measurements");
        assert_eq!(read(&path, 0), (vec![], Found::default()));
        let mut writer = Writer::new(path.clone(), 3);
        for at in [NOON, NOON + 1, NOON + DAY, NOON + 2 * DAY] {
            writer.write(&rated(at)).unwrap();
        }
        assert_eq!(read(&path, NOON + 1).0, [NOON + 1, NOON + DAY, NOON + 2 * DAY]);
        for (since, has_older) in [(NOON, false), (NOON + 1, true), (NOON + DAY, true)] {
            assert_eq!(read(&path, since).1, Found { left_out: 0, has_older });
        }
        writer.write(&rated(NOON + 3 * DAY)).unwrap();
        assert_eq!(read(&path, 0).0, [NOON + DAY, NOON + 2 * DAY, NOON + 3 * DAY]);
    }

    #[test]
    fn a_line_that_was_cut_off_costs_no_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let write = |at| Writer::new(folder.path().to_owned(), 90).write(&rated(at)).unwrap();
        write(NOON);
        let file = days(folder.path()).unwrap().pop().unwrap().1;
        OpenOptions::new().append(true).open(file).unwrap().write_all(br#"{"at":1790000"#).unwrap();
        write(NOON + 1);
        assert_eq!(read(folder.path(), 0), (vec![NOON, NOON + 1], Found { left_out: 1, has_older: false }));
    }

    #[test]
    fn every_event_comes_back_as_it_was() {
        let timings = AnswerTimings { first_token: Some(812.5), total: 4000.0, ..AnswerTimings::default() };
        let tokens = TokenCounts { prompt: 300, budget: 400, cached: 120, generated: 60 };
        for event in [
            Measured::Started { model: "Llama".to_owned(), load_ms: 400.0 },
            Measured::Answered {
                from: Origin::Telegram,
                language: Language::Italian,
                verdict: Verdict::Abstained,
                is_copy: false,
                withheld: 2,
                ms: timings,
                tokens,
            },
            Measured::Failed { from: Origin::Page },
            Measured::Indexed { is_done: true, seconds: 3.5 },
            Measured::Running { resident_mb: 5000, peak_mb: 6000 },
            Measured::Stopped,
        ] {
            let told = Measurement { at: NOON, event };
            let line = serde_json::to_string(&told).unwrap();
            assert_eq!(serde_json::from_str::<Measurement>(&line).unwrap(), told);
        }
    }
}
