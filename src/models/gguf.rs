//! Is this file a GGUF? Only the first bytes are looked at; the tensors are read by `inference`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::ModelsError;

/// Magic, version, number of tensors, number of metadata entries (the GGUF specification of ggml).
const HEADER_BYTES: usize = 4 + 4 + 8 + 8;
/// Version 1 used 32-bit counts and is not written any more.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;

/// Checks magic and version of a GGUF file.
///
/// # Errors
/// [`ModelsError::Read`] when the file cannot be read, [`ModelsError::NotGguf`] when it is something else.
pub(super) fn check_header(path: &Path) -> Result<(), ModelsError> {
    let mut header = [0_u8; HEADER_BYTES];
    let mut file = File::open(path).map_err(ModelsError::read(path))?;
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(not_gguf(path, "it is cut short")),
        Err(source) => return Err(ModelsError::Read { path: path.into(), source }),
    }
    if &header[..4] != b"GGUF" {
        return Err(not_gguf(path, "it does not start with `GGUF`"));
    }
    let version = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    if !VERSIONS.contains(&version) {
        return Err(not_gguf(path, "its version is neither 2 nor 3"));
    }
    Ok(())
}

/// Is the name that of one part of a model which was split over several files (`…-00001-of-00003.gguf`)?
pub(super) fn is_split_name(name: &str) -> bool {
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(stem) = name.strip_suffix(".gguf") else { return false };
    let mut parts = stem.rsplitn(4, '-');
    matches!((parts.next(), parts.next(), parts.next()), (Some(count), Some("of"), Some(index)) if digits(count) && digits(index))
}

fn not_gguf(path: &Path, reason: &'static str) -> ModelsError {
    ModelsError::NotGguf { path: path.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_names_are_told_from_whole_ones() {
        assert!(is_split_name("Llama-70B-Q4_K_M-00001-of-00003.gguf"));
        assert!(!is_split_name("Llama-3.2-1B-Instruct-Q4_K_M.gguf"));
        assert!(!is_split_name("one-of-three.gguf"));
    }

    #[test]
    fn a_web_page_saved_as_a_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, "<!doctype html><title>Sign in</title>").unwrap();
        assert!(check_header(&path).unwrap_err().to_string().contains("does not start with `GGUF`"));
        std::fs::write(&path, "GGUF").unwrap();
        assert!(check_header(&path).unwrap_err().to_string().contains("cut short"));
    }
}
