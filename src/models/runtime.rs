//! Finds ONNX Runtime's shared library and tells, without loading it, whether it can serve: loading a library that
//! does not fit ends in a panic far away from the person who could mend it.

use std::env;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::ModelsError;

/// The first release with API 24, which the `ort` behind fastembed 7.5 asks for.
const VERSION_MIN: Version = Version { major: 1, minor: 24, patch: 0 };
const NAME: &str = "libonnxruntime.so";
/// ONNX Runtime gives its symbols this version, followed by its own.
const SYMBOL_VERSION: &[u8] = b"VERS_";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// The newest usable library in the folder `own`, else the first usable one of `places` (files or folders).
pub(super) fn find(own: &Path, places: &[PathBuf]) -> Result<PathBuf, ModelsError> {
    let mut rejected_libraries = Vec::new();
    for place in std::iter::once(own).chain(places.iter().map(PathBuf::as_path)) {
        for library in libraries_at(place) {
            match inspect(&library) {
                Ok(_) => return Ok(library),
                Err(reason) => rejected_libraries.push(format!("{}: {reason}", library.display())),
            }
        }
    }
    Err(ModelsError::NoRuntime { rejected_libraries })
}

/// The library at `path`, or in the folder `path`, if it can serve.
pub(super) fn check(path: &Path) -> Result<PathBuf, ModelsError> {
    let unusable = |reason: String| ModelsError::UnusableRuntime { path: path.to_path_buf(), reason };
    let library = libraries_at(path).into_iter().next().ok_or_else(|| unusable("it does not exist".to_owned()))?;
    inspect(&library).map_err(unusable)?;
    Ok(library)
}

/// Where a system keeps the library: `ORT_DYLIB_PATH`, then the usual folders.
pub(super) fn system_places() -> Vec<PathBuf> {
    let named = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let triple = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    let folders = ["/usr/local/lib", triple.as_str(), "/usr/lib64", "/usr/lib", "/opt/onnxruntime/lib"];
    named.into_iter().chain(folders.into_iter().map(PathBuf::from)).collect()
}

/// `place` itself if it is a file; if it is a folder, the libraries in it, the newest first.
fn libraries_at(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(place) else { return Vec::new() };
    let mut libraries: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let rest = name.strip_prefix(NAME)?;
            (rest.is_empty() || rest.starts_with('.')).then_some(())?;
            path.is_file().then_some(path)
        })
        .collect();
    libraries.sort_by_cached_key(|path| std::cmp::Reverse((version_in_name(path), path.clone())));
    libraries
}

/// Reads header and version of a library. The error is the reason why it cannot serve.
fn inspect(path: &Path) -> Result<Version, String> {
    let file = File::open(path).map_err(|error| format!("it cannot be read ({error})"))?;
    let size_bytes = file.metadata().map_err(|error| format!("it cannot be read ({error})"))?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut header = [0_u8; elf::HEADER_BYTES];
    reader.read_exact(&mut header).map_err(|_| "it is no shared library".to_owned())?;
    elf::check(&header, size_bytes)?;
    // A link without a version usually points at the file that has it in its name.
    let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let version = match version_in_name(path).or_else(|| version_in_name(&resolved)) {
        Some(version) => version,
        None => version_in_symbols(reader).ok_or("its version cannot be told")?,
    };
    if version < VERSION_MIN {
        return Err(format!(
            "its version is {}.{}.{}, and {}.{} or later is needed",
            version.major, version.minor, version.patch, VERSION_MIN.major, VERSION_MIN.minor
        ));
    }
    Ok(version)
}

/// `libonnxruntime.so.1.32.0` is 1.32.0; `libonnxruntime.so.1` says nothing.
fn version_in_name(path: &Path) -> Option<Version> {
    parse_version(path.file_name()?.to_str()?.strip_prefix(NAME)?.strip_prefix('.')?.as_bytes())
}

/// `major.minor` with an optional `.patch`, up to the first byte that is neither digit nor dot.
fn parse_version(text: &[u8]) -> Option<Version> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let mut numbers = std::str::from_utf8(&text[..end]).ok()?.split('.').map(str::parse::<u32>);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
    Some(Version { major, minor, patch })
}

fn version_in_symbols(mut reader: impl Read) -> Option<Version> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).ok()?;
    bytes
        .windows(SYMBOL_VERSION.len())
        .enumerate()
        .filter(|(_, window)| *window == SYMBOL_VERSION)
        .find_map(|(at, _)| parse_version(bytes[at + SYMBOL_VERSION.len()..].get(..16)?))
}

/// The few fields of the ELF header (System V ABI, 64 bits) that tell whether a library can be loaded here.
mod elf {
    pub(super) const HEADER_BYTES: usize = 64;
    const CLASS_64: u8 = 2;
    const LITTLE_ENDIAN: u8 = 1;
    const TYPE_SHARED: u16 = 3;
    const MACHINES: [(&str, u16); 3] = [("x86_64", 62), ("aarch64", 183), ("riscv64", 243)];

    pub(super) fn check(header: &[u8; HEADER_BYTES], size_bytes: u64) -> Result<(), String> {
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        if &header[..4] != b"\x7fELF" || header[4] != CLASS_64 || header[5] != LITTLE_ENDIAN || half(16) != TYPE_SHARED
        {
            return Err("it is no shared library of 64 bits".to_owned());
        }
        let arch = std::env::consts::ARCH;
        let machine = half(18);
        if MACHINES.iter().any(|(name, number)| *name == arch && *number != machine) {
            let other =
                MACHINES.iter().find(|(_, number)| *number == machine).map_or("another machine", |(name, _)| name);
            return Err(format!("it is built for {other} and this machine is {arch}"));
        }
        // The table of sections ends the file, so a copy that was cut short lacks it.
        let mut offset = [0_u8; 8];
        offset.copy_from_slice(&header[40..48]);
        let sections_end = u64::from_le_bytes(offset).saturating_add(u64::from(half(58)) * u64::from(half(60)));
        if sections_end > size_bytes {
            return Err(format!("it is cut short ({size_bytes} of {sections_end} bytes)"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that says "shared library for this machine", and nothing behind it.
    fn library() -> Vec<u8> {
        let mut bytes = vec![0; elf::HEADER_BYTES];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 3;
        bytes[18] = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
        bytes
    }

    fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn the_newest_library_of_the_folder_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["1.24.1", "1.32.0", "1.9.0"] {
            put(folder.path(), &format!("{NAME}.{version}"), &library());
        }
        put(folder.path(), "libonnxruntime_providers_shared.so", &library());
        assert!(find(folder.path(), &[]).unwrap().ends_with("libonnxruntime.so.1.32.0"));
    }

    #[test]
    fn an_old_library_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "libonnxruntime.so.1.21.0", &library());
        let message = find(folder.path(), &[]).unwrap_err().to_string();
        assert!(message.contains("its version is 1.21.0, and 1.24 or later is needed"), "{message}");
        assert!(message.contains("run `cervella models pull onnxruntime`"), "{message}");
    }

    #[test]
    fn a_name_without_version_is_looked_up_in_the_symbols() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = library();
        bytes.extend(b"\0OrtGetApiBase\0VERS_1.25.1\0libm.so.6\0");
        let path = put(folder.path(), NAME, &bytes);
        assert_eq!(inspect(&path), Ok(Version { major: 1, minor: 25, patch: 1 }));
        let path = put(folder.path(), NAME, &library());
        assert_eq!(inspect(&path), Err("its version cannot be told".to_owned()));
    }

    #[test]
    fn what_cannot_be_loaded_is_told_before_it_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = put(folder.path(), "libonnxruntime.so.1.32.0", b"not found");
        assert_eq!(inspect(&path), Err("it is no shared library".to_owned()));

        let mut foreign = library();
        foreign[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
        put(folder.path(), "libonnxruntime.so.1.32.0", &foreign);
        assert!(inspect(&path).unwrap_err().contains("and this machine is"));

        let mut cut = library();
        cut[40..48].copy_from_slice(&5_000_u64.to_le_bytes());
        put(folder.path(), "libonnxruntime.so.1.32.0", &cut);
        assert_eq!(inspect(&path), Err("it is cut short (64 of 5000 bytes)".to_owned()));
    }

    #[test]
    fn places_of_the_system_serve_when_the_folder_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = put(folder.path(), "libonnxruntime.so.1.24.0", &library());
        assert_eq!(find(&folder.path().join("absent"), std::slice::from_ref(&path)).unwrap(), path);
        assert_eq!(find(&folder.path().join("absent"), &[folder.path().to_path_buf()]).unwrap(), path);
    }
}
