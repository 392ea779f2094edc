//! Elements to blocks, in one walk over the tree without recursion: nesting of any depth is walked.

use std::collections::HashSet;

use ego_tree::NodeId;
use ego_tree::iter::Edge;
use scraper::node::Element;
use scraper::{ElementRef, Html, Node};

use super::boilerplate::{Fate, Keep, fate, is_hidden, is_remark};
use crate::ingest::document::{Block, BlockKind};

pub(super) struct Extracted {
    pub(super) blocks: Vec<Placed>,
    /// A table of contents was left out.
    pub(super) left_contents: bool,
}

pub(super) struct Placed {
    pub(super) block: Block,
    /// Stands in the page's main part.
    pub(super) in_main: bool,
    /// All of its text is links.
    pub(super) is_link: bool,
}

impl Extracted {
    pub(super) fn words(&self) -> usize {
        self.blocks.iter().map(|placed| placed.block.text.split_whitespace().count()).sum()
    }
}

pub(super) struct Walk<'a> {
    page: &'a Html,
    keep: Keep,
    /// Tables that hold headings, code or other tables: their cells are read as blocks, not as rows.
    layout_tables: HashSet<NodeId>,
    only_article: bool,
    blocks: Vec<Placed>,
    left_contents: bool,
    text: Text,
    /// Kinds of the containers around the current place, innermost last.
    kinds: Vec<BlockKind>,
    /// Level of the heading that is open.
    heading: Option<u8>,
    /// Letters of the current block that are inside of links.
    linked: usize,
    /// Depth inside links, `<pre>`, main parts, remarks.
    links: usize,
    pre: usize,
    main: usize,
    remarks: usize,
    /// The data table that is open and its current row.
    table: Option<NodeId>,
    in_head: bool,
    row: Option<Row>,
    anchor: Anchor,
}

#[derive(Default)]
struct Row {
    cells: Vec<String>,
    headers: usize,
    anchor: Option<String>,
}

#[derive(Default)]
struct Anchor {
    /// Last id or name seen since the last block.
    pending: Option<String>,
    /// Set once text of the current block was read: later names lie inside it.
    fixed: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(page: &'a Html, keep: Keep) -> Self {
        let (layout_tables, articles, mains) = survey(page);
        Walk {
            page,
            keep,
            layout_tables,
            only_article: articles == 1 && mains == 0,
            blocks: Vec::new(),
            left_contents: false,
            text: Text::default(),
            kinds: vec![BlockKind::Paragraph],
            heading: None,
            linked: 0,
            links: 0,
            pre: 0,
            main: 0,
            remarks: 0,
            table: None,
            in_head: false,
            row: None,
            anchor: Anchor::default(),
        }
    }

    pub(super) fn run(mut self) -> Extracted {
        let mut skipped: Option<NodeId> = None;
        for edge in self.page.tree.root().traverse() {
            match edge {
                Edge::Open(node) if skipped.is_none() => match node.value() {
                    Node::Text(text) => self.push_text(text),
                    Node::Element(_) => {
                        let Some(element) = ElementRef::wrap(node) else { continue };
                        match fate(element, self.keep, self.main > 0) {
                            Fate::Keep => self.open(element.value(), node.id()),
                            verdict => {
                                self.left_contents |= verdict == Fate::DropContents;
                                skipped = Some(node.id());
                            }
                        }
                    }
                    _ => {}
                },
                Edge::Close(node) if skipped == Some(node.id()) => skipped = None,
                Edge::Close(node) if skipped.is_none() => {
                    if let Node::Element(element) = node.value() {
                        self.close(element, node.id());
                    }
                }
                _ => {}
            }
        }
        self.flush();
        Extracted { blocks: self.blocks, left_contents: self.left_contents }
    }

    fn is_main(&self, element: &Element) -> bool {
        element.name() == "main"
            || element.attr("role") == Some("main")
            || (self.only_article && element.name() == "article")
    }

    fn push_text(&mut self, text: &str) {
        if self.links > 0 {
            self.linked += letters(text);
        }
        if self.pre > 0 {
            self.text.push_raw(text);
        } else {
            self.text.push_collapsed(text);
        }
        self.anchor.fixed |= !self.text.is_blank();
    }

    fn open(&mut self, element: &Element, id: NodeId) {
        let name = element.name();
        if is_block(name) {
            self.border();
        }
        // A variant of a phrase, kept beside others.
        if is_hidden(element) {
            self.text.push_space();
        }
        self.name(element);
        self.main += usize::from(self.is_main(element));
        self.remarks += usize::from(is_remark(element));
        match name {
            "a" if element.attr("href").is_some() => self.links += 1,
            "br" => self.text.push_break(),
            "hr" => self.border(),
            "pre" | "listing" | "xmp" | "plaintext" => self.pre += 1,
            "li" | "dd" => self.kinds.push(BlockKind::ListItem),
            "dt" => self.kinds.push(BlockKind::Term),
            "blockquote" => self.kinds.push(BlockKind::Quote),
            "table" if self.table.is_none() && !self.layout_tables.contains(&id) => self.table = Some(id),
            "thead" => self.in_head = true,
            "tr" if self.table.is_some() => self.row = Some(Row::default()),
            "td" | "th" => {
                if let Some(row) = &mut self.row {
                    row.headers += usize::from(name == "th");
                    row.anchor = row.anchor.take().or_else(|| self.anchor.pending.clone());
                }
            }
            _ => {
                if let Some(level) = heading_level(name)
                    && self.heading.is_none()
                    && self.row.is_none()
                {
                    self.heading = Some(level);
                }
            }
        }
    }

    fn close(&mut self, element: &Element, id: NodeId) {
        let name = element.name();
        match name {
            "a" if element.attr("href").is_some() => self.links = self.links.saturating_sub(1),
            "pre" | "listing" | "xmp" | "plaintext" => {
                self.border();
                self.pre = self.pre.saturating_sub(1);
            }
            "td" | "th" => match &mut self.row {
                Some(row) => row.cells.push(self.text.take()),
                None => self.flush(),
            },
            "tr" if self.row.is_some() => self.end_row(),
            "thead" => self.in_head = false,
            "table" if self.table == Some(id) => {
                self.flush();
                self.table = None;
                self.row = None;
            }
            _ if heading_level(name).is_some() && self.heading.is_some() => {
                self.flush();
                self.heading = None;
            }
            _ if is_block(name) => self.border(),
            _ => {}
        }
        if matches!(name, "li" | "dd" | "dt" | "blockquote") && self.kinds.len() > 1 {
            self.kinds.pop();
        }
        self.main -= usize::from(self.is_main(element)).min(self.main);
        self.remarks -= usize::from(is_remark(element)).min(self.remarks);
    }

    fn name(&mut self, element: &Element) {
        let named = element.attr("id").or_else(|| element.attr("name").filter(|_| element.name() == "a"));
        if let Some(id) = named.filter(|id| !id.is_empty())
            && (!self.anchor.fixed || self.heading.is_some())
            // An empty `<a name>` inside a heading or paragraph with an id of its own says less than that id.
            && (is_block(element.name()) || self.anchor.pending.is_none())
        {
            self.anchor.pending = Some(id.to_owned());
        }
    }

    /// The border of a block-level element: ends a block, or is a space inside a cell or a heading.
    fn border(&mut self) {
        if self.row.is_some() || self.heading.is_some() {
            self.text.push_space();
        } else {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let raw = self.pre > 0 && self.row.is_none();
        let linked = std::mem::take(&mut self.linked);
        let text = if raw { self.text.take_raw() } else { self.text.take() };
        if !text.chars().any(char::is_alphanumeric) {
            return;
        }
        let kind = match self.heading {
            // The heading of a remark heads no section.
            Some(_) if self.remarks > 0 => BlockKind::Term,
            Some(level) => BlockKind::Heading { level, label: text.replace('\n', " ") },
            None if raw => BlockKind::Code,
            None => self.kinds.last().cloned().unwrap_or(BlockKind::Paragraph),
        };
        let is_link = linked > 0 && linked >= letters(&text);
        self.place(kind, text, None, is_link);
    }

    fn place(&mut self, kind: BlockKind, text: String, anchor: Option<String>, is_link: bool) {
        let anchor = anchor.or(std::mem::take(&mut self.anchor).pending);
        self.blocks.push(Placed { block: Block { kind, text, anchor }, in_main: self.main > 0, is_link });
    }

    fn end_row(&mut self) {
        let Some(mut row) = self.row.take() else { return };
        let stray = self.text.take();
        if !stray.is_empty() {
            row.cells.push(stray);
        }
        let filled = row.cells.iter().filter(|cell| !cell.is_empty()).count();
        while row.cells.last().is_some_and(String::is_empty) {
            row.cells.pop();
        }
        let text = row.cells.join("\t");
        if !text.chars().any(char::is_alphanumeric) {
            return;
        }
        let header = self.in_head || row.headers >= filled;
        // A row with a single cell is a paragraph in a frame.
        let (kind, text) = if filled == 1 {
            (BlockKind::Paragraph, text.trim_start_matches('\t').to_owned())
        } else {
            (BlockKind::TableRow { header }, text)
        };
        self.linked = 0;
        self.place(kind, text, row.anchor, false);
    }
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

/// Tables that are only layout, the number of articles and of main parts.
fn survey(page: &Html) -> (HashSet<NodeId>, usize, usize) {
    let mut layout = HashSet::new();
    let (mut articles, mut mains) = (0, 0);
    let mut open: Vec<NodeId> = Vec::new();
    for edge in page.tree.root().traverse() {
        match edge {
            Edge::Open(node) => {
                let Node::Element(element) = node.value() else { continue };
                let name = element.name();
                articles += usize::from(name == "article");
                mains += usize::from(name == "main" || element.attr("role") == Some("main"));
                let breaks_rows = matches!(name, "table" | "pre" | "dl") || heading_level(name).is_some();
                if breaks_rows && let Some(table) = open.last() {
                    layout.insert(*table);
                }
                if name == "table" {
                    if element.attr("role") == Some("presentation") {
                        layout.insert(node.id());
                    }
                    open.push(node.id());
                }
            }
            Edge::Close(node) => {
                if open.last() == Some(&node.id()) {
                    open.pop();
                }
            }
        }
    }
    (layout, articles, mains)
}

fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(level - b'0'),
        _ => None,
    }
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "dd"
            | "details"
            | "dir"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hgroup"
            | "html"
            | "legend"
            | "li"
            | "listing"
            | "main"
            | "nav"
            | "ol"
            | "p"
            | "plaintext"
            | "pre"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "td"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "ul"
            | "xmp"
    )
}

/// Text of the block that is being read: white space collapsed, `<br>` as line breaks.
#[derive(Default)]
struct Text {
    text: String,
    space: bool,
}

impl Text {
    fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    fn push_collapsed(&mut self, text: &str) {
        for c in text.chars() {
            // Soft hyphens and zero-width spaces are hints for line breaking, not text.
            if c.is_whitespace() {
                self.space = true;
            } else if !matches!(c, '\u{ad}' | '\u{200b}' | '\u{feff}') {
                if std::mem::take(&mut self.space) && !self.text.is_empty() && !self.text.ends_with('\n') {
                    self.text.push(' ');
                }
                self.text.push(c);
            }
        }
    }

    fn push_raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn push_space(&mut self) {
        self.space = true;
    }

    fn push_break(&mut self) {
        self.space = false;
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn take(&mut self) -> String {
        self.space = false;
        std::mem::take(&mut self.text).trim().to_owned()
    }

    /// Code: indentation of the first line and blank lines inside are kept.
    fn take_raw(&mut self) -> String {
        self.space = false;
        let text = std::mem::take(&mut self.text).replace("\r\n", "\n").replace('\t', "    ");
        let lines: Vec<&str> = text.lines().map(str::trim_end).skip_while(|line| line.is_empty()).collect();
        lines.join("\n").trim_end().to_owned()
    }
}
