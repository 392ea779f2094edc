//! The content of a message in Slack's blocks: the text, its sources, its buttons.

use slack_morphism::prelude::*;

use crate::chat::delivery::markup::{plain, slack_escape, slack_markdown};
use crate::chat::delivery::{Content, Source};
use crate::chat::event::Button;
use crate::domain::Language;

/// Characters of all Markdown blocks of a message, and of a stream's text.
pub(super) const MARKDOWN_MAX: usize = 12_000;
/// `text` beside blocks is shown in notifications only.
const NOTICE_MAX: usize = 3_000;
/// Slack cuts a `text` that is longer.
const TEXT_MAX: usize = 39_000;
/// `text` of an update may be refused when it is longer.
const UPDATE_MAX: usize = 3_900;
/// Sections of a message without markup.
const SECTIONS_MAX: usize = 40;
/// Characters of one text of a context block, below Slack's 3,000.
const CONTEXT_MAX: usize = 2_500;
/// Elements of one context block.
const ELEMENTS_MAX: usize = 10;
/// A source beyond these has still its mark in the text.
const SOURCES_MAX: usize = 50;
const TITLE_MAX: usize = 200;

/// Text in Markdown as Slack reads it; `None` where it is too long, or plain text is wanted.
pub(super) fn markdown(content: &Content) -> Option<String> {
    let markdown = slack_markdown(&content.markdown);
    (!content.plain && markdown.chars().count() <= MARKDOWN_MAX).then_some(markdown)
}

/// The whole content; `None`: its markup is more than Slack takes.
pub(super) fn message(content: &Content) -> Option<SlackMessageContent> {
    let text = slack_escape(&plain(&content.markdown));
    if content.plain {
        return Some(plain_message(content, &text));
    }
    let markdown = markdown(content)?;
    let mut blocks: Vec<SlackBlock> = Vec::new();
    if !markdown.trim().is_empty() {
        blocks.push(SlackMarkdownBlock::new(markdown).into());
    }
    blocks.extend(below(content));
    let notice = if text.trim().is_empty() { "…".to_owned() } else { cut(&text, NOTICE_MAX) };
    Some(SlackMessageContent::new().with_text(notice).with_blocks(blocks))
}

/// With blocks of any kind Slack shows those alone: beside buttons, and where it is long, the text is among them.
fn plain_message(content: &Content, text: &str) -> SlackMessageContent {
    let buttons = buttons(content);
    if buttons.is_empty() && text.chars().count() <= UPDATE_MAX {
        return bare_message(content);
    }
    let shown = match named(&content.sources) {
        sources if sources.is_empty() => plain(&content.markdown),
        sources => format!("{}\n\n{sources}", plain(&content.markdown)),
    };
    let mut blocks: Vec<SlackBlock> = Vec::new();
    for piece in pieces(&shown, CONTEXT_MAX).into_iter().take(SECTIONS_MAX) {
        let text = SlackBlockPlainText::new(piece).with_emoji(false);
        blocks.push(SlackSectionBlock::new().with_text(SlackBlockText::Plain(text)).into());
    }
    blocks.extend(buttons);
    SlackMessageContent::new().with_text(cut(text, NOTICE_MAX)).with_blocks(blocks)
}

/// Text and nothing else: what Slack takes when it refuses all blocks.
pub(super) fn bare_message(content: &Content) -> SlackMessageContent {
    let text = slack_escape(&plain(&content.markdown));
    let text = match named(&content.sources) {
        sources if sources.is_empty() => text,
        sources => format!("{text}\n\n{}", slack_escape(&sources)),
    };
    // An empty list takes the blocks away that an earlier text had.
    SlackMessageContent::new().with_text(cut(&text, TEXT_MAX)).with_blocks(Vec::new())
}

/// What stands below the text: sources and buttons.
pub(super) fn below(content: &Content) -> Vec<SlackBlock> {
    let mut blocks = sources(&content.sources);
    blocks.extend(buttons(content));
    blocks
}

fn sources(sources: &[Source]) -> Vec<SlackBlock> {
    let mut elements: Vec<SlackContextBlockElement> = Vec::new();
    for source in sources.iter().take(SOURCES_MAX) {
        match source.url.as_deref().and_then(link) {
            Some(url) => {
                let line = format!("[{}] <{url}|{}>", source.n, slack_escape(&label(&source.title)));
                if let Some(SlackContextBlockElement::MarkDown(text)) = elements.last_mut()
                    && text.text.len() + line.len() < CONTEXT_MAX
                {
                    text.text = format!("{}\n{line}", text.text);
                } else {
                    let text = SlackBlockMarkDownText::new(line).with_verbatim(true);
                    elements.push(SlackContextBlockElement::MarkDown(text));
                }
            }
            None => {
                let line = format!("[{}] {}", source.n, cut(&source.title, TITLE_MAX));
                if let Some(SlackContextBlockElement::Plain(text)) = elements.last_mut()
                    && text.text.len() + line.len() < CONTEXT_MAX
                {
                    text.text = format!("{}\n{line}", text.text);
                } else {
                    elements.push(SlackContextBlockElement::Plain(SlackBlockPlainText::new(line).with_emoji(false)));
                }
            }
        }
    }
    elements.chunks(ELEMENTS_MAX).map(|elements| SlackContextBlock::new(elements.to_vec()).into()).collect()
}

/// The sources in words, for a message without blocks.
fn named(sources: &[Source]) -> String {
    let lines = sources.iter().take(SOURCES_MAX).map(|source| match &source.url {
        Some(url) => format!("[{}] {} {url}", source.n, cut(&source.title, TITLE_MAX)),
        None => format!("[{}] {}", source.n, cut(&source.title, TITLE_MAX)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// An address that may stand in `<…|…>`.
fn link(url: &str) -> Option<String> {
    let web = url.starts_with("https://") || url.starts_with("http://");
    let mut address = String::new();
    for letter in url.chars() {
        match letter {
            '<' => address.push_str("%3C"),
            '>' => address.push_str("%3E"),
            '|' => address.push_str("%7C"),
            '&' => address.push_str("&amp;"),
            c if c.is_whitespace() || c.is_control() => address.push_str("%20"),
            c => address.push(c),
        }
    }
    (web && address.len() < CONTEXT_MAX - 4 * TITLE_MAX).then_some(address)
}

/// A title inside a link: nothing in it is markup, and it is one line.
fn label(title: &str) -> String {
    let title: String = title
        .chars()
        .map(|letter| match letter {
            '*' => '∗',
            '~' => '∼',
            '`' => 'ˋ',
            '|' => '∣',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    cut(if title.trim().is_empty() { "…" } else { title.trim() }, TITLE_MAX)
}

fn buttons(content: &Content) -> Vec<SlackBlock> {
    let italian = content.language == Some(Language::Italian);
    let has = |button| content.buttons.contains(&button);
    let mut blocks: Vec<SlackBlock> = Vec::new();
    if has(Button::Helpful) || has(Button::NotHelpful) {
        let item = |button: Button, text: &str| {
            SlackFeedbackButtonItem::new(SlackBlockPlainText::new(text.to_owned()).into(), button.code().to_owned())
        };
        let feedback = SlackBlockFeedbackButtonsElement::new(
            item(Button::Helpful, if italian { "Utile" } else { "Helpful" }),
            item(Button::NotHelpful, if italian { "Non utile" } else { "Not helpful" }),
        )
        .with_action_id("feedback".into());
        blocks.push(SlackContextActionsBlock::new(vec![feedback.into()]).into());
    }
    let pressed = [
        (Button::Sources, if italian { "Fonti" } else { "Sources" }),
        (Button::Stop, if italian { "Ferma" } else { "Stop" }),
    ];
    let elements: Vec<SlackActionBlockElement> = pressed
        .into_iter()
        .filter(|(button, _)| has(*button))
        .map(|(button, text)| {
            SlackBlockButtonElement::new(SlackBlockPlainText::new(text.to_owned()).into())
                .with_action_id(button.code().into())
                .with_value(button.code().to_owned())
                .into()
        })
        .collect();
    if !elements.is_empty() {
        blocks.push(SlackActionsBlock::new(elements).into());
    }
    blocks
}

/// At most `characters_max` characters; an escaped letter is not cut in two.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(characters_max - 1).collect();
    if let Some(entity) = short.rfind('&').filter(|at| short.len() - at < 5 && !short[*at..].contains(';')) {
        short.truncate(entity);
    }
    short.push('…');
    short
}

fn pieces(text: &str, characters_max: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters
        .chunks(characters_max)
        .map(|piece| piece.iter().collect())
        .filter(|p: &String| !p.trim().is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn source(n: usize, title: &str, url: Option<&str>) -> Source {
        Source { n, title: title.to_owned(), url: url.map(str::to_owned) }
    }

    fn shown(content: &Content) -> Value {
        serde_json::to_value(message(content).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_has_its_text_sources_and_buttons() {
        let content = Content {
            markdown: "The password is on the **board** [1].".to_owned(),
            sources: vec![
                source(1, "Office › Wifi", None),
                source(2, "Rules <b> & more", Some("https://docs.example.com/a|b?x=1&y=2")),
            ],
            buttons: vec![Button::Helpful, Button::NotHelpful, Button::Sources],
            language: Some(Language::Italian),
            last: true,
            plain: false,
        };
        let shown = shown(&content);
        let blocks = shown["blocks"].as_array().unwrap();
        assert_eq!(blocks[0]["type"], "markdown");
        assert_eq!(
            blocks[1],
            json!({"type": "context", "elements": [
                {"type": "plain_text", "text": "[1] Office › Wifi", "emoji": false},
                {"type": "mrkdwn", "verbatim": true,
                 "text": "[2] <https://docs.example.com/a%7Cb?x=1&amp;y=2|Rules &lt;b&gt; &amp; more>"},
            ]})
        );
        assert_eq!(
            blocks[2],
            json!({"type": "context_actions", "elements": [{
                "type": "feedback_buttons",
                "action_id": "feedback",
                "positive_button": {"text": {"type": "plain_text", "text": "Utile"}, "value": "helpful"},
                "negative_button": {"text": {"type": "plain_text", "text": "Non utile"}, "value": "not_helpful"},
            }]})
        );
        assert_eq!(
            blocks[3],
            json!({"type": "actions", "elements": [{
                "type": "button",
                "action_id": "sources",
                "value": "sources",
                "text": {"type": "plain_text", "text": "Fonti"},
            }]})
        );
        assert_eq!(blocks.len(), 4);
    }

    #[test]
    fn nobody_is_called_by_the_notice() {
        let content = Content { markdown: "<!channel> and <@U1>".to_owned(), ..Content::default() };
        let text = shown(&content)["text"].as_str().unwrap().to_owned();
        assert!(!text.contains('<'), "{text}");
    }

    #[test]
    fn plain_text_has_no_blocks_but_for_buttons() {
        let mut content = Content {
            markdown: "see <!here>".to_owned(),
            sources: vec![source(1, "Office", None)],
            plain: true,
            ..Content::default()
        };
        let text = shown(&content);
        assert_eq!(text["blocks"], json!([]));
        assert!(text["text"].as_str().unwrap().ends_with("\n\n[1] Office"));
        assert!(!text["text"].as_str().unwrap().contains('<'));

        content.buttons = vec![Button::Stop];
        let blocks = shown(&content)["blocks"].clone();
        assert_eq!(blocks[0]["type"], "section");
        assert_eq!(blocks[0]["text"]["type"], "plain_text");
        assert_eq!(blocks[1]["elements"][0]["action_id"], "stop");
    }

    #[test]
    fn sources_keep_within_the_limits_of_context_blocks() {
        let sources: Vec<_> = (1..=60)
            .map(|n| source(n, &"t<".repeat(150), (n % 2 == 0).then_some("https://example.com/document")))
            .collect();
        let content = Content { markdown: "x".to_owned(), sources, ..Content::default() };
        let shown = shown(&content);
        let blocks = shown["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50);
        for block in &blocks[1..] {
            let elements = block["elements"].as_array().unwrap();
            assert!(!elements.is_empty() && elements.len() <= ELEMENTS_MAX);
            assert!(elements.iter().all(|element| element["text"].as_str().unwrap().len() <= 3_000));
        }
    }

    #[test]
    fn text_beyond_the_limit_is_no_markdown() {
        let content = Content { markdown: "x".repeat(MARKDOWN_MAX + 1), ..Content::default() };
        assert!(message(&content).is_none());
        let content = Content { plain: true, ..content };
        let blocks = shown(&content)["blocks"].clone();
        let blocks = blocks.as_array().unwrap();
        let length: usize = blocks.iter().map(|block| block["text"]["text"].as_str().unwrap().len()).sum();
        assert_eq!(length, MARKDOWN_MAX + 1);
    }

    #[test]
    fn cutting_leaves_entities_whole() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("a&amp;b", 4), "a…");
        assert_eq!(cut("a&amp;bcd", 8), "a&amp;b…");
    }
}
