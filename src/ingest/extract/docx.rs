//! DOCX (Office Open XML) to blocks: the main part's paragraphs and tables, with headings by style or outline level.
//! Runs in the child process: an archive is untrusted, and what it unpacks to is counted while it is read.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::ExtractError;
use super::archive::Archive;
use super::source::Source;
use super::xml::{Token, attribute, date_of, element_text, walk};
use crate::ingest::document::{Block, BlockKind, Document, title_from_path};

pub(super) fn extract(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let mut archive = Archive::open(bytes, source)?;
    let body = archive.required_xml("word/document.xml")?;
    let styles = archive.xml("word/styles.xml")?.unwrap_or_default();
    let core = archive.xml("docProps/core.xml")?.unwrap_or_default();
    let styles = read_styles(&styles, source)?;
    let blocks = Body::new(&styles).read(&body, source)?;
    let title = blocks
        .iter()
        .find_map(|block| block.label().map(str::to_owned))
        .or_else(|| element_text(&core, "title", source))
        .unwrap_or_else(|| title_from_path(source.path));
    Ok(Document::new(title, None, blocks).dated(date_of(&core, source)))
}

/// What a paragraph style means, by its id.
#[derive(Clone, Copy, Default)]
struct Style {
    /// 1 to 6; titles count as 1.
    heading: Option<u8>,
    list: bool,
    quote: bool,
    code: bool,
}

fn read_styles(xml: &str, source: Source<'_>) -> Result<HashMap<String, Style>, ExtractError> {
    let mut styles = HashMap::new();
    let mut parents: HashMap<String, String> = HashMap::new();
    let mut current: Option<(String, Style)> = None;
    walk(xml, source, |token| {
        match token {
            Token::Open(tag) => match (tag.local_name().as_ref(), &mut current) {
                ("style", current) => *current = attribute(tag, "styleId").map(|id| (id, Style::default())),
                ("name", Some((_, style))) => {
                    if let Some(name) = attribute(tag, "val") {
                        *style = style_by_name(&name);
                    }
                }
                ("basedOn", Some((id, _))) => {
                    if let Some(parent) = attribute(tag, "val") {
                        parents.insert(id.clone(), parent);
                    }
                }
                ("outlineLvl", Some((_, style))) => style.heading = style.heading.or_else(|| outline_level(tag)),
                ("numPr", Some((_, style))) => style.list = true,
                _ => {}
            },
            Token::Close("style") => styles.extend(current.take()),
            _ => {}
        }
        Ok(())
    })?;
    // A style says what the style says that it is based on, unless it says otherwise.
    let own = styles.clone();
    for (id, style) in &mut styles {
        let mut at = id;
        for _ in 0..10 {
            let Some(parent) = parents.get(at) else { break };
            let inherited = own.get(parent).copied().unwrap_or_default();
            style.heading = style.heading.or(inherited.heading);
            style.list |= inherited.list;
            style.quote |= inherited.quote;
            style.code |= inherited.code;
            at = parent;
        }
    }
    Ok(styles)
}

/// Word keeps the English name of its own styles in every language; other writers use localized names.
fn style_by_name(name: &str) -> Style {
    let name = name.to_lowercase();
    let level = ["heading", "titolo", "intestazione"]
        .iter()
        .find_map(|word| name.strip_prefix(word))
        .and_then(|rest| rest.trim().parse::<u8>().ok())
        .filter(|level| (1..=9).contains(level));
    Style {
        heading: level.map(|level| level.min(6)).or_else(|| matches!(name.as_str(), "title" | "titolo").then_some(1)),
        list: ["list", "elenco", "punto elenco"].iter().any(|word| name.starts_with(word)),
        quote: name.contains("quote") || name.contains("citazione"),
        code: name.contains("code") || name.contains("codice") || name.contains("preformatted"),
    }
}

fn outline_level(tag: &BytesStart<'_>) -> Option<u8> {
    // 9 is body text.
    attribute(tag, "val")?.parse::<u8>().ok().filter(|level| *level < 9).map(|level| (level + 1).min(6))
}

/// Reads the main part token by token; nesting costs no stack.
struct Body<'s> {
    styles: &'s HashMap<String, Style>,
    blocks: Vec<Block>,
    text: String,
    style: Style,
    anchor: Option<String>,
    /// Depth inside elements whose text is not shown: deleted revisions, alternative renderings, field codes.
    unseen: usize,
    /// Depth inside `<w:t>`.
    visible: usize,
    tables: usize,
    cells: Vec<String>,
    /// Rows read of the outermost table, and whether the current row is marked as a header.
    rows: usize,
    header: bool,
}

impl<'s> Body<'s> {
    fn new(styles: &'s HashMap<String, Style>) -> Self {
        Body {
            styles,
            blocks: Vec::new(),
            text: String::new(),
            style: Style::default(),
            anchor: None,
            unseen: 0,
            visible: 0,
            tables: 0,
            cells: Vec::new(),
            rows: 0,
            header: false,
        }
    }

    fn read(mut self, xml: &str, source: Source<'_>) -> Result<Vec<Block>, ExtractError> {
        walk(xml, source, |token| {
            match token {
                Token::Open(tag) => {
                    self.start(tag);
                    self.property(tag);
                }
                Token::Close(name) => self.end(name),
                Token::Text(text) if self.visible > 0 && self.unseen == 0 => self.text.push_str(text),
                Token::Text(_) => {}
            }
            Ok(())
        })?;
        self.end_paragraph();
        Ok(self.blocks)
    }

    fn start(&mut self, tag: &BytesStart<'_>) {
        match tag.local_name().as_ref() {
            "del" | "moveFrom" | "Fallback" | "delText" | "instrText" => self.unseen += 1,
            "t" => self.visible += 1,
            // A text box stands inside a paragraph and holds paragraphs.
            "p" => self.end_paragraph(),
            "tbl" => {
                self.end_paragraph();
                if self.tables == 0 {
                    self.rows = 0;
                }
                self.tables += 1;
            }
            "tr" if self.tables == 1 => {
                self.cells.clear();
                self.header = false;
            }
            "tc" if self.tables == 1 => self.cells.push(String::new()),
            _ => {}
        }
    }

    fn property(&mut self, tag: &BytesStart<'_>) {
        match tag.local_name().as_ref() {
            "pStyle" => {
                let id = attribute(tag, "val").unwrap_or_default();
                let by_id = || style_by_name(id.trim_end_matches(|c: char| c.is_ascii_digit()).trim());
                self.style = self.styles.get(&id).copied().unwrap_or_else(|| {
                    let spaced = id.find(|c: char| c.is_ascii_digit()).map(|at| format!("{} {}", &id[..at], &id[at..]));
                    spaced.map_or_else(by_id, |name| style_by_name(&name))
                });
            }
            "outlineLvl" => self.style.heading = outline_level(tag).or(self.style.heading),
            "numPr" => self.style.list = true,
            "tblHeader" => self.header = true,
            "tab" if self.visible == 0 => self.text.push(' '),
            "br" | "cr" if self.unseen == 0 => self.text.push('\n'),
            "noBreakHyphen" => self.text.push('-'),
            "bookmarkStart" => {
                self.anchor =
                    self.anchor.take().or_else(|| attribute(tag, "name").filter(|name| !name.starts_with("_GoBack")));
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "del" | "moveFrom" | "Fallback" | "delText" | "instrText" => self.unseen = self.unseen.saturating_sub(1),
            "t" => self.visible = self.visible.saturating_sub(1),
            "p" => self.end_paragraph(),
            "tr" if self.tables == 1 => self.end_row(),
            "tbl" => self.tables = self.tables.saturating_sub(1),
            _ => {}
        }
    }

    fn end_paragraph(&mut self) {
        let raw = std::mem::take(&mut self.text);
        let style = std::mem::take(&mut self.style);
        let lines: Vec<String> = raw
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|l| !l.is_empty())
            .collect();
        if lines.is_empty() {
            return;
        }
        if self.tables > 0 {
            if let Some(cell) = self.cells.last_mut() {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&lines.join(" "));
            }
            return;
        }
        let anchor = self.anchor.take();
        let text = if style.code { raw.trim_end().to_owned() } else { lines.join("\n") };
        let kind = match style {
            Style { heading: Some(level), .. } => BlockKind::Heading { level, label: lines.join(" ") },
            Style { list: true, .. } => BlockKind::ListItem,
            Style { quote: true, .. } => BlockKind::Quote,
            Style { code: true, .. } => BlockKind::Code,
            _ => BlockKind::Paragraph,
        };
        match (&kind, self.blocks.last_mut()) {
            // Each line of a listing is a paragraph of its own.
            (BlockKind::Code, Some(Block { kind: BlockKind::Code, text: code, .. })) => {
                code.push('\n');
                code.push_str(&text);
            }
            _ => self.blocks.push(Block { kind, text, anchor }),
        }
    }

    fn end_row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        self.rows += 1;
        let filled = cells.iter().filter(|cell| !cell.is_empty()).count();
        let text = cells.join("\t").trim_end().to_owned();
        if filled == 0 {
            return;
        }
        // The first row names the columns unless the table is a frame around a single column.
        let kind = match filled {
            1 => BlockKind::Paragraph,
            _ => BlockKind::TableRow { header: self.header || self.rows == 1 },
        };
        self.blocks.push(Block { kind, text: text.trim().to_owned(), anchor: self.anchor.take() });
    }
}
