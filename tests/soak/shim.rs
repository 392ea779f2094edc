//! `shim.c`, built and controlled: what the disk and the clock do to the daemon, and what a loss of power takes back.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::fakes::chance::Chance;
use crate::support::root;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    Fine = 0,
    Full = 1,
    ReadOnly = 2,
}

pub struct Shim {
    folder: TempDir,
    control: File,
}

/// A write that was not synced: what was there before.
struct Record {
    offset: u64,
    size_before: u64,
    bytes: Vec<u8>,
}

impl Shim {
    /// Needs a C compiler.
    pub fn build() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let library = folder.path().join("shim.so");
        let built = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(root().join("tests/soak/shim.c"))
            .args(["-ldl", "-lpthread"])
            .status()
            .expect("a C compiler is there");
        assert!(built.success(), "the shim cannot be built");
        fs::create_dir(folder.path().join("undo")).expect("made");
        let control = folder.path().join("control");
        fs::write(&control, [0; 4096]).expect("written");
        let control = OpenOptions::new().write(true).open(control).expect("it is there");
        Shim { folder, control }
    }

    /// What a daemon with this data folder has to be started with.
    pub fn settings(&self, data: &Path) -> Vec<(String, String)> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let settings = [
            ("LD_PRELOAD", at("shim.so")),
            ("SOAK_CONTROL", at("control")),
            ("SOAK_UNDO", at("undo")),
            ("SOAK_FOLDER", data.display().to_string()),
        ];
        settings.map(|(key, value)| (key.to_owned(), value)).into()
    }

    pub fn set_clock(&self, ahead_s: i64) {
        self.control.write_all_at(&(ahead_s * 1_000_000_000).to_ne_bytes(), 0).expect("written");
    }

    pub fn set_disk(&self, disk: Disk) {
        self.control.write_all_at(&(disk as i64).to_ne_bytes(), 8).expect("written");
    }

    /// Takes back what was written below `data` and not synced: of each file all of it, or the last part of it. How many
    /// writes were lost. To be called when no daemon runs.
    pub fn lose_power(&self, data: &Path, chance: &mut Chance) -> usize {
        let mut files = HashMap::new();
        numbered(data, &mut files);
        let mut lost = 0;
        for entry in fs::read_dir(self.folder.path().join("undo")).expect("it is there") {
            let path = entry.expect("readable").path();
            let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
            if let Some(file) = number.and_then(|number| files.get(&number)) {
                let records = records(&path);
                let kept = if chance.share() < 0.5 { 0 } else { chance.below(records.len() + 1) };
                let file = OpenOptions::new().write(true).open(file).expect("it can be written");
                for record in records[kept..].iter().rev() {
                    file.write_all_at(&record.bytes, record.offset).expect("written");
                    file.set_len(record.size_before).expect("cut");
                    lost += 1;
                }
            }
            fs::remove_file(path).expect("removed");
        }
        lost
    }

    /// The process was killed, and the system went on: everything written is there.
    pub fn keep_all(&self) {
        for entry in fs::read_dir(self.folder.path().join("undo")).expect("it is there") {
            fs::remove_file(entry.expect("readable").path()).expect("removed");
        }
    }
}

/// The files below a folder by their inode numbers.
fn numbered(folder: &Path, files: &mut HashMap<u64, PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => numbered(&path, files),
            Ok(metadata) if metadata.is_file() => drop(files.insert(metadata.ino(), path)),
            _ => {}
        }
    }
}

/// As `shim.c` writes them; the last one may be cut off, and then its write never happened.
fn records(path: &Path) -> Vec<Record> {
    let mut file = File::open(path).expect("readable");
    let mut records = Vec::new();
    loop {
        let mut head = [[0; 8]; 3];
        if head.iter_mut().any(|part| file.read_exact(part).is_err()) {
            return records;
        }
        let [offset, length, size_before] = head.map(u64::from_ne_bytes);
        let mut bytes = vec![0; length as usize];
        if file.read_exact(&mut bytes).is_err() {
            return records;
        }
        records.push(Record { offset, size_before, bytes });
    }
}
