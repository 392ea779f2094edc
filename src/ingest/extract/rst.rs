//! reStructuredText to blocks: sections by their lines of punctuation, lists, tables, code. Of directives what they say
//! is kept and not how it is set; comments, pictures and tables of contents are left out. Inline markup is removed.

mod inline;
mod table;

use std::path::Path;

use inline::plain;

use crate::ingest::document::{Block, BlockKind, Document, title_from_path};

/// Directives whose text is code.
const CODE: [&str; 9] =
    ["code", "code-block", "sourcecode", "parsed-literal", "prompt", "math", "highlight", "doctest", "testcode"];
/// Directives that say nothing to a reader, or what a reader sees without them.
const UNSEEN: [&str; 22] = [
    "contents",
    "toctree",
    "image",
    "include",
    "literalinclude",
    "index",
    "raw",
    "meta",
    "role",
    "default-role",
    "sectnum",
    "replace",
    "unicode",
    "date",
    "highlightlang",
    "currentmodule",
    "module",
    "automodule",
    "autoclass",
    "autofunction",
    "tabularcolumns",
    "title",
];
/// Bodies inside of bodies: list items, directives, quotes. What is deeper is read as it stands.
const DEPTH_MAX: usize = 16;
/// Directives whose first line says how they look or where a file is, not what they say.
const SET: [&str; 11] = [
    "figure",
    "container",
    "class",
    "rst-class",
    "only",
    "csv-table",
    "list-table",
    "table",
    "glossary",
    "highlights",
    "tab-set",
];

pub(super) fn extract(source: &str, path: &Path) -> Document {
    let source = source.trim_start_matches('\u{feff}').replace('\t', "        ");
    let mut reader = Reader::default();
    reader.read(&source);
    let title = reader.blocks.iter().find_map(|block| block.label().map(str::to_owned));
    let title = title.unwrap_or_else(|| title_from_path(path));
    Document::new(title, None, reader.blocks)
}

/// Lines of one body, without the indentation that they share.
struct Body<'a> {
    lines: Vec<&'a str>,
    at: usize,
    /// What a paragraph in it is.
    kind: BlockKind,
}

#[derive(Default)]
struct Reader<'a> {
    blocks: Vec<Block>,
    /// The bodies that are open, outermost first: nesting costs no stack.
    open: Vec<Body<'a>>,
    /// The kinds of lines that sections were set with, outermost first: the character, and whether it stands above too.
    styles: Vec<(char, bool)>,
    anchor: Option<String>,
    /// The paragraph before announced code.
    literal: bool,
}

impl<'a> Reader<'a> {
    fn read(&mut self, source: &'a str) {
        self.enter(source.lines().map(str::trim_end).collect(), BlockKind::Paragraph);
        while let Some(mut body) = self.open.pop() {
            while body.lines.get(body.at).is_some_and(|line| line.trim().is_empty()) {
                body.at += 1;
            }
            if body.at == body.lines.len() {
                continue;
            }
            let (length, inner) = self.step(&body.lines[body.at..], &body.kind);
            body.at += length;
            self.open.push(body);
            if let Some((lines, kind)) = inner {
                self.enter(lines, kind);
            }
        }
    }

    fn enter(&mut self, lines: Vec<&'a str>, kind: BlockKind) {
        if self.open.len() < DEPTH_MAX {
            self.open.push(Body { lines, at: 0, kind });
        } else {
            let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
            self.push(kind, plain(&lines.join("\n")));
        }
    }

    fn push(&mut self, kind: BlockKind, text: String) {
        if text.chars().any(char::is_alphanumeric) {
            let anchor = self.anchor.take();
            self.blocks.push(Block { kind, text, anchor });
        }
    }

    /// Reads what begins at the first line. Returns how many lines that are (at least one) and those of a body inside.
    fn step(&mut self, lines: &[&'a str], kind: &BlockKind) -> Step<'a> {
        let line = lines[0];
        let indented = indent_of(line) > 0;
        if std::mem::take(&mut self.literal) && indented {
            let length = block_length(lines);
            self.push(BlockKind::Code, dedented(&lines[..length]).join("\n"));
            return (length, None);
        }
        if indented {
            let length = block_length(lines);
            let kind = if *kind == BlockKind::Paragraph { &BlockKind::Quote } else { kind };
            return (length, Some((dedented(&lines[..length]), kind.clone())));
        }
        if let Some(length) = self.section(lines) {
            return (length, None);
        }
        if let Some(rest) = line.strip_prefix("..").filter(|rest| rest.is_empty() || rest.starts_with(' ')) {
            return self.explicit(rest.trim(), lines, kind);
        }
        if let Some((rows, length)) = table::read(lines) {
            rows.into_iter().for_each(|(header, text)| self.push(BlockKind::TableRow { header }, text));
            return (length, None);
        }
        if is_line(line, 4) {
            return (1, None);
        }
        if line.starts_with(">>> ") {
            let length = lines.iter().take_while(|line| !line.is_empty()).count();
            self.push(BlockKind::Code, lines[..length].join("\n"));
            return (length, None);
        }
        if let Some(step) = self.field(lines) {
            return step;
        }
        if let Some(marker) = marker_length(line) {
            let length = 1 + block_length(&lines[1..]);
            let mut item = dedented(&lines[1..length]);
            if length > 1 && lines[1].is_empty() {
                item.insert(0, "");
            }
            // A number is part of what is said, a bullet is not.
            let skip = if line.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { marker };
            item.insert(0, line[skip..].trim_start());
            if skip == 0 {
                return self.numbered(&item, length);
            }
            return (length, Some((item, BlockKind::ListItem)));
        }
        self.paragraph(lines, kind)
    }

    /// An item whose number stays before its first paragraph.
    fn numbered(&mut self, item: &[&'a str], length: usize) -> Step<'a> {
        let first = item.iter().take_while(|line| !line.is_empty()).count();
        self.prose(&item[..first], BlockKind::ListItem);
        (length, Some((item[first..].to_vec(), BlockKind::ListItem)))
    }

    fn section(&mut self, lines: &[&str]) -> Option<usize> {
        let (title, style, length) = match lines {
            [over, title, under, ..] if is_line(over, 3) && over == under && !title.trim().is_empty() => {
                (title.trim(), (over.chars().next()?, true), 3)
            }
            [title, under, ..] if is_line(under, 3) && !is_line(title, 3) => {
                let (width, line) = (title.chars().count(), under.chars().count());
                if line < width && line < 4 {
                    return None;
                }
                (*title, (under.chars().next()?, false), 2)
            }
            _ => return None,
        };
        let depth = self.styles.iter().position(|known| *known == style).unwrap_or_else(|| {
            self.styles.push(style);
            self.styles.len() - 1
        });
        let label = plain(title);
        self.anchor = self.anchor.take().or_else(|| Some(slug(&label))).filter(|slug| !slug.is_empty());
        self.push(BlockKind::Heading { level: depth.min(5) as u8 + 1, label: label.clone() }, label);
        Some(length)
    }

    /// What begins with two dots: a directive, a target, a footnote or a comment.
    fn explicit(&mut self, rest: &'a str, lines: &[&'a str], kind: &BlockKind) -> Step<'a> {
        let length = 1 + block_length(&lines[1..]);
        if let Some(target) = rest.strip_prefix('_') {
            if let Some(name) = target.strip_suffix(':') {
                self.anchor = Some(slug(name)).filter(|slug| !slug.is_empty());
            }
            return (1, None);
        }
        let mut body = dedented(&lines[1..length]);
        if let Some((_, note)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            body.insert(0, note);
            return (length, Some((body, BlockKind::Paragraph)));
        }
        let directive = rest.split_once("::").map(|(name, argument)| (name.trim(), argument.trim()));
        let Some((name, argument)) = directive.filter(|(name, _)| is_name(name) && !UNSEEN.contains(name)) else {
            return (length, None);
        };
        // Options, or more of the argument, stand right below the first line.
        let goes_on = length > 1 && !lines[1].is_empty();
        let options = body.iter().take_while(|line| goes_on && line.starts_with(':')).count();
        if CODE.contains(&name) {
            self.push(BlockKind::Code, dedented(&body[options..]).join("\n"));
            return (length, None);
        }
        body.drain(..options);
        if name == "csv-table" {
            self.comma_rows(&body);
            return (length, None);
        }
        if !argument.is_empty() && !SET.contains(&name) {
            if goes_on && options == 0 {
                body.insert(0, argument);
            } else {
                // `.. topic:: Title` and `.. py:function:: name(x)` are explained by what they hold.
                let explained = body.iter().any(|line| !line.is_empty());
                self.push(if explained { BlockKind::Term } else { kind.clone() }, plain(argument));
            }
        }
        (length, Some((body, kind.clone())))
    }

    fn comma_rows(&mut self, lines: &[&str]) {
        for (at, row) in lines.iter().filter(|row| !row.is_empty()).enumerate() {
            let cells: Vec<String> = row.split(',').map(|cell| plain(cell.trim().trim_matches('"'))).collect();
            self.push(BlockKind::TableRow { header: at == 0 }, cells.join("\t"));
        }
    }

    /// `:Author: Ada` as an item; a field that says nothing is a switch for programs.
    fn field(&mut self, lines: &[&'a str]) -> Option<Step<'a>> {
        let (name, value) = lines[0].strip_prefix(':')?.split_once(": ").or_else(|| {
            let name = lines[0].strip_prefix(':')?.strip_suffix(':')?;
            Some((name, ""))
        })?;
        if name.is_empty() || name.contains(['`', ':']) {
            return None;
        }
        let length = 1 + block_length(&lines[1..]);
        let more = lines[1..length].iter().map(|line| line.trim());
        let value: Vec<&str> = std::iter::once(value).chain(more).filter(|line| !line.is_empty()).collect();
        if !value.is_empty() {
            self.push(BlockKind::ListItem, plain(&format!("{name}: {}", value.join("\n"))));
        }
        Some((length, None))
    }

    /// A paragraph; or a term, if the line below it is indented.
    fn paragraph(&mut self, lines: &[&'a str], kind: &BlockKind) -> Step<'a> {
        let length = 1 + lines[1..].iter().take_while(|line| !line.is_empty() && indent_of(line) == 0).count();
        let explained = lines.get(length).is_some_and(|line| !line.is_empty());
        if length == 1 && explained && !lines[0].ends_with("::") {
            self.push(BlockKind::Term, plain(lines[0]));
            let body = block_length(&lines[1..]);
            return (1 + body, Some((dedented(&lines[1..=body]), BlockKind::ListItem)));
        }
        self.prose(&lines[..length], kind.clone());
        (length, None)
    }

    fn prose(&mut self, lines: &[&str], kind: BlockKind) {
        let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n");
        self.literal = text.ends_with("::");
        let text = if self.literal { text.trim_end_matches(':').to_owned() + ":" } else { text };
        self.push(kind, plain(text.trim_end_matches(" :")));
    }
}

/// How many lines were read, and the lines of a body inside of them.
type Step<'a> = (usize, Option<(Vec<&'a str>, BlockKind)>);

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The number of lines that are indented, empty ones between them included.
fn block_length(lines: &[&str]) -> usize {
    let length = lines.iter().take_while(|line| line.is_empty() || indent_of(line) > 0).count();
    length - lines[..length].iter().rev().take_while(|line| line.is_empty()).count()
}

/// Lines without the indentation that they share, and without empty lines around them.
fn dedented<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let margin = lines.iter().filter(|line| !line.is_empty()).map(|line| indent_of(line)).min().unwrap_or(0);
    let start = lines.iter().take_while(|line| line.is_empty()).count();
    lines[start..].iter().map(|line| line.get(margin..).unwrap_or("")).collect()
}

/// A line of one punctuation character: below a title, or between paragraphs.
fn is_line(line: &str, length_min: usize) -> bool {
    let first = line.chars().next().filter(char::is_ascii_punctuation);
    first.is_some_and(|first| line.len() >= length_min && line.chars().all(|c| c == first)) && line != "..."
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_+:.".contains(c))
}

/// The length of a list marker with the space after it.
fn marker_length(line: &str) -> Option<usize> {
    if ["- ", "* ", "+ ", "• "].iter().any(|marker| line.starts_with(marker)) {
        return line.find(' ').map(|at| at + 1);
    }
    let bare = line.trim_start_matches('(');
    let digits = bare.chars().take_while(char::is_ascii_digit).count();
    let number = if digits == 0 && bare.starts_with('#') { 1 } else { digits };
    let rest = &bare[number..];
    let marked = (1..=3).contains(&number) && (rest.starts_with(". ") || rest.starts_with(") "));
    marked.then(|| line.len() - rest.len() + 2)
}

/// The id that a section or target has on the page that is made of it.
fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests;
