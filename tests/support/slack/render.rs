//! What people see of a message: its words, its buttons, and who is called by it.

use serde_json::Value;

use super::blocks::elements;

/// A button as a test presses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    pub action_id: String,
    pub value: String,
    pub label: String,
    /// The block that it stands in.
    pub block_id: String,
    /// One of the two of Slack's own pair for feedback.
    pub feedback: bool,
}

/// The words of all blocks, or of `text` where there are none.
pub fn words(text: &str, blocks: &[Value]) -> String {
    if blocks.is_empty() {
        return mrkdwn(text);
    }
    let words: Vec<String> = blocks.iter().map(block_words).filter(|words| !words.is_empty()).collect();
    words.join("\n\n")
}

fn block_words(block: &Value) -> String {
    match block["type"].as_str().unwrap_or_default() {
        "markdown" => entities(block["text"].as_str().unwrap_or_default()),
        "section" => {
            let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
            let texts = block.get("text").into_iter().chain(fields);
            texts.map(text_words).collect::<Vec<_>>().join("\n")
        }
        "context" => elements(block).iter().map(text_words).collect::<Vec<_>>().join("\n"),
        "header" => text_words(&block["text"]),
        "divider" => "---".to_owned(),
        "image" => format!("<picture: {}>", block["alt_text"].as_str().unwrap_or_default()),
        "rich_text" => leaves(block),
        _ => String::new(),
    }
}

fn text_words(text: &Value) -> String {
    match text["type"].as_str() {
        Some("plain_text") => text["text"].as_str().unwrap_or_default().to_owned(),
        Some("image") => format!("<picture: {}>", text["alt_text"].as_str().unwrap_or_default()),
        _ => mrkdwn(text["text"].as_str().unwrap_or_default()),
    }
}

/// All texts of a rich text, in their order.
fn leaves(value: &Value) -> String {
    match value["text"].as_str() {
        Some(text) => text.to_owned(),
        None => elements(value).iter().map(leaves).collect(),
    }
}

/// Slack's markup with references as people see them.
fn mrkdwn(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (before, inside) = (&rest[..start], &rest[start + 1..]);
        let Some(end) = inside.find('>') else { break };
        shown.push_str(&entities(before));
        let (target, label) = inside[..end].split_once('|').unwrap_or((&inside[..end], ""));
        shown.push_str(&match (target.chars().next(), label) {
            (Some('@' | '#' | '!'), "") => target.trim_start_matches('!').to_owned(),
            (Some('@' | '#' | '!'), label) => format!("{}{label}", target.chars().next().unwrap_or_default()),
            (_, "") => entities(target),
            (_, label) => format!("{} ({})", entities(label), entities(target)),
        });
        rest = &inside[end + 1..];
    }
    shown.push_str(&entities(rest));
    shown
}

fn entities(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

pub fn buttons(blocks: &[Value]) -> Vec<Button> {
    let mut buttons = Vec::new();
    for block in blocks {
        let accessory = block.get("accessory").into_iter();
        for element in elements(block).iter().chain(accessory) {
            let field = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let made = |button: &Value, feedback| Button {
                action_id: field(element, "action_id"),
                value: field(button, "value"),
                label: field(&button["text"], "text"),
                block_id: field(block, "block_id"),
                feedback,
            };
            match element["type"].as_str() {
                Some("button") => buttons.push(made(element, false)),
                Some("feedback_buttons") => {
                    buttons.push(made(&element["positive_button"], true));
                    buttons.push(made(&element["negative_button"], true));
                }
                _ => {}
            }
        }
    }
    buttons
}

/// Whom the message calls: `@U1`, `!channel`, `!subteam^S1`. What stands in code calls nobody.
pub fn calls(text: &str, blocks: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |text: &str| {
        let pieces: Vec<&str> = text.split('`').collect();
        for (index, piece) in pieces.iter().enumerate() {
            // Every other piece stands between two backticks, but for what follows a single one.
            if index % 2 == 1 && index + 1 < pieces.len() {
                continue;
            }
            for reference in piece.split('<').skip(1).filter_map(|rest| rest.split_once('>')) {
                let target = reference.0.split('|').next().unwrap_or_default();
                if target.starts_with('@') || (target.starts_with('!') && !target.starts_with("!date")) {
                    found.push(target.to_owned());
                }
            }
        }
    };
    // The notification shows it, blocks or not.
    look(text);
    for block in blocks {
        let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
        let parts = elements(block).iter().chain(fields).chain(block.get("text"));
        for part in parts {
            match part {
                Value::String(markdown) => look(markdown),
                part if part["type"] == "mrkdwn" => look(part["text"].as_str().unwrap_or_default()),
                _ => {}
            }
        }
    }
    found
}
