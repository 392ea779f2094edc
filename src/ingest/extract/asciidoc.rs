//! AsciiDoc to blocks: titles, lists, terms, listings, quotes, tables. Attributes are put in where they are named;
//! comments, pictures, conditions and how blocks are set are left out. Inline markup is removed.

mod inline;
mod table;

use std::collections::HashMap;

use inline::plain;

use super::ExtractError;
use super::source::Source;
use crate::domain::Language;
use crate::ingest::document::{Block, BlockKind, Document, language_from_tag, title_from_path};

/// Macros that stand on a line of their own and show no text.
const UNSEEN: [&str; 9] =
    ["image::", "video::", "audio::", "include::", "toc::", "ifdef::", "ifndef::", "ifeval::", "endif::"];

pub(super) fn extract(text: &str, source: Source<'_>) -> Result<Document, ExtractError> {
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().map(str::trim_end).collect();
    let mut reader = Reader {
        source,
        blocks: Vec::new(),
        attributes: HashMap::new(),
        language: None,
        anchor: None,
        setting: "",
        in_quote: false,
        open: Vec::new(),
        attached: false,
        paragraph: Vec::new(),
        kind: BlockKind::Paragraph,
    };
    let mut at = 0;
    while at < lines.len() {
        at += reader.step(&lines[at..])?;
    }
    reader.flush()?;
    let title = reader.blocks.iter().find_map(|block| block.label().map(str::to_owned));
    let title = title.unwrap_or_else(|| title_from_path(source.path));
    Ok(Document::new(title, reader.language, reader.blocks))
}

struct Reader<'a> {
    source: Source<'a>,
    blocks: Vec<Block>,
    attributes: HashMap<&'a str, &'a str>,
    language: Option<Language>,
    anchor: Option<String>,
    /// The line `[…]` above the block.
    setting: &'a str,
    in_quote: bool,
    /// Lines that began blocks whose inside is read as all else is.
    open: Vec<&'a str>,
    /// A `+` joined what follows to the list item above.
    attached: bool,
    /// Lines of the paragraph that is open, and what it is.
    paragraph: Vec<&'a str>,
    kind: BlockKind,
}

impl<'a> Reader<'a> {
    /// Reads what begins at the first line, and returns how many lines that are: at least one.
    fn step(&mut self, lines: &[&'a str]) -> Result<usize, ExtractError> {
        let line = lines[0];
        if line.is_empty() {
            self.flush()?;
            return Ok(1);
        }
        if let Some(length) = self.delimited(lines)? {
            return Ok(length);
        }
        if line.starts_with("//") || UNSEEN.iter().any(|name| line.starts_with(name) && line.ends_with(']')) {
            return Ok(1);
        }
        if let Some((name, value)) = attribute(line) {
            if matches!(name, "lang" | "language") {
                self.language = language_from_tag(value);
            }
            self.attributes.insert(name, value);
            return Ok(1);
        }
        if let Some((level, title)) = heading(line).filter(|_| self.paragraph.is_empty()) {
            let is_header = level == 1 && self.blocks.is_empty();
            self.push_heading(level, title)?;
            // Author and revision stand right below the document's title.
            let below = lines[1..].iter().take_while(|line| !line.is_empty() && attribute(line).is_none()).count();
            return Ok(if is_header { 1 + below } else { 1 });
        }
        if line.starts_with('[') && line.ends_with(']') && self.paragraph.is_empty() {
            self.set(line);
            return Ok(1);
        }
        if let Some(title) = line.strip_prefix('.').filter(|rest| !rest.starts_with(['.', ' '])) {
            self.flush()?;
            self.push(BlockKind::Term, title)?;
            return Ok(1);
        }
        if line == "+" {
            self.flush()?;
            self.attached = true;
            return Ok(1);
        }
        if self.item(line)? {
            return Ok(1);
        }
        if line.starts_with(' ') && self.paragraph.is_empty() {
            let length = lines.iter().take_while(|line| !line.is_empty()).count();
            self.push_code(&lines[..length]);
            return Ok(length);
        }
        self.paragraph.push(line);
        Ok(1)
    }

    /// A block between two equal lines, or the beginning or end of one whose inside is read as all else is.
    fn delimited(&mut self, lines: &[&'a str]) -> Result<Option<usize>, ExtractError> {
        let line = lines[0];
        let first = line.chars().next().unwrap_or(' ');
        let is_fence = line.starts_with("```") || line == "|===" || line == ",===" || line == "--";
        let is_line = line.len() >= 4 && line.chars().all(|c| c == first) && "-.=*_+/~^".contains(first);
        if let [title] = self.paragraph[..]
            && is_line
            && !self.open.contains(&line)
            && let Some(level) = "=-~^+".find(first)
            && title.chars().count().abs_diff(line.len()) <= 2
        {
            self.paragraph.clear();
            self.push_heading(level as u8 + 1, title)?;
            return Ok(Some(1));
        }
        if !is_fence && !is_line {
            let is_rule = matches!(line, "'''" | "---" | "***" | "<<<" | "- - -" | "* * *");
            return Ok(is_rule.then_some(1));
        }
        self.flush()?;
        // What begins and is not ended goes on to the end.
        let close = if line.starts_with("```") { "```" } else { line };
        let end = || lines[1..].iter().position(|line| *line == close).map_or(lines.len(), |at| at + 1);
        let length = |end: usize| (end + 1).min(lines.len());
        match first {
            '-' | '.' | '`' if line != "--" => {
                let end = end();
                self.push_code(&lines[1..end]);
                Ok(Some(length(end)))
            }
            '+' | '/' => Ok(Some(length(end()))),
            '|' | ',' => {
                let end = end();
                let rows = table::rows(&lines[1..end], first, std::mem::take(&mut self.setting));
                for (header, cells) in rows {
                    let cells: Vec<String> =
                        cells.iter().map(|cell| self.filled(cell)).collect::<Result<_, ExtractError>>()?;
                    let filled = cells.iter().filter(|cell| !cell.is_empty()).count();
                    let kind = if filled == 1 { BlockKind::Paragraph } else { BlockKind::TableRow { header } };
                    self.push_text(kind, cells.join("\t").trim().to_owned());
                }
                Ok(Some(length(end)))
            }
            _ => {
                self.in_quote ^= first == '_';
                match self.open.iter().rposition(|open| *open == line) {
                    Some(at) => self.open.truncate(at),
                    None => self.open.push(line),
                }
                Ok(Some(1))
            }
        }
    }

    /// Whether the line begins an item of a list, or a term.
    fn item(&mut self, line: &'a str) -> Result<bool, ExtractError> {
        let bare = line.trim_start();
        let mark = bare.split(' ').next().unwrap_or_default();
        let text = bare[mark.len()..].trim_start();
        let is_bullet = (1..=6).contains(&mark.len()) && (mark == "-" || mark.bytes().all(|b| b == b'*'));
        let is_number = mark.strip_suffix('.').is_some_and(|number| {
            (number.len() < 5 && number.bytes().all(|b| b == b'.'))
                || (number.len() < 4 && number.parse::<u16>().is_ok())
        });
        let is_callout = mark
            .strip_prefix('<')
            .and_then(|mark| mark.strip_suffix('>'))
            .is_some_and(|inside| inside == "." || inside.parse::<u16>().is_ok());
        if !text.is_empty() && (is_bullet || is_number || is_callout) {
            self.flush()?;
            let text = ["[ ] ", "[x] ", "[*] "].iter().find_map(|box_| text.strip_prefix(box_)).unwrap_or(text);
            self.begin(BlockKind::ListItem, text);
            return Ok(true);
        }
        let term = bare.split_once(":: ").or_else(|| bare.strip_suffix("::").map(|term| (term, "")));
        let may_begin = self.paragraph.is_empty() || self.kind == BlockKind::ListItem;
        let Some((term, text)) = term.filter(|(term, _)| !term.is_empty() && may_begin) else { return Ok(false) };
        self.flush()?;
        self.push(BlockKind::Term, term.trim_end_matches(':'))?;
        self.begin(BlockKind::ListItem, text);
        Ok(true)
    }

    fn begin(&mut self, kind: BlockKind, text: &'a str) {
        self.attached = false;
        self.kind = kind;
        self.paragraph.extend(Some(text).filter(|text| !text.is_empty()));
    }

    fn set(&mut self, line: &'a str) {
        let inside = &line[1..line.len() - 1];
        let id = inside.strip_prefix('[').map(|id| id.trim_end_matches(']')).or_else(|| inside.strip_prefix('#'));
        match id {
            Some(id) => self.anchor = id.split([',', '.', '%']).next().map(str::to_owned).filter(|id| !id.is_empty()),
            None => self.setting = inside,
        }
    }

    fn flush(&mut self) -> Result<(), ExtractError> {
        let lines = std::mem::take(&mut self.paragraph);
        if lines.is_empty() {
            // A term whose text comes below it keeps waiting for it.
            return Ok(());
        }
        let kind = std::mem::replace(&mut self.kind, BlockKind::Paragraph);
        let setting = std::mem::take(&mut self.setting);
        let kind = match kind {
            BlockKind::Paragraph if std::mem::take(&mut self.attached) => BlockKind::ListItem,
            BlockKind::Paragraph if self.in_quote || setting.starts_with("quote") => BlockKind::Quote,
            BlockKind::Paragraph if ["source", "listing", "literal"].iter().any(|code| setting.starts_with(code)) => {
                self.push_code(&lines);
                return Ok(());
            }
            kind => kind,
        };
        let lines: Vec<&str> = lines.iter().map(|line| line.strip_suffix(" +").unwrap_or(line).trim()).collect();
        self.push(kind, &lines.join("\n"))
    }

    fn push_heading(&mut self, level: u8, title: &str) -> Result<(), ExtractError> {
        self.flush()?;
        (self.kind, self.attached, self.setting) = (BlockKind::Paragraph, false, "");
        let label = self.filled(title)?;
        if self.anchor.is_none() && !self.blocks.is_empty() {
            // As AsciiDoc names a section that has no name of its own.
            let words = label.to_lowercase();
            let words = words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
            self.anchor = Some(format!("_{}", words.collect::<Vec<_>>().join("_")));
        }
        self.push_text(BlockKind::Heading { level: level.min(6), label: label.clone() }, label);
        Ok(())
    }

    fn push_code(&mut self, lines: &[&str]) {
        (self.setting, self.attached) = ("", false);
        let text = lines.join("\n");
        self.push_text(BlockKind::Code, text.trim_matches('\n').trim_end().to_owned());
    }

    fn push(&mut self, kind: BlockKind, text: &str) -> Result<(), ExtractError> {
        let text = self.filled(text)?;
        self.push_text(kind, text);
        Ok(())
    }

    fn push_text(&mut self, kind: BlockKind, text: String) {
        if text.chars().any(char::is_alphanumeric) {
            let anchor = self.anchor.take();
            self.blocks.push(Block { kind, text, anchor });
        }
    }

    /// The text as it is shown: attributes put in, marks taken away.
    fn filled(&self, text: &str) -> Result<String, ExtractError> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(0)];
            match self.attributes.get(name).filter(|_| rest[name.len()..].starts_with('}')) {
                Some(value) => {
                    // A long value that is named often makes much of little.
                    self.source.budget.write(value.len())?;
                    filled.push_str(value);
                    rest = &rest[name.len() + 1..];
                }
                None => filled.push('{'),
            }
        }
        filled.push_str(rest);
        Ok(plain(&filled))
    }
}

/// `:name: value`.
fn attribute(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix(':')?.split_once(':')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_!".contains(c));
    (is_name && (value.is_empty() || value.starts_with(' '))).then(|| (name, value.trim()))
}

/// `== Title`, and `## Title` as in Markdown.
fn heading(line: &str) -> Option<(u8, &str)> {
    let mark = line.chars().next().filter(|c| matches!(c, '=' | '#'))?;
    let title = line.trim_start_matches(mark);
    let level = line.len() - title.len();
    (level <= 6 && title.starts_with(' ')).then(|| (level as u8, title.trim()))
}

#[cfg(test)]
mod tests;
