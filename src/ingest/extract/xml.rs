//! XML as a flat run of tokens: what the readers of Office and OpenDocument files have in common. Nesting costs no
//! stack, and entities that a file declares for itself are never expanded.

use std::collections::HashMap;

use jiff::civil::Date;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::QName;

use super::ExtractError;
use super::archive::{Archive, resolve};
use super::date;
use super::source::Source;

/// An empty element is opened and closed.
pub(super) enum Token<'a> {
    Open(&'a BytesStart<'a>),
    Close(&'a str),
    Text(&'a str),
}

/// Hands the tokens of `xml` to `visit`, in order.
pub(super) fn walk(
    xml: &str,
    source: Source<'_>,
    mut visit: impl FnMut(Token<'_>) -> Result<(), ExtractError>,
) -> Result<(), ExtractError> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().expand_empty_elements = true;
    loop {
        match reader.read_event().map_err(|reason| source.damaged(reason))? {
            Event::Start(tag) => visit(Token::Open(&tag))?,
            Event::End(tag) => visit(Token::Close(tag.local_name().as_ref()))?,
            Event::Text(text) => visit(Token::Text(&text.xml10_content()))?,
            Event::CData(text) => visit(Token::Text(&text.xml10_content()))?,
            Event::GeneralRef(reference) => {
                if let Ok(Some(c)) = reference.resolve_char_ref() {
                    visit(Token::Text(c.encode_utf8(&mut [0; 4])))?;
                } else {
                    let name = reference.xml10_content();
                    visit(Token::Text(quick_xml::escape::resolve_predefined_entity(&name).unwrap_or("")))?;
                }
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// The value of an attribute, whatever its prefix.
pub(super) fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = tag.attributes().with_checks(false).flatten().find(|found| found.key.local_name().as_ref() == name)?;
    quick_xml::escape::unescape(&found.value).ok().map(|value| value.into_owned())
}

/// The value of an attribute that is written with a prefix: `r:id` beside `id`.
pub(super) fn prefixed_attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let is_meant = |key: QName<'_>| key.prefix().is_some() && key.local_name().as_ref() == name;
    let found = tag.attributes().with_checks(false).flatten().find(|found| is_meant(found.key))?;
    quick_xml::escape::unescape(&found.value).ok().map(|value| value.into_owned())
}

/// The text of the first element of this name that has any, as titles and languages are written in metadata.
pub(super) fn element_text(xml: &str, name: &str, source: Source<'_>) -> Option<String> {
    let mut inside = false;
    let mut text = String::new();
    let mut found = None;
    // Damaged metadata is worth no document: what was read of it counts.
    let _ = walk(xml, source, |token| {
        match token {
            Token::Open(tag) => inside = tag.local_name().as_ref() == name,
            Token::Close(_) => {
                if std::mem::take(&mut inside) && found.is_none() {
                    found = Some(collapse(&text)).filter(|text| !text.is_empty());
                }
                text.clear();
            }
            Token::Text(more) if inside && found.is_none() => text.push_str(more),
            Token::Text(_) => {}
        }
        Ok(())
    });
    found
}

/// The day of the last change, as Dublin Core's elements in metadata tell it.
pub(super) fn date_of(metadata: &str, source: Source<'_>) -> Option<Date> {
    ["modified", "date"].iter().find_map(|name| date::iso(&element_text(metadata, name, source)?))
}

/// The parts that the part `base` of an Office archive is related to, by the id of the relation.
pub(super) fn relations(archive: &mut Archive<'_>, base: &str) -> Result<HashMap<String, Relation>, ExtractError> {
    let at = base.rfind('/').map_or(0, |at| at + 1);
    let source = archive.source;
    let xml = archive.xml(&format!("{}_rels/{}.rels", &base[..at], &base[at..]))?.unwrap_or_default();
    let mut relations = HashMap::new();
    walk(&xml, source, |token| {
        if let Token::Open(tag) = token
            && let (Some(id), Some(target)) = (attribute(tag, "Id"), attribute(tag, "Target"))
            && let Some(path) = resolve(base, &target)
        {
            let kind = attribute(tag, "Type").unwrap_or_default();
            relations.insert(id, Relation { kind: kind.rsplit('/').next().unwrap_or_default().to_owned(), path });
        }
        Ok(())
    })?;
    Ok(relations)
}

pub(super) struct Relation {
    /// The last word of its type: `worksheet`, `notesSlide`.
    pub(super) kind: String,
    /// Of the other part.
    pub(super) path: String,
}

/// White space as it is shown: one space between words.
pub(super) fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
