//! `parse_mode: HTML`, as strict as the platform: its tags only, each closed in order, attributes only where they mean
//! something, and the same words when it refuses.

use super::text::{Entity, Kind, Rich, byte_at};

const TAGS: &[&str] = &[
    "a",
    "b",
    "strong",
    "i",
    "em",
    "s",
    "strike",
    "del",
    "u",
    "ins",
    "tg-spoiler",
    "tg-emoji",
    "span",
    "pre",
    "code",
    "blockquote",
];

/// A tag that waits for its end.
struct Open {
    tag: String,
    /// Where its text begins.
    start: usize,
    attributes: Vec<(String, String)>,
    /// For `pre`: what a `code` that is all of it says.
    language: Option<(String, usize)>,
}

impl Open {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    rich: Rich,
    open: Vec<Open>,
}

/// Reads HTML, or tells why it is refused in the platform's words.
pub fn parse(source: &str) -> Result<Rich, String> {
    let mut reader = Reader { source, at: 0, rich: Rich::default(), open: Vec::new() };
    while let Some(letter) = reader.peek() {
        match letter {
            '<' if reader.rest().starts_with("</") => reader.end_tag()?,
            '<' => reader.start_tag()?,
            '&' => {
                let decoded = reader.character();
                reader.rich.text.push(decoded);
            }
            '\r' => reader.at += 1,
            other => {
                reader.rich.text.push(other);
                reader.at += other.len_utf8();
            }
        }
    }
    match reader.open.last() {
        Some(open) => Err(format!("Can't find end tag corresponding to start tag \"{}\"", open.tag)),
        None => {
            // Inner ones were closed first; where two cover the same text the outer one counts first.
            reader.rich.entities.reverse();
            Ok(reader.rich.tidy())
        }
    }
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Letters up to one of these or white space.
    fn name(&mut self, ends: &[char]) -> String {
        let rest = self.rest();
        let end = rest.find(|letter: char| letter.is_whitespace() || ends.contains(&letter)).unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        self.at += end;
        name
    }

    fn start_tag(&mut self) -> Result<(), String> {
        let begin = self.at;
        let unclosed = || format!("Unclosed start tag at byte offset {begin}");
        self.at += 1;
        let tag = self.name(&['>']);
        if self.peek().is_none() {
            return Err(unclosed());
        }
        if !TAGS.contains(&tag.as_str()) {
            return Err(format!("Unsupported start tag \"{tag}\" at byte offset {begin}"));
        }
        let mut open = Open { tag, start: self.rich.text.len(), attributes: Vec::new(), language: None };
        loop {
            self.space();
            match self.peek() {
                None => return Err(unclosed()),
                Some('>') => break,
                Some(_) => {
                    let attribute = self.attribute(begin, &open.tag)?;
                    open.attributes.push(attribute);
                }
            }
        }
        self.at += 1;
        let class = open.attribute("class").unwrap_or_default();
        if open.tag == "span" && class != "tg-spoiler" {
            return Err(format!("Tag \"span\" must have class \"tg-spoiler\" at byte offset {begin}"));
        }
        if open.tag == "tg-emoji" && open.attribute("emoji-id").is_none() {
            return Err(format!("Tag \"tg-emoji\" must have attribute \"emoji-id\" at byte offset {begin}"));
        }
        self.open.push(open);
        Ok(())
    }

    fn attribute(&mut self, begin: usize, tag: &str) -> Result<(String, String), String> {
        let name = self.name(&['=', '>', '/', '"', '\'']);
        if name.is_empty() {
            return Err(format!("Empty attribute name in the tag \"{tag}\" at byte offset {begin}"));
        }
        self.space();
        if self.peek() != Some('=') {
            // The one attribute that needs no value.
            if tag == "blockquote" && name == "expandable" {
                return Ok((name, String::new()));
            }
            let problem = "Expected equal sign in declaration of an attribute of the tag";
            return Err(format!("{problem} \"{tag}\" at byte offset {begin}"));
        }
        self.at += 1;
        self.space();
        let unclosed = || format!("Unclosed start tag at byte offset {begin}");
        let quote = self.peek().ok_or_else(unclosed)?;
        if quote != '"' && quote != '\'' {
            let value = self.name(&['>']);
            let plain = value.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-".contains(letter));
            if value.is_empty() || !plain {
                return Err(format!("Unexpected end of name token at byte offset {begin}"));
            }
            return Ok((name, value));
        }
        self.at += 1;
        let mut value = String::new();
        loop {
            match self.peek().ok_or_else(unclosed)? {
                letter if letter == quote => break,
                '&' => value.push(self.character()),
                letter => {
                    value.push(letter);
                    self.at += letter.len_utf8();
                }
            }
        }
        self.at += 1;
        Ok((name, value))
    }

    fn end_tag(&mut self) -> Result<(), String> {
        let begin = self.at;
        let Some(open) = self.open.pop() else {
            return Err(format!("Unexpected end tag at byte offset {begin}"));
        };
        self.at += 2;
        let tag = self.name(&['>']);
        self.space();
        if self.peek() != Some('>') {
            return Err(format!("Unclosed end tag at byte offset {begin}"));
        }
        self.at += 1;
        if !tag.is_empty() && tag != open.tag {
            let expected = &open.tag;
            return Err(format!(
                "Unmatched end tag at byte offset {begin}, expected \"</{expected}>\", found \"</{tag}>\""
            ));
        }
        let end = self.rich.text.len();
        if let Some(kind) = self.kind(&open, end) {
            self.rich.entities.push(Entity { kind, range: open.start..end });
        }
        Ok(())
    }

    /// What a tag makes of its text; `None`: nothing.
    fn kind(&mut self, open: &Open, end: usize) -> Option<Kind> {
        Some(match open.tag.as_str() {
            "b" | "strong" => Kind::Bold,
            "i" | "em" => Kind::Italic,
            "u" | "ins" => Kind::Underline,
            "s" | "strike" | "del" => Kind::Strikethrough,
            "span" | "tg-spoiler" => Kind::Spoiler,
            "tg-emoji" => Kind::Emoji(open.attribute("emoji-id")?.to_owned()),
            "blockquote" => Kind::Blockquote { expandable: open.attribute("expandable").is_some() },
            "pre" => Kind::Pre(open.language.as_ref().filter(|(_, upto)| *upto == end).map(|(name, _)| name.clone())),
            "code" => {
                let language = open.attribute("class").and_then(|class| class.strip_prefix("language-"));
                match (language, self.open.last_mut()) {
                    (Some(language), Some(outer)) if outer.tag == "pre" && outer.start == open.start => {
                        outer.language = Some((language.to_owned(), end));
                    }
                    _ => {}
                }
                Kind::Code
            }
            _ => {
                let text = &self.rich.text[open.start..end];
                link(open.attribute("href").filter(|address| !address.is_empty()).unwrap_or(text))?
            }
        })
    }

    /// The character that stands for itself or that an entity names. What is no entity stays as it is.
    fn character(&mut self) -> char {
        let named = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];
        for (name, letter) in named {
            if self.rest().starts_with(name) {
                self.at += name.len();
                return letter;
            }
        }
        if let Some((letter, length)) = numbered(self.rest()) {
            self.at += length;
            return letter;
        }
        self.at += 1;
        '&'
    }
}

/// `&#225;` and `&#xE1;`; the semicolon may be missing.
fn numbered(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix("&#")?;
    let (digits, radix, start) = match digits.strip_prefix('x') {
        Some(hexadecimal) => (hexadecimal, 16, 3),
        None => (digits, 10, 2),
    };
    let length = digits.chars().take_while(|letter| letter.is_digit(radix)).count();
    let letter =
        char::from_u32(u32::from_str_radix(&digits[..length], radix).ok()?).filter(|letter| *letter != '\0')?;
    let semicolon = usize::from(digits[length..].starts_with(';'));
    Some((letter, start + length + semicolon))
}

/// Addresses that the platform makes a link of; others are dropped without a word.
fn link(address: &str) -> Option<Kind> {
    if let Some(person) = address.strip_prefix("tg://user?id=") {
        return person.parse().ok().map(Kind::Person);
    }
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        // Without a scheme it must look like a domain.
        None if address.contains('.') => ("http".to_owned(), address),
        None => return None,
    };
    if !["http", "https", "tg", "ton", "tonsite"].contains(&scheme.as_str()) {
        return None;
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let fits = |letter: char| letter.is_alphanumeric() || "-._".contains(letter);
    if !port.chars().all(|letter| letter.is_ascii_digit()) {
        return None;
    }
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) || rest.contains(char::is_whitespace) {
        return None;
    }
    let bare = scheme.starts_with("http") && host.len() == rest.len();
    Some(Kind::Link(format!("{scheme}://{rest}{}", if bare { "/" } else { "" })))
}

/// Text whose entities come beside it.
pub fn with_entities(text: &str, entities: &[serde_json::Value]) -> Result<Rich, String> {
    let mut rich = Rich { text: text.to_owned(), entities: Vec::new() };
    for entity in entities {
        // The platform finds mentions and commands itself and passes over what it does not know.
        let Some(kind) = Kind::of_json(entity) else { continue };
        let place = |value: &serde_json::Value| value.as_u64().and_then(|offset| usize::try_from(offset).ok());
        let range = place(&entity["offset"])
            .zip(place(&entity["length"]))
            .and_then(|(offset, length)| Some(byte_at(text, offset)?..byte_at(text, offset + length)?));
        let range = range.ok_or_else(|| "entity ends in a middle of a UTF-16 symbol or beyond the text".to_owned())?;
        rich.entities.push(Entity { kind, range });
    }
    Ok(rich.tidy())
}
