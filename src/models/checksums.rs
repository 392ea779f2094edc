//! SHA-256 of model files, and the list of them in the models folder: `SHA256SUMS`, in the format of `sha256sum`, so
//! that `sha256sum --check SHA256SUMS` works there too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::ModelsError;

const FILE: &str = "SHA256SUMS";

/// Checksums by path relative to the models folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checksums {
    by_path: BTreeMap<String, String>,
}

impl Checksums {
    /// No file is an empty list; lines that are no checksums are passed over.
    pub(super) fn read(folder: &Path) -> Result<Self, ModelsError> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self { by_path: text.lines().filter_map(parse_line).collect() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ModelsError::Read { path, source }),
        }
    }

    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.by_path.get(path).map(String::as_str)
    }

    /// Adds or replaces checksums in the list of `folder`. A reader sees the old list or the new one.
    pub(super) fn record<'a>(
        folder: &Path,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), ModelsError> {
        let mut checksums = Self::read(folder)?;
        for (path, sha256) in files {
            checksums.by_path.insert(path.to_owned(), sha256.to_owned());
        }
        let mut text = String::new();
        for (path, sha256) in &checksums.by_path {
            let _ = writeln!(text, "{sha256}  {path}");
        }
        let unfinished = folder.join(format!(".{FILE}.part"));
        let written = File::create(&unfinished)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(ModelsError::write(&unfinished))?;
        fs::rename(&unfinished, folder.join(FILE)).map_err(ModelsError::write(folder.join(FILE)))
    }
}

/// The SHA-256 of a file in lower-case hexadecimal. `on_bytes` is told how many bytes each step took.
pub(super) fn sha256_of(path: &Path, mut on_bytes: impl FnMut(u64)) -> Result<String, ModelsError> {
    let mut file = File::open(path).map_err(ModelsError::read(path))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(ModelsError::Read { path: path.into(), source }),
        };
        digest.update(&buffer[..read]);
        on_bytes(read as u64);
    }
    let mut text = String::with_capacity(64);
    for byte in digest.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `<hash>  <path>`, or `<hash> *<path>` as `sha256sum --binary` writes it.
fn parse_line(line: &str) -> Option<(String, String)> {
    let (sha256, path) = line.split_once(' ')?;
    let path = path.strip_prefix([' ', '*'])?;
    (is_sha256(sha256) && !path.is_empty()).then(|| (path.to_owned(), sha256.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_hashes_to_the_published_value() {
        // The first example of FIPS 180-4.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let mut bytes = 0;
        assert_eq!(sha256_of(&path, |read| bytes += read).unwrap(), ABC);
        assert_eq!(bytes, 3);
    }

    #[test]
    fn the_list_keeps_what_it_had_and_survives_foreign_lines() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), format!("# by hand\n{ABC} *own model.gguf\nnonsense\n")).unwrap();
        Checksums::record(folder.path(), [("e5/model.onnx", ABC)]).unwrap();
        let checksums = Checksums::read(folder.path()).unwrap();
        assert_eq!(checksums.get("own model.gguf"), Some(ABC));
        assert_eq!(checksums.get("e5/model.onnx"), Some(ABC));
        assert_eq!(checksums.get("absent"), None);
    }
}
