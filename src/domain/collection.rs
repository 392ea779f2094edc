//! Collections: named parts of the knowledge, each with its own folders, readers and links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{Chat, Language, Principal};

/// The collection of `knowledge.folders`.
pub const DEFAULT_COLLECTION: &str = "knowledge";

/// What stays as it is in one part of an address's path.
const PATH_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A named set of folders, and how their files are read. Who may read it is not part of it: see [`Readership`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    pub name: String,
    pub folders: Vec<PathBuf>,
    /// Patterns of the files that belong to it; none: all.
    pub include: Vec<String>,
    /// Patterns of the files and folders that do not.
    pub exclude: Vec<String>,
    /// Endings of files that are read as source code, without the dot.
    #[serde(default)]
    pub code: Vec<String>,
    /// Of documents whose text does not tell.
    pub language: Option<Language>,
    /// Address of a document on the web.
    pub link: Option<LinkTemplate>,
}

/// An address with `{path}` (of the file in its folder, with `/`), `{stem}` (the same without its ending) and `{anchor}`
/// (of the passage; with the `#` before it, it is left out where there is none).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkTemplate(pub String);

impl LinkTemplate {
    /// What is wrong with it, for people.
    pub fn fault(&self) -> Option<&'static str> {
        let rest = self.0.replace("{path}", "").replace("{stem}", "");
        if !self.0.starts_with("https://") && !self.0.starts_with("http://") {
            Some("it does not begin with https:// or http://")
        } else if self.0.contains(|c: char| c.is_whitespace() || c.is_control()) {
            Some("it holds white space")
        } else if rest.len() == self.0.len() {
            Some("it holds neither {path} nor {stem}")
        } else if rest.replace("{anchor}", "").contains(['{', '}']) {
            Some("it may hold {path}, {stem} and {anchor}, nothing else in braces")
        } else {
            None
        }
    }

    /// `path`: of the file in its folder, with `/`.
    pub fn fill(&self, path: &str, anchor: Option<&str>) -> String {
        let encoded = |text: &str| -> String {
            let parts: Vec<String> =
                text.split('/').map(|part| utf8_percent_encode(part, PATH_PART).to_string()).collect();
            parts.join("/")
        };
        let name_at = path.rfind('/').map_or(0, |at| at + 1);
        let stem = path[name_at..].rfind('.').filter(|&dot| dot > 0).map_or(path, |dot| &path[..name_at + dot]);
        let address = self.0.replace("{path}", &encoded(path)).replace("{stem}", &encoded(stem));
        match anchor {
            Some(anchor) => address.replace("{anchor}", &encoded(anchor)),
            None => address.replace("#{anchor}", "").replace("{anchor}", ""),
        }
    }
}

/// Who an answer is shown to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Whoever runs the program's commands: they can read the files themselves.
    Operator,
    /// Whoever reaches the chat page.
    Page,
    /// Everybody in a chat.
    Chat(Chat),
    /// One person, in a conversation of their own.
    Person(Principal),
    /// Nobody knows who: what is shown may be carried into any chat.
    Anybody,
}

/// What a search may find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    /// Passages of these collections.
    Collections(BTreeSet<String>),
}

impl Scope {
    pub fn holds(&self, collection: &str) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Collections(names) => names.contains(collection),
        }
    }
}

/// Who may read which collection. A collection that it does not know is nobody's but the operator's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readership {
    /// For each collection its readers, as [`Reader`] is written: `slack`, `telegram`, `web`, `slack:C0123`,
    /// `telegram:42`. None: everybody.
    pub readers: BTreeMap<String, Vec<String>>,
}

impl Readership {
    /// What is shown to this reader may come from here.
    pub fn scope(&self, reader: &Reader) -> Scope {
        let (platform, subject) = match reader {
            Reader::Operator => return Scope::Everything,
            Reader::Page => (Some("web".to_owned()), None),
            Reader::Chat(chat) => (Some(chat.platform.to_string()), Some(chat.to_string())),
            Reader::Person(person) => (Some(person.platform.to_string()), Some(person.to_string())),
            Reader::Anybody => (None, None),
        };
        let is_meant = |written: &String| platform.as_ref() == Some(written) || subject.as_ref() == Some(written);
        let open = self.readers.iter().filter(|(_, readers)| readers.is_empty() || readers.iter().any(is_meant));
        Scope::Collections(open.map(|(name, _)| name.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Platform;

    fn readership() -> Readership {
        let readers = [("handbook", vec![]), ("hr", vec!["slack:C1", "slack:U1"]), ("it", vec!["telegram", "web"])];
        let owned =
            |(name, readers): (&str, Vec<&str>)| (name.to_owned(), readers.into_iter().map(str::to_owned).collect());
        Readership { readers: readers.into_iter().map(owned).collect() }
    }

    #[track_caller]
    fn check(reader: &Reader, expect: &[&str]) {
        let scope = readership().scope(reader);
        assert_eq!(scope, Scope::Collections(expect.iter().map(|&name| name.to_owned()).collect()), "{reader:?}");
    }

    #[test]
    fn each_reader_has_what_is_open_and_what_names_them() {
        let chat = |platform, id: &str| Reader::Chat(Chat { platform, id: id.into() });
        let person = |platform, id: &str| Reader::Person(Principal { platform, id: id.into() });
        check(&chat(Platform::Slack, "C1"), &["handbook", "hr"]);
        check(&chat(Platform::Slack, "C2"), &["handbook"]);
        check(&person(Platform::Slack, "U1"), &["handbook", "hr"]);
        check(&person(Platform::Telegram, "42"), &["handbook", "it"]);
        check(&Reader::Page, &["handbook", "it"]);
        check(&Reader::Anybody, &["handbook"]);
        assert_eq!(readership().scope(&Reader::Operator), Scope::Everything);
        assert!(!readership().scope(&Reader::Page).holds("removed from the settings"));
    }

    #[test]
    fn a_link_leads_to_its_document() {
        let link = |template: &str| LinkTemplate(template.to_owned());
        for (template, path, anchor, expect) in [
            (
                "https://w.example/{path}",
                "it/ferie e permessi.md",
                None,
                "https://w.example/it/ferie%20e%20permessi.md",
            ),
            ("https://w.example/{stem}#{anchor}", "a.b/c.d.html", Some("§ 1"), "https://w.example/a.b/c.d#%C2%A7%201"),
            ("https://w.example/{stem}#{anchor}", "Makefile", None, "https://w.example/Makefile"),
            ("https://w.example/?p={path}", "x/.y?a#b&c", None, "https://w.example/?p=x/.y%3Fa%23b%26c"),
        ] {
            assert_eq!(link(template).fault(), None);
            assert_eq!(link(template).fill(path, anchor), expect);
        }
        for wrong in ["ftp://x/{path}", "https://x/", "https://x/{path}/{user}", "https://x/ {path}", "{path}"] {
            assert!(link(wrong).fault().is_some(), "{wrong} was accepted");
        }
    }
}
