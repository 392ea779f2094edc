//! OpenDocument (ODT, ODS, ODP) to blocks: what the three kinds of files have in common, and titles and languages.
//! `body` reads the text. Runs in the child process.

mod body;

use std::collections::{HashMap, HashSet};

use quick_xml::events::BytesStart;

use super::ExtractError;
use super::archive::Archive;
use super::source::Source;
use super::xml::{attribute, date_of, element_text};
use crate::ingest::document::{Block, BlockKind, Document, language_from_tag, title_from_path};
use body::Body;

pub(super) fn extract(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let mut archive = Archive::open(bytes, source)?;
    let manifest = archive.xml("META-INF/manifest.xml")?.unwrap_or_default();
    if manifest.contains("encryption-data") {
        return Err(source.encrypted());
    }
    let content = archive.required_xml("content.xml")?;
    let meta = archive.xml("meta.xml")?.unwrap_or_default();
    let read = Body::new(source).read(&content)?;
    let declared = element_text(&meta, "title", source);
    // The name of a sheet is no title of the whole.
    let heading = || read.blocks.iter().find_map(Block::label).map(str::to_owned);
    let title = if read.is_spreadsheet { declared } else { heading().or(declared) };
    let title = title.unwrap_or_else(|| title_from_path(source.path));
    let language = element_text(&meta, "language", source).as_deref().and_then(language_from_tag);
    Ok(Document::new(title, language, read.blocks).dated(date_of(&meta, source)))
}

/// The styles that a file declares, as far as they say what their text is.
#[derive(Default)]
struct Styles {
    parents: HashMap<String, String>,
    /// Of sheets and slides that are not shown.
    hidden: HashSet<String>,
    current: String,
}

impl Styles {
    fn read(&mut self, tag: &BytesStart<'_>) {
        let says = |name: &str, value: &str| attribute(tag, name).is_some_and(|found| found == value);
        match tag.local_name().as_ref() {
            "style" => {
                self.current = attribute(tag, "name").unwrap_or_default();
                if let Some(parent) = attribute(tag, "parent-style-name") {
                    self.parents.insert(self.current.clone(), parent);
                }
            }
            "table-properties" if says("display", "false") => {
                self.hidden.insert(self.current.clone());
            }
            "drawing-page-properties" if says("visibility", "hidden") => {
                self.hidden.insert(self.current.clone());
            }
            _ => {}
        }
    }

    fn is_hidden(&self, tag: &BytesStart<'_>) -> bool {
        attribute(tag, "style-name").is_some_and(|name| self.hidden.contains(&name))
    }

    /// What the paragraph style of this element says: writers keep the English names of their own styles.
    fn kind(&self, tag: &BytesStart<'_>) -> BlockKind {
        let name = attribute(tag, "style-name").unwrap_or_default();
        let name = self.parents.get(&name).unwrap_or(&name);
        match name.as_str() {
            "Title" => BlockKind::Heading { level: 1, label: String::new() },
            "Quotations" => BlockKind::Quote,
            "Preformatted_20_Text" => BlockKind::Code,
            _ => BlockKind::Paragraph,
        }
    }
}

#[cfg(test)]
mod tests;
