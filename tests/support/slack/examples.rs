//! Blocks at their limits, and just beyond them.

use serde_json::{Value, json};

fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text})
}

fn button(label: &str, id: &str) -> Value {
    json!({"type": "button", "action_id": id, "value": "v", "text": plain(label)})
}

fn feedback(label: &str) -> Value {
    let button = |label: &str, value: &str| json!({"text": plain(label), "value": value});
    let buttons = json!({"type": "feedback_buttons", "action_id": "f",
        "positive_button": button(label, "helpful"), "negative_button": button("No", "not_helpful")});
    json!({"type": "context_actions", "elements": [buttons]})
}

fn context(count: usize) -> Value {
    let element = json!({"type": "mrkdwn", "text": "[1] <https://example.com|a>"});
    json!({"type": "context", "elements": vec![element; count]})
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

/// Where Slack's limits are published and the official models know them, they have to agree with what is said here.
pub fn all() -> Vec<(Value, bool)> {
    let actions = |buttons: Vec<Value>| json!([{"type": "actions", "elements": buttons}]);
    vec![
        (json!([{"type": "markdown", "text": "**22** giorni"}]), true),
        (json!([{"type": "markdown", "text": "x".repeat(12_000)}]), true),
        (json!([{"type": "markdown", "text": "x".repeat(12_001)}]), false),
        (json!([section(&"x".repeat(3_000))]), true),
        (json!([section(&"x".repeat(3_001))]), false),
        (json!([{"type": "section"}]), false),
        (json!([context(10)]), true),
        (json!([context(11)]), false),
        (json!([{"type": "header", "text": plain(&"x".repeat(150))}]), true),
        (json!([{"type": "header", "text": plain(&"x".repeat(151))}]), false),
        (actions(vec![button(&"x".repeat(75), "a"), button("b", &"x".repeat(255))]), true),
        (actions(vec![button(&"x".repeat(76), "a")]), false),
        (actions(vec![button("a", &"x".repeat(256))]), false),
        (json!([feedback("Utile")]), true),
        (json!([feedback(&"x".repeat(76))]), false),
        (json!([{"type": "divider"}, {"type": "markdown", "text": "a"}, context(1), feedback("a")]), true),
        (json!([{"type": "no_such_block"}]), false),
        (Value::from(vec![json!({"type": "divider"}); 50]), true),
        (Value::from(vec![json!({"type": "divider"}); 51]), false),
    ]
}
