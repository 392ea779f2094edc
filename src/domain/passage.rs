//! A passage: the piece of a document that is indexed, found and quoted.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::Language;

/// Identity of a passage: 128 bits of a hash over its document's path, its place and its text, so that the same
/// passage keeps its identity from one index run to the next. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PassageId(pub [u8; 16]);

#[derive(Debug, Error)]
#[error("`{0}` is not a passage id (32 hexadecimal digits)")]
pub struct InvalidPassageId(String);

/// A piece of a document, small enough to be read at a glance and whole enough to be understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    pub id: PassageId,
    /// Name of the collection that its document belongs to.
    pub collection: String,
    /// Relative to its knowledge folder, with `/` between the parts; names a document within its collection.
    pub path: String,
    /// Title of the document.
    pub title: String,
    /// Headings above the passage, outermost first; the document's title is not repeated.
    pub headings: Vec<String>,
    /// Fragment of the document's address that leads to the passage, if the document has one.
    pub anchor: Option<String>,
    /// Address on the web, if its collection tells one.
    pub link: Option<String>,
    pub language: Language,
    /// Day of its document's last change, if the document tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// Place among the passages of its document, from 0.
    pub ordinal: u32,
    /// Verbatim text of the document: Markdown as it is written, markup removed from other formats.
    pub text: String,
}

impl Passage {
    /// The heading path as one line, ` › ` between the levels; empty at the top of a document.
    pub fn heading(&self) -> String {
        self.headings.join(" › ")
    }

    /// Where it stands, for people: title, headings, day.
    pub fn place(&self) -> String {
        place(&self.title, &self.heading(), self.date)
    }

    pub fn is_of_document_of(&self, other: &Passage) -> bool {
        self.path == other.path && self.collection == other.collection
    }
}

pub(super) fn place(title: &str, heading: &str, date: Option<Date>) -> String {
    let heading = if heading.is_empty() { String::new() } else { format!(" › {heading}") };
    let date = date.map(|date| format!(" · {date}")).unwrap_or_default();
    format!("{title}{heading}{date}")
}

impl fmt::Display for PassageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PassageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassageId({self})")
    }
}

impl FromStr for PassageId {
    type Err = InvalidPassageId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPassageId(text.to_owned());
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| invalid())?;
        Ok(PassageId(value.to_be_bytes()))
    }
}

impl Serialize for PassageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PassageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let id = PassageId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 254, 255]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0dfeff");
        assert_eq!(id.to_string().parse::<PassageId>().unwrap(), id);
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in ["", "12", "zz0102030405060708090a0b0c0dfeff", "+00102030405060708090a0b0c0dfeff"] {
            assert!(text.parse::<PassageId>().is_err(), "{text:?} was accepted");
        }
    }
}
