//! The pieces of a document that are never cut: sentences, code blocks, table rows; and passages put together of them.

use std::ops::Range;

use crate::domain::sentences;
use crate::ingest::document::{Block, BlockKind, Document};

use super::PassageDraft;

/// A token has at most so many bytes on average: what is longer is over the limit without being counted.
const BYTES_PER_TOKEN_MAX: usize = 24;

/// How a unit begins, seen from the unit before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A heading.
    Section,
    Block,
    /// An item after an item, a row after a row.
    Item,
    Row,
    /// Inside a block; inside of a sentence, code block or row that is too long for one passage.
    Sentence,
    Piece,
}

pub(super) struct Unit {
    /// Index of its block, and its place in the block's text.
    block: usize,
    range: Range<usize>,
    pub(super) tokens: usize,
    pub(super) start: Start,
    /// Index of its section, and the level of the section's heading; 0 before the first heading.
    section: usize,
    pub(super) level: u8,
    pub(super) is_heading: bool,
    pub(super) is_term: bool,
    /// Ends with a colon or an ellipsis: says something about what follows.
    pub(super) announces: bool,
}

struct Section {
    /// Headings from the outermost to its own.
    path: Vec<String>,
    anchor: Option<String>,
}

pub(super) struct Units {
    pub(super) all: Vec<Unit>,
    sections: Vec<Section>,
    /// For each block that is a table row: the blocks that are its table's header.
    headers: Vec<Range<usize>>,
}

impl Units {
    pub(super) fn new(document: &Document, count_tokens: &dyn Fn(&str) -> usize, hard_tokens: usize) -> Self {
        let mut units = Units {
            all: Vec::new(),
            sections: vec![Section { path: Vec::new(), anchor: None }],
            headers: headers(&document.blocks),
        };
        let mut open: Vec<(u8, String)> = Vec::new();
        for (at, block) in document.blocks.iter().enumerate() {
            if block.text.trim().is_empty() {
                continue;
            }
            if let BlockKind::Heading { level, label } = &block.kind {
                while open.last().is_some_and(|(above, _)| above >= level) {
                    open.pop();
                }
                open.push((*level, label.clone()));
                let path = open.iter().map(|(_, label)| label.clone()).collect();
                units.sections.push(Section { path, anchor: block.anchor.clone() });
            }
            let level = open.last().map_or(0, |(level, _)| *level);
            let before = at.checked_sub(1).map(|before| &document.blocks[before].kind);
            let mut start = start_of(&block.kind, before);
            for whole in whole_pieces(block) {
                let pieces = cut(&block.text, whole, count_tokens, hard_tokens);
                for (number, (range, tokens)) in pieces.into_iter().enumerate() {
                    let text = block.text[range.clone()].trim_end();
                    units.all.push(Unit {
                        block: at,
                        tokens,
                        start: if number > 0 { Start::Piece } else { start },
                        section: units.sections.len() - 1,
                        level,
                        is_heading: block.label().is_some(),
                        is_term: block.kind == BlockKind::Term,
                        announces: text.trim_end_matches(['*', '_']).ends_with([':', '…']) || text.ends_with("..."),
                        range,
                    });
                }
                start = Start::Sentence;
            }
        }
        units
    }

    /// The passage that the units of `range` make.
    pub(super) fn draft(&self, document: &Document, range: Range<usize>) -> PassageDraft {
        let before = range.start.checked_sub(1).map(|before| &self.all[before]);
        let units = &self.all[range];
        let first = &units[0];
        let mut text = String::new();
        for (at, unit) in units.iter().enumerate() {
            if at > 0 && units[at - 1].block != unit.block {
                text.truncate(text.trim_end().len());
                text.push_str(separator(document, &units[at - 1], unit));
            }
            text.push_str(&document.blocks[unit.block].text[unit.range.clone()]);
        }
        text.truncate(text.trim_end().len());
        let header = self.headers[first.block].clone();
        let context = (!header.is_empty() && header.end <= first.block)
            .then(|| document.blocks[header].iter().map(|block| block.text.as_str()).collect::<Vec<_>>().join("\n"));
        PassageDraft {
            headings: self.headings(document, units),
            anchor: document.blocks[first.block].anchor.clone().or_else(|| self.sections[first.section].anchor.clone()),
            context,
            follows: before.filter(|_| first.start != Start::Section).map(|before| between(document, before, first)),
            text,
        }
    }

    /// The headings that stand above all of `units`, without the document's title.
    fn headings(&self, document: &Document, units: &[Unit]) -> Vec<String> {
        let path = &self.sections[units[0].section].path;
        let shared = units.iter().fold(path.len(), |shared, unit| {
            let other = &self.sections[unit.section].path;
            path.iter().zip(other).take(shared).take_while(|(a, b)| a == b).count()
        });
        let words = |text: &str| text.to_lowercase().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let same = |a: &str, b: &str| words(a) == words(b);
        let skip = usize::from(path.first().is_some_and(|top| same(top, &document.title)));
        path[..shared].iter().skip(skip).cloned().collect()
    }
}

fn start_of(kind: &BlockKind, before: Option<&BlockKind>) -> Start {
    match (kind, before) {
        (BlockKind::Heading { .. }, _) => Start::Section,
        (BlockKind::ListItem, Some(BlockKind::ListItem)) => Start::Item,
        (BlockKind::TableRow { header: false }, Some(BlockKind::TableRow { .. })) => Start::Row,
        _ => Start::Block,
    }
}

/// What stands between two units that follow each other.
fn between(document: &Document, before: &Unit, after: &Unit) -> String {
    if before.block != after.block {
        return separator(document, before, after).to_owned();
    }
    let text = &document.blocks[before.block].text[before.range.clone()];
    text[text.trim_end().len()..].to_owned()
}

/// Between units of different blocks.
fn separator(document: &Document, before: &Unit, after: &Unit) -> &'static str {
    match (&document.blocks[before.block].kind, &document.blocks[after.block].kind) {
        (BlockKind::ListItem | BlockKind::Term, BlockKind::ListItem | BlockKind::Term)
        | (BlockKind::TableRow { .. }, BlockKind::TableRow { .. }) => "\n",
        _ => "\n\n",
    }
}

/// For each block the header rows of the table that it is a row of; empty for other blocks.
fn headers(blocks: &[Block]) -> Vec<Range<usize>> {
    let mut header = 0..0;
    let mut in_table = false;
    blocks
        .iter()
        .enumerate()
        .map(|(at, block)| {
            match block.kind {
                BlockKind::TableRow { header: true } if in_table && header.end == at => header.end = at + 1,
                BlockKind::TableRow { header: true } => header = at..at + 1,
                BlockKind::TableRow { header: false } if in_table => {}
                _ => header = 0..0,
            }
            in_table = matches!(block.kind, BlockKind::TableRow { .. });
            header.clone()
        })
        .collect()
}

/// The parts of a block that are not cut: its sentences, or all of it. They cover its text.
fn whole_pieces(block: &Block) -> Vec<Range<usize>> {
    let all = 0..block.text.len();
    match block.kind {
        BlockKind::Code | BlockKind::TableRow { .. } | BlockKind::Heading { .. } => vec![all],
        _ => {
            let mut starts: Vec<usize> = sentences(&block.text).iter().skip(1).map(|range| range.start).collect();
            starts.insert(0, 0);
            starts.push(block.text.len());
            starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
        }
    }
}

/// Cuts what has more than `hard_tokens` in the middle, and again, at the end of a line or else of a word.
fn cut(
    text: &str,
    range: Range<usize>,
    count_tokens: &dyn Fn(&str) -> usize,
    hard_tokens: usize,
) -> Vec<(Range<usize>, usize)> {
    let mut done = Vec::new();
    let mut left = vec![range];
    while let Some(range) = left.pop() {
        let slice = &text[range.clone()];
        let tokens =
            if slice.len() > hard_tokens * BYTES_PER_TOKEN_MAX { usize::MAX } else { count_tokens(slice.trim_end()) };
        match middle(slice).filter(|_| tokens > hard_tokens) {
            Some(at) => {
                left.push(range.start + at..range.end);
                left.push(range.start..range.start + at);
            }
            None => done.push((range, tokens.min(slice.len()))),
        }
    }
    done
}

/// The best place near the middle of `slice` to cut it; `None` if it is a single character.
fn middle(slice: &str) -> Option<usize> {
    let centre = slice.ceil_char_boundary(slice.len() / 2);
    let nearest = |within: usize, is_border: &dyn Fn(char) -> bool| {
        let (low, high) = (slice.len() / within, slice.len() - slice.len() / within);
        let after = |(at, c): (usize, char)| at + c.len_utf8();
        let left = slice[..centre].char_indices().rev().find(|&(_, c)| is_border(c)).map(after);
        let right = slice[centre..].char_indices().find(|&(_, c)| is_border(c)).map(|found| centre + after(found));
        [left, right]
            .into_iter()
            .flatten()
            .filter(|at| (low..high).contains(at) && *at > 0)
            .min_by_key(|at| at.abs_diff(centre))
    };
    nearest(4, &|c| c == '\n')
        .or_else(|| nearest(16, &char::is_whitespace))
        .or(Some(centre))
        .filter(|&at| at > 0 && at < slice.len() && !slice[..at].trim().is_empty() && !slice[at..].trim().is_empty())
}
