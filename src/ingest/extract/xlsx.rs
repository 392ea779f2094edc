//! XLSX (Office Open XML) to rows: each visible sheet under its name, cells as they are shown, dates as ISO dates. Runs
//! in the child process.
//!
//! Read here and not by a crate: calamine hands out values without their formats (12 % is 0.12, a price has no €) and
//! unpacks without a limit; what the archive and the XML take is shared with the other Office formats.

mod number;

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::ExtractError;
use super::archive::Archive;
use super::source::Source;
use super::table::Rows;
use super::xml::{Token, attribute, date_of, element_text, prefixed_attribute, relations, walk};
use crate::ingest::document::{Block, BlockKind, Document, title_from_path};
use number::Shape;

const WORKBOOK: &str = "xl/workbook.xml";

pub(super) fn extract(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let mut archive = Archive::open(bytes, source)?;
    let workbook = read_workbook(&archive.required_xml(WORKBOOK)?, source)?;
    let relations = relations(&mut archive, WORKBOOK)?;
    let path_of = |kind: &str, usual: &str| {
        relations.values().find(|relation| relation.kind == kind).map_or(usual.to_owned(), |found| found.path.clone())
    };
    let styles = archive.xml(&path_of("styles", "xl/styles.xml"))?.unwrap_or_default();
    let styles = read_styles(&styles, source)?;
    let strings = archive.xml(&path_of("sharedStrings", "xl/sharedStrings.xml"))?.unwrap_or_default();
    let strings = read_strings(&strings, source)?;
    let mut blocks = Vec::new();
    for sheet in workbook.sheets.iter().filter(|sheet| !sheet.hidden) {
        let Some(relation) = relations.get(&sheet.relation).filter(|relation| relation.kind == "worksheet") else {
            continue;
        };
        let Some(xml) = archive.xml(&relation.path)? else { continue };
        let mut reader = SheetReader {
            strings: &strings,
            styles: &styles,
            from_1904: workbook.from_1904,
            rows: Rows::new(source),
            row: 0,
            column: 0,
            cell: Cell::default(),
            inside: None,
        };
        walk(&xml, source, |token| reader.token(&token))?;
        if !reader.rows.is_empty() {
            let heading = BlockKind::Heading { level: 1, label: sheet.name.clone() };
            blocks.extend((!sheet.name.is_empty()).then(|| Block::new(heading, sheet.name.clone())));
            reader.rows.into_blocks(&mut blocks)?;
        }
    }
    let core = archive.xml("docProps/core.xml")?.unwrap_or_default();
    let title = element_text(&core, "title", source).unwrap_or_else(|| title_from_path(source.path));
    Ok(Document::new(title, None, blocks).dated(date_of(&core, source)))
}

struct Workbook {
    sheets: Vec<Sheet>,
    /// Days are counted from 1904, as old Macs did.
    from_1904: bool,
}

struct Sheet {
    name: String,
    relation: String,
    hidden: bool,
}

fn read_workbook(xml: &str, source: Source<'_>) -> Result<Workbook, ExtractError> {
    let mut workbook = Workbook { sheets: Vec::new(), from_1904: false };
    walk(xml, source, |token| {
        let Token::Open(tag) = token else { return Ok(()) };
        match tag.local_name().as_ref() {
            "workbookPr" => workbook.from_1904 = attribute(tag, "date1904").is_some_and(|v| v == "1" || v == "true"),
            "sheet" => {
                let name = attribute(tag, "name").unwrap_or_default().trim().to_owned();
                let relation = prefixed_attribute(tag, "id");
                let hidden = attribute(tag, "state").is_some_and(|state| state != "visible");
                if let Some(relation) = relation {
                    workbook.sheets.push(Sheet { name, relation, hidden });
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(workbook)
}

/// How the numbers of each cell style are shown.
fn read_styles(xml: &str, source: Source<'_>) -> Result<Vec<Shape>, ExtractError> {
    let mut custom: HashMap<u32, Shape> = HashMap::new();
    let mut shapes = Vec::new();
    let mut in_cell_formats = false;
    walk(xml, source, |token| {
        match token {
            Token::Open(tag) => {
                let id = || attribute(tag, "numFmtId").and_then(|id| id.parse().ok());
                match tag.local_name().as_ref() {
                    "numFmt" => {
                        if let (Some(id), Some(code)) = (id(), attribute(tag, "formatCode")) {
                            custom.insert(id, Shape::of_code(&code));
                        }
                    }
                    "cellXfs" => in_cell_formats = true,
                    "xf" if in_cell_formats => {
                        let id = id().unwrap_or(0);
                        shapes.push(custom.get(&id).cloned().unwrap_or_else(|| Shape::built_in(id)));
                    }
                    _ => {}
                }
            }
            Token::Close("cellXfs") => in_cell_formats = false,
            _ => {}
        }
        Ok(())
    })?;
    Ok(shapes)
}

fn read_strings(xml: &str, source: Source<'_>) -> Result<Vec<String>, ExtractError> {
    let mut strings = Vec::new();
    let mut text = String::new();
    let (mut shown, mut reading_aid) = (false, false);
    walk(xml, source, |token| {
        match token {
            Token::Open(tag) => match tag.local_name().as_ref() {
                "t" => shown = true,
                "rPh" => reading_aid = true,
                _ => {}
            },
            Token::Close("t") => shown = false,
            Token::Close("rPh") => reading_aid = false,
            Token::Close("si") => strings.push(std::mem::take(&mut text)),
            Token::Text(more) if shown && !reading_aid => text.push_str(more),
            _ => {}
        }
        Ok(())
    })?;
    Ok(strings)
}

#[derive(Default)]
struct Cell {
    /// `s`: the number of a shared string; `n` or none: a number; `inlineStr`, `str`, `b`, `e`, `d`.
    kind: String,
    style: usize,
    value: String,
}

struct SheetReader<'a> {
    strings: &'a [String],
    styles: &'a [Shape],
    from_1904: bool,
    rows: Rows<'a>,
    /// Number of the current row, from 1, and of the next cell's column, from 0.
    row: u64,
    column: usize,
    cell: Cell,
    /// The element of a cell whose text is read.
    inside: Option<Inside>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Value,
    ReadingAid,
}

impl SheetReader<'_> {
    fn token(&mut self, token: &Token<'_>) -> Result<(), ExtractError> {
        match token {
            Token::Open(tag) => self.open(tag),
            Token::Close("v" | "t") if self.inside == Some(Inside::Value) => self.inside = None,
            Token::Close("rPh") => self.inside = None,
            Token::Close("c") => self.end_cell()?,
            Token::Close("row") => self.rows.end_row(1)?,
            Token::Text(text) if self.inside == Some(Inside::Value) => self.cell.value.push_str(text),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, tag: &BytesStart<'_>) {
        match tag.local_name().as_ref() {
            "row" => {
                let number = attribute(tag, "r").and_then(|number| number.parse().ok());
                let number: u64 = number.unwrap_or(self.row.saturating_add(1));
                if number > self.row.saturating_add(1) {
                    self.rows.gap();
                }
                self.row = number;
                self.column = 0;
            }
            "c" => {
                if let Some(column) = attribute(tag, "r").and_then(|place| column(&place)) {
                    self.column = column;
                }
                self.cell = Cell {
                    kind: attribute(tag, "t").unwrap_or_default(),
                    style: attribute(tag, "s").and_then(|style| style.parse().ok()).unwrap_or(0),
                    value: String::new(),
                };
            }
            "rPh" => self.inside = Some(Inside::ReadingAid),
            "v" | "t" if self.inside.is_none() => self.inside = Some(Inside::Value),
            _ => {}
        }
    }

    fn end_cell(&mut self) -> Result<(), ExtractError> {
        let cell = std::mem::take(&mut self.cell);
        let column = self.column;
        self.column += 1;
        let value = cell.value.trim();
        match cell.kind.as_str() {
            "s" => {
                let string = value.parse::<usize>().ok().and_then(|at| self.strings.get(at));
                self.rows.cell(column, string.map_or("", String::as_str), true)
            }
            "inlineStr" | "str" => self.rows.cell(column, value, true),
            "b" => self.rows.cell(column, if value == "1" { "TRUE" } else { "FALSE" }, false),
            "e" => self.rows.cell(column, value, false),
            // An ISO date already; midnight is not a time that anybody wrote.
            "d" => self.rows.cell(column, &value.trim_end_matches("T00:00:00").replace('T', " "), false),
            _ => {
                let shape = self.styles.get(cell.style).unwrap_or(&Shape::General);
                let shown = value.parse::<f64>().map_or(value.to_owned(), |number| shape.show(number, self.from_1904));
                self.rows.cell(column, &shown, false)
            }
        }
    }
}

/// The column of a place such as `AB12`, from 0.
fn column(place: &str) -> Option<usize> {
    let letters = place.bytes().take_while(u8::is_ascii_alphabetic).take(4);
    let number = letters.fold(0, |number, letter| number * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1);
    number.checked_sub(1)
}

#[cfg(test)]
mod tests;
