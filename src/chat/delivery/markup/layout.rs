//! The tree as lines of a message. What stands on which line is the same for all formats that are not Markdown; how a
//! line is marked up is decided in [`super::telegram`] and [`super::slack`].

use unicode_segmentation::UnicodeSegmentation;

use super::tree::{Block, Document, Inline, List, Style, Table, Words, push_text, text_of};
use super::{slack, telegram};

/// What a table in columns may be wide, in characters: a telephone shows about as many in a line of code.
const COLUMNS_WIDTH_MAX: usize = 34;
const STEP: &str = "   ";
const BULLETS: [&str; 3] = ["•", "◦", "▪"];
const RULE: &str = "———";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    Telegram,
    Mrkdwn,
    Plain,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    Words { words: Words, quoted: bool },
    Code { language: String, text: String },
}

impl Line {
    fn is_blank(&self) -> bool {
        matches!(self, Line::Words { words, .. } if text_of(words).trim().is_empty())
    }

    fn trim_end(&mut self) {
        let Line::Words { words, .. } = self else { return };
        while let Some(Inline::Text(text, _)) = words.last_mut() {
            text.truncate(text.trim_end().len());
            if !text.is_empty() {
                break;
            }
            words.pop();
        }
    }
}

pub(super) fn render(markdown: &str, flavour: Flavour) -> String {
    let document = Document::parse(markdown);
    let text = render_blocks(&document.trees(), flavour);
    if !text.is_empty() || document.hides {
        return text;
    }
    // A marker whose text has not arrived yet.
    let source: String = markdown.trim().chars().filter(|c| !c.is_control()).collect();
    written(&[Line::Words { words: vec![Inline::Text(source, Style::default())], quoted: false }], flavour)
}

/// Empty when nothing in the blocks can be seen.
pub(super) fn render_blocks(blocks: &[Block], flavour: Flavour) -> String {
    let mut layout = Layout { flavour, lines: Vec::new() };
    layout.blocks(blocks, Place::default());
    layout.lines.iter_mut().for_each(Line::trim_end);
    let blank = layout.lines.iter().take_while(|line| line.is_blank()).count();
    layout.lines.drain(..blank);
    while layout.lines.last().is_some_and(Line::is_blank) {
        layout.lines.pop();
    }
    written(&layout.lines, flavour)
}

fn written(lines: &[Line], flavour: Flavour) -> String {
    match flavour {
        Flavour::Telegram => telegram::written(lines),
        Flavour::Mrkdwn => slack::written(lines),
        Flavour::Plain => plain(lines),
    }
}

fn plain(lines: &[Line]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| match line {
            Line::Words { words, quoted: true } => format!("│ {}", text_of(words)).trim_end().to_owned(),
            Line::Words { words, quoted: false } => text_of(words).trim_end().to_owned(),
            Line::Code { text, .. } => text.clone(),
        })
        .collect();
    lines.join("\n")
}

/// Where in the containers a block stands.
#[derive(Clone, Copy, Default)]
struct Place {
    quoted: bool,
    /// List items around it.
    items: usize,
}

struct Layout {
    flavour: Flavour,
    lines: Vec<Line>,
}

impl Layout {
    fn blocks(&mut self, blocks: &[Block], place: Place) {
        for (at, block) in blocks.iter().enumerate() {
            if at > 0 && place.items == 0 {
                // Between two quotes the line is outside of both.
                self.lines.push(Line::Words { words: Vec::new(), quoted: place.quoted });
            }
            self.block(block, place);
        }
    }

    fn block(&mut self, block: &Block, place: Place) {
        match block {
            Block::Paragraph(words) => self.paragraph(words, place),
            Block::Heading(_, words) => {
                let bold = words.iter().map(|inline| match inline {
                    Inline::Text(text, style) => Inline::Text(text.clone(), Style { bold: !style.code, ..*style }),
                    Inline::Break => Inline::Text(" ".to_owned(), Style { bold: true, ..Style::default() }),
                });
                self.paragraph(&bold.collect::<Words>(), place);
            }
            Block::Code { language, text } => self.code(language, text),
            Block::Table(table) => self.table(table, place),
            Block::Rule => self.paragraph(&[Inline::Text(RULE.to_owned(), Style::default())], place),
            Block::Quote(blocks) => {
                // A quote in a quote is one with it, and starts at the margin also in a list.
                self.blocks(blocks, Place { quoted: true, items: 0 });
            }
            Block::List(list) => self.list(list, place),
        }
    }

    fn paragraph(&mut self, words: &[Inline], place: Place) {
        for line in words.split(|inline| *inline == Inline::Break) {
            let mut with_indent = Words::new();
            push_text(&mut with_indent, &STEP.repeat(place.items), Style::default());
            for (at, inline) in line.iter().enumerate() {
                if let Inline::Text(text, style) = inline {
                    let text = if at == 0 { text.trim_start_matches([' ', '\t']) } else { text.as_str() };
                    push_text(&mut with_indent, text, *style);
                }
            }
            self.lines.push(Line::Words { words: with_indent, quoted: place.quoted });
        }
    }

    fn code(&mut self, language: &str, text: &str) {
        let text = text.trim_end().trim_start_matches('\n');
        if !text.is_empty() {
            self.lines.push(Line::Code { language: language.to_owned(), text: text.to_owned() });
        }
    }

    fn list(&mut self, list: &List, place: Place) {
        for (at, item) in list.items.iter().enumerate() {
            let marker = match list.number(at) {
                Some(number) => format!("{number}."),
                None => BULLETS[place.items.min(BULLETS.len() - 1)].to_owned(),
            };
            let mut marked = Words::new();
            push_text(&mut marked, &format!("{}{marker} ", STEP.repeat(place.items)), Style::default());
            let first = self.lines.len();
            self.blocks(item, Place { items: place.items + 1, ..place });
            let indent = STEP.len() * (place.items + 1);
            match (item.first(), self.lines.get_mut(first)) {
                (Some(Block::Paragraph(_) | Block::Heading(..) | Block::Rule), Some(Line::Words { words, .. })) => {
                    if let Some(Inline::Text(text, _)) = words.first_mut() {
                        text.drain(..indent.min(text.len()));
                    }
                    for inline in std::mem::take(words) {
                        if let Inline::Text(text, style) = inline {
                            push_text(&mut marked, &text, style);
                        }
                    }
                    *words = marked;
                }
                _ => self.lines.insert(first, Line::Words { words: marked, quoted: place.quoted }),
            }
        }
    }

    fn table(&mut self, table: &Table, place: Place) {
        let columns = if self.flavour == Flavour::Plain { None } else { columns(table) };
        match columns {
            Some(text) => self.code("", &text),
            None if table.rows.is_empty() => self.paragraph(&joined(&table.head, " – "), place),
            None if table.head.len() == 2 => self.pairs(table, place),
            None => self.records(table, place),
        }
    }

    /// Two columns: a line for each row.
    fn pairs(&mut self, table: &Table, place: Place) {
        let head = joined(&table.head, " – ");
        if !head.is_empty() {
            self.block(&Block::Heading(6, head), place);
        }
        for row in &table.rows {
            let mut words = Words::new();
            push_text(&mut words, &format!("{} ", BULLETS[0]), Style::default());
            words.extend(joined(row, ": "));
            self.paragraph(&unbroken(&words), place);
        }
    }

    /// More columns: a line for each cell, and a blank one between rows.
    fn records(&mut self, table: &Table, place: Place) {
        for (at, row) in table.rows.iter().enumerate() {
            if at > 0 && table.head.len() > 1 {
                self.lines.push(Line::Words { words: Vec::new(), quoted: place.quoted });
            }
            for (head, cell) in table.head.iter().zip(row) {
                if text_of(cell).trim().is_empty() {
                    continue;
                }
                self.paragraph(&record(head, cell), place);
            }
        }
    }
}

/// A cell with the head of its column.
pub(super) fn record(head: &[Inline], cell: &[Inline]) -> Words {
    let mut words = Words::new();
    let name = text_of(head);
    if !name.trim().is_empty() {
        push_text(&mut words, &format!("{}:", name.trim()), Style { bold: true, ..Style::default() });
        push_text(&mut words, " ", Style::default());
    }
    words.extend(unbroken(cell));
    words
}

/// The cells that hold something, in one line.
fn joined(cells: &[Words], between: &str) -> Words {
    let mut words = Words::new();
    for cell in cells.iter().filter(|cell| !text_of(cell).trim().is_empty()) {
        if !words.is_empty() {
            push_text(&mut words, between, Style::default());
        }
        words.extend(unbroken(cell));
    }
    words
}

pub(super) fn unbroken(words: &[Inline]) -> Words {
    let mut line = Words::new();
    for inline in words {
        match inline {
            Inline::Text(text, style) => push_text(&mut line, text, *style),
            Inline::Break => push_text(&mut line, " ", Style::default()),
        }
    }
    line
}

/// The table in columns of equal width, if that is narrow enough.
fn columns(table: &Table) -> Option<String> {
    if table.rows.is_empty() || table.head.len() < 2 {
        return None;
    }
    let cells = |row: &[Words]| -> Vec<String> { row.iter().map(|cell| text_of(cell).trim().to_owned()).collect() };
    let width = |text: &str| text.graphemes(true).count();
    let rows: Vec<Vec<String>> = std::iter::once(&table.head).chain(&table.rows).map(|row| cells(row)).collect();
    let mut widths = vec![0; table.head.len()];
    for row in &rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = width(cell).max(*column);
        }
    }
    if widths.iter().sum::<usize>() + 2 * (widths.len() - 1) > COLUMNS_WIDTH_MAX {
        return None;
    }
    let line = |row: &[String]| {
        let padded = row.iter().zip(&widths).map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(|row| line(row)).collect();
    lines.insert(1, widths.iter().map(|wide| "─".repeat(*wide)).collect::<Vec<_>>().join("  "));
    Some(lines.join("\n"))
}
