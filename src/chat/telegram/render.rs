//! Content to the text of a Telegram message: the answer, and below it its sources.

use crate::chat::delivery::markup::{plain, telegram_html, visible_characters};
use crate::chat::delivery::{Content, Source};

/// What Telegram takes in one message, in UTF-16 units after the markup.
pub(super) const MESSAGE_UNITS_MAX: usize = 4096;
/// Titles are file names and headings; longer ones are cut.
const TITLE_CHARACTERS: usize = 160;
/// More sources than these are folded.
const SOURCES_OPEN: usize = 3;
/// Longest address that is linked: longer ones are not worth their risk.
const URL_BYTES_MAX: usize = 1000;

/// HTML for `parse_mode` HTML.
pub(super) fn html(content: &Content) -> String {
    let mut text = telegram_html(&content.markdown);
    let room = MESSAGE_UNITS_MAX.saturating_sub(visible_characters(&text) + 2);
    let lines = lines(&content.sources, room, html_line);
    if lines.is_empty() {
        return text;
    }
    text.push_str("\n\n");
    match content.sources.len() {
        0..=SOURCES_OPEN => text.push_str(&lines),
        _ => text.push_str(&format!("<blockquote expandable>{lines}</blockquote>")),
    }
    text
}

/// Text without any markup, cut where Telegram would refuse it.
pub(super) fn text(content: &Content) -> String {
    let mut text = plain(&content.markdown);
    let room = MESSAGE_UNITS_MAX.saturating_sub(text.encode_utf16().count() + 2);
    let lines = lines(&content.sources, room, |source| format!("[{}] {}", source.n, title(source)));
    if !lines.is_empty() {
        text.push_str("\n\n");
        text.push_str(&lines);
    }
    cut(&text, MESSAGE_UNITS_MAX)
}

/// As many sources as fit, one a line; those that do not fit are counted.
fn lines(sources: &[Source], room: usize, line: impl Fn(&Source) -> String) -> String {
    // Room for the line that tells how many are missing.
    let mut room = room.saturating_sub(8);
    let mut lines = Vec::new();
    for source in sources {
        let units = format!("[{}] {}", source.n, title(source)).encode_utf16().count() + 1;
        if units > room {
            lines.push(format!("… +{}", sources.len() - lines.len()));
            break;
        }
        room -= units;
        lines.push(line(source));
    }
    lines.join("\n")
}

fn html_line(source: &Source) -> String {
    let title = escape(&title(source));
    match source.url.as_deref().filter(|url| is_web_address(url)) {
        Some(url) => format!("[{}] <a href=\"{}\">{title}</a>", source.n, escape(url)),
        None => format!("[{}] {title}", source.n),
    }
}

fn title(source: &Source) -> String {
    let one_line = source.title.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(TITLE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

/// Only these are links: `javascript:` and `tg:` are not for a document to choose.
fn is_web_address(url: &str) -> bool {
    let is_http = ["http://", "https://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)) && url.len() > scheme.len()
    });
    is_http && url.len() <= URL_BYTES_MAX && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}

pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The text up to `units_max` UTF-16 units, with `…` where something is missing.
pub(super) fn cut(text: &str, units_max: usize) -> String {
    if text.encode_utf16().count() <= units_max {
        return text.to_owned();
    }
    let mut units = 0;
    let kept = text.chars().take_while(|character| {
        units += character.len_utf16();
        units < units_max
    });
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: usize, title: &str, url: Option<&str>) -> Source {
        Source { n, title: title.to_owned(), url: url.map(str::to_owned) }
    }

    fn check(sources: Vec<Source>, expect: &str) {
        let content = Content { markdown: "Sì [1]".to_owned(), sources, ..Content::default() };
        assert_eq!(html(&content), expect);
    }

    #[test]
    fn sources_stand_below_the_text() {
        check(vec![], "Sì [1]");
        check(vec![source(1, "Ferie › Preavviso", None)], "Sì [1]\n\n[1] Ferie › Preavviso");
        check(
            vec![source(1, "A", Some("https://wiki.example/a?b=1&c=\"2\""))],
            "Sì [1]\n\n[1] <a href=\"https://wiki.example/a?b=1&amp;c=&quot;2&quot;\">A</a>",
        );
        check(
            (1..=4).map(|n| source(n, "T", None)).collect(),
            "Sì [1]\n\n<blockquote expandable>[1] T\n[2] T\n[3] T\n[4] T</blockquote>",
        );
    }

    #[test]
    fn titles_and_addresses_carry_no_markup_and_no_odd_links() {
        check(vec![source(1, "<b>&</b>\nfine", None)], "Sì [1]\n\n[1] &lt;b&gt;&amp;&lt;/b&gt; fine");
        for url in ["javascript:alert(1)", "tg://user?id=1", "https://", "http://a b", "httpſ://x", ""] {
            check(vec![source(1, "A", Some(url))], "Sì [1]\n\n[1] A");
        }
        check(vec![source(1, "A", Some("HTTPS://x"))], "Sì [1]\n\n[1] <a href=\"HTTPS://x\">A</a>");
    }

    #[test]
    fn a_message_with_many_sources_still_fits() {
        let sources: Vec<_> = (1..=60).map(|n| source(n, &"è".repeat(300), Some("https://x.example"))).collect();
        let mut content = Content { markdown: "a".repeat(3500), sources, ..Content::default() };
        assert!(visible_characters_without_tags(&html(&content)) <= MESSAGE_UNITS_MAX);
        assert!(html(&content).contains("… +57"), "{}", html(&content));
        assert!(text(&content).encode_utf16().count() <= MESSAGE_UNITS_MAX);
        content.markdown = "😀".repeat(3500);
        let cut = text(&content);
        assert!(cut.encode_utf16().count() <= MESSAGE_UNITS_MAX && cut.ends_with('…'));
    }

    fn visible_characters_without_tags(html: &str) -> usize {
        let mut inside = false;
        html.encode_utf16()
            .filter(|unit| {
                let shown = !inside && *unit != u16::from(b'<');
                inside = (inside || *unit == u16::from(b'<')) && *unit != u16::from(b'>');
                shown
            })
            .count()
    }

    #[test]
    fn plain_text_has_no_markup() {
        let content = Content {
            markdown: "a < b".to_owned(),
            sources: vec![source(1, "A & B", Some("https://x"))],
            ..Content::default()
        };
        assert_eq!(text(&content), "a < b\n\n[1] A & B");
    }
}
