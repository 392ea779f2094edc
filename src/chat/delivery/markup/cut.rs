//! Cutting of what is too long for a message by itself: paragraphs between words, code between lines, tables between
//! rows. Words, citation marks and characters stay whole unless one alone is too long.

use unicode_segmentation::UnicodeSegmentation;

use super::layout::{record, unbroken};
use super::markdown::{self, citation};
use super::split::{Leaf, Limit};
use super::tree::{Block, Inline, Style, Table, Words, push_text, text_of};

/// Pieces of a leaf that fit. One that does not even then is a single character.
pub(super) fn cut(leaf: Leaf, limit: &Limit) -> Vec<Leaf> {
    let pieces = match &leaf.block {
        Block::Code { language, text } => cut_code(&leaf, language, text, limit),
        Block::Table(table) => cut_table(&leaf, table, limit),
        Block::Heading(level, words) => cut_words(&leaf, words, &|words| Block::Heading(*level, words), limit),
        Block::Paragraph(words) => cut_words(&leaf, words, &Block::Paragraph, limit),
        _ => None,
    };
    if let Some(pieces) = pieces.filter(|pieces| !pieces.is_empty()) {
        return pieces;
    }
    if leaf.path.is_empty() {
        return hard_pieces(&block_text(&leaf.block), limit).into_iter().map(verbatim).collect();
    }
    // Too narrow for the containers: numbers of items are text then.
    let numbers = leaf.numbers().into_iter().flat_map(|number| cut(verbatim(&format!("{number}.")), limit));
    let mut pieces: Vec<Leaf> = numbers.collect();
    let free = Leaf { path: Vec::new(), block: leaf.block };
    if limit.takes_leaf(&free) {
        pieces.push(free);
    } else {
        pieces.extend(cut(free, limit));
    }
    pieces
}

fn verbatim(text: &str) -> Leaf {
    Leaf { path: Vec::new(), block: Block::Paragraph(vec![Inline::Text(text.to_owned(), Style::default())]) }
}

fn block_text(block: &Block) -> String {
    match block {
        Block::Paragraph(words) | Block::Heading(_, words) => text_of(words),
        Block::Code { text, .. } => text.clone(),
        Block::Table(table) => {
            let rows = std::iter::once(&table.head).chain(&table.rows);
            rows.flatten().map(|cell| text_of(cell)).collect::<Vec<_>>().join(" ")
        }
        Block::Rule | Block::Quote(_) | Block::List(_) => String::new(),
    }
}

/// Text by grapheme clusters, each part written so that it is read as text.
pub(super) fn hard_cut(text: &str, limit: &Limit) -> Vec<String> {
    let shown = |piece: &str| {
        let part = written(piece);
        // A single character whose escape is too long.
        if limit.takes_text(&part) { part } else { piece.to_owned() }
    };
    hard_pieces(text, limit).into_iter().map(shown).collect()
}

fn hard_pieces<'a>(text: &'a str, limit: &Limit) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut end = longest(rest, limit.characters_max());
        while end > first_char(rest) && !limit.takes_text(&written(&rest[..end])) {
            end = longest(&rest[..end], rest[..end].chars().count() / 2);
        }
        pieces.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    pieces
}

fn written(text: &str) -> String {
    markdown::written(&[Block::Paragraph(vec![Inline::Text(text.to_owned(), Style::default())])])
}

fn first_char(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Bytes of the longest run of whole clusters with at most that many characters, or of characters where the first
/// cluster is longer, but of one at least.
fn longest(text: &str, characters_max: usize) -> usize {
    let mut characters = 0;
    let clusters = text.graphemes(true).take_while(|cluster| {
        characters += cluster.chars().count();
        characters <= characters_max
    });
    match clusters.map(str::len).sum() {
        0 => text.chars().take(characters_max.max(1)).map(char::len_utf8).sum(),
        bytes => bytes,
    }
}

/// Puts as many units as fit into each piece. `None`: there is one that does not fit alone.
fn fill<T>(
    units: &[T],
    limit: &Limit,
    build: &dyn Fn(&[T], bool) -> Leaf,
    prefer: &dyn Fn(&[T]) -> usize,
) -> Option<Vec<Leaf>> {
    let mut pieces = Vec::new();
    let mut rest = units;
    while !rest.is_empty() {
        let fits = |count: usize| limit.takes_leaf(&build(&rest[..count], pieces.is_empty()));
        let mut good = 0;
        let mut bad = rest.len() + 1;
        let mut step = 1;
        while good + 1 < bad {
            // First by leaps, then by halves.
            let count = if bad > rest.len() { (good + step).min(rest.len()) } else { good.midpoint(bad) };
            if fits(count) {
                good = count;
                step *= 2;
            } else {
                bad = count;
            }
        }
        if good == 0 {
            return None;
        }
        let count = if good < rest.len() { prefer(&rest[..good]).clamp(1, good) } else { good };
        pieces.push(build(&rest[..count], pieces.is_empty()));
        rest = &rest[count..];
    }
    Some(pieces)
}

fn placed(leaf: &Leaf, block: Block, first: bool) -> Leaf {
    if first { Leaf { path: leaf.path.clone(), block } } else { leaf.continued(block) }
}

fn cut_words(leaf: &Leaf, words: &[Inline], block: &dyn Fn(Words) -> Block, limit: &Limit) -> Option<Vec<Leaf>> {
    let build = |atoms: &[Words], first: bool| placed(leaf, block(joined(atoms)), first);
    let mut atoms = Vec::new();
    for atom in self::atoms(words) {
        // Longer than a message: by clusters.
        let long = text_of(&atom).chars().count() > limit.characters_max() / 4
            && !limit.takes_leaf(&build(std::slice::from_ref(&atom), true));
        if long { atoms.extend(clusters(&atom)) } else { atoms.push(atom) }
    }
    fill(&atoms, limit, &build, &sentence_end)
}

fn joined(atoms: &[Words]) -> Words {
    let mut words = Words::new();
    for inline in atoms.iter().flatten() {
        match inline {
            Inline::Text(text, style) if words.is_empty() => push_text(&mut words, text.trim_start(), *style),
            Inline::Text(text, style) => push_text(&mut words, text, *style),
            Inline::Break if words.is_empty() => {}
            Inline::Break => words.push(Inline::Break),
        }
    }
    words
}

/// Words with the space before them. A citation mark belongs to the word before it.
fn atoms(words: &[Inline]) -> Vec<Words> {
    let mut atoms: Vec<Words> = vec![Vec::new()];
    let mut add = |atom: bool, text: &str, style: Style| {
        if atom {
            atoms.push(Vec::new());
        }
        if let Some(last) = atoms.last_mut() {
            push_text(last, text, style);
        }
    };
    for inline in words {
        match inline {
            Inline::Text(text, style) if style.code => add(false, text, *style),
            Inline::Text(text, style) => {
                for (starts, piece) in pieces(text) {
                    add(starts, piece, *style);
                }
            }
            Inline::Break => add(true, "\n", Style::default()),
        }
    }
    atoms.iter_mut().for_each(restore_break);
    atoms.retain(|atom| !atom.is_empty());
    atoms
}

/// A line break travels as a character while atoms are made.
fn restore_break(atom: &mut Words) {
    let Some(Inline::Text(text, style)) = atom.first() else { return };
    let Some(rest) = text.strip_prefix('\n') else { return };
    let mut words = vec![Inline::Break];
    push_text(&mut words, rest, *style);
    words.extend(atom.iter().skip(1).cloned());
    *atom = words;
}

/// The text in words, and whether each may begin a message.
fn pieces(text: &str) -> Vec<(bool, &str)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut starts = false;
    let mut in_space = false;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if let Some(mark) = citation(&text[at..]) {
            at += mark.len();
            in_space = false;
            continue;
        }
        if c.is_whitespace() && !in_space && citation(text[at..].trim_start()).is_none() {
            if at > start {
                pieces.push((starts, &text[start..at]));
            }
            (start, starts) = (at, true);
        }
        in_space = c.is_whitespace();
        at += c.len_utf8();
    }
    pieces.push((starts, &text[start..]));
    pieces
}

fn clusters(atom: &[Inline]) -> Vec<Words> {
    let mut clusters = Vec::new();
    for inline in atom {
        match inline {
            Inline::Text(text, style) => {
                clusters.extend(text.graphemes(true).map(|cluster| vec![Inline::Text(cluster.to_owned(), *style)]));
            }
            Inline::Break => clusters.push(vec![Inline::Break]),
        }
    }
    clusters
}

/// How many of the atoms make whole sentences, if that is at least half of them.
fn sentence_end(atoms: &[Words]) -> usize {
    let ends = |atom: &Words| {
        let text = text_of(atom);
        let bare = text.trim_end().trim_end_matches(|c: char| "[], )»”\"’".contains(c) || c.is_ascii_digit());
        bare.ends_with(['.', '!', '?', '…'])
    };
    let half = atoms.len() / 2;
    atoms.iter().enumerate().skip(half).rev().find(|(_, atom)| ends(atom)).map_or(atoms.len(), |(at, _)| at + 1)
}

fn cut_code(leaf: &Leaf, language: &str, text: &str, limit: &Limit) -> Option<Vec<Leaf>> {
    let build = |lines: &[&str], first: bool| {
        let text: String = lines.concat();
        placed(leaf, Block::Code { language: language.to_owned(), text }, first)
    };
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let long = line.chars().count() > limit.characters_max() / 4 && !limit.takes_leaf(&build(&[line], true));
        if long { lines.extend(line.graphemes(true)) } else { lines.push(line) }
    }
    let mut pieces = fill(&lines, limit, &build, &|lines| lines.len())?;
    pieces.retain(|piece| !block_text(&piece.block).trim().is_empty());
    Some(pieces)
}

fn cut_table(leaf: &Leaf, table: &Table, limit: &Limit) -> Option<Vec<Leaf>> {
    let build = |rows: &[Vec<Words>], first: bool| {
        placed(leaf, Block::Table(Table { head: table.head.clone(), rows: rows.to_vec() }), first)
    };
    if let Some(pieces) = fill(&table.rows, limit, &build, &|rows| rows.len()).filter(|pieces| !pieces.is_empty()) {
        return Some(pieces);
    }
    // A row that is too long alone: as a paragraph for each cell.
    let rows = if table.rows.is_empty() { std::slice::from_ref(&table.head) } else { &table.rows };
    let mut pieces = Vec::new();
    for row in rows {
        for (head, cell) in table.head.iter().zip(row) {
            let words = if table.rows.is_empty() { unbroken(cell) } else { record(head, cell) };
            if text_of(&words).trim().is_empty() {
                continue;
            }
            let piece = placed(leaf, Block::Paragraph(words), pieces.is_empty());
            if limit.takes_leaf(&piece) { pieces.push(piece) } else { pieces.extend(cut(piece, limit)) }
        }
    }
    Some(pieces)
}

/// The letters and digits of a text: what must never be lost.
pub(super) fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

pub(super) fn without_styles(block: &mut Block) {
    let bare = |words: &mut Words| {
        let mut plain = Words::new();
        for inline in words.iter() {
            match inline {
                Inline::Text(text, _) => push_text(&mut plain, text, Style::default()),
                Inline::Break => plain.push(Inline::Break),
            }
        }
        *words = plain;
    };
    match block {
        Block::Paragraph(words) | Block::Heading(_, words) => bare(words),
        Block::Table(table) => table.head.iter_mut().chain(table.rows.iter_mut().flatten()).for_each(bare),
        Block::Quote(blocks) => blocks.iter_mut().for_each(without_styles),
        Block::List(list) => list.items.iter_mut().flatten().for_each(without_styles),
        Block::Code { .. } | Block::Rule => {}
    }
}
