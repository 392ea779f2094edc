//! Lines of a PDF to blocks: page furniture dropped, headings by letter size, lines joined to paragraphs.

use std::collections::{HashMap, HashSet};

use crate::ingest::document::{Block, BlockKind};

/// One line of glyphs as it is drawn; `\t` between columns.
pub(super) struct Line {
    pub(super) page: u32,
    pub(super) text: String,
    pub(super) left: f64,
    pub(super) right: f64,
    /// Base line, in points from the bottom of the page.
    pub(super) y: f64,
    /// Characters by letter size, in tenths of a point.
    sizes: Vec<(u32, usize)>,
    /// Narrowest and widest glyph, in parts of the letter size.
    widths: (f64, f64),
    glyphs: usize,
}

impl Line {
    pub(super) fn new(page: u32, left: f64, right: f64, y: f64) -> Self {
        Line { page, text: String::new(), left, right, y, sizes: Vec::new(), widths: (f64::MAX, 0.0), glyphs: 0 }
    }

    /// Takes note of one glyph's size, and its width in parts of that.
    pub(super) fn measure(&mut self, size: f64, width: f64, text: &str) {
        self.count_size(size, text);
        if width > 0.0 && !text.trim().is_empty() {
            self.widths = (self.widths.0.min(width), self.widths.1.max(width));
            self.glyphs += 1;
        }
    }

    /// Letters that are all of one width are those of a typewriter: code.
    fn is_monospaced(&self) -> bool {
        self.glyphs >= MONOSPACED_GLYPHS_MIN && self.widths.1 - self.widths.0 < 0.005
    }

    fn count_size(&mut self, size: f64, text: &str) {
        let tenths = (size * 10.0).round().clamp(0.0, 10_000.0) as u32;
        let chars = text.chars().filter(|c| !c.is_whitespace()).count();
        match self.sizes.iter_mut().find(|(known, _)| *known == tenths) {
            Some((_, count)) => *count += chars,
            None => self.sizes.push((tenths, chars)),
        }
    }

    /// The size of most of its letters, in points.
    fn size(&self) -> f64 {
        self.sizes.iter().max_by_key(|(_, count)| *count).map_or(0.0, |(tenths, _)| f64::from(*tenths) / 10.0)
    }

    fn is_readable(&self) -> bool {
        self.text.chars().any(char::is_alphanumeric)
    }
}

/// Shorter lines can have letters of one width by chance.
const MONOSPACED_GLYPHS_MIN: usize = 6;
/// Lines of heading size longer than this are running text in large letters.
const HEADING_CHARS_MAX: usize = 140;
/// Headings are larger than the body's letters by this factor.
const HEADING_FACTOR: f64 = 1.12;
/// Furniture stands in so many lines at the top or the bottom of a page, and repeats on a share of the pages.
const FURNITURE_LINES: usize = 2;
const FURNITURE_SHARE: f64 = 0.2;

pub(super) fn blocks(mut lines: Vec<Line>) -> Vec<Block> {
    for line in &mut lines {
        line.text = line.text.trim().to_owned();
    }
    drop_furniture(&mut lines);
    lines.retain(|line| line.is_readable() && !is_contents_line(&line.text));
    let page = Page::measure(&lines);
    let mut blocks = Vec::new();
    let mut start = 0;
    while start < lines.len() {
        let kind = page.kind(&lines, start);
        let mut end = start + 1;
        while end < lines.len() && page.goes_on(&lines, end, &kind) {
            end += 1;
        }
        let text = match &kind {
            BlockKind::TableRow { .. } => lines[start].text.clone(),
            BlockKind::Code => listing(&lines[start..end]),
            _ => join(&lines[start..end], &page.words),
        };
        let kind = match kind {
            BlockKind::Heading { level, .. } => BlockKind::Heading { level, label: text.clone() },
            kind => kind,
        };
        // The fragment that PDF viewers understand.
        blocks.push(Block { kind, text, anchor: Some(format!("page={}", lines[start].page)) });
        start = end;
    }
    blocks
}

/// Running titles and page numbers: lines at the edge of pages that repeat but for their digits.
fn drop_furniture(lines: &mut Vec<Line>) {
    let mut pages: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.text.is_empty()) {
        pages.entry(line.page).or_default().push(at);
    }
    let mut edges: Vec<usize> = Vec::new();
    for on_page in pages.values_mut() {
        on_page.sort_by(|&a, &b| lines[b].y.total_cmp(&lines[a].y).then(a.cmp(&b)));
        let last = on_page.len().saturating_sub(FURNITURE_LINES).max(FURNITURE_LINES.min(on_page.len()));
        edges.extend(on_page.iter().take(FURNITURE_LINES).chain(&on_page[last..]));
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    for &at in &edges {
        *seen.entry(shape(&lines[at])).or_insert(0) += 1;
    }
    let often = ((pages.len() as f64 * FURNITURE_SHARE) as usize).max(3).min(pages.len().max(2));
    let dropped: HashSet<usize> = edges
        .into_iter()
        .filter(|&at| {
            let shape = shape(&lines[at]);
            !shape.chars().any(char::is_alphabetic) && pages.len() > 1 || seen[&shape] >= often
        })
        .collect();
    let mut at = 0;
    lines.retain(|_| {
        at += 1;
        !dropped.contains(&(at - 1))
    });
}

/// What is the same on each page of a running title: its words without page numbers.
fn shape(line: &Line) -> String {
    let is_number = |word: &str| {
        word.len() <= 7 && (word.chars().all(|c| "ivxlc".contains(c)) || !word.chars().any(char::is_alphabetic))
    };
    line.text.split_whitespace().filter(|word| !is_number(word)).collect()
}

/// A line of a table of contents: dots that lead to a page number.
fn is_contents_line(text: &str) -> bool {
    let rest = text.trim_end_matches(|c: char| c.is_alphanumeric());
    let title = rest.trim_end_matches(['.', ' ', '\t', '…', '·']);
    let dots = rest[title.len()..].chars().filter(|c| ".…·".contains(*c)).count();
    rest.len() < text.len() && text.len() - rest.len() <= 5 && dots >= 4
}

/// Measures of the whole document.
struct Page {
    /// Size of most letters, in points.
    body: f64,
    /// Sizes of headings, largest first, in tenths of a point.
    heading_sizes: Vec<u32>,
    /// Usual distance of base lines, in points.
    leading: f64,
    /// Where full lines end.
    right: f64,
    /// Every word, to tell a hyphen at a line's end from a hyphenated word.
    words: HashSet<String>,
}

impl Page {
    fn measure(lines: &[Line]) -> Page {
        let mut sizes: HashMap<u32, usize> = HashMap::new();
        for (tenths, count) in lines.iter().flat_map(|line| &line.sizes) {
            *sizes.entry(*tenths).or_insert(0) += count;
        }
        let body = sizes.iter().max_by_key(|&(size, count)| (*count, *size)).map_or(0, |(size, _)| *size);
        let body = f64::from(body) / 10.0;
        let mut heading_sizes: Vec<u32> = lines
            .iter()
            .filter(|line| line.size() > body * HEADING_FACTOR && line.text.chars().count() <= HEADING_CHARS_MAX)
            .map(|line| (line.size() * 10.0) as u32)
            .collect();
        heading_sizes.sort_unstable_by(|a, b| b.cmp(a));
        heading_sizes.dedup();
        let mut gaps: HashMap<i64, usize> = HashMap::new();
        for pair in lines.windows(2).filter(|pair| pair[0].page == pair[1].page) {
            let gap = ((pair[0].y - pair[1].y) * 2.0).round() as i64;
            if gap > 0 && (pair[1].size() - body).abs() < 0.3 {
                *gaps.entry(gap).or_insert(0) += 1;
            }
        }
        let leading =
            gaps.iter().max_by_key(|&(gap, count)| (*count, -*gap)).map_or(body * 1.2, |(gap, _)| *gap as f64 / 2.0);
        let mut rights: Vec<f64> = lines.iter().map(|line| line.right).collect();
        rights.sort_by(f64::total_cmp);
        let right = rights.get(rights.len() * 9 / 10).copied().unwrap_or(0.0);
        let words = lines.iter().flat_map(|line| line.text.split_whitespace()).map(bare_word).collect();
        Page { body, heading_sizes, leading, right, words }
    }

    fn kind(&self, lines: &[Line], at: usize) -> BlockKind {
        let line = &lines[at];
        let text = line.text.as_str();
        let short = text.chars().count() <= HEADING_CHARS_MAX;
        if short && line.size() > self.body * HEADING_FACTOR && text.chars().filter(|c| c.is_alphabetic()).count() > 1 {
            let rank = self.heading_sizes.iter().position(|&size| size == (line.size() * 10.0) as u32).unwrap_or(0);
            return BlockKind::Heading { level: (rank + 1).min(6) as u8, label: String::new() };
        }
        if let Some(level) = numbered_heading(text)
            && self.stands_alone(lines, at)
        {
            return BlockKind::Heading { level, label: String::new() };
        }
        if line.is_monospaced() {
            return BlockKind::Code;
        }
        // A cell of several lines stands between the rows of its table.
        let near = &lines[at.saturating_sub(2)..(at + 3).min(lines.len())];
        if text.contains('\t') && near.iter().filter(|line| line.text.contains('\t')).count() > 1 {
            BlockKind::TableRow { header: false }
        } else if is_item(text) {
            BlockKind::ListItem
        } else {
            BlockKind::Paragraph
        }
    }

    /// White space above and a line that does not run to the margin.
    fn stands_alone(&self, lines: &[Line], at: usize) -> bool {
        let line = &lines[at];
        let gap_above = at
            .checked_sub(1)
            .map(|before| &lines[before])
            .is_none_or(|before| before.page != line.page || (before.y - line.y).abs() > self.leading * 1.3);
        gap_above && line.right < self.right - 2.0 * self.body
    }

    /// Whether the line at `at` continues a block of `kind` that the line before belongs to.
    fn goes_on(&self, lines: &[Line], at: usize, kind: &BlockKind) -> bool {
        let (before, line) = (&lines[at - 1], &lines[at]);
        let same_page = before.page == line.page;
        let gap = before.y - line.y;
        if let BlockKind::Heading { .. } = kind {
            let next_to = same_page && gap > 0.0 && gap < line.size() * 1.7;
            return next_to && before.size() > self.body * HEADING_FACTOR && (before.size() - line.size()).abs() < 0.2;
        }
        if *kind == BlockKind::Code {
            return same_page && line.is_monospaced() && gap > 0.0 && gap < self.leading * 3.0;
        }
        let plain = matches!(self.kind(lines, at), BlockKind::Paragraph);
        if !plain || matches!(kind, BlockKind::TableRow { .. }) || (before.size() - line.size()).abs() > 0.6 {
            return false;
        }
        let ended = before.text.ends_with(['.', '!', '?', ':', ';', '…']);
        if !same_page {
            return !ended && line.text.starts_with(char::is_lowercase);
        }
        let close = (-0.6..self.leading * 1.35).contains(&gap);
        let full = before.right > self.right - (self.right - before.left) * 0.2;
        close && (full || !ended)
    }
}

fn is_item(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let numbered = (1..=2).contains(&digits) && (text[digits..].starts_with(". ") || text[digits..].starts_with(") "));
    numbered
        || ["• ", "◦ ", "▪ ", "– ", "- ", "* ", "‣ ", "∙ ", "● ", "○ ", "·"].iter().any(|mark| text.starts_with(mark))
}

/// The level of a line such as `2.1 Requisiti` or `Capitolo 3. Uso`.
fn numbered_heading(text: &str) -> Option<u8> {
    if text.chars().count() > 80 || text.ends_with(['.', ',', ';', ':']) || text.contains('\t') || text.contains("....")
    {
        return None;
    }
    let number = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let parts = text[..number].split('.').filter(|part| !part.is_empty()).count();
    let title = text[number..].strip_prefix(' ')?;
    (parts > 0 && text.starts_with(|c: char| c.is_ascii_digit()) && title.starts_with(char::is_uppercase))
        .then_some(parts.clamp(1, 5) as u8 + 1)
}

/// Lines of code, indented as they are drawn.
fn listing(lines: &[Line]) -> String {
    let left = lines.iter().map(|line| line.left).fold(f64::MAX, f64::min);
    let indented = lines.iter().map(|line| {
        let glyph = (line.size() * line.widths.1).max(1.0);
        let columns = ((line.left - left) / glyph).round().clamp(0.0, 80.0) as usize;
        " ".repeat(columns) + &line.text.replace('\t', "    ")
    });
    indented.collect::<Vec<_>>().join("\n")
}

fn bare_word(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-').to_lowercase()
}

/// The lines as one text: a hyphen that only breaks a word at a line's end goes, one that belongs to it stays.
fn join(lines: &[Line], words: &HashSet<String>) -> String {
    let mut text = String::new();
    for line in lines {
        let next = line.text.replace('\t', " ");
        let breaks = text.ends_with('\u{ad}')
            || (text.ends_with('-')
                && text.trim_end_matches('-').ends_with(char::is_lowercase)
                && next.starts_with(char::is_lowercase));
        if breaks {
            let head = text.rsplit(' ').next().unwrap_or("").trim_end_matches(['-', '\u{ad}']);
            let tail = next.split(' ').next().unwrap_or("");
            let hyphenated = words.contains(&bare_word(&format!("{head}-{tail}")));
            if !hyphenated || words.contains(&bare_word(&format!("{head}{tail}"))) {
                text.truncate(text.trim_end_matches(['-', '\u{ad}']).len());
            }
        } else if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&next);
    }
    text.replace('\u{ad}', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of 10 points, 12 points apart, full width unless marked otherwise by `size|text`.
    fn lines(texts: &[&str]) -> Vec<Line> {
        let mut y = 800.0;
        let mut lines = Vec::new();
        for text in texts {
            let (size, text) = text.split_once('|').map_or((10.0, *text), |(size, text)| (size.parse().unwrap(), text));
            y -= if size > 10.0 { 30.0 } else { 12.0 };
            let mut line = Line::new(1, 50.0, 50.0 + 5.0 * text.chars().count() as f64, y);
            line.text = text.to_owned();
            line.count_size(size, text);
            lines.push(line);
        }
        lines
    }

    #[test]
    fn lines_become_paragraphs_headings_and_items() {
        let blocks = blocks(lines(&[
            "18|Guida alla rete",
            "La rete aziendale è divisa in due parti, una per gli uffi-",
            "ci e una per gli ospiti. Il lavoro part-time non cambia nul-",
            "la, e chi lavora part-",
            "time usa la stessa rete.",
            "14|Accesso",
            "• Chiedere la password alla",
            "reception.",
            "• Collegarsi.",
            "Nome\tValore",
            "Rete\tOspiti",
        ]));
        let found: Vec<(&BlockKind, &str)> = blocks.iter().map(|block| (&block.kind, block.text.as_str())).collect();
        let heading = |level, label: &str| BlockKind::Heading { level, label: label.into() };
        assert_eq!(
            found,
            [
                (&heading(1, "Guida alla rete"), "Guida alla rete"),
                (
                    &BlockKind::Paragraph,
                    "La rete aziendale è divisa in due parti, una per gli uffici e una per gli ospiti. Il lavoro part-time \
                 non cambia nulla, e chi lavora part-time usa la stessa rete."
                ),
                (&heading(2, "Accesso"), "Accesso"),
                (&BlockKind::ListItem, "• Chiedere la password alla reception."),
                (&BlockKind::ListItem, "• Collegarsi."),
                (&BlockKind::TableRow { header: false }, "Nome\tValore"),
                (&BlockKind::TableRow { header: false }, "Rete\tOspiti"),
            ]
        );
        assert_eq!(blocks[0].anchor.as_deref(), Some("page=1"));
    }

    #[test]
    fn letters_of_one_width_are_code() {
        let mut all =
            lines(&["Eseguire il comando che segue:", "make install", "ls -l /tmp", "Poi riavviare il servizio."]);
        for line in &mut all[1..3] {
            line.text.clone().chars().for_each(|c| line.measure(10.0, 0.6, &c.to_string()));
        }
        all[2].left += 12.0;
        let found = blocks(all);
        assert_eq!((&found[1].kind, found[1].text.as_str()), (&BlockKind::Code, "make install\n  ls -l /tmp"));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn lines_of_a_table_of_contents_are_dropped() {
        for (text, expected) in [
            ("1.1 Requisiti . . . . . . . 12", true),
            ("Introduzione ........ iv", true),
            ("Aspetta... poi riprova", false),
            ("Costa 3.50", false),
        ] {
            assert_eq!(is_contents_line(text), expected, "{text}");
        }
    }

    #[test]
    fn running_titles_and_page_numbers_are_dropped() {
        let mut all = Vec::new();
        for page in 1..=5 {
            let mut on_page = lines(&["Manuale Acme", "Testo che cambia", "Altro testo"]);
            on_page[1].text = format!("Testo della pagina {}", "abcde".chars().nth(page).unwrap_or('z'));
            on_page.extend(lines(&["x"]).into_iter().map(|mut line| {
                line.text = format!("{page}");
                line.y = 10.0;
                line
            }));
            on_page.iter_mut().for_each(|line| line.page = page as u32);
            all.extend(on_page);
        }
        let text: String = blocks(all).iter().map(|block| block.text.clone() + "\n").collect();
        assert!(!text.contains("Manuale") && !text.contains('3') && text.contains("Testo della pagina"), "{text}");
    }
}
