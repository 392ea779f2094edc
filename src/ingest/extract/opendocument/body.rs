//! The content of an OpenDocument file, token by token: paragraphs, headings, lists, tables, sheets, slides.

use quick_xml::events::BytesStart;

use super::Styles;
use crate::ingest::document::{Block, BlockKind};
use crate::ingest::extract::ExtractError;
use crate::ingest::extract::source::Source;
use crate::ingest::extract::table::Rows;
use crate::ingest::extract::xml::{Token, attribute, collapse, walk};

/// Spaces that are written as a number.
const SPACES_MAX: usize = 100;
/// Columns of a table in running text.
const COLUMNS_MAX: usize = 1_000;

/// What was read.
pub(super) struct Read {
    pub(super) blocks: Vec<Block>,
    pub(super) is_spreadsheet: bool,
}

pub(super) struct Body<'a> {
    source: Source<'a>,
    styles: Styles,
    blocks: Vec<Block>,
    is_spreadsheet: bool,
    /// Depth of the current element, and of the element around it that is not shown.
    depth: usize,
    unseen: Option<usize>,
    /// Paragraphs that are open: a text box stands inside of one and holds others.
    open: Vec<Paragraph>,
    lists: usize,
    /// Depth inside footnotes, and those that wait for the end of their paragraph.
    notes: usize,
    footnotes: Vec<Block>,
    table: Table,
    sheet: Option<Sheet<'a>>,
    slide: Slide,
}

struct Paragraph {
    kind: BlockKind,
    text: String,
    anchor: Option<String>,
}

#[derive(Default)]
struct Table {
    depth: usize,
    rows: usize,
    /// Inside of rows that are marked as headers.
    in_header: bool,
    cells: Vec<String>,
    /// How often the current cell is there.
    times: usize,
}

struct Sheet<'a> {
    name: String,
    rows: Rows<'a>,
    row_times: usize,
    column: usize,
    cell: Option<Cell>,
}

struct Cell {
    text: String,
    /// Instead of the text, which is written in one of many ways.
    date: Option<String>,
    is_word: bool,
    times: usize,
}

#[derive(Default)]
struct Slide {
    number: usize,
    title: Vec<String>,
    in_title: bool,
    /// Index of its first block.
    start: usize,
}

impl<'a> Body<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Body {
            source,
            styles: Styles::default(),
            blocks: Vec::new(),
            is_spreadsheet: false,
            depth: 0,
            unseen: None,
            open: Vec::new(),
            lists: 0,
            notes: 0,
            footnotes: Vec::new(),
            table: Table::default(),
            sheet: None,
            slide: Slide::default(),
        }
    }

    pub(super) fn read(mut self, xml: &str) -> Result<Read, ExtractError> {
        let source = self.source;
        walk(xml, source, |token| {
            match token {
                Token::Open(tag) => {
                    self.depth += 1;
                    if self.unseen.is_none() {
                        if self.is_unseen(tag) {
                            self.unseen = Some(self.depth);
                        } else {
                            self.open(tag);
                        }
                    }
                }
                Token::Close(name) => {
                    if self.unseen.is_none() {
                        self.close(name)?;
                    } else if self.unseen == Some(self.depth) {
                        self.unseen = None;
                    }
                    self.depth = self.depth.saturating_sub(1);
                }
                Token::Text(text) => {
                    if let Some(paragraph) = self.open.last_mut().filter(|_| self.unseen.is_none()) {
                        paragraph.text.extend(text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }));
                    }
                }
            }
            Ok(())
        })?;
        Ok(Read { blocks: self.blocks, is_spreadsheet: self.is_spreadsheet })
    }

    /// Remarks, deleted text, tables of contents, descriptions of pictures, what stands on every slide, what is hidden.
    fn is_unseen(&self, tag: &BytesStart<'_>) -> bool {
        match tag.local_name().as_ref() {
            "annotation" | "tracked-changes" | "note-citation" | "ruby-text" | "forms" | "desc"
            | "table-of-content" | "alphabetical-index" | "illustration-index" | "table-index" | "object-index"
            | "user-index" | "shapes" | "hidden-paragraph" => true,
            "title" => tag.name().as_ref() == "svg:title",
            "frame" | "custom-shape" => attribute(tag, "class")
                .is_some_and(|class| matches!(class.as_str(), "page-number" | "date-time" | "header" | "footer")),
            "page" => self.styles.is_hidden(tag),
            "table" => self.is_spreadsheet && self.table.depth == 0 && self.styles.is_hidden(tag),
            _ => false,
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>) {
        match tag.local_name().as_ref() {
            "style" | "table-properties" | "drawing-page-properties" => self.styles.read(tag),
            "spreadsheet" => self.is_spreadsheet = true,
            "p" => {
                let kind = if self.lists > 0 { BlockKind::ListItem } else { self.styles.kind(tag) };
                self.open.push(Paragraph { kind, text: String::new(), anchor: None });
            }
            "h" => {
                let level = attribute(tag, "outline-level").and_then(|level| level.parse::<u8>().ok()).unwrap_or(1);
                let kind = BlockKind::Heading { level: level.clamp(1, 6), label: String::new() };
                self.open.push(Paragraph { kind, text: String::new(), anchor: None });
            }
            "s" => self.push_spaces(number(tag, "c").min(SPACES_MAX)),
            "tab" => self.push_spaces(4),
            "line-break" => {
                if let Some(paragraph) = self.open.last_mut() {
                    paragraph.text.push('\n');
                }
            }
            "bookmark" | "bookmark-start" => {
                if let Some(paragraph) = self.open.last_mut() {
                    paragraph.anchor = paragraph.anchor.take().or_else(|| attribute(tag, "name"));
                }
            }
            "list" => self.lists += 1,
            "note" => self.notes += 1,
            "page" => {
                self.slide = Slide { number: self.slide.number + 1, start: self.blocks.len(), ..Slide::default() };
            }
            "frame" | "custom-shape" => {
                self.slide.in_title = attribute(tag, "class").is_some_and(|class| class == "title");
            }
            "table" | "table-header-rows" | "table-row" | "table-cell" | "covered-table-cell" => self.open_table(tag),
            _ => {}
        }
    }

    fn push_spaces(&mut self, count: usize) {
        if let Some(paragraph) = self.open.last_mut() {
            paragraph.text.extend(std::iter::repeat_n(' ', count));
        }
    }

    fn open_table(&mut self, tag: &BytesStart<'_>) {
        let name = tag.local_name();
        let name = name.as_ref();
        if name == "table" {
            self.table.depth += 1;
        }
        // What stands in a table inside of a cell is text of that cell.
        if self.table.depth != 1 {
            return;
        }
        if name == "table" && self.is_spreadsheet {
            let rows = Rows::new(self.source);
            let name = attribute(tag, "name").unwrap_or_default();
            self.sheet = Some(Sheet { name, rows, row_times: 1, column: 0, cell: None });
        }
        match (name, &mut self.sheet) {
            ("table", None) => self.table = Table { depth: 1, ..Table::default() },
            ("table-header-rows", _) => self.table.in_header = true,
            ("table-row", Some(sheet)) => {
                sheet.row_times = number(tag, "number-rows-repeated");
                sheet.column = 0;
            }
            ("table-row", None) => self.table.cells.clear(),
            ("table-cell" | "covered-table-cell", Some(sheet)) => {
                let kind = attribute(tag, "value-type").unwrap_or_default();
                let date = attribute(tag, "date-value").filter(|_| kind == "date");
                sheet.cell = Some(Cell {
                    text: String::new(),
                    date: date.map(|date| date.trim_end_matches("T00:00:00").replace('T', " ")),
                    is_word: kind == "string" || kind.is_empty(),
                    times: number(tag, "number-columns-repeated"),
                });
            }
            ("table-cell" | "covered-table-cell", None) => {
                self.table.times = number(tag, "number-columns-repeated");
                self.table.cells.push(String::new());
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &str) -> Result<(), ExtractError> {
        match name {
            "p" | "h" => self.end_paragraph(),
            "list" => self.lists = self.lists.saturating_sub(1),
            "note" => self.notes = self.notes.saturating_sub(1),
            "frame" | "custom-shape" => self.slide.in_title = false,
            "page" => self.end_slide(),
            "table" => {
                self.table.depth = self.table.depth.saturating_sub(1);
                if self.table.depth == 0 {
                    self.end_sheet()?;
                }
            }
            "table-header-rows" if self.table.depth == 1 => self.table.in_header = false,
            "table-cell" | "covered-table-cell" if self.table.depth == 1 => self.end_cell()?,
            "table-row" if self.table.depth == 1 => self.end_row()?,
            _ => {}
        }
        Ok(())
    }

    fn end_paragraph(&mut self) {
        let Some(Paragraph { mut kind, text: raw, anchor }) = self.open.pop() else { return };
        let lines: Vec<String> = raw.lines().map(collapse).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return;
        }
        if self.is_spreadsheet || self.table.depth > 0 {
            let cell = match &mut self.sheet {
                Some(sheet) => sheet.cell.as_mut().map(|cell| &mut cell.text),
                None => self.table.cells.last_mut(),
            };
            if let Some(cell) = cell {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&lines.join(" "));
            }
            return;
        }
        if self.slide.in_title {
            self.slide.title.extend(lines);
            return;
        }
        if let BlockKind::Heading { label, .. } = &mut kind {
            *label = lines.join(" ");
        }
        let text = if kind == BlockKind::Code { raw.trim_end().to_owned() } else { lines.join("\n") };
        match (&kind, self.blocks.last_mut()) {
            _ if self.notes > 0 => self.footnotes.push(Block::new(BlockKind::Paragraph, text)),
            // Each line of a listing is a paragraph of its own.
            (BlockKind::Code, Some(Block { kind: BlockKind::Code, text: code, .. })) => {
                code.push('\n');
                code.push_str(&text);
            }
            _ => self.blocks.push(Block { kind, text, anchor }),
        }
        if self.open.is_empty() {
            self.blocks.append(&mut self.footnotes);
        }
    }

    fn end_cell(&mut self) -> Result<(), ExtractError> {
        let Some(sheet) = &mut self.sheet else {
            // The last cell of a row is often repeated to the edge of the page.
            let times = self.table.times.min(COLUMNS_MAX.saturating_sub(self.table.cells.len()));
            let cell = self.table.cells.last().cloned().unwrap_or_default();
            self.source.budget.write(cell.len() * times)?;
            self.table.cells.extend(std::iter::repeat_n(cell, times.saturating_sub(1)));
            return Ok(());
        };
        let Some(cell) = sheet.cell.take() else { return Ok(()) };
        let text = cell.date.unwrap_or(cell.text);
        if !text.trim().is_empty() {
            for column in sheet.column..sheet.column.saturating_add(cell.times).min(Rows::COLUMNS_MAX) {
                sheet.rows.cell(column, &text, cell.is_word)?;
            }
        }
        sheet.column = sheet.column.saturating_add(cell.times);
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), ExtractError> {
        if let Some(sheet) = &mut self.sheet {
            return sheet.rows.end_row(sheet.row_times);
        }
        let cells = std::mem::take(&mut self.table.cells);
        let filled = cells.iter().filter(|cell| !cell.is_empty()).count();
        self.table.rows += 1;
        if filled > 0 {
            // The first row names the columns unless the table is a frame around a single column.
            let header = self.table.in_header || self.table.rows == 1;
            let kind = if filled == 1 { BlockKind::Paragraph } else { BlockKind::TableRow { header } };
            self.blocks.push(Block::new(kind, cells.join("\t").trim().to_owned()));
        }
        Ok(())
    }

    fn end_sheet(&mut self) -> Result<(), ExtractError> {
        let Some(sheet) = self.sheet.take().filter(|sheet| !sheet.rows.is_empty()) else { return Ok(()) };
        let label = collapse(&sheet.name);
        if !label.is_empty() {
            self.blocks.push(Block::new(BlockKind::Heading { level: 1, label: label.clone() }, label));
        }
        sheet.rows.into_blocks(&mut self.blocks)
    }

    fn end_slide(&mut self) {
        let slide = std::mem::take(&mut self.slide);
        self.slide.number = slide.number;
        let start = slide.start.min(self.blocks.len());
        if slide.title.is_empty() && start == self.blocks.len() {
            return;
        }
        let label = if slide.title.is_empty() { format!("Slide {}", slide.number) } else { slide.title.join(" ") };
        self.blocks.insert(start, Block::new(BlockKind::Heading { level: 1, label: label.clone() }, label));
    }
}

/// How often something is there; once if nothing is said.
fn number(tag: &BytesStart<'_>, name: &str) -> usize {
    attribute(tag, name).and_then(|number| number.parse().ok()).unwrap_or(1)
}
