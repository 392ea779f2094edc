//! CommonMark as a small tree: what the renderers need to know and nothing else. Links are words here already, HTML is
//! text, and nesting has an end, so that whoever walks the tree may recurse.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use super::source::{OPTIONS, is_citation, is_line_break, legible, parsable};

/// Containers inside each other that are kept; what is deeper stands at this depth.
const DEPTH_MAX: usize = 16;
/// The largest number CommonMark takes for a list item.
const NUMBER_MAX: u64 = 999_999_999;
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub bold: bool,
    pub italic: bool,
    pub strike: bool,
    /// Excludes the others.
    pub code: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Inline {
    Text(String, Style),
    Break,
}

pub(super) type Words = Vec<Inline>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block {
    Paragraph(Words),
    Heading(usize, Words),
    Code { language: String, text: String },
    Table(Table),
    Rule,
    Quote(Vec<Block>),
    List(List),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub head: Vec<Words>,
    pub rows: Vec<Vec<Words>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct List {
    /// Number of the first item; `None`: bullets.
    pub start: Option<u64>,
    /// `-`, `+`, `*`, `.` or `)`: two lists that follow each other differ in it.
    pub marker: char,
    pub items: Vec<Vec<Block>>,
}

impl List {
    pub(super) fn number(&self, item: usize) -> Option<u64> {
        self.start.map(|start| start.saturating_add(item as u64).min(NUMBER_MAX))
    }
}

impl Block {
    /// Whether there is anything to be seen of it.
    pub(super) fn shows(&self) -> bool {
        match self {
            Block::Code { text, .. } => !text.trim().is_empty(),
            Block::Quote(blocks) => blocks.iter().any(Block::shows),
            Block::List(_) | Block::Paragraph(_) | Block::Heading(..) | Block::Table(_) | Block::Rule => true,
        }
    }
}

pub(super) struct Document {
    source: String,
    /// The outermost blocks that show something, each with the lines of the source that it was made of, and before those the
    /// ones that show nothing but keep it apart from the block before.
    pub blocks: Vec<(Block, Range<usize>)>,
    /// Holds links or pictures without words: nothing of them is to be seen.
    pub hides: bool,
}

impl Document {
    pub(super) fn parse(markdown: &str) -> Self {
        let source = parsable(markdown);
        let mut builder = Builder::new(&source);
        for (event, range) in Parser::new_ext(&source, OPTIONS).into_offset_iter() {
            builder.take(event, range);
        }
        builder.flush_words();
        let (mut blocks, hides) = (builder.top, builder.hides);
        blocks.retain(|(block, _)| block.shows());
        for at in 1..blocks.len() {
            let (end, range) = (blocks[at - 1].1.end, &mut blocks[at].1);
            let between = source.get(end..range.start).unwrap_or_default();
            if let Some(unseen) = between.find(|c: char| !c.is_whitespace()) {
                range.start = source[..end + unseen].rfind('\n').map_or(end, |line| (line + 1).max(end));
            }
        }
        Document { source, blocks, hides }
    }

    /// The source of an outermost block.
    pub(super) fn slice(&self, top: usize) -> String {
        legible(self.source[self.blocks[top].1.clone()].trim_end())
    }

    pub(super) fn is_list(&self, top: usize) -> bool {
        matches!(self.blocks[top].0, Block::List(_))
    }

    pub(super) fn is_blank(&self) -> bool {
        self.source.trim().is_empty()
    }

    /// Whether no blank line stands between this block and the one before.
    pub(super) fn is_tight(&self, top: usize) -> bool {
        let (Some(before), start) = (top.checked_sub(1), self.blocks[top].1.start) else { return false };
        let block = &self.source[self.blocks[before].1.start..start];
        block[block.trim_end().len()..].matches('\n').count() == 1
    }

    pub(super) fn trees(&self) -> Vec<Block> {
        self.blocks.iter().map(|(block, _)| block.clone()).collect()
    }
}

pub(super) fn text_of(words: &[Inline]) -> String {
    words
        .iter()
        .map(|inline| match inline {
            Inline::Text(text, _) => text.as_str(),
            Inline::Break => " ",
        })
        .collect()
}

/// Adds text, joining what has the same style.
pub(super) fn push_text(words: &mut Words, text: &str, style: Style) {
    match words.last_mut() {
        Some(Inline::Text(last, same)) if *same == style => last.push_str(text),
        _ if text.is_empty() => {}
        _ => words.push(Inline::Text(text.to_owned(), style)),
    }
}

enum Frame {
    Quote(Vec<Block>),
    List(List),
    Item(Vec<Block>),
}

struct Builder<'a> {
    source: &'a str,
    top: Vec<(Block, Range<usize>)>,
    frames: Vec<Frame>,
    /// Open containers that are too deep to be kept.
    too_deep: usize,
    /// Open tags of every kind, and where the outermost of them stands.
    open: usize,
    outermost: Range<usize>,
    words: Words,
    bold: usize,
    italic: usize,
    strike: usize,
    /// For each open link or picture the words before it.
    links: Vec<Words>,
    code: Option<(String, String)>,
    table: Option<Table>,
    hides: bool,
}

impl<'a> Builder<'a> {
    fn new(source: &'a str) -> Self {
        Builder {
            source,
            top: Vec::new(),
            frames: Vec::new(),
            too_deep: 0,
            open: 0,
            outermost: 0..0,
            words: Vec::new(),
            bold: 0,
            italic: 0,
            strike: 0,
            links: Vec::new(),
            code: None,
            table: None,
            hides: false,
        }
    }

    fn take(&mut self, event: Event<'_>, range: Range<usize>) {
        if self.open == 0 {
            self.outermost = self.whole_lines(&range);
        }
        match event {
            Event::Start(tag) => {
                self.open += 1;
                self.start(tag, range.start);
            }
            Event::End(tag) => {
                self.end(tag);
                self.open -= 1;
            }
            Event::Text(text) => match &mut self.code {
                Some((_, code)) => code.push_str(&legible(&text)),
                None => self.text(&legible(&text), false),
            },
            Event::Code(text) => self.text(&legible(&text), true),
            Event::Html(html) | Event::InlineHtml(html) => self.html(&legible(&html)),
            Event::SoftBreak | Event::HardBreak => self.words.push(Inline::Break),
            Event::Rule => {
                self.flush_words();
                self.push(Block::Rule);
            }
            // Of extensions that are not enabled.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.text(&text, false);
            }
            Event::TaskListMarker(_) => {}
        }
    }

    /// The range of an outermost block, with the indentation of its first line.
    fn whole_lines(&self, range: &Range<usize>) -> Range<usize> {
        let line = self.source[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let indented = self.source[line..range.start].trim().is_empty();
        (if indented { line } else { range.start })..range.end
    }

    fn start(&mut self, tag: Tag<'_>, at: usize) {
        match tag {
            Tag::Strong => self.bold += 1,
            Tag::Emphasis => self.italic += 1,
            Tag::Strikethrough => self.strike += 1,
            Tag::Link { .. } | Tag::Image { .. } => self.links.push(std::mem::take(&mut self.words)),
            Tag::TableHead | Tag::TableRow | Tag::TableCell => self.start_table_part(&tag),
            block => {
                self.flush_words();
                self.start_block(block, at);
            }
        }
    }

    fn start_block(&mut self, tag: Tag<'_>, at: usize) {
        let full = self.too_deep > 0 || self.frames.len() + 2 > DEPTH_MAX;
        match tag {
            Tag::BlockQuote(_) | Tag::List(_) | Tag::Item if self.too_deep > 0 => self.too_deep += 1,
            Tag::BlockQuote(_) | Tag::List(_) if full => self.too_deep += 1,
            Tag::BlockQuote(_) => self.frames.push(Frame::Quote(Vec::new())),
            Tag::List(start) => {
                let marker = marker(&self.source[at..], start.is_some());
                let start = start.map(|start| start.min(NUMBER_MAX));
                self.frames.push(Frame::List(List { start, marker, items: Vec::new() }));
            }
            Tag::Item => self.frames.push(Frame::Item(Vec::new())),
            Tag::CodeBlock(CodeBlockKind::Fenced(info)) => self.code = Some((language(&info), String::new())),
            Tag::CodeBlock(CodeBlockKind::Indented) => self.code = Some(Default::default()),
            Tag::Table(_) => self.table = Some(Table::default()),
            _ => {}
        }
    }

    fn start_table_part(&mut self, tag: &Tag<'_>) {
        self.words.clear();
        if let (Some(table), Tag::TableRow) = (&mut self.table, tag) {
            table.rows.push(Vec::new());
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong => self.bold = self.bold.saturating_sub(1),
            TagEnd::Emphasis => self.italic = self.italic.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => self.end_link(tag == TagEnd::Link),
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.words);
                if let Some(table) = &mut self.table {
                    table.rows.last_mut().unwrap_or(&mut table.head).push(cell);
                }
            }
            TagEnd::TableHead | TagEnd::TableRow => {}
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.push(Block::Table(table));
                }
            }
            TagEnd::Heading(level) => {
                let words = std::mem::take(&mut self.words);
                self.push(Block::Heading(level as usize, words));
            }
            TagEnd::CodeBlock => {
                if let Some((language, text)) = self.code.take() {
                    self.push(Block::Code { language, text });
                }
            }
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item => {
                self.flush_words();
                self.end_container();
            }
            _ => self.flush_words(),
        }
    }

    fn end_container(&mut self) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        match self.frames.pop() {
            Some(Frame::Quote(blocks)) => self.push(Block::Quote(blocks)),
            Some(Frame::List(list)) => self.push(Block::List(list)),
            Some(Frame::Item(blocks)) => {
                if let Some(Frame::List(list)) = self.frames.last_mut() {
                    list.items.push(blocks);
                }
            }
            None => {}
        }
    }

    /// A link's words take their place among the others. A citation mark that was written as a link stays a mark.
    fn end_link(&mut self, link: bool) {
        let Some(before) = self.links.pop() else { return };
        let inside = std::mem::replace(&mut self.words, before);
        let text = text_of(&inside);
        if text.trim().is_empty() {
            self.hides = true;
        } else if link && is_citation(&text) {
            self.text(&format!("[{text}]"), false);
            return;
        }
        for inline in inside {
            match inline {
                Inline::Text(text, style) => push_text(&mut self.words, &text, style),
                Inline::Break => self.words.push(Inline::Break),
            }
        }
    }

    fn text(&mut self, text: &str, code: bool) {
        let style = if code {
            Style { code, ..Style::default() }
        } else {
            Style { bold: self.bold > 0, italic: self.italic > 0, strike: self.strike > 0, code }
        };
        push_text(&mut self.words, text, style);
    }

    fn html(&mut self, html: &str) {
        if is_line_break(html) {
            self.words.push(Inline::Break);
            return;
        }
        for (at, line) in html.split('\n').enumerate() {
            if at > 0 {
                self.words.push(Inline::Break);
            }
            self.text(line, false);
        }
    }

    /// Ends the paragraph, also one that the parser gave no tags (in tight lists).
    fn flush_words(&mut self) {
        let mut words = std::mem::take(&mut self.words);
        while words.last() == Some(&Inline::Break) {
            words.pop();
        }
        if !words.is_empty() {
            self.push(Block::Paragraph(words));
        }
    }

    fn push(&mut self, block: Block) {
        match self.frames.last_mut() {
            Some(Frame::Quote(blocks) | Frame::Item(blocks)) => blocks.push(block),
            Some(Frame::List(list)) => list.items.push(vec![block]),
            None => self.top.push((block, self.outermost.clone())),
        }
    }
}

fn marker(source: &str, numbered: bool) -> char {
    let (known, other) = if numbered { (".)", '.') } else { ("-+*", '-') };
    source
        .trim_start()
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .chars()
        .next()
        .filter(|c| known.contains(*c))
        .unwrap_or(other)
}

/// The first word of what stands behind a fence, if it looks like the name of a language.
fn language(info: &str) -> String {
    let word = info.split_whitespace().next().unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || "+#_-.".contains(c);
    if word.len() <= 32 && word.chars().all(fine) { word.to_owned() } else { String::new() }
}
