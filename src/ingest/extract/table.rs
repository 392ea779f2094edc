//! The rows of a sheet to blocks: which row names the columns, what is a title or a remark beside the table, and the
//! columns kept in line where cells are empty. XLSX, ODS and CSV have it in common.

use super::ExtractError;
use super::source::Source;
use super::xml::collapse;
use crate::ingest::document::{Block, BlockKind};

/// What a row costs beside its text, in the child's answer and in memory.
const ROW_BYTES: usize = 80;

pub(super) struct Rows<'a> {
    source: Source<'a>,
    rows: Vec<Row>,
    current: Row,
    /// Column of the last cell of the current row.
    column: usize,
    /// Empty rows were seen since the last row.
    gap: bool,
}

#[derive(Clone, Default)]
struct Row {
    /// Column of the first cell that is filled.
    first: usize,
    /// From the first cell that is filled to the last one, separated by tabs.
    text: String,
    filled: usize,
    /// Not a single cell is a number, a date or the like.
    only_words: bool,
    after_gap: bool,
}

impl<'a> Rows<'a> {
    /// Columns beyond the last one that a spreadsheet can have are damage.
    pub(super) const COLUMNS_MAX: usize = 16_384;

    pub(super) fn new(source: Source<'a>) -> Self {
        Rows { source, rows: Vec::new(), current: Row::default(), column: 0, gap: false }
    }

    /// A cell of the current row, left to right. `is_word`: it holds no number, date or the like.
    pub(super) fn cell(&mut self, column: usize, text: &str, is_word: bool) -> Result<(), ExtractError> {
        let text = collapse(text);
        if text.is_empty() || column >= Self::COLUMNS_MAX {
            return Ok(());
        }
        let row = &mut self.current;
        let tabs = if row.filled == 0 { 0 } else { column.saturating_sub(self.column).max(1) };
        self.source.budget.write(text.len() + tabs)?;
        if row.filled == 0 {
            row.first = column;
            row.only_words = true;
        }
        row.text.extend(std::iter::repeat_n('\t', tabs));
        row.text.push_str(&text);
        row.only_words &= is_word;
        row.filled += 1;
        self.column = column.max(self.column);
        Ok(())
    }

    /// Ends the current row, which is there `times` times.
    pub(super) fn end_row(&mut self, times: usize) -> Result<(), ExtractError> {
        let mut row = std::mem::take(&mut self.current);
        self.column = 0;
        if row.filled == 0 {
            self.gap = true;
            return Ok(());
        }
        row.after_gap = std::mem::take(&mut self.gap);
        for _ in 1..times {
            self.source.budget.write(ROW_BYTES + row.text.len())?;
            self.rows.push(row.clone());
        }
        self.source.budget.write(ROW_BYTES)?;
        self.rows.push(row);
        Ok(())
    }

    /// Rows were left out: what follows may be another table.
    pub(super) fn gap(&mut self) {
        self.gap = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn into_blocks(self, blocks: &mut Vec<Block>) -> Result<(), ExtractError> {
        let kinds = kinds(&self.rows);
        let left = self.rows.iter().map(|row| row.first).min().unwrap_or(0);
        for (row, kind) in self.rows.into_iter().zip(kinds) {
            let indent = if kind == BlockKind::Paragraph { 0 } else { row.first - left };
            self.source.budget.write(indent)?;
            blocks.push(Block::new(kind, "\t".repeat(indent) + &row.text));
        }
        Ok(())
    }
}

/// The first row of several cells names the columns. Below a gap, a row of words above a row of numbers begins another
/// table. A single cell above a header or below the last table is a title or a remark.
fn kinds(rows: &[Row]) -> Vec<BlockKind> {
    let first = rows.iter().position(|row| row.filled > 1);
    let mut kinds = Vec::with_capacity(rows.len());
    // From the last row up: whether the next row of several cells is a header, and holds words only.
    let mut below: Option<(bool, bool)> = None;
    for (at, row) in rows.iter().enumerate().rev() {
        let kind = if row.filled > 1 {
            let begins = row.after_gap || at.checked_sub(1).is_some_and(|above| rows[above].filled == 1);
            let other_table = begins && row.only_words && below.is_some_and(|(_, only_words)| !only_words);
            let header = first == Some(at) || (other_table && is_apart(rows, at));
            below = Some((header, row.only_words));
            BlockKind::TableRow { header }
        } else {
            let in_table = first.is_some_and(|first| first < at);
            match below {
                Some((false, _)) if in_table => BlockKind::TableRow { header: false },
                None if in_table && !is_apart(rows, at) => BlockKind::TableRow { header: false },
                _ => BlockKind::Paragraph,
            }
        };
        kinds.push(kind);
    }
    kinds.reverse();
    kinds
}

/// Whether a gap lies between this row, with the single cells above it, and the table above.
fn is_apart(rows: &[Row], at: usize) -> bool {
    rows[at].after_gap
        || rows[..at].iter().enumerate().rev().take_while(|(_, row)| row.filled == 1).any(|(_, row)| row.after_gap)
}
