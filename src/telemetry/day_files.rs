//! Records as lines of JSON, in a file for each day. A line that a crash cut off costs no other one, and files older than
//! they are to be kept are removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const ENDING: &str = ".jsonl";
/// A line is shorter; what is longer is none of ours.
const LINE_BYTES_MAX: u64 = 32 * 1024;

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noted<E> {
    /// Unix time in seconds.
    pub at: i64,
    #[serde(flatten)]
    pub event: E,
}

/// The files; only their owner reads them.
#[derive(Debug)]
pub struct DayFiles {
    folder: PathBuf,
    /// Days that are kept; 0: nothing is.
    days: u32,
    today: Option<Date>,
    /// That of today, open for appending.
    file: Option<File>,
}

impl DayFiles {
    pub fn new(folder: PathBuf, days: u32) -> Self {
        DayFiles { folder, days, today: None, file: None }
    }

    /// Removes what is older than it is to be kept, if another day has begun.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(super) fn turn_to(&mut self, at: i64) -> io::Result<()> {
        let today = day(at);
        if self.today == Some(today) {
            return Ok(());
        }
        (self.today, self.file) = (Some(today), None);
        let first = today.saturating_add(1.day()).saturating_sub(i64::from(self.days).days());
        let mut removed = Ok(());
        for (day, path) in days(&self.folder)? {
            if day < first {
                removed = removed.and(fs::remove_file(path));
            }
        }
        removed
    }

    /// # Errors
    /// Errors of the disk.
    pub(super) fn write(&mut self, noted: &Noted<impl Serialize>) -> io::Result<()> {
        // What cannot be removed keeps nothing from being written.
        let turned = self.turn_to(noted.at);
        if self.days == 0 {
            return turned;
        }
        let mut line = serde_json::to_vec(noted)?;
        line.push(b'\n');
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                fs::create_dir_all(&self.folder)?;
                open(&self.folder.join(format!("{}{ENDING}", day(noted.at))))?
            }
        };
        // After an error half a line may be there: then the file is opened anew.
        file.write_all(&line)?;
        self.file = Some(file);
        turned
    }
}

/// At the end of a whole line.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
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

/// What reading found besides what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Lines that are no such records, such as one that a crash cut off.
    pub left_out: usize,
    /// There are records from before.
    pub has_older: bool,
}

/// What was noted since this unix time, oldest first. A folder that is not there holds nothing.
///
/// # Errors
/// Errors of the disk.
pub fn noted_since<E: DeserializeOwned>(
    folder: &Path,
    since: i64,
    mut each: impl FnMut(Noted<E>),
) -> io::Result<Found> {
    let mut found = Found::default();
    for (of_file, path) in days(folder)? {
        if of_file < day(since) {
            found.has_older = true;
            continue;
        }
        let mut file = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        while file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
            match serde_json::from_slice::<Noted<E>>(&line) {
                Ok(noted) if noted.at >= since => each(noted),
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

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Event {
        event: String,
    }

    const NOON: i64 = 1_790_000_000;
    const DAY: i64 = 86_400;

    fn noted(at: i64) -> Noted<Event> {
        Noted { at, event: Event { event: "happened".to_owned() } }
    }

    fn read(folder: &Path, since: i64) -> (Vec<i64>, Found) {
        let mut read = Vec::new();
        let found = noted_since(folder, since, |noted: Noted<Event>| read.push(noted.at)).unwrap();
        (read, found)
    }

    #[test]
    fn what_was_noted_is_read_again_for_as_long_as_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("days");
        assert_eq!(read(&path, 0), (vec![], Found::default()));
        let mut writer = DayFiles::new(path.clone(), 3);
        for at in [NOON, NOON + 1, NOON + DAY, NOON + 2 * DAY] {
            writer.write(&noted(at)).unwrap();
        }
        assert_eq!(read(&path, NOON + 1).0, [NOON + 1, NOON + DAY, NOON + 2 * DAY]);
        for (since, has_older) in [(NOON, false), (NOON + 1, true), (NOON + DAY, true)] {
            assert_eq!(read(&path, since).1, Found { left_out: 0, has_older });
        }
        writer.write(&noted(NOON + 3 * DAY)).unwrap();
        assert_eq!(read(&path, 0).0, [NOON + DAY, NOON + 2 * DAY, NOON + 3 * DAY]);
    }

    #[test]
    fn a_line_that_was_cut_off_costs_no_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let write = |at| DayFiles::new(folder.path().to_owned(), 90).write(&noted(at)).unwrap();
        write(NOON);
        let file = days(folder.path()).unwrap().pop().unwrap().1;
        OpenOptions::new().append(true).open(file).unwrap().write_all(br#"{"at":1790000"#).unwrap();
        write(NOON + 1);
        assert_eq!(read(folder.path(), 0), (vec![NOON, NOON + 1], Found { left_out: 1, has_older: false }));
    }

    #[test]
    fn what_cannot_be_removed_keeps_nothing_from_being_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("2020-01-01.jsonl")).unwrap();
        let mut files = DayFiles::new(folder.path().to_owned(), 30);
        assert!(files.write(&noted(NOON)).is_err());
        files.write(&noted(NOON + 1)).unwrap();
        assert_eq!(read(folder.path(), NOON).0, [NOON, NOON + 1]);
    }

    #[test]
    fn what_is_not_to_be_kept_goes_without_anything_new() {
        let folder = tempfile::tempdir().unwrap();
        DayFiles::new(folder.path().to_owned(), 30).write(&noted(NOON)).unwrap();
        let mut none = DayFiles::new(folder.path().to_owned(), 0);
        none.turn_to(NOON).unwrap();
        none.write(&noted(NOON)).unwrap();
        assert_eq!(read(folder.path(), 0), (vec![], Found::default()));
    }
}
