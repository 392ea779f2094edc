//! Tables that are drawn with characters: grids of `+`, `-` and `|`, and columns below lines of `=`.

use super::inline::plain;

/// Columns that a drawn table can have.
const COLUMNS_MAX: usize = 200;

/// Lines in which the end of a table is looked for.
const LINES_MAX: usize = 1_000;

/// A row and whether it names the columns.
type Row = (bool, String);

/// The table that the lines begin with, and how many lines it is.
pub(super) fn read(lines: &[&str]) -> Option<(Vec<Row>, usize)> {
    grid(lines).or_else(|| simple(lines))
}

fn grid(lines: &[&str]) -> Option<(Vec<Row>, usize)> {
    let is_border = |line: &str| line.len() > 2 && line.starts_with('+') && line.chars().all(|c| "+-=".contains(c));
    if !is_border(lines[0]) {
        return None;
    }
    let length = lines.iter().take_while(|line| line.starts_with(['+', '|'])).count();
    let mut rows = Vec::new();
    let mut cells: Vec<String> = Vec::new();
    for line in &lines[1..length] {
        if line.starts_with('+') {
            if line.contains('=') {
                // All above this border names the columns.
                rows.iter_mut().for_each(|(header, _)| *header = true);
                push(&mut rows, true, &mut cells);
            } else {
                push(&mut rows, false, &mut cells);
            }
            continue;
        }
        let inside = line.trim_matches('|');
        add(&mut cells, inside.split('|'));
    }
    push(&mut rows, false, &mut cells);
    Some((rows, length))
}

fn simple(lines: &[&str]) -> Option<(Vec<Row>, usize)> {
    let is_border =
        |line: &str| line.starts_with("==") && line.contains(' ') && line.chars().all(|c| c == '=' || c == ' ');
    if !is_border(lines[0]) {
        return None;
    }
    // The table ends at its last border, below which the paragraph ends.
    let paragraph_ends = |at: usize| lines.get(at + 1).is_none_or(|line| line.is_empty());
    let last = (1..lines.len()).take(LINES_MAX).find(|&at| is_border(lines[at]) && paragraph_ends(at))?;
    let columns = columns(lines[0]);
    let header_end = (1..last).find(|&at| is_border(lines[at]));
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate().take(last).skip(1) {
        if line.is_empty() || is_border(line) || line.chars().all(|c| c == '-' || c == ' ') {
            continue;
        }
        let cells: Vec<&str> = columns.iter().map(|&(from, to)| slice(line, from, to).trim()).collect();
        let text = cells.iter().map(|cell| plain(cell)).collect::<Vec<_>>().join("\t").trim_end().to_owned();
        match rows.last_mut() {
            // A line without its first cell goes on with the row above.
            Some((_, above)) if cells[0].is_empty() => {
                let above: &mut String = above;
                above.push(' ');
                above.push_str(text.trim());
            }
            _ => rows.push((header_end.is_some_and(|end| at < end), text)),
        }
    }
    Some((rows, last + 1))
}

/// Where the columns below a border begin and end, in characters; the last one is open.
fn columns(border: &str) -> Vec<(usize, usize)> {
    let mut columns = Vec::new();
    let mut start = None;
    for (at, c) in border.chars().chain([' ']).enumerate() {
        match (c, start) {
            ('=', None) => start = Some(at),
            (' ', Some(from)) => {
                columns.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    columns.truncate(COLUMNS_MAX);
    if let Some(last) = columns.last_mut() {
        last.1 = usize::MAX;
    }
    columns
}

fn slice(line: &str, from: usize, to: usize) -> &str {
    let byte = |at: usize| line.char_indices().nth(at).map_or(line.len(), |(byte, _)| byte);
    &line[byte(from)..byte(to)]
}

/// Adds a line to the cells of a row.
fn add<'a>(cells: &mut Vec<String>, line: impl Iterator<Item = &'a str>) {
    for (column, text) in line.take(COLUMNS_MAX).enumerate() {
        if column == cells.len() {
            cells.push(String::new());
        }
        let text = text.trim();
        if !cells[column].is_empty() && !text.is_empty() {
            cells[column].push(' ');
        }
        cells[column].push_str(text);
    }
}

fn push(rows: &mut Vec<Row>, header: bool, cells: &mut Vec<String>) {
    let text =
        std::mem::take(cells).iter().map(|cell| plain(cell)).collect::<Vec<_>>().join("\t").trim_end().to_owned();
    if !text.is_empty() {
        rows.push((header, text));
    }
}
