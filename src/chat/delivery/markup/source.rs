//! Markdown source on its way to the parser, and what in it is told by its letters alone.

use pulldown_cmark::Options;

pub(super) const OPTIONS: Options = Options::ENABLE_TABLES.union(Options::ENABLE_STRIKETHROUGH);

/// Stands between `]` and `:` while text is parsed: there are no link definitions, a line `[1]: handbook` is text. Not
/// a character, so that no text needs it.
pub(super) const NO_DEFINITION: char = '\u{FDD0}';

/// `markdown` with lines that end in `\n`, without what is no text, and with [`NO_DEFINITION`] where it belongs.
pub(super) fn parsable(markdown: &str) -> String {
    let mut source = String::with_capacity(markdown.len() + 16);
    let mut chars = markdown.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' | '\u{2028}' | '\u{2029}' => source.push('\n'),
            '\n' | '\t' => source.push(c),
            _ if c.is_control() || ('\u{FDD0}'..='\u{FDEF}').contains(&c) => {}
            ':' if source.ends_with(']') => source.extend([NO_DEFINITION, c]),
            _ => source.push(c),
        }
    }
    source
}

/// What the parser hands on, without [`NO_DEFINITION`] and without the control characters that entities (`&#1;`) become.
pub(super) fn legible(text: &str) -> String {
    text.chars().filter(|c| *c != NO_DEFINITION && (!c.is_control() || "\n\t".contains(*c))).collect()
}

/// Whether the text between two brackets makes them a citation mark: `1`, `2, 3`.
pub(super) fn is_citation(inner: &str) -> bool {
    inner.split(',').all(|part| {
        let digits = part.trim_matches(' ');
        (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

pub(super) fn is_line_break(html: &str) -> bool {
    let name = html.trim().trim_start_matches('<').trim_end_matches(['>', '/', ' ']);
    html.starts_with('<') && name.eq_ignore_ascii_case("br")
}
