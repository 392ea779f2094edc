//! Tables of AsciiDoc to rows: how many columns there are is said above the table, or else shown by its first line.

/// Columns that a table can have.
const COLUMNS_MAX: usize = 200;

/// The rows between the lines `|===`, and whether they name the columns. `setting`: the line above the table.
pub(super) fn rows(lines: &[&str], kind: char, setting: &str) -> Vec<(bool, Vec<String>)> {
    let separator = if kind == ',' { ',' } else { '|' };
    let mut cells: Vec<String> = Vec::new();
    let mut on_first_line = 0;
    for line in lines.iter().filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let mut parts = split(line, separator);
        if separator == '|'
            && let Some(more) = parts.first().filter(|_| !line.starts_with('|'))
        {
            // What stands before the first bar goes on with the cell above, or says how the cell is set.
            if let Some(cell) = cells.last_mut().filter(|_| !is_set(more)) {
                cell.push(' ');
                cell.push_str(more.trim());
            }
        }
        if separator == '|' {
            parts.remove(0);
        }
        cells.extend(parts.iter().map(|part| part.trim().to_owned()));
        if on_first_line == 0 {
            on_first_line = cells.len();
        }
    }
    let columns = declared(setting).unwrap_or(on_first_line).clamp(1, COLUMNS_MAX);
    let first = lines.iter().position(|line| !line.is_empty());
    let gap = first.is_some_and(|first| lines.get(first + 1).is_some_and(|line| line.is_empty()));
    let has_header = setting.contains("header") || (gap && on_first_line == columns && !setting.contains("noheader"));
    cells.chunks(columns).enumerate().map(|(at, row)| (at == 0 && has_header, row.to_vec())).collect()
}

/// The parts between separators; one after a backslash is text.
fn split(line: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in line.chars() {
        let is_text = std::mem::take(&mut escaped) || (c != separator && c != '\\');
        match parts.last_mut() {
            Some(part) if is_text => part.push(c),
            _ if c == separator => parts.push(String::new()),
            _ => escaped = true,
        }
    }
    parts
}

/// `2+`, `.3+`, `a`, `^`: how the cell after the bar is set.
fn is_set(text: &str) -> bool {
    let text = text.trim();
    text.len() <= 8 && text.chars().all(|c| c.is_ascii_digit() || "+.*<>^aehlmsd".contains(c))
}

/// `cols="1,2"`, `cols=3*`: the number of columns.
fn declared(setting: &str) -> Option<usize> {
    let value = &setting[setting.find("cols=")? + 5..];
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split(',').next()?,
    };
    let columns = value.split(',').map(|column| {
        let times = column.trim().split_once('*').and_then(|(times, _)| times.parse::<usize>().ok());
        times.unwrap_or(1).min(COLUMNS_MAX)
    });
    Some(columns.take(COLUMNS_MAX).sum())
}
