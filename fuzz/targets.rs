//! The decoders, by name.

use std::io::Write;
use std::path::Path;

use cervella::chat::delivery::markup::{self, check};
use cervella::chat::slack::{self, SlackIdentity};
use cervella::chat::telegram::{self, TelegramIdentity};
use cervella::domain::sentences;
use cervella::inference::{LlamaConfig, ModelFile, Tokens};
use cervella::ingest::{Format, extract_here};
use cervella::store::check_export;
use tempfile::NamedTempFile;

use super::zipped;

pub(crate) type Target = fn(&[u8]);

/// PDF is missing: its reader panics and overflows, which is known, so it runs in a child process that may die.
const TARGETS: &[(&str, Target)] = &[
    ("slack_event", |bytes| {
        let _ = slack::decode::decode(bytes, &slack_identity());
    }),
    ("telegram_update", |bytes| {
        if let Ok(update) = serde_json::from_slice(bytes) {
            let _ = telegram::decode::decode(&update, &telegram_identity());
        }
    }),
    ("telegram_html", telegram_html),
    ("slack_markdown", slack_markdown),
    ("model", |bytes| {
        let file = in_file(bytes);
        let Ok(model) = ModelFile::open(file.path()) else { return };
        let _ = LlamaConfig::read(&model);
        let _ = Tokens::read(&model);
    }),
    ("export", |bytes| {
        let _ = check_export(in_file(bytes).path());
    }),
    ("text", |bytes| extract(Format::Text, bytes)),
    ("markdown", |bytes| extract(Format::Markdown, bytes)),
    ("html", |bytes| extract(Format::Html, bytes)),
    ("rst", |bytes| extract(Format::ReStructuredText, bytes)),
    ("asciidoc", |bytes| extract(Format::AsciiDoc, bytes)),
    ("csv", |bytes| extract(Format::Csv, bytes)),
    ("email", |bytes| extract(Format::Email, bytes)),
    ("mailbox", |bytes| extract(Format::Mailbox, bytes)),
    ("zip", |bytes| extract(Format::Zip, bytes)),
    ("docx", |bytes| extract(Format::Docx, &zipped::docx(bytes))),
    ("pptx", |bytes| extract(Format::Pptx, &zipped::pptx(bytes))),
    ("xlsx", |bytes| extract(Format::Xlsx, &zipped::xlsx(bytes))),
    ("odt", |bytes| extract(Format::Odt, &zipped::opendocument(bytes))),
    ("ods", |bytes| extract(Format::Ods, &zipped::opendocument(bytes))),
    ("odp", |bytes| extract(Format::Odp, &zipped::opendocument(bytes))),
    ("epub", |bytes| extract(Format::Epub, &zipped::epub(bytes))),
];

pub(crate) fn named(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// All of them.
pub(crate) fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|(name, _)| *name).collect()
}

/// Any text becomes HTML that Telegram takes, whole and in parts.
fn telegram_html(bytes: &[u8]) {
    let text = &String::from_utf8_lossy(bytes);
    assert_eq!(check::telegram_html(&markup::telegram_html(text)), Ok(()));
    for part_max in [3500, 80] {
        for part in markup::split(text, part_max) {
            let html = markup::telegram_html(&part);
            assert_eq!(check::telegram_html(&html), Ok(()));
            assert!(part.chars().count() <= part_max && markup::visible_characters(&html) <= 4096);
        }
    }
    assert!(sentences(text).into_iter().all(|sentence| text.get(sentence).is_some()));
}

/// Any text becomes text that calls nobody on Slack and links nowhere.
fn slack_markdown(bytes: &[u8]) {
    let text = &String::from_utf8_lossy(bytes);
    assert_eq!(check::slack_markdown(&markup::slack_markdown(text)), Ok(()));
    assert_eq!(check::slack_text(&markup::slack_mrkdwn(text)), Ok(()));
    assert_eq!(check::slack_text(&markup::slack_plain(text)), Ok(()));
    for part_max in [11_000, 80] {
        for part in markup::split(text, part_max) {
            let shown = markup::slack_markdown(&part);
            assert_eq!(check::slack_markdown(&shown), Ok(()));
            assert!(shown.chars().count() <= 12_000);
        }
    }
}

fn extract(format: Format, bytes: &[u8]) {
    let _ = extract_here(format, Path::new("a file"), bytes);
}

/// What is only read from a disk, in memory all the same.
fn in_file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    file.write_all(bytes).expect("written to memory");
    file
}

fn slack_identity() -> SlackIdentity {
    let (team_id, team_name) = ("T1".to_owned(), "team".to_owned());
    SlackIdentity { team_id, team_name, user_id: "U1".to_owned(), bot_id: Some("B1".to_owned()) }
}

fn telegram_identity() -> TelegramIdentity {
    TelegramIdentity { id: 1, username: "bot".to_owned(), supports_inline_queries: true, privacy_mode: true }
}
