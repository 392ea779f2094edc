//! Lines as Telegram's HTML, and lengths as Telegram counts them.

use super::layout::Line;
use super::tree::{Inline, Style};

pub(super) fn written(lines: &[Line]) -> String {
    let mut html = String::new();
    let mut open = false;
    for (at, line) in lines.iter().enumerate() {
        let quoted = matches!(line, Line::Words { quoted: true, .. });
        if open && !quoted {
            html.push_str("</blockquote>");
        }
        if at > 0 {
            html.push('\n');
        }
        if quoted && !open {
            html.push_str("<blockquote>");
        }
        open = quoted;
        match line {
            Line::Words { words, .. } => write_words(&mut html, words),
            Line::Code { language, text } => write_code(&mut html, language, text),
        }
    }
    if open {
        html.push_str("</blockquote>");
    }
    html
}

fn write_words(html: &mut String, words: &[Inline]) {
    for inline in words {
        let Inline::Text(text, style) = inline else { continue };
        // Tags around nothing that can be seen mark nothing.
        let tags = if text.trim().is_empty() { Vec::new() } else { tags(*style) };
        for tag in &tags {
            html.extend(["<", tag, ">"]);
        }
        escape(html, text);
        for tag in tags.iter().rev() {
            html.extend(["</", tag, ">"]);
        }
    }
}

fn tags(style: Style) -> Vec<&'static str> {
    let all = [(style.code, "code"), (style.bold, "b"), (style.italic, "i"), (style.strike, "s")];
    all.into_iter().filter(|(on, _)| *on).map(|(_, tag)| tag).collect()
}

fn write_code(html: &mut String, language: &str, text: &str) {
    html.push_str("<pre>");
    if !language.is_empty() {
        html.extend(["<code class=\"language-", language, "\">"]);
    }
    escape(html, text);
    if !language.is_empty() {
        html.push_str("</code>");
    }
    html.push_str("</pre>");
}

fn escape(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            _ => html.push(c),
        }
    }
}

/// The length of Telegram HTML as Telegram counts it: without tags, each entity as its character, in UTF-16 code units.
pub fn visible_characters(html: &str) -> usize {
    let mut units = 0;
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        let end = match c {
            '<' => rest.find('>'),
            '&' => rest.bytes().take(12).position(|b| b == b';'),
            _ => None,
        };
        units += match (c, end) {
            ('<', Some(_)) => 0,
            ('&', Some(end)) => entity_units(&rest[1..end]),
            _ => c.len_utf16(),
        };
        rest = &rest[end.map_or(c.len_utf8(), |end| end + 1)..];
    }
    units
}

fn entity_units(name: &str) -> usize {
    let code = match name.strip_prefix('#').map(|code| (code, code.strip_prefix(['x', 'X']))) {
        Some((_, Some(hexadecimal))) => u32::from_str_radix(hexadecimal, 16).ok(),
        Some((decimal, None)) => decimal.parse().ok(),
        None => None,
    };
    match code.and_then(char::from_u32) {
        Some(c) => c.len_utf16(),
        None if ["amp", "lt", "gt", "quot"].contains(&name) => 1,
        // Not an entity of Telegram: it stands there as it is.
        None => name.encode_utf16().count() + 2,
    }
}
