//! The tree as Markdown source again, so that it is read as the same tree. Used for what had to be cut; what stays
//! whole keeps its own source.

use super::source::is_citation;
use super::tree::{Block, Inline, List, Style, Table, text_of};

pub(super) fn written(blocks: &[Block]) -> String {
    let mut text = String::new();
    let mut before: Option<(&Block, char)> = None;
    for block in blocks {
        let mut marker = ' ';
        if let Block::List(list) = block {
            marker = match before {
                Some((Block::List(_), same)) if same == list.marker => other_marker(same),
                _ => list.marker,
            };
        }
        if let Some((last, _)) = before {
            let tight = matches!((last, block), (Block::Paragraph(_), Block::List(list)) if may_interrupt(list));
            text.push_str(if tight { "\n" } else { "\n\n" });
        }
        text.push_str(&written_block(block, marker));
        before = Some((block, marker));
    }
    text
}

/// Lists with the same marker would be one.
fn other_marker(marker: char) -> char {
    match marker {
        '.' => ')',
        ')' => '.',
        '-' => '*',
        _ => '-',
    }
}

/// Whether a list may follow a paragraph's text without a blank line.
fn may_interrupt(list: &List) -> bool {
    let first = list.items.first().and_then(|item| item.first());
    list.start.is_none() && matches!(first, Some(Block::Paragraph(words)) if !text_of(words).trim().is_empty())
}

fn written_block(block: &Block, marker: char) -> String {
    match block {
        Block::Paragraph(words) => written_words(words, Inside::Paragraph),
        Block::Heading(level, words) => {
            format!("{} {}", "#".repeat(*level), written_words(words, Inside::Line)).trim_end().to_owned()
        }
        Block::Code { language, text } => code_block(language, text),
        Block::Table(table) => written_table(table),
        // Not of the characters that mark a list.
        Block::Rule => "___".to_owned(),
        Block::Quote(blocks) => prefixed(&written(blocks), "> ", "> "),
        Block::List(list) => written_list(list, marker),
    }
}

fn prefixed(text: &str, first: &str, others: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .enumerate()
        .map(|(at, line)| format!("{}{line}", if at == 0 { first } else { others }).trim_end().to_owned())
        .collect();
    lines.join("\n")
}

fn written_list(list: &List, marker: char) -> String {
    let items: Vec<String> = list
        .items
        .iter()
        .enumerate()
        .map(|(at, item)| {
            let lead = match list.number(at) {
                Some(number) => format!("{number}{marker} "),
                None => format!("{marker} "),
            };
            prefixed(&written(item), &lead, &" ".repeat(lead.len()))
        })
        .collect();
    items.join("\n")
}

fn code_block(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run(text, '`').max(2) + 1);
    let text = text.strip_suffix('\n').unwrap_or(text);
    format!("{fence}{language}\n{text}\n{fence}")
}

fn longest_run(text: &str, wanted: char) -> usize {
    text.split(|c| c != wanted).map(str::len).max().unwrap_or(0)
}

fn written_table(table: &Table) -> String {
    let row = |cells: &[Vec<Inline>]| {
        let cells: Vec<String> = cells.iter().map(|cell| written_words(cell, Inside::Line)).collect();
        format!("| {} |", cells.join(" | "))
    };
    let mut lines = vec![row(&table.head), format!("|{}", "---|".repeat(table.head.len()))];
    lines.extend(table.rows.iter().map(|cells| row(cells)));
    lines.join("\n")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Paragraph,
    /// A heading or a cell: no line break, and more signs that mean something.
    Line,
}

fn written_words(words: &[Inline], inside: Inside) -> String {
    let mut text = String::new();
    for inline in words {
        match inline {
            Inline::Text(part, style) if style.code => code_span(&mut text, part),
            Inline::Text(part, style) => styled(&mut text, part, *style, inside),
            Inline::Break if inside == Inside::Line => text.push(' '),
            Inline::Break => {
                text.truncate(text.trim_end_matches([' ', '\t']).len());
                text.push('\n');
            }
        }
    }
    text.trim_matches([' ', '\t', '\n']).to_owned()
}

fn code_span(out: &mut String, text: &str) {
    let fence = "`".repeat(longest_run(text, '`') + 1);
    let spaced = text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']);
    let pad = if spaced && !text.trim().is_empty() { " " } else { "" };
    out.extend([&fence, pad, &text.replace('|', "\\|"), pad, &fence]);
}

fn styled(out: &mut String, text: &str, style: Style, inside: Inside) {
    let inner = text.trim();
    if inner.is_empty() || style == Style::default() {
        escape(out, text, inside);
        return;
    }
    let lead = text.len() - text.trim_start().len();
    let marks = [(style.strike, "~~"), (style.bold, "**"), (style.italic, "*")];
    let marks: Vec<&str> = marks.into_iter().filter(|(on, _)| *on).map(|(_, mark)| mark).collect();
    out.push_str(&text[..lead]);
    out.extend(marks.iter().copied());
    escape(out, inner, inside);
    out.extend(marks.iter().rev().copied());
    out.push_str(&text[lead + inner.len()..]);
}

/// Adds text so that it is read as text. As few backslashes as possible: not every reader of Markdown takes them.
fn escape(out: &mut String, text: &str, inside: Inside) {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if at_line_start(out) && inside == Inside::Paragraph {
            if " \t".contains(c) {
                at += 1;
                continue;
            }
            let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
            if digits > 0 && text[at + digits..].starts_with(['.', ')']) {
                out.extend([&text[at..at + digits], "\\"]);
                at += digits;
                out.push_str(&text[at..=at]);
                at += 1;
                continue;
            }
        }
        if let Some(mark) = citation(&text[at..]) {
            out.push_str(mark);
            at += mark.len();
            // Would be a link.
            if text[at..].starts_with('(') {
                out.push('\\');
            }
            continue;
        }
        if means_something(out, c, &text[at + c.len_utf8()..], inside) {
            out.push('\\');
        }
        out.push(c);
        at += c.len_utf8();
    }
}

fn at_line_start(out: &str) -> bool {
    out.is_empty() || out.ends_with('\n')
}

/// The citation mark that `text` begins with.
pub(super) fn citation(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.bytes().take(64).position(|b| b == b']')?;
    is_citation(&inner[..end]).then(|| &text[..end + 2])
}

fn means_something(before: &str, c: char, behind: &str, inside: Inside) -> bool {
    let next = behind.chars().next();
    match c {
        '\\' | '`' | '[' | ']' | '<' | '~' | '|' => true,
        '*' | '_' => {
            let spaced = |c: Option<char>| c.is_some_and(char::is_whitespace);
            let inside_word =
                c == '_' && before.ends_with(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric);
            let free = spaced(before.chars().next_back()) && spaced(next) && !at_line_start(before);
            !(inside_word || free)
        }
        '&' => next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '#'),
        '#' => inside == Inside::Line || at_line_start(before),
        '>' | '-' | '+' | '=' | ':' => at_line_start(before),
        _ => false,
    }
}
