//! Messages (EML) and mailboxes (mbox) to blocks: who wrote to whom and when, the text as it was written, the names of
//! what was attached. Attachments are not opened. Runs in the child process.

use std::fmt::Write;
use std::panic::catch_unwind;
use std::path::Path;

use jiff::civil::Date;
use mail_parser::{Address, DateTime, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::source::Source;
use super::xml::collapse;
use super::{ExtractError, date, html, text};
use crate::domain::Language;
use crate::ingest::document::{Block, BlockKind, Document, title_from_path};

/// People that a message names as its readers; a list of all the staff says nothing.
const READERS_MAX: usize = 20;
const ATTACHMENTS_MAX: usize = 50;

pub(super) fn extract(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let mail = read(bytes, source)?;
    let title = mail.subject.unwrap_or_else(|| title_from_path(source.path));
    Ok(Document::new(title, mail.language, mail.blocks).dated(mail.date))
}

pub(super) fn extract_mailbox(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let mut blocks = Vec::new();
    let mut failure = None;
    for message in messages(bytes) {
        match read(&message, source) {
            Ok(mail) => {
                let label = mail.subject.or(mail.sender).unwrap_or_else(|| "…".to_owned());
                blocks.push(Block::new(BlockKind::Heading { level: 1, label: label.clone() }, label));
                blocks.extend(mail.blocks.into_iter().map(Block::one_level_deeper));
            }
            // One message that cannot be read does not cost the others.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(failure) if blocks.is_empty() => Err(failure),
        None if blocks.is_empty() => Err(source.damaged("no line begins a message")),
        failure => {
            let unread = failure.map(|failure| failure.to_string());
            Ok(Document { unread, ..Document::new(title_from_path(source.path), None, blocks) })
        }
    }
}

struct Mail {
    subject: Option<String>,
    sender: Option<String>,
    language: Option<Language>,
    date: Option<Date>,
    blocks: Vec<Block>,
}

fn read(bytes: &[u8], source: Source<'_>) -> Result<Mail, ExtractError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    // The crate promises not to panic; a mailbox is worth not to rely on it.
    let message = catch_unwind(|| MessageParser::default().parse(bytes)).ok().flatten();
    let message = message.ok_or_else(|| source.damaged("it has no headers"))?;
    let mail = read_message(&message, source);
    discard(message);
    mail
}

fn read_message(message: &Message<'_>, source: Source<'_>) -> Result<Mail, ExtractError> {
    let subject = message.subject().map(collapse).filter(|subject| !subject.is_empty());
    if subject.is_none() && message.from().is_none() && message.date().is_none() {
        return Err(source.damaged("it has neither subject nor sender nor date"));
    }
    let mut mail = Mail {
        subject,
        sender: message.from().and_then(|from| people(from, 1)),
        language: None,
        date: message.date().and_then(|sent| date::of_numbers(sent.year, sent.month, sent.day)),
        blocks: envelope(message).into_iter().collect(),
    };
    let names = attachment_names(message);
    for part in message.text_bodies() {
        match &part.body {
            PartType::Text(body) => push_text(body, &mut mail.blocks),
            PartType::Html(page) if html::is_hostile(page) => return Err(source.damaged("it is nested too deep")),
            PartType::Html(page) => {
                let page = html::extract(page, Path::new(""));
                mail.language = mail.language.or(page.language_hint);
                // Names in the page lead nowhere outside of it.
                mail.blocks.extend(page.blocks.into_iter().map(|block| Block { anchor: None, ..block }));
            }
            _ => {}
        }
    }
    if !names.is_empty() {
        mail.blocks.push(Block::new(BlockKind::Paragraph, format!("Attachments: {}", names.join(", "))));
    }
    Ok(mail)
}

/// The lines that a reader sees above a message, named as in every message.
fn envelope(message: &Message<'_>) -> Option<Block> {
    let lines = [
        ("From", message.from().and_then(|from| people(from, READERS_MAX))),
        ("To", message.to().and_then(|to| people(to, READERS_MAX))),
        ("Cc", message.cc().and_then(|cc| people(cc, READERS_MAX))),
        ("Date", message.date().filter(|date| date.is_valid()).map(moment)),
    ];
    let lines: Vec<String> =
        lines.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?))).collect();
    (!lines.is_empty()).then(|| Block::new(BlockKind::Paragraph, lines.join("\n")))
}

/// `Ada Rossi <ada@acme.example>, Lia <lia@acme.example>`.
fn people(address: &Address<'_>, max: usize) -> Option<String> {
    let mut written = String::new();
    for (at, person) in address.iter().enumerate() {
        let name = person.name().map(collapse).filter(|name| !name.is_empty());
        let place = person.address().map(collapse).filter(|place| !place.is_empty());
        let person = match (name, place) {
            (Some(name), Some(place)) if name != place => format!("{name} <{place}>"),
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => continue,
        };
        if !written.is_empty() {
            written.push_str(", ");
        }
        if at >= max {
            written.push('…');
            break;
        }
        written.push_str(&person);
    }
    Some(written).filter(|written| !written.is_empty())
}

/// The date as the sender's clock showed it.
fn moment(date: &DateTime) -> String {
    let mut written = format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
    let _ = write!(written, " {:02}:{:02}", date.hour, date.minute);
    written
}

/// Of files; pictures that the text shows in its place have names that nobody gave them.
fn attachment_names(message: &Message<'_>) -> Vec<String> {
    let is_shown = |part: &MessagePart<'_>| {
        part.content_id().is_some()
            && part.content_type().is_some_and(|kind| kind.ctype().eq_ignore_ascii_case("image"))
    };
    let name = |part: &MessagePart<'_>| match &part.body {
        _ if is_shown(part) => None,
        PartType::Message(inner) => part.attachment_name().or_else(|| inner.subject()).map(collapse),
        _ => part.attachment_name().map(collapse),
    };
    message.attachments().filter_map(name).filter(|name| !name.is_empty()).take(ATTACHMENTS_MAX).collect()
}

/// The text of a message: lines that begin with `>` are what it answers to.
fn push_text(body: &str, blocks: &mut Vec<Block>) {
    let lines: Vec<&str> = body.lines().collect();
    for run in lines.chunk_by(|a, b| a.starts_with('>') == b.starts_with('>')) {
        if !run[0].starts_with('>') {
            blocks.extend(text::extract(&run.join("\n"), Path::new("")).blocks);
            continue;
        }
        let quoted: Vec<&str> = run.iter().map(|line| line.trim_start_matches(['>', ' ']).trim_end()).collect();
        for paragraph in quoted.split(|line| line.is_empty()) {
            let paragraph = paragraph.join("\n");
            if paragraph.chars().any(char::is_alphanumeric) {
                blocks.push(Block::new(BlockKind::Quote, paragraph));
            }
        }
    }
}

/// Drops a message without recursion: messages inside of messages may go deep.
fn discard(message: Message<'_>) {
    let mut open = vec![message];
    while let Some(message) = open.pop() {
        for part in message.parts {
            if let PartType::Message(inner) = part.body {
                open.push(inner);
            }
        }
    }
}

/// The messages of a mailbox. One begins at a line `From sender date` below an empty line; lines of text that look like
/// it were written with `>` before them.
fn messages(mailbox: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut after_empty = true;
    for line in mailbox.split_inclusive(|byte| *byte == b'\n') {
        // The time of the date has two colons.
        if after_empty && line.starts_with(b"From ") && line.iter().filter(|byte| **byte == b':').count() >= 2 {
            messages.push(Vec::new());
        } else if let Some(message) = messages.last_mut() {
            let quoted = line.iter().take_while(|byte| **byte == b'>').count();
            let escaped = quoted > 0 && line[quoted..].starts_with(b"From ");
            message.extend_from_slice(&line[usize::from(escaped)..]);
        }
        after_empty = line.trim_ascii().is_empty();
    }
    messages
}

#[cfg(test)]
mod tests;
