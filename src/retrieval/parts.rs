//! The parts of a passage that get a vector of their own: pairs of neighbouring sentences, and each row of a table under
//! the names of its columns. A short question matches the line that answers it better than the whole it stands in.

use std::ops::Range;

use super::IndexedPassage;
use crate::domain::sentences;

/// Neighbouring sentences that share a vector.
const SENTENCES_PER_VECTOR: usize = 2;

/// A part of a passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As it is embedded.
    pub text: String,
    /// Where it stands in the passage's text.
    pub range: Range<usize>,
}

impl IndexedPassage {
    /// What is embedded beside the whole passage; at least one.
    pub fn parts(&self) -> Vec<Part> {
        let columns = self.context.as_deref().and_then(|context| context.lines().next()).map(cells);
        let text = &self.passage.text;
        let mut parts = Parts { text, columns, pair: Vec::new(), done: Vec::new() };
        for range in sentences(text) {
            if is_row(text[range.clone()].trim()) { parts.row(range) } else { parts.sentence(range) }
        }
        parts.end_pair();
        match parts.done.is_empty() {
            true => vec![Part { text: text.clone(), range: 0..text.len() }],
            false => parts.done,
        }
    }
}

struct Parts<'a> {
    text: &'a str,
    /// Of the table that is being read.
    columns: Option<Vec<&'a str>>,
    pair: Vec<Range<usize>>,
    done: Vec<Part>,
}

impl<'a> Parts<'a> {
    fn sentence(&mut self, sentence: Range<usize>) {
        self.columns = None;
        self.pair.push(sentence);
        if self.pair.len() == SENTENCES_PER_VECTOR {
            self.end_pair();
        }
    }

    fn row(&mut self, range: Range<usize>) {
        self.end_pair();
        let cells = cells(self.text[range.clone()].trim());
        match &self.columns {
            None => self.columns = Some(cells),
            Some(_) if cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':'))) => {}
            Some(columns) => self.done.push(Part { text: labelled(columns, &cells), range }),
        }
    }

    fn end_pair(&mut self) {
        if let (Some(first), Some(last)) = (self.pair.first(), self.pair.last()) {
            let range = first.start..last.end;
            let sentences: Vec<&str> = self.pair.iter().map(|range| self.text[range.clone()].trim()).collect();
            self.done.push(Part { text: sentences.join(" "), range });
            self.pair.clear();
        }
    }
}

/// `Reason: moving house; Days: 1`.
fn labelled(columns: &[&str], cells: &[&str]) -> String {
    let mut text = String::new();
    for (at, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        text.push_str(if text.is_empty() { "" } else { "; " });
        if let Some(column) = columns.get(at).filter(|column| !column.is_empty()) {
            text.push_str(column);
            text.push_str(": ");
        }
        text.push_str(cell);
    }
    text
}

/// Rows are lines with bars (Markdown) or with tabs between their cells (every other format).
fn is_row(line: &str) -> bool {
    line.starts_with('|') || line.contains('\t')
}

fn cells(line: &str) -> Vec<&str> {
    let line = line.trim();
    if line.starts_with('|') {
        line.trim_matches('|').split('|').map(str::trim).collect()
    } else {
        line.split('\t').map(str::trim).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Language, Passage, PassageId};

    #[track_caller]
    fn check(text: &str, context: Option<&str>, expect: &[&str]) {
        let passage = Passage {
            collection: "knowledge".into(),
            link: None,
            id: PassageId([0; 16]),
            path: "en/leave.md".into(),
            title: "Leave".into(),
            headings: Vec::new(),
            anchor: None,
            date: None,
            language: Language::English,
            ordinal: 0,
            text: text.into(),
        };
        let parts = IndexedPassage { context: context.map(str::to_owned), ..IndexedPassage::alone(passage) }.parts();
        assert!(parts.iter().all(|part| !text[part.range.clone()].is_empty()));
        let parts: Vec<&str> = parts.iter().map(|part| part.text.trim()).collect();
        assert_eq!(parts, expect);
    }

    #[test]
    fn sentences_go_in_pairs() {
        check("One is here. Two is there. Three is last.", None, &["One is here. Two is there.", "Three is last."]);
        check("...", None, &["..."]);
    }

    #[test]
    fn a_row_stands_under_the_names_of_its_columns() {
        let table = "Days off.\n\n| Reason | Days |\n|---|---|\n| Moving house | 1 |\n| Wedding | |\n\nAsk early.";
        check(table, None, &["Days off.", "Reason: Moving house; Days: 1", "Reason: Wedding", "Ask early."]);
        check("Reason\tDays\nMoving house\t1", None, &["Reason: Moving house; Days: 1"]);
    }

    #[test]
    fn a_table_that_goes_on_keeps_its_columns() {
        check("| Wedding | 15 |", Some("| Reason | Days |"), &["Reason: Wedding; Days: 15"]);
    }
}
