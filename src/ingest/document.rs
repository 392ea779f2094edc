//! A document after extraction: clean blocks in reading order, whatever the file's format was.

use std::path::Path;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::domain::Language;

/// What a file says, without its markup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Never empty: the file's name if the document has no title.
    pub title: String,
    /// The language that the document claims for itself (`<html lang>`, front matter); the text may tell otherwise.
    pub language_hint: Option<Language>,
    /// Of its last change, as it says itself: a file's time is often that of a copy.
    pub date: Option<Date>,
    pub blocks: Vec<Block>,
    /// What of the file could not be read, and why, for people.
    pub unread: Option<String>,
}

/// A paragraph, a heading, a table row: the smallest thing that a reader sees as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub kind: BlockKind,
    /// Never blank. Verbatim source for Markdown and text files, markup removed and white space collapsed for others.
    pub text: String,
    /// Fragment of the document's address that leads to this block or just above it.
    pub anchor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// `level` from 1 (outermost) to 6; `label` is the heading without markup.
    Heading {
        level: u8,
        label: String,
    },
    Paragraph,
    /// One item, or a further paragraph of it; nested items follow as items of their own.
    ListItem,
    /// A term that the block after it explains.
    Term,
    Quote,
    /// Kept whole, line by line.
    Code,
    /// One row; cells are separated by tabs (by `|` in Markdown). `header`: the row names the columns of those below.
    TableRow {
        header: bool,
    },
}

impl Document {
    /// All of a file.
    pub(super) fn new(title: impl Into<String>, language_hint: Option<Language>, blocks: Vec<Block>) -> Self {
        Document { title: title.into(), language_hint, date: None, blocks, unread: None }
    }

    pub(super) fn dated(self, date: Option<Date>) -> Self {
        Document { date, ..self }
    }

    /// Whether any block holds a letter or a digit.
    pub fn has_text(&self) -> bool {
        self.blocks.iter().any(|block| block.text.chars().any(char::is_alphanumeric))
    }
}

impl Block {
    pub(super) fn new(kind: BlockKind, text: impl Into<String>) -> Self {
        Block { kind, text: text.into(), anchor: None }
    }

    /// The same block inside of a document in which its own is a section.
    pub(super) fn one_level_deeper(mut self) -> Self {
        if let BlockKind::Heading { level, .. } = &mut self.kind {
            *level = (*level + 1).min(6);
        }
        self
    }

    /// The heading without markup, if this is one.
    pub fn label(&self) -> Option<&str> {
        match &self.kind {
            BlockKind::Heading { label, .. } => Some(label),
            _ => None,
        }
    }
}

/// The file's name as a title: `guida-vpn_2024.md` is "guida vpn 2024".
pub(super) fn title_from_path(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    let words: Vec<&str> =
        stem.split(|c: char| c.is_whitespace() || "-_+".contains(c)).filter(|w| !w.is_empty()).collect();
    if words.is_empty() { stem.into_owned() } else { words.join(" ") }
}

/// The language that a tag such as `it`, `en-US` or `it_IT` stands for; `None` for any other.
pub(super) fn language_from_tag(tag: &str) -> Option<Language> {
    let primary = tag.trim().split(['-', '_']).next().unwrap_or("").to_ascii_lowercase();
    match primary.as_str() {
        "it" | "ita" | "italian" | "italiano" => Some(Language::Italian),
        "en" | "eng" | "english" | "inglese" => Some(Language::English),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_becomes_a_title() {
        for (path, title) in [
            ("a/guida-vpn_2024.md", "guida vpn 2024"),
            ("Ferie e permessi.docx", "Ferie e permessi"),
            ("README", "README"),
            ("v1.2.txt", "v1.2"),
            ("---.md", "---"),
        ] {
            assert_eq!(title_from_path(Path::new(path)), title);
        }
    }

    #[test]
    fn language_tags() {
        assert_eq!(language_from_tag("it-IT"), Some(Language::Italian));
        assert_eq!(language_from_tag("en_US"), Some(Language::English));
        assert_eq!(language_from_tag("fr"), None);
        assert_eq!(language_from_tag(""), None);
    }
}
