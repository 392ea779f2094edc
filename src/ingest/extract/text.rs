//! Plain text to blocks: paragraphs by blank lines, headings by their looks. Texts are slices of the source.

use std::path::Path;

use crate::ingest::document::{Block, BlockKind, Document, title_from_path};

/// A longer line is no heading.
const HEADING_CHARS_MAX: usize = 80;
/// A title is looked for among this many blocks.
const TITLE_BLOCKS_MAX: usize = 4;

pub(super) fn extract(source: &str, path: &Path) -> Document {
    let source = source.trim_start_matches('\u{feff}');
    let lines: Vec<&str> = source.lines().collect();
    let margin = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min().unwrap_or(0);
    let mut blocks = Vec::new();
    for group in groups(&lines) {
        blocks_of(group, margin, &mut blocks);
    }
    let title = blocks
        .iter()
        .take(TITLE_BLOCKS_MAX)
        .find_map(|block: &Block| block.label().map(str::to_owned))
        .unwrap_or_else(|| title_from_path(path));
    Document::new(title, None, blocks)
}

/// Runs of lines between blank lines.
fn groups<'a, 'l>(lines: &'l [&'a str]) -> impl Iterator<Item = &'l [&'a str]> {
    lines.split(|line| line.trim().is_empty()).filter(|group| !group.is_empty())
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).map(|c| if c == '\t' { 4 } else { 1 }).sum()
}

fn blocks_of(group: &[&str], margin: usize, blocks: &mut Vec<Block>) {
    let mut rest = group;
    if rest.len() >= 2 && is_underline(rest[1], rest[0]) {
        let level = if rest[1].trim().starts_with(['=', '#']) { 1 } else { 2 };
        push_heading(rest[0], level, blocks);
        rest = &rest[2..];
    } else if let Some(level) = heading_level(rest) {
        push_heading(rest[0], level, blocks);
        rest = &rest[1..];
    }
    if rest.is_empty() {
        return;
    }
    let after_item = blocks.last().is_some_and(|block: &Block| block.kind == BlockKind::ListItem);
    if rest.iter().all(|line| indent(line) >= margin + 4) && !is_item(rest[0]) && !after_item {
        push_code(rest, blocks);
        return;
    }
    // A line with a list marker begins an item; the lines after it go on until the next marker.
    let mut start = 0;
    for at in 1..=rest.len() {
        if at == rest.len() || is_item(rest[at]) {
            let kind = if is_item(rest[start]) || (after_item && start == 0 && indent(rest[0]) > margin) {
                BlockKind::ListItem
            } else {
                BlockKind::Paragraph
            };
            push(kind, rest[start..at].join("\n").trim_end(), blocks);
            start = at;
        }
    }
}

fn push(kind: BlockKind, text: &str, blocks: &mut Vec<Block>) {
    // A line of hyphens or stars alone is decoration.
    if text.chars().any(char::is_alphanumeric) {
        blocks.push(Block::new(kind, text.trim_end()));
    }
}

fn push_heading(line: &str, level: u8, blocks: &mut Vec<Block>) {
    let label = line.trim().trim_end_matches(':').to_owned();
    push(BlockKind::Heading { level, label }, line.trim(), blocks);
}

/// Adjacent code groups are one block: code has blank lines too.
fn push_code(lines: &[&str], blocks: &mut Vec<Block>) {
    let text = lines.join("\n");
    match blocks.last_mut() {
        Some(Block { kind: BlockKind::Code, text: code, .. }) => {
            code.push_str("\n\n");
            code.push_str(text.trim_end());
        }
        _ => push(BlockKind::Code, &text, blocks),
    }
}

fn is_underline(line: &str, title: &str) -> bool {
    let bare = line.trim();
    let Some(first) = bare.chars().next() else { return false };
    "=-~#*".contains(first)
        && bare.chars().all(|c| c == first)
        && bare.len() >= 3
        && title.trim().chars().count() <= HEADING_CHARS_MAX
        && bare.chars().count() + 3 >= title.trim().chars().count().min(20)
        && title.chars().any(char::is_alphanumeric)
}

/// The level of the first line of `group` if it is a heading without underline: in capitals, or numbered and alone.
fn heading_level(group: &[&str]) -> Option<u8> {
    let line = group[0].trim();
    if line.chars().count() > HEADING_CHARS_MAX || line.contains('\t') || is_bullet(line) {
        return None;
    }
    let letters = line.chars().filter(|c| c.is_alphabetic()).count();
    let capitals = letters >= 4 && !line.chars().any(char::is_lowercase) && !line.ends_with(['.', ',', ';']);
    let number = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let parts = line[..number].split('.').filter(|part| !part.is_empty()).count();
    let after = &line[number..];
    let numbered = parts > 0
        && line.as_bytes()[0].is_ascii_digit()
        && line[..number].split('.').all(|part| part.len() <= 2)
        && after.starts_with(' ')
        && after.trim_start().starts_with(char::is_uppercase)
        && !line.ends_with(['.', ',', ';', ':', '?'])
        && group.len() == 1
        && indent(group[0]) < 4;
    match (numbered, capitals) {
        (true, _) => Some(parts.clamp(1, 5) as u8 + 1),
        (_, true) if group.len() == 1 || !group[1].chars().all(|c| !c.is_lowercase()) => Some(2),
        _ => None,
    }
}

fn is_bullet(line: &str) -> bool {
    ["- ", "* ", "+ ", "• ", "– ", "o "].iter().any(|mark| line.starts_with(mark))
}

fn is_item(line: &str) -> bool {
    let bare = line.trim_start();
    let digits = bare.bytes().take_while(u8::is_ascii_digit).count();
    let numbered = (1..=2).contains(&digits) && (bare[digits..].starts_with(". ") || bare[digits..].starts_with(") "));
    is_bullet(bare) || numbered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::extract::outline;

    #[test]
    fn a_plain_text_memo() {
        let source = include_str!("../../../tests/fixtures/documents/promemoria.txt");
        let document = extract(source, Path::new("promemoria.txt"));
        insta::assert_snapshot!(outline(&document));
        for block in document.blocks.iter().filter(|block| block.kind != BlockKind::Code) {
            assert!(source.contains(&block.text), "not verbatim: {:?}", block.text);
        }
    }

    #[test]
    fn lines_that_only_look_like_headings() {
        for text in
            ["1. Apri la porta.", "2024 era un anno bisestile", "ATTENZIONE, LEGGERE BENE.", "USB", "3 mele e 2 pere."]
        {
            let document = extract(text, Path::new("a.txt"));
            assert!(document.blocks.iter().all(|block| block.label().is_none()), "{text:?}");
        }
    }
}
