//! Text for Slack. Slack reads `<…>` as calls, channels and links, and may read `@here` in plain words; neither leaves
//! this file.

use std::ops::Range;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::layout::Line;
use super::source::{NO_DEFINITION, OPTIONS, is_citation, is_line_break, parsable};
use super::tree::{Inline, Style};

/// Cannot be seen, and keeps two characters from being read as one sign.
const JOINER: char = '\u{2060}';
/// Cannot be seen, and ends a word: Slack marks up whole words only.
const WORD_END: char = '\u{200B}';
const CALLS: [&str; 4] = ["channel", "here", "everyone", "group"];

/// Any text as Slack shows it letter for letter.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        push_escaped(&mut escaped, c);
    }
    without_calls(&escaped)
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => out.push(c),
    }
}

/// `@channel` and its like with a joiner behind the `@`.
pub(super) fn without_calls(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, behind) = rest.split_at(at + 1);
        safe.push_str(before);
        let calls = |name: &&str| behind.get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name));
        if CALLS.iter().any(calls) {
            safe.push(JOINER);
        }
        rest = behind;
    }
    safe + rest
}

/// Lines in Slack's own markup, escaped but for calls in plain words.
pub(super) fn written(lines: &[Line]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| match line {
            Line::Words { words, quoted } => {
                let text = words_in_mrkdwn(words);
                if *quoted { format!("> {}", text.trim()).trim_end().to_owned() } else { text.trim_end().to_owned() }
            }
            Line::Code { text, .. } => {
                let mut code = String::new();
                text.replace("```", &format!("``{JOINER}`")).chars().for_each(|c| push_escaped(&mut code, c));
                format!("```\n{code}\n```")
            }
        })
        .collect();
    lines.join("\n")
}

fn words_in_mrkdwn(words: &[Inline]) -> String {
    let mut out = String::new();
    let mut was_marked = false;
    for inline in words {
        let Inline::Text(text, style) = inline else { continue };
        let inner = text.trim();
        let marks = if inner.is_empty() { String::new() } else { marks(*style, inner) };
        let lead = &text[..text.len() - text.trim_start().len()];
        let tail = if inner.is_empty() { "" } else { &text[text.trim_end().len()..] };
        out.push_str(lead);
        let marked = !marks.is_empty();
        if (marked || was_marked) && touches(out.chars().next_back(), inner) {
            out.push(WORD_END);
        }
        out.push_str(&marks);
        inner.chars().for_each(|c| push_escaped(&mut out, c));
        out.extend(marks.chars().rev());
        out.push_str(tail);
        was_marked = marked && tail.is_empty();
    }
    out
}

fn touches(before: Option<char>, text: &str) -> bool {
    before.is_some_and(|c| !c.is_whitespace()) && text.chars().next().is_some_and(|c| !".,;:!?".contains(c))
}

fn marks(style: Style, text: &str) -> String {
    let all = [(style.bold, '*'), (style.italic, '_'), (style.strike, '~'), (style.code, '`')];
    all.into_iter().filter(|(on, mark)| *on && !text.contains(*mark)).map(|(_, mark)| mark).collect()
}

/// The same Markdown, for Slack's `markdown` block and `markdown_text`. The source is kept as it is wherever that is
/// safe, so that a text that grows at its end also does so here.
pub fn slack_markdown(markdown: &str) -> String {
    let source = parsable(markdown);
    let mut rewriter = Rewriter::new(&source);
    for (event, range) in Parser::new_ext(&source, OPTIONS).into_offset_iter() {
        rewriter.take(&event, &range);
    }
    rewriter.gap(source.len());
    without_calls(&rewriter.out)
}

/// Copies the source. What lies between the texts is markup ("gap") and copied too, but for that of links.
struct Rewriter<'a> {
    source: &'a str,
    /// Bytes of the source that are done.
    at: usize,
    out: String,
    /// The gap that follows belongs to a link.
    skip: bool,
    /// Where in `out` the words of the open links begin.
    links: Vec<usize>,
    /// In a block of code.
    code: bool,
    /// Only signs of blocks stand on the last line of `out`, as far as its bytes have been looked at.
    markers: bool,
    seen: usize,
}

impl<'a> Rewriter<'a> {
    fn new(source: &'a str) -> Self {
        Rewriter {
            source,
            at: 0,
            out: String::with_capacity(source.len() + 16),
            skip: false,
            links: Vec::new(),
            code: false,
            markers: true,
            seen: 0,
        }
    }

    fn take(&mut self, event: &Event<'_>, range: &Range<usize>) {
        match event {
            Event::Start(tag) => {
                self.gap(range.start);
                self.code |= matches!(tag, Tag::CodeBlock(_));
                if matches!(tag, Tag::Link { .. } | Tag::Image { .. }) {
                    self.links.push(self.out.len());
                    self.skip = true;
                }
            }
            Event::End(TagEnd::Link) => self.end_link(range.end, true),
            Event::End(TagEnd::Image) => self.end_link(range.end, false),
            Event::End(tag) => {
                self.gap(range.end);
                self.code &= *tag != TagEnd::CodeBlock;
            }
            Event::Text(text) if self.code => self.leaf(range, |rewriter, _| rewriter.push(text, true)),
            Event::Text(text) => self.leaf(range, |rewriter, source| {
                // What is markup when it is not written as an entity.
                let entity = source != &**text;
                let text = if entity { text.replace(char::is_control, " ") } else { text.to_string() };
                if entity && text.starts_with(|c: char| c.is_ascii_punctuation() && !"&<>".contains(c)) {
                    rewriter.out.push('\\');
                }
                rewriter.push(&text, false);
            }),
            Event::Code(_) => self.leaf(range, |rewriter, source| rewriter.push(source, true)),
            Event::InlineHtml(html) if is_line_break(html) => self.leaf(range, |rewriter, _| rewriter.out.push(' ')),
            Event::Html(_) | Event::InlineHtml(_) => self.leaf(range, |rewriter, source| rewriter.push(source, false)),
            _ => self.gap(range.end),
        }
    }

    fn leaf(&mut self, range: &Range<usize>, write: impl FnOnce(&mut Self, &str)) {
        self.gap(range.start);
        if range.end <= self.at {
            return;
        }
        let source = self.source;
        let text = &source[self.at..range.end];
        // A backslash would be shown in front of the entity that takes this character's place.
        if text.starts_with(['&', '<', '>']) && self.escaped() {
            self.out.pop();
        }
        write(self, text);
        self.at = range.end;
    }

    /// Whether the last character of the source before this place is a backslash that is markup.
    fn escaped(&self) -> bool {
        let before = &self.source[..self.at];
        (before.len() - before.trim_end_matches('\\').len()) % 2 == 1 && self.out.ends_with('\\')
    }

    fn gap(&mut self, to: usize) {
        if to <= self.at {
            // An empty gap.
            self.skip = false;
            return;
        }
        let gap = &self.source[self.at..to];
        self.at = to;
        if std::mem::take(&mut self.skip) {
            return;
        }
        for (at, c) in gap.char_indices() {
            if c == '>' && self.only_markers_before() {
                self.out.push('>');
            } else {
                self.push_char(c, &gap[at + c.len_utf8()..], true);
            }
        }
    }

    /// Whether a `>` here would be the sign of a quote: only signs of blocks stand before it on its line.
    fn only_markers_before(&mut self) -> bool {
        let seen = self.seen.min(self.out.len());
        for c in self.out.get(seen..).unwrap_or_default().chars() {
            self.markers = c == '\n' || (self.markers && is_marker(c));
        }
        self.seen = self.out.len();
        self.markers
    }

    fn end_link(&mut self, end: usize, link: bool) {
        self.skip = false;
        self.at = self.at.max(end);
        let Some(start) = self.links.pop() else { return };
        if link && is_citation(&self.out[start..]) {
            self.out.insert(start, '[');
            self.out.push(']');
            self.markers = false;
            self.seen = self.out.len();
        }
    }

    /// Text, so that no reader of Markdown finds a link in it. In code that would be no link, and stays as it is unless
    /// it has an address: others might not take it for code.
    fn push(&mut self, text: &str, code: bool) {
        for (at, c) in text.char_indices() {
            self.push_char(c, &text[at + c.len_utf8()..], code);
        }
    }

    fn push_char(&mut self, c: char, rest: &str, code: bool) {
        match c {
            NO_DEFINITION if !code || is_address(rest.strip_prefix(':').unwrap_or(rest)) => self.out.push(JOINER),
            NO_DEFINITION => {}
            '(' if self.out.ends_with(']') && (!code || is_address(rest)) => self.out.extend([JOINER, c]),
            _ => push_escaped(&mut self.out, c),
        }
    }
}

fn is_marker(c: char) -> bool {
    c.is_ascii_digit() || " \t>-+*.)".contains(c)
}

fn is_address(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '<']);
    let name = text.bytes().take(24).take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
    (name > 0 && text[name..].starts_with(':')) || text.starts_with("//") || text.starts_with("www.")
}
