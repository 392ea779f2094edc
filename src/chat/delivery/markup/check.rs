//! What the platforms demand of a text, as a strict reader of it. Knows nothing of how the renderers work: property
//! tests and fuzz targets hold their output against it.

use thiserror::Error;

/// Where a text is not what the platform takes. Says nothing of what the text says.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    #[error("a tag that Telegram does not know or takes only elsewhere, at byte {0}")]
    Tag(usize),
    #[error("tags are not closed in their order, at byte {0}")]
    Nesting(usize),
    #[error("a tag inside of code, or a quote inside of a quote, at byte {0}")]
    Inside(usize),
    #[error("a character that has to be escaped, at byte {0}")]
    Unescaped(usize),
    #[error("a call of people, at byte {0}")]
    Call(usize),
    #[error("a link, at byte {0}")]
    Link(usize),
}

const TELEGRAM_TAGS: [&str; 7] = ["b", "i", "s", "u", "code", "pre", "blockquote"];

/// Whether a text is Telegram HTML of the kind that this program writes.
pub fn telegram_html(html: &str) -> Result<(), Problem> {
    let mut open: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(c) = html[at..].chars().next() {
        let rest = &html[at..];
        match c {
            '<' => {
                let end = rest.find('>').ok_or(Problem::Tag(at))?;
                let tag = &rest[1..end];
                match tag.strip_prefix('/') {
                    Some(name) if open.last() == Some(&name) => drop(open.pop()),
                    Some(_) => return Err(Problem::Nesting(at)),
                    None => open.push(opened(tag, &open, at, html)?),
                }
                at += end + 1;
            }
            '>' | '"' => return Err(Problem::Unescaped(at)),
            '&' => {
                let known = ["&amp;", "&lt;", "&gt;", "&quot;"].into_iter().find(|entity| rest.starts_with(entity));
                at += known.ok_or(Problem::Unescaped(at))?.len();
            }
            c if c.is_control() && !"\n\t".contains(c) => return Err(Problem::Unescaped(at)),
            c => at += c.len_utf8(),
        }
    }
    if open.is_empty() { Ok(()) } else { Err(Problem::Nesting(at)) }
}

fn opened<'a>(tag: &'a str, open: &[&str], at: usize, html: &str) -> Result<&'a str, Problem> {
    if let Some(language) = tag.strip_prefix("code class=\"language-").and_then(|rest| rest.strip_suffix('"')) {
        let fine = !language.is_empty() && language.chars().all(|c| c.is_ascii_alphanumeric() || "+#_-.".contains(c));
        let first = open.last() == Some(&"pre") && html[..at].ends_with("<pre>");
        return if fine && first { Ok("code") } else { Err(Problem::Tag(at)) };
    }
    if !TELEGRAM_TAGS.contains(&tag) {
        return Err(Problem::Tag(at));
    }
    let in_code = open.iter().any(|outer| ["code", "pre"].contains(outer));
    let code_in_style = ["code", "pre"].contains(&tag) && open.iter().any(|outer| *outer != "blockquote");
    let quote = tag == "blockquote" && !open.is_empty();
    let pre_in_quote = tag == "pre" && !open.is_empty();
    let twice = open.contains(&tag);
    if in_code || code_in_style || quote || pre_in_quote || twice { Err(Problem::Inside(at)) } else { Ok(tag) }
}

/// Whether Slack reads a text as nothing but text: no `<…>`, everything escaped but the signs of quotes, nobody called.
pub fn slack_text(text: &str) -> Result<(), Problem> {
    // Only signs of blocks so far on this line.
    let mut markers = true;
    for (at, c) in text.char_indices() {
        let behind = &text[at + c.len_utf8()..];
        match c {
            '<' => return Err(Problem::Unescaped(at)),
            '>' if !markers => return Err(Problem::Unescaped(at)),
            '&' if !["amp;", "lt;", "gt;"].iter().any(|entity| behind.starts_with(entity)) => {
                return Err(Problem::Unescaped(at));
            }
            '@' => {
                let names = ["channel", "here", "everyone", "group"];
                let called = |name: &&str| {
                    behind.as_bytes().iter().zip(name.bytes()).filter(|(a, b)| a.eq_ignore_ascii_case(b)).count()
                        == name.len()
                };
                if names.iter().any(called) {
                    return Err(Problem::Call(at));
                }
            }
            _ => {}
        }
        markers = c == '\n' || (markers && (c.is_ascii_digit() || " \t>-+*.)".contains(c)));
    }
    Ok(())
}

/// The same of text that Slack reads as Markdown: nor a link in brackets, or the definition of one.
pub fn slack_markdown(text: &str) -> Result<(), Problem> {
    slack_text(text)?;
    for (at, _) in text.match_indices(']') {
        let target = text[at + 1..].strip_prefix(['(', ':']).unwrap_or_default().trim_start_matches([' ', '<']);
        if ["http:", "https:", "//", "www.", "mailto:", "slack:"].iter().any(|address| target.starts_with(address)) {
            return Err(Problem::Link(at));
        }
    }
    Ok(())
}
