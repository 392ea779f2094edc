//! Documents to passages: where a document is cut so that each passage can be understood and quoted alone.
//! `units` are the pieces that are never cut; the borders between passages are the cheapest ones over the whole
//! document, by the costs below.

mod units;

use super::document::Document;
use units::{Start, Unit, Units};

/// How large passages are, counted in tokens of the embedding model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassageSize {
    /// The best size.
    pub target_tokens: usize,
    /// Exceeded only by a sentence, code block or table row that is longer by itself.
    pub max_tokens: usize,
    /// Exceeded by nothing: what is longer is cut at a line's or a word's end.
    pub hard_tokens: usize,
}

impl Default for PassageSize {
    fn default() -> Self {
        PassageSize { target_tokens: 220, max_tokens: 300, hard_tokens: 450 }
    }
}

/// A passage before it has an identity and a language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassageDraft {
    /// Headings above the whole passage, outermost first; the document's title is not repeated.
    pub headings: Vec<String>,
    /// Fragment that leads to the passage, or to the heading above it.
    pub anchor: Option<String>,
    /// The header of the table that the passage begins inside of. For the embedding and the prompt only: it is not
    /// part of the passage, and it stands in the passage before.
    pub context: Option<String>,
    /// What stands between it and the passage before, where both are of one section; `None`: a section begins here.
    pub follows: Option<String>,
    /// Blocks of the document, in order; never blank.
    pub text: String,
}

/// Cuts `document` into passages. In order they hold its whole text, and nothing twice.
/// `count_tokens` is called once for each sentence, code block and table row; a passage counts the sum.
pub fn passages(document: &Document, count_tokens: &dyn Fn(&str) -> usize, size: &PassageSize) -> Vec<PassageDraft> {
    let units = Units::new(document, count_tokens, size.hard_tokens);
    let borders = borders(&units.all, size);
    borders.windows(2).map(|pair| units.draft(document, pair[0]..pair[1])).collect()
}

/// Costs of a passage. One unit is a passage of no size at all; the numbers were chosen by reading passages.
mod cost {
    /// A passage goes on into a subsection, a sibling section, or out of the section that it began in.
    pub(super) const INTO_SUBSECTION: f64 = 0.12;
    pub(super) const INTO_SIBLING: f64 = 0.25;
    pub(super) const OUT_OF_SECTION: f64 = 1.2;
    /// The passage that does so began in the middle of a section.
    pub(super) const FROM_THE_MIDDLE: f64 = 0.3;
    /// A passage begins at a block, an item of a list, a row of a table, a sentence, inside of a long sentence.
    pub(super) const AT_BLOCK: f64 = 0.06;
    pub(super) const AT_ITEM: f64 = 0.12;
    pub(super) const AT_ROW: f64 = 0.10;
    pub(super) const AT_SENTENCE: f64 = 0.25;
    pub(super) const AT_PIECE: f64 = 0.3;
    /// A passage ends with a heading, a term, a line that announces what follows.
    pub(super) const AFTER_HEADING: f64 = 5.0;
    pub(super) const AFTER_TERM: f64 = 3.0;
    pub(super) const AFTER_COLON: f64 = 0.8;
    /// A passage of the largest size.
    pub(super) const FULL: f64 = 0.1;
}

/// The borders of the cheapest passages: indices of units, from 0 to their number.
fn borders(units: &[Unit], size: &PassageSize) -> Vec<usize> {
    let total: usize = units.iter().map(|unit| unit.tokens).sum();
    if units.is_empty() {
        return Vec::new();
    }
    if total <= size.max_tokens {
        return vec![0, units.len()];
    }
    // `best[j]`: the least cost of the units before `j`, and where the last passage of that begins.
    let mut best = vec![(f64::INFINITY, 0); units.len() + 1];
    best[0] = (0.0, 0);
    for start in 0..units.len() {
        let before = best[start].0 + border_cost(units, start);
        let mut tokens = 0;
        let mut crossings = 0.0;
        for end in start + 1..=units.len() {
            let added = &units[end - 1];
            tokens += added.tokens;
            if end > start + 1 {
                if tokens > size.max_tokens {
                    break;
                }
                crossings += crossing_cost(units, start, end - 1);
            }
            let cost = before + crossings + size_cost(tokens, size);
            if cost < best[end].0 {
                best[end] = (cost, start);
            }
        }
    }
    let mut borders = vec![units.len()];
    while let Some(&at) = borders.last().filter(|&&at| at > 0) {
        borders.push(best[at].1);
    }
    borders.reverse();
    borders
}

fn size_cost(tokens: usize, size: &PassageSize) -> f64 {
    let (tokens, target, max) = (tokens as f64, size.target_tokens as f64, size.max_tokens as f64);
    if tokens < target {
        ((target - tokens) / target).powi(2)
    } else {
        cost::FULL * ((tokens - target) / (max - target).max(1.0)).powi(2)
    }
}

/// What it costs that a passage begins at `at` and another one ends there.
fn border_cost(units: &[Unit], at: usize) -> f64 {
    if at == 0 {
        return 0.0;
    }
    let begins = match units[at].start {
        Start::Section => 0.0,
        Start::Block => cost::AT_BLOCK,
        Start::Item => cost::AT_ITEM,
        Start::Row => cost::AT_ROW,
        Start::Sentence => cost::AT_SENTENCE,
        Start::Piece => cost::AT_PIECE,
    };
    let before = &units[at - 1];
    let ends = match () {
        () if before.is_heading => cost::AFTER_HEADING,
        () if before.is_term => cost::AFTER_TERM,
        () if before.announces && units[at].start != Start::Section => cost::AFTER_COLON,
        () => 0.0,
    };
    begins + ends
}

/// What it costs that a passage that begins at `start` holds the unit `at` too.
fn crossing_cost(units: &[Unit], start: usize, at: usize) -> f64 {
    let unit = &units[at];
    if unit.start != Start::Section {
        return 0.0;
    }
    let before = &units[at - 1];
    let (base, last, level) = (units[start].level, before.level, unit.level);
    let crossing = match () {
        // A heading right below a heading: the passage begins there as well as it could.
        () if level > last && before.is_heading => 0.0,
        () if level > last => cost::INTO_SUBSECTION,
        () if level >= base => cost::INTO_SIBLING,
        () => cost::OUT_OF_SECTION,
    };
    let from_middle = units[start].start != Start::Section && start > 0;
    crossing + if from_middle { cost::FROM_THE_MIDDLE } else { 0.0 }
}

#[cfg(test)]
mod tests;
