//! Text with its entities: as people type it (mentions, commands and addresses are found in it), as the API tells it
//! (offsets in UTF-16 units), and as HTML for the tests to read.

use std::ops::Range;

use serde_json::{Value, json};

/// What a stretch of text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Bold,
    Italic,
    Underline,
    Strikethrough,
    Spoiler,
    Code,
    Pre(Option<String>),
    Blockquote {
        expandable: bool,
    },
    Link(String),
    Emoji(String),
    /// A person without a user name.
    Person(i64),
    Mention,
    Command,
    Address,
}

impl Kind {
    /// Found by the platform itself; not part of what the author formatted.
    fn found(&self) -> bool {
        matches!(self, Kind::Mention | Kind::Command | Kind::Address)
    }

    /// Stretches that hold no others and never overlap each other.
    pub fn solid(&self) -> bool {
        self.verbatim() || matches!(self, Kind::Link(_) | Kind::Person(_)) || self.found()
    }

    pub fn verbatim(&self) -> bool {
        matches!(self, Kind::Code | Kind::Pre(_))
    }

    /// The type name of the API.
    fn name(&self) -> &'static str {
        match self {
            Kind::Bold => "bold",
            Kind::Italic => "italic",
            Kind::Underline => "underline",
            Kind::Strikethrough => "strikethrough",
            Kind::Spoiler => "spoiler",
            Kind::Code => "code",
            Kind::Pre(_) => "pre",
            Kind::Blockquote { expandable: false } => "blockquote",
            Kind::Blockquote { expandable: true } => "expandable_blockquote",
            Kind::Link(_) => "text_link",
            Kind::Emoji(_) => "custom_emoji",
            Kind::Person(_) => "text_mention",
            Kind::Mention => "mention",
            Kind::Command => "bot_command",
            Kind::Address => "url",
        }
    }

    /// From an entity of a request.
    pub fn of_json(entity: &Value) -> Option<Kind> {
        let field = |name: &str| entity[name].as_str().map(str::to_owned);
        Some(match entity["type"].as_str()? {
            "bold" => Kind::Bold,
            "italic" => Kind::Italic,
            "underline" => Kind::Underline,
            "strikethrough" => Kind::Strikethrough,
            "spoiler" => Kind::Spoiler,
            "code" => Kind::Code,
            "pre" => Kind::Pre(field("language")),
            "blockquote" => Kind::Blockquote { expandable: false },
            "expandable_blockquote" => Kind::Blockquote { expandable: true },
            "text_link" => Kind::Link(field("url")?),
            "custom_emoji" => Kind::Emoji(field("custom_emoji_id")?),
            "text_mention" => Kind::Person(entity["user"]["id"].as_i64()?),
            _ => return None,
        })
    }

    /// Opening and closing tag.
    fn tags(&self) -> (String, &'static str) {
        match self {
            Kind::Bold => ("<b>".to_owned(), "</b>"),
            Kind::Italic => ("<i>".to_owned(), "</i>"),
            Kind::Underline => ("<u>".to_owned(), "</u>"),
            Kind::Strikethrough => ("<s>".to_owned(), "</s>"),
            Kind::Spoiler => ("<tg-spoiler>".to_owned(), "</tg-spoiler>"),
            Kind::Code => ("<code>".to_owned(), "</code>"),
            Kind::Pre(None) => ("<pre>".to_owned(), "</pre>"),
            Kind::Pre(Some(language)) => {
                (format!("<pre><code class=\"language-{}\">", escape(language)), "</code></pre>")
            }
            Kind::Blockquote { expandable: false } => ("<blockquote>".to_owned(), "</blockquote>"),
            Kind::Blockquote { expandable: true } => ("<blockquote expandable>".to_owned(), "</blockquote>"),
            Kind::Link(url) => (format!("<a href=\"{}\">", escape(url)), "</a>"),
            Kind::Emoji(id) => (format!("<tg-emoji emoji-id=\"{}\">", escape(id)), "</tg-emoji>"),
            Kind::Person(id) => (format!("<a href=\"tg://user?id={id}\">"), "</a>"),
            Kind::Mention | Kind::Command | Kind::Address => (String::new(), ""),
        }
    }
}

/// A stretch of a text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    pub kind: Kind,
    pub range: Range<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rich {
    pub text: String,
    pub entities: Vec<Entity>,
}

impl Rich {
    /// Text as somebody types it.
    pub fn typed(text: &str) -> Self {
        Rich { text: text.to_owned(), entities: Vec::new() }.tidy()
    }

    /// What the platform makes of any text: ends trimmed, stretches that exclude each other resolved, mentions,
    /// commands and addresses found.
    pub fn tidy(mut self) -> Self {
        self.trim();
        self.resolve();
        for found in found(&self.text) {
            let free = self.entities.iter().all(|other| !(other.kind.solid() && overlap(&other.range, &found.range)));
            if free {
                self.entities.push(found);
            }
        }
        self.sort();
        self
    }

    fn sort(&mut self) {
        self.entities.sort_by_key(|entity| (entity.range.start, std::cmp::Reverse(entity.range.end)));
    }

    fn trim(&mut self) {
        let start = self.text.len() - self.text.trim_start().len();
        let end = self.text.trim_end().len().max(start);
        self.text = self.text[start..end].to_owned();
        for entity in &mut self.entities {
            let inside = |at: usize| at.clamp(start, end) - start;
            entity.range = inside(entity.range.start)..inside(entity.range.end);
        }
        self.entities.retain(|entity| !entity.range.is_empty());
    }

    /// Code, links and mentions hold no others of them, the outer one wins; styles end where code begins; quotes do not
    /// nest.
    fn resolve(&mut self) {
        self.sort();
        let mut kept: Vec<Entity> = Vec::new();
        for entity in std::mem::take(&mut self.entities) {
            let quote = |kind: &Kind| matches!(kind, Kind::Blockquote { .. });
            let taken = kept.iter().any(|other| {
                overlap(&other.range, &entity.range)
                    && (other.kind.solid() && entity.kind.solid() || quote(&other.kind) && quote(&entity.kind))
            });
            if !taken {
                kept.push(entity);
            }
        }
        let verbatim: Vec<Range<usize>> =
            kept.iter().filter(|entity| entity.kind.verbatim()).map(|entity| entity.range.clone()).collect();
        for entity in kept {
            if entity.kind.solid() || matches!(entity.kind, Kind::Blockquote { .. }) {
                self.entities.push(entity);
                continue;
            }
            let mut rest = entity.range.clone();
            for hole in verbatim.iter().filter(|hole| overlap(hole, &entity.range)) {
                self.entities.push(Entity { kind: entity.kind.clone(), range: rest.start..hole.start.max(rest.start) });
                rest.start = hole.end.min(rest.end);
            }
            self.entities.push(Entity { kind: entity.kind, range: rest });
        }
        self.entities.retain(|entity| !entity.range.is_empty());
        self.sort();
    }

    /// Length as the API counts it.
    pub fn units(&self) -> usize {
        units(&self.text)
    }

    pub fn mentions(&self, username: &str) -> bool {
        self.parts(|kind| *kind == Kind::Mention).any(|part| part[1..].eq_ignore_ascii_case(username))
    }

    /// Holds a command for this bot: `/ask` for everybody, or `/ask@name`.
    pub fn commands(&self, username: &str) -> bool {
        self.parts(|kind| *kind == Kind::Command)
            .any(|part| part.split_once('@').is_none_or(|(_, name)| name.eq_ignore_ascii_case(username)))
    }

    /// Whether the platform would look for a page to show below.
    pub fn linked(&self) -> bool {
        self.entities.iter().any(|entity| matches!(entity.kind, Kind::Link(_) | Kind::Address))
    }

    fn parts<'a>(&'a self, wanted: impl Fn(&Kind) -> bool + 'a) -> impl Iterator<Item = &'a str> + 'a {
        self.entities.iter().filter(move |entity| wanted(&entity.kind)).map(|entity| &self.text[entity.range.clone()])
    }

    /// As the API tells entities; `user` renders people.
    pub fn entities_json(&self, user: impl Fn(i64) -> Value) -> Vec<Value> {
        let one = |entity: &Entity| {
            let offset = units(&self.text[..entity.range.start]);
            let length = units(&self.text[entity.range.clone()]);
            let mut value = json!({ "type": entity.kind.name(), "offset": offset, "length": length });
            match &entity.kind {
                Kind::Pre(Some(language)) => value["language"] = json!(language),
                Kind::Link(url) => value["url"] = json!(url),
                Kind::Emoji(id) => value["custom_emoji_id"] = json!(id),
                Kind::Person(id) => value["user"] = user(*id),
                _ => {}
            }
            value
        };
        self.entities.iter().map(one).collect()
    }

    /// The text with what its author formatted as tags.
    pub fn html(&self) -> String {
        let shown: Vec<&Entity> = self.entities.iter().filter(|entity| !entity.kind.found()).collect();
        let mut borders: Vec<usize> = shown.iter().flat_map(|entity| [entity.range.start, entity.range.end]).collect();
        borders.extend([0, self.text.len()]);
        borders.sort_unstable();
        borders.dedup();
        let mut html = String::new();
        let mut open: Vec<&Entity> = Vec::new();
        for (index, &at) in borders.iter().enumerate() {
            let mut again = Vec::new();
            while open.iter().any(|entity| entity.range.end == at) {
                let entity = open.pop().expect("one of the open ones ends here");
                html.push_str(entity.kind.tags().1);
                if entity.range.end > at {
                    again.push(entity);
                }
            }
            let begin = shown.iter().filter(|entity| entity.range.start == at).copied();
            for entity in again.into_iter().rev().chain(begin) {
                html.push_str(&entity.kind.tags().0);
                open.push(entity);
            }
            if let Some(&next) = borders.get(index + 1) {
                html.push_str(&escape(&self.text[at..next]));
            }
        }
        html
    }
}

pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The byte that a UTF-16 offset points at; `None` outside of the text or inside of a character.
pub fn byte_at(text: &str, offset: usize) -> Option<usize> {
    let mut passed = 0;
    for (at, letter) in text.char_indices() {
        if passed == offset {
            return Some(at);
        }
        passed += letter.len_utf16();
    }
    (passed == offset).then_some(text.len())
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Mentions, commands and addresses in a text.
fn found(text: &str) -> Vec<Entity> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let before = text[..at].chars().next_back();
        let begins = before.is_none_or(|letter| !word(letter) && letter != '/' && letter != '@');
        let hit = if begins { token(rest) } else { None };
        match hit {
            Some((kind, length)) => {
                all.push(Entity { kind, range: at..at + length });
                at += length;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    all
}

fn word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// What begins at the start of this text, with its length in bytes.
fn token(rest: &str) -> Option<(Kind, usize)> {
    let name = |from: &str| from.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    if rest.starts_with("http://") || rest.starts_with("https://") {
        let end = rest.find(|letter: char| letter.is_whitespace() || "<>\"".contains(letter)).unwrap_or(rest.len());
        let address = rest[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'']);
        return (address.len() > "https://".len()).then_some((Kind::Address, address.len()));
    }
    if let Some(after) = rest.strip_prefix('@') {
        let length = name(after);
        return (3..=32).contains(&length).then_some((Kind::Mention, length + 1));
    }
    let after = rest.strip_prefix('/')?;
    let length = name(after);
    if length == 0 || length > 64 || after[length..].starts_with('/') {
        return None;
    }
    let addressee = after[length..].strip_prefix('@').map_or(0, name);
    let whole = if addressee == 0 { length + 1 } else { length + addressee + 2 };
    Some((Kind::Command, whole))
}
