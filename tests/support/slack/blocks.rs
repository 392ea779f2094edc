//! Blocks as Slack checks them: known kinds, nothing missing, nothing too long.
//! https://docs.slack.dev/reference/block-kit/blocks

use std::collections::BTreeSet;

use serde_json::Value;

use super::reply::Refusal;

const BLOCKS_MAX: usize = 50;
/// Characters of all Markdown blocks of a message together.
pub const MARKDOWN_MAX: usize = 12_000;
/// Kinds that are taken without a look inside: the bot sends none of them.
const OTHER_KINDS: [&str; 14] = [
    "file",
    "video",
    "rich_text",
    "table",
    "task_card",
    "alert",
    "card",
    "carousel",
    "container",
    "plan",
    "data_table",
    "data_visualization",
    "share_shortcut",
    "event",
];

/// The blocks, each with a `block_id`; what is wrong is told with its place.
pub fn checked(blocks: &Value) -> Result<Vec<Value>, Refusal> {
    let Some(blocks) = blocks.as_array() else { return Err(Refusal::broken("invalid_blocks_format", "no array")) };
    check(blocks).map_err(|what| Refusal::broken("invalid_blocks", &what))?;
    let named = blocks.iter().enumerate().map(|(index, block)| {
        let mut block = block.clone();
        if block.get("block_id").is_none() {
            block["block_id"] = format!("b{index}").into();
        }
        block
    });
    Ok(named.collect())
}

fn check(blocks: &[Value]) -> Result<(), String> {
    if blocks.len() > BLOCKS_MAX {
        return Err(format!("{} blocks, {BLOCKS_MAX} at most", blocks.len()));
    }
    let mut ids = BTreeSet::new();
    let mut markdown = 0;
    for (index, block) in blocks.iter().enumerate() {
        let kind = block["type"].as_str().unwrap_or_default();
        check_block(kind, block).map_err(|what| format!("{what} [json-pointer:/blocks/{index}]"))?;
        if kind == "markdown" {
            markdown += length(&block["text"]);
        }
        if let Some(id) = block.get("block_id") {
            up_to(id, 255).map_err(|what| format!("block_id: {what}"))?;
            if !ids.insert(id.as_str()) {
                return Err("two blocks with one block_id".to_owned());
            }
        }
    }
    match markdown > MARKDOWN_MAX {
        true => Err(format!("{markdown} characters of markdown, {MARKDOWN_MAX} at most")),
        false => Ok(()),
    }
}

fn check_block(kind: &str, block: &Value) -> Result<(), String> {
    match kind {
        "markdown" => up_to(&block["text"], MARKDOWN_MAX),
        "section" => section(block),
        "context" => list(&block["elements"], 10, |element| match element["type"].as_str() {
            Some("image") => image(element),
            _ => text(element, Written::Any, 3_000),
        }),
        "header" => text(&block["text"], Written::Plain, 150),
        "divider" => Ok(()),
        "image" => image(block),
        "actions" => {
            list(&block["elements"], 25, element)?;
            let ids: Vec<_> = elements(block).iter().filter_map(|element| element["action_id"].as_str()).collect();
            let different: BTreeSet<_> = ids.iter().collect();
            if different.len() < ids.len() {
                return Err("two elements with one action_id".to_owned());
            }
            Ok(())
        }
        "context_actions" => list(&block["elements"], 5, |element| match element["type"].as_str() {
            Some("feedback_buttons") => feedback(element),
            Some("icon_button") => text(&element["text"], Written::Plain, 75),
            other => Err(format!("an element of the kind {other:?}")),
        }),
        "input" => text(&block["label"], Written::Plain, 2_000),
        kind if OTHER_KINDS.contains(&kind) => Ok(()),
        kind => Err(format!("unsupported type: {kind}")),
    }
}

fn section(block: &Value) -> Result<(), String> {
    if block.get("text").is_none() && block.get("fields").is_none() {
        return Err("a section without text and fields".to_owned());
    }
    if let Some(shown) = block.get("text") {
        text(shown, Written::Any, 3_000)?;
    }
    if let Some(fields) = block.get("fields") {
        list(fields, 10, |field| text(field, Written::Any, 2_000))?;
    }
    block.get("accessory").map_or(Ok(()), |accessory| match accessory["type"].as_str() {
        Some("image") => image(accessory),
        _ => element(accessory),
    })
}

/// An element that can be pressed or chosen from.
fn element(element: &Value) -> Result<(), String> {
    if let Some(id) = element.get("action_id") {
        up_to(id, 255).map_err(|what| format!("action_id: {what}"))?;
    }
    match element["type"].as_str() {
        Some("button") => {
            text(&element["text"], Written::Plain, 75)?;
            if let Some(value) = element.get("value") {
                up_to(value, 2_000).map_err(|what| format!("value: {what}"))?;
            }
            if let Some(url) = element.get("url") {
                up_to(url, 3_000).map_err(|what| format!("url: {what}"))?;
            }
            match element.get("style").map(|style| style.as_str()) {
                None | Some(Some("primary" | "danger")) => Ok(()),
                _ => Err("a style that buttons do not have".to_owned()),
            }
        }
        Some(kind) if kind.ends_with("_select") || ["overflow", "datepicker", "checkboxes"].contains(&kind) => Ok(()),
        other => Err(format!("an element of the kind {other:?}")),
    }
}

fn feedback(element: &Value) -> Result<(), String> {
    if let Some(id) = element.get("action_id") {
        up_to(id, 255).map_err(|what| format!("action_id: {what}"))?;
    }
    for name in ["positive_button", "negative_button"] {
        let button = element.get(name).ok_or_else(|| format!("no {name}"))?;
        text(&button["text"], Written::Plain, 75)?;
        up_to(&button["value"], 2_000).map_err(|what| format!("value: {what}"))?;
    }
    Ok(())
}

fn image(image: &Value) -> Result<(), String> {
    if image.get("image_url").is_none() && image.get("slack_file").is_none() {
        return Err("an image without its place".to_owned());
    }
    up_to(&image["alt_text"], 2_000).map_err(|what| format!("alt_text: {what}"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Plain,
    Any,
}

/// A text object.
fn text(text: &Value, written: Written, characters_max: usize) -> Result<(), String> {
    match text["type"].as_str() {
        Some("plain_text") => {}
        Some("mrkdwn") if written == Written::Any => {}
        other => return Err(format!("a text of the kind {other:?}")),
    }
    up_to(&text["text"], characters_max)
}

fn list(list: &Value, count_max: usize, check: impl Fn(&Value) -> Result<(), String>) -> Result<(), String> {
    let elements = list.as_array().ok_or("no list of elements")?;
    if elements.is_empty() || elements.len() > count_max {
        return Err(format!("{} elements, 1 to {count_max} are taken", elements.len()));
    }
    elements.iter().try_for_each(check)
}

/// A text that is there and not too long; its words are never told.
fn up_to(text: &Value, characters_max: usize) -> Result<(), String> {
    match length(text) {
        0 => Err("no text".to_owned()),
        count if count > characters_max => Err(format!("{count} characters, {characters_max} at most")),
        _ => Ok(()),
    }
}

fn length(text: &Value) -> usize {
    text.as_str().map_or(0, |text| text.chars().count())
}

pub fn elements(block: &Value) -> &[Value] {
    block["elements"].as_array().map_or(&[], Vec::as_slice)
}
