//! ZIP to one document: every file in it that can be read is a section under its path. Runs in the child process;
//! nothing is written to the disk, a path in the archive is only shown, and an archive inside of it is not opened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::archive::Archive;
use super::source::Source;
use super::{ExtractError, Format, encoding, extract_within, html};
use crate::ingest::document::{Block, BlockKind, Document, title_from_path};

/// Files in an archive, those included that are not read.
const ENTRIES_MAX: usize = 5_000;
/// Letters of a path that are shown: its end says more than its beginning.
const PATH_CHARS_MAX: usize = 200;

pub(super) fn extract(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let mut archive = Archive::open(bytes, source)?;
    let entries = archive.len();
    if entries > ENTRIES_MAX {
        return Err(ExtractError::TooManyEntries { path: source.path.to_owned(), entries, limit: ENTRIES_MAX });
    }
    let mut readable: Vec<(String, Format, bool, usize)> = (0..entries)
        .filter_map(|index| {
            let (name, is_encrypted) = archive.name(index)?;
            let path = shown(&name);
            let format = Format::of(Path::new(&path)).filter(|format| *format != Format::Zip && !is_hidden(&path))?;
            Some((path, format, is_encrypted, index))
        })
        .collect();
    readable.sort_by(|a, b| a.0.cmp(&b.0));
    let mut blocks = Vec::new();
    let (mut failure, mut unread) = (None, None);
    for (path, format, is_encrypted, index) in readable {
        let inner = source.path.join(&path);
        let inner = Source { path: &inner, format, ..source };
        let document = if is_encrypted { Err(inner.encrypted()) } else { entry(&mut archive, index, inner) };
        match document {
            Ok(document) => {
                unread = unread.or_else(|| document.unread.as_ref().map(|unread| format!("{path}: {unread}")));
                push(path, document, &mut blocks);
            }
            Err(error @ ExtractError::UnpacksTooLarge { .. }) => return Err(error),
            // An entry that cannot be read does not cost the others.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(failure) if blocks.is_empty() => Err(failure),
        failure => {
            let unread = failure.map(|failure| failure.to_string()).or(unread);
            Ok(Document { unread, ..Document::new(title_from_path(source.path), None, blocks) })
        }
    }
}

fn entry(archive: &mut Archive<'_>, index: usize, inner: Source<'_>) -> Result<Document, ExtractError> {
    let bytes = archive.bytes_at(index)?;
    if inner.format == Format::Html && encoding::decode_html(&bytes).is_some_and(|page| html::is_hostile(&page)) {
        return Err(inner.damaged("it is nested too deep"));
    }
    // Readers of PDF panic: that ends the entry and not the archive.
    catch_unwind(AssertUnwindSafe(|| extract_within(&bytes, inner)))
        .unwrap_or_else(|_| Err(inner.damaged("it ended its reader")))
}

/// The document as a section. Its title is shown if it is neither a heading of its own nor the file's name.
fn push(path: String, document: Document, blocks: &mut Vec<Block>) {
    let is_known = document.title == title_from_path(Path::new(&path))
        || document.blocks.iter().any(|block| block.label() == Some(&document.title));
    blocks.push(Block::new(BlockKind::Heading { level: 1, label: path.clone() }, path));
    if !is_known {
        let heading = BlockKind::Heading { level: 2, label: document.title.clone() };
        blocks.push(Block::new(heading, document.title));
    }
    for block in document.blocks {
        let block = if is_known { block } else { block.one_level_deeper() };
        // An anchor leads into the entry, not into the archive.
        blocks.push(Block { anchor: None, ..block.one_level_deeper() });
    }
}

/// The path of an entry as it is shown: on one line, with `/`, from the archive's root.
fn shown(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).map(|c| if c == '\\' { '/' } else { c }).collect();
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(part.trim(), "" | "." | "..")).collect();
    let path = parts.join("/");
    let skip = path.chars().count().saturating_sub(PATH_CHARS_MAX);
    if skip == 0 { path } else { path.chars().skip(skip).collect() }
}

/// Dot files, lock files of office programs, and what a Mac adds to archives.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.') || part.starts_with("~$") || part == "__MACOSX")
}

#[cfg(test)]
mod tests;
