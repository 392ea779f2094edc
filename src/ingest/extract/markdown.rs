//! Markdown to blocks. Texts are slices of the source, so that a quote stands word for word in the file.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use jiff::civil::Date;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::date;
use crate::domain::Language;
use crate::ingest::document::{Block, BlockKind, Document, language_from_tag, title_from_path};

pub(super) fn extract(source: &str, path: &Path) -> Document {
    let (front, body) = front_matter(source);
    let blocks = Walk::new(body).run();
    let first_heading = blocks.iter().find(|block| matches!(block.kind, BlockKind::Heading { level: 1, .. }));
    let title = front
        .title
        .or_else(|| first_heading.and_then(Block::label).map(str::to_owned))
        .filter(|title| !title.is_empty())
        .unwrap_or_else(|| title_from_path(path));
    Document::new(title, front.language, blocks).dated(front.updated.or(front.date))
}

#[derive(Default)]
struct FrontMatter {
    title: Option<String>,
    language: Option<Language>,
    date: Option<Date>,
    updated: Option<Date>,
}

/// Splits off a YAML (`---`) or TOML (`+++`) block at the top; only its title, language and dates are read.
fn front_matter(source: &str) -> (FrontMatter, &str) {
    let source = source.trim_start_matches('\u{feff}');
    let mut front = FrontMatter::default();
    let Some(fence) =
        ["---", "+++"].into_iter().find(|fence| source.lines().next().is_some_and(|l| l.trim_end() == *fence))
    else {
        return (front, source);
    };
    let mut at = 0;
    for (number, line) in source.split_inclusive('\n').enumerate() {
        at += line.len();
        let bare = line.trim_end();
        if number == 0 {
            continue;
        }
        if bare == fence || (fence == "---" && bare == "...") {
            return (front, &source[at..]);
        }
        let Some((key, value)) = bare.split_once(if fence == "---" { ':' } else { '=' }) else { continue };
        let value = value.trim().trim_matches(['"', '\'']).trim();
        match key.trim() {
            "title" | "titolo" if !value.is_empty() => front.title = Some(value.to_owned()),
            "lang" | "language" | "lingua" => front.language = language_from_tag(value),
            "date" | "data" => front.date = front.date.or(date::iso(value)),
            "updated" | "last_updated" | "last-updated" | "lastmod" | "modified" | "last_modified_at"
            | "aggiornato" => {
                front.updated = front.updated.or(date::iso(value));
            }
            _ => {}
        }
    }
    // Never closed: a horizontal rule, not front matter.
    (FrontMatter::default(), source)
}

struct Walk<'a> {
    source: &'a str,
    blocks: Vec<Block>,
    /// Depth of list items and of quotes around the current place.
    items: usize,
    quotes: usize,
    /// Text of a tight list item, which has no paragraph around it.
    loose: Option<Range<usize>>,
    /// Set inside a block whose slice is taken as a whole; holds the plain text of a heading.
    inside: Option<String>,
    /// How often each heading anchor was used.
    slugs: HashMap<String, usize>,
    /// End of the last slice taken: no slice begins before it.
    taken: usize,
}

impl<'a> Walk<'a> {
    fn new(source: &'a str) -> Self {
        Walk {
            source,
            blocks: Vec::new(),
            items: 0,
            quotes: 0,
            loose: None,
            inside: None,
            slugs: HashMap::new(),
            taken: 0,
        }
    }

    fn run(mut self) -> Vec<Block> {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_HEADING_ATTRIBUTES;
        for (event, range) in Parser::new_ext(self.source, options).into_offset_iter() {
            match event {
                Event::Start(tag) => self.start(&tag, range),
                Event::End(tag) => self.end(tag),
                Event::Html(_) | Event::Rule => {}
                Event::Text(text) | Event::Code(text) => self.inline(range, &text),
                Event::SoftBreak | Event::HardBreak => self.inline(range, " "),
                _ => self.inline(range, ""),
            }
        }
        self.flush_loose();
        self.blocks
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        if self.inside.is_some() {
            return;
        }
        match tag {
            Tag::Paragraph => self.take(self.prose_kind(), range),
            Tag::CodeBlock(_) => self.take(BlockKind::Code, range),
            Tag::HtmlBlock => self.html_block(range),
            Tag::Heading { level, id, .. } => {
                let anchor = id.as_ref().map(|id| id.to_string());
                self.take(BlockKind::Heading { level: *level as u8, label: String::new() }, range);
                if let Some(block) = self.blocks.last_mut() {
                    block.anchor = anchor;
                }
            }
            Tag::TableHead => {
                let delimiter = self.source[range.end..].trim_start_matches(['\r', '\n']);
                let end = self.source.len() - delimiter.len() + delimiter.find('\n').unwrap_or(delimiter.len());
                self.take(BlockKind::TableRow { header: true }, range.start..end);
            }
            Tag::TableRow => self.take(BlockKind::TableRow { header: false }, range),
            Tag::Item => {
                self.flush_loose();
                self.items += 1;
            }
            Tag::BlockQuote(_) => {
                self.flush_loose();
                self.quotes += 1;
            }
            Tag::List(_) | Tag::Table(_) | Tag::FootnoteDefinition(_) => self.flush_loose(),
            // Emphasis and the like at the beginning of a tight item.
            _ => self.inline(range, ""),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                let label = self.inside.take().unwrap_or_default();
                self.name_heading(label.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::TableHead | TagEnd::TableRow | TagEnd::HtmlBlock => {
                self.inside = None;
            }
            TagEnd::Item => {
                self.flush_loose();
                self.items -= 1;
            }
            TagEnd::BlockQuote(_) => {
                self.flush_loose();
                self.quotes -= 1;
            }
            _ => {}
        }
    }

    fn inline(&mut self, range: Range<usize>, text: &str) {
        match &mut self.inside {
            Some(label) => label.push_str(text),
            None => match &mut self.loose {
                Some(open) => open.end = open.end.max(range.end),
                None => self.loose = Some(range),
            },
        }
    }

    fn prose_kind(&self) -> BlockKind {
        match (self.quotes, self.items) {
            (1.., _) => BlockKind::Quote,
            (0, 1..) => BlockKind::ListItem,
            (0, 0) => BlockKind::Paragraph,
        }
    }

    fn flush_loose(&mut self) {
        if let Some(range) = self.loose.take() {
            let kind = self.prose_kind();
            self.push(kind, range);
        }
    }

    /// Takes a block as a whole and waits for its end.
    fn take(&mut self, kind: BlockKind, range: Range<usize>) {
        self.flush_loose();
        self.push(kind, range);
        self.inside = Some(String::new());
    }

    fn html_block(&mut self, range: Range<usize>) {
        self.flush_loose();
        self.inside = Some(String::new());
        let slice = without_comments(&self.source[range.clone()]);
        let text = slice.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        if text.flat_map(str::chars).any(char::is_alphanumeric) {
            let kind = self.prose_kind();
            self.push(kind, range);
        }
    }

    /// Adds the slice from the beginning of its first line: list marker, quote mark and indentation belong to it.
    fn push(&mut self, kind: BlockKind, range: Range<usize>) {
        let line_start = self.source[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let start = line_start.max(self.taken).min(range.start);
        self.taken = self.taken.max(range.end);
        let text = without_comments(self.source[start..range.end].trim_end());
        let text = text.trim_start_matches(['\n', '\r']).trim_end();
        if !text.trim().is_empty() {
            self.blocks.push(Block::new(kind, text));
        }
    }

    fn name_heading(&mut self, text: String) {
        let Some(Block { kind: BlockKind::Heading { label, .. }, anchor, .. }) = self.blocks.last_mut() else { return };
        if anchor.is_none() {
            let slug = slug(&text);
            let used = self.slugs.entry(slug.clone()).or_insert(0);
            *anchor = Some(if *used == 0 { slug } else { format!("{slug}-{used}") }).filter(|slug| !slug.is_empty());
            *used += 1;
        }
        *label = text;
    }
}

fn without_comments(slice: &str) -> String {
    let mut rest = slice;
    let mut text = String::with_capacity(slice.len());
    while let Some(at) = rest.find("<!--") {
        // Inside code a comment is content.
        if rest[..at].matches('`').count() % 2 == 1 || slice.trim_start().starts_with("```") {
            return slice.to_owned();
        }
        text.push_str(&rest[..at]);
        rest = rest[at..].find("-->").map_or("", |end| &rest[at + end + 3..]);
    }
    text.push_str(rest);
    text
}

/// The anchor that GitHub gives a heading: lower case, punctuation dropped, spaces to hyphens.
fn slug(label: &str) -> String {
    label
        .chars()
        .flat_map(char::to_lowercase)
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::extract::outline;

    fn extract_str(source: &str) -> Document {
        extract(source, Path::new("guida-vpn.md"))
    }

    #[test]
    fn a_handbook_page() {
        let source = include_str!("../../../tests/fixtures/documents/guida.md");
        let document = extract_str(source);
        insta::assert_snapshot!(outline(&document));
        for block in &document.blocks {
            assert!(source.contains(&block.text), "not verbatim: {:?}", block.text);
        }
    }

    #[test]
    fn titles() {
        assert_eq!(extract_str("# Uno *due* `tre`\n").title, "Uno due tre");
        assert_eq!(extract_str("Setext\n======\n\ntesto").title, "Setext");
        assert_eq!(extract_str("testo\n\n## Sotto").title, "guida vpn");
        assert_eq!(extract_str("---\ntitle: \"Ferie: guida\"\nlang: it-IT\n---\n# Altro").title, "Ferie: guida");
        assert_eq!(extract_str("+++\ntitle = 'Leave'\nlanguage = \"en\"\n+++\ntext").title, "Leave");
        assert_eq!(extract_str("---\nlang: it\n---\nx").language_hint, Some(Language::Italian));
        let dated = extract_str("---\naggiornato: 2026-02-02\ndata: 2024-01-01\n---\nx");
        assert_eq!(dated.date, Some(jiff::civil::date(2026, 2, 2)));
        assert_eq!(extract_str("+++\ndate = 2024-01-01T10:00:00Z\n+++\nx").date, Some(jiff::civil::date(2024, 1, 1)));
        assert_eq!(extract_str("---\nnot closed").language_hint, None);
    }

    #[test]
    fn anchors_are_those_of_github() {
        let document = extract_str("# Già, l'FAQ (v1.2)!\n## Uso\n## Uso\n## Uso {#qui}\n");
        let anchors: Vec<_> = document.blocks.iter().filter_map(|block| block.anchor.as_deref()).collect();
        assert_eq!(anchors, ["già-lfaq-v12", "uso", "uso-1", "qui"]);
    }

    #[test]
    fn comments_and_definitions_are_dropped() {
        let document =
            extract_str("<!-- nota\ninterna -->\n\nTesto [qui][a]<!-- x -->.\n\n[a]: https://example.com\n\n<br>\n");
        assert_eq!(outline(&document), "[guida vpn]\nP Testo [qui][a].\n");
    }
}
