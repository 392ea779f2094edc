//! The parts of an archive in memory, each read within the file's budget: what DOCX, XLSX, PPTX, OpenDocument and EPUB
//! have in common. No part is ever written to the disk.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::read::ZipFile;

use super::source::Source;
use super::{ExtractError, encoding};

/// How the container of an Office file with a password begins (and of the formats before 2007).
const COMPOUND_FILE: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
/// The name of the stream in it that is the encrypted file, in UTF-16.
const ENCRYPTED_STREAM: &[u8] = b"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0";

pub(super) struct Archive<'a> {
    pub(super) source: Source<'a>,
    zip: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8], source: Source<'a>) -> Result<Self, ExtractError> {
        if bytes.starts_with(COMPOUND_FILE) && bytes.windows(ENCRYPTED_STREAM.len()).any(|at| at == ENCRYPTED_STREAM) {
            return Err(source.encrypted());
        }
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|reason| source.damaged(reason))?;
        Ok(Archive { source, zip })
    }

    /// The number of its parts.
    pub(super) fn len(&self) -> usize {
        self.zip.len()
    }

    /// The name of a part as text, and whether it is encrypted; `None` for what is no file, or damaged.
    pub(super) fn name(&mut self, index: usize) -> Option<(String, bool)> {
        let file = self.zip.by_index_raw(index).ok().filter(|file| file.is_file())?;
        Some((file.name().ok()?.into_owned(), file.encrypted()))
    }

    /// The bytes of the part of this number.
    pub(super) fn bytes_at(&mut self, index: usize) -> Result<Vec<u8>, ExtractError> {
        let file = self.zip.by_index(index).map_err(|reason| self.source.damaged(reason))?;
        unpack(file, self.source)
    }

    /// The bytes of a part; `None` if the archive has no such part.
    pub(super) fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, ExtractError> {
        match self.zip.by_name(name) {
            Ok(file) => unpack(file, self.source).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The text of a part of XML; `None` if the archive has no such part.
    pub(super) fn xml(&mut self, name: &str) -> Result<Option<String>, ExtractError> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        let text = match encoding::decode_html(&bytes) {
            None => return Err(self.source.damaged(format!("`{name}` is not XML"))),
            Some(Cow::Owned(text)) => text,
            Some(Cow::Borrowed(text)) if text.len() < bytes.len() => text.to_owned(),
            // Large parts are not held twice.
            Some(Cow::Borrowed(_)) => String::from_utf8(bytes).map_err(|reason| self.source.damaged(reason))?,
        };
        Ok(Some(if text.starts_with('\u{feff}') { text.trim_start_matches('\u{feff}').to_owned() } else { text }))
    }

    /// The text of a part that the format cannot do without.
    pub(super) fn required_xml(&mut self, name: &str) -> Result<String, ExtractError> {
        self.xml(name)?.ok_or_else(|| self.source.damaged(format!("it holds no `{name}`")))
    }
}

fn unpack(file: ZipFile<'_, Cursor<&[u8]>>, source: Source<'_>) -> Result<Vec<u8>, ExtractError> {
    let mut bytes = Vec::new();
    // The declared size may lie: the bytes that really come out are counted.
    let outcome = file.take(source.budget.unpacked_left() + 1).read_to_end(&mut bytes);
    source.budget.unpack(bytes.len() as u64)?;
    outcome.map_err(|reason| source.damaged(reason))?;
    Ok(bytes)
}

/// The path that `target` means in a part at `base`, as relations between parts are written; `None` where it leads out of the archive.
pub(super) fn resolve(base: &str, target: &str) -> Option<String> {
    let folder = base.rfind('/').map_or("", |at| &base[..at]);
    let mut parts: Vec<&str> =
        if target.starts_with('/') { Vec::new() } else { folder.split('/').filter(|part| !part.is_empty()).collect() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_lead_to_parts() {
        for (base, target, path) in [
            ("ppt/slides/slide1.xml", "../notesSlides/notesSlide1.xml", Some("ppt/notesSlides/notesSlide1.xml")),
            ("xl/workbook.xml", "worksheets/sheet1.xml", Some("xl/worksheets/sheet1.xml")),
            ("xl/workbook.xml", "/xl/worksheets/sheet1.xml", Some("xl/worksheets/sheet1.xml")),
            ("content.opf", "./text/uno.xhtml", Some("text/uno.xhtml")),
            ("a/b.xml", "../../../etc/passwd", None),
        ] {
            assert_eq!(resolve(base, target).as_deref(), path);
        }
    }
}
