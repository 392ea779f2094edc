//! Slash commands, the message shortcut and buttons.

use serde_json::Value;

use super::{COMMANDS, SHORTCUT, filled, has_files, person, text, thread_of, word};
use crate::chat::clock;
use crate::chat::event::{Addressed, Button, ChatEvent, Incoming, Message, Press};
use crate::chat::slack::SlackIdentity;
use crate::domain::MessageId;

const ADMIN_COMMANDS: [&str; 3] = ["allow", "deny", "who"];

/// `/cervella [command] text`. There is no message of the person's: the trigger stands for it, and the answer is a
/// message of its own in the channel.
pub(super) fn command(payload: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    let channel = filled(payload, "channel_id")?;
    let trigger = filled(payload, "trigger_id")?;
    let said = text::plain(word(payload, "text"), &identity.user_id).text;
    let (first, rest) = said.split_once(char::is_whitespace).unwrap_or((&said, ""));
    let first = first.to_lowercase();
    let (command, text) = match COMMANDS.contains(&first.as_str()) {
        // These are about people and channels, which are known by their ids.
        true if ADMIN_COMMANDS.contains(&first.as_str()) => {
            let said = text::plain_with_ids(word(payload, "text"), &identity.user_id);
            let rest = said.split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
            (first, rest.trim().to_owned())
        }
        true => (first, rest.trim().to_owned()),
        false => ("ask".to_owned(), said),
    };
    let message = Message {
        thread: thread_of(channel, None),
        id: MessageId(trigger.to_owned()),
        author: person(filled(payload, "user_id")?),
        by_bot: false,
        external: false,
        text,
        private: channel.starts_with('D'),
        addressed: Addressed::Bot,
        command: Some(command),
        attachments: false,
        language: None,
        // Commands carry no time of their own; Slack gives them up when they are not taken at once.
        sent_at: clock::now(),
    };
    Some(Incoming { key: format!("slack:{channel}:command:{trigger}"), event: ChatEvent::Message(message) })
}

pub(super) fn interaction(payload: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    match word(payload, "type") {
        "block_actions" => press(payload, identity),
        "message_action" if word(payload, "callback_id") == SHORTCUT => shortcut(payload, identity),
        _ => None,
    }
}

fn press(payload: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    let action = payload.get("actions")?.as_array()?.iter().find(|action| button(action).is_some())?;
    let button = button(action)?;
    let container = payload.get("container").unwrap_or(&Value::Null);
    let body = payload.get("message").unwrap_or(&Value::Null);
    let channel =
        payload.get("channel").and_then(|channel| filled(channel, "id")).or_else(|| filled(container, "channel_id"))?;
    let ts = filled(container, "message_ts").or_else(|| filled(body, "ts"))?;
    let thread = filled(body, "thread_ts").or_else(|| filled(container, "thread_ts")).or(if channel.starts_with('D') {
        None
    } else {
        Some(ts)
    });
    let moment = filled(action, "action_ts").or_else(|| filled(payload, "trigger_id"))?;
    let press = Press {
        thread: thread_of(channel, thread),
        message: MessageId(ts.to_owned()),
        author: person(filled(payload.get("user")?, "id")?),
        external: is_external_user(payload, identity),
        button,
        language: None,
        receipt: None,
    };
    Some(Incoming { key: format!("slack:{channel}:{ts}:press:{moment}"), event: ChatEvent::Pressed(press) })
}

/// Whether whoever pressed or chose belongs to another workspace: channels can be shared between companies.
fn is_external_user(payload: &Value, identity: &SlackIdentity) -> bool {
    let team = payload.get("user").and_then(|user| filled(user, "team_id"));
    !identity.team_id.is_empty() && team.is_some_and(|team| team != identity.team_id)
}

/// Feedback buttons share one action and differ in their value; other buttons have both.
fn button(action: &Value) -> Option<Button> {
    Button::from_code(word(action, "value")).or_else(|| Button::from_code(word(action, "action_id")))
}

/// "Ask Cervella" on any message: its text is the question of whoever chose it, answered in its thread.
fn shortcut(payload: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    let body = payload.get("message")?;
    let channel = filled(payload.get("channel")?, "id")?;
    let ts = filled(body, "ts").or_else(|| filled(payload, "message_ts"))?;
    let trigger = filled(payload, "trigger_id").or_else(|| filled(payload, "action_ts"))?;
    let message = Message {
        thread: thread_of(channel, filled(body, "thread_ts").or(Some(ts))),
        id: MessageId(ts.to_owned()),
        author: person(filled(payload.get("user")?, "id")?),
        by_bot: false,
        external: is_external_user(payload, identity),
        text: text::plain(word(body, "text"), &identity.user_id).text,
        private: channel.starts_with('D'),
        addressed: Addressed::Bot,
        command: None,
        attachments: has_files(body),
        language: None,
        sent_at: filled(payload, "action_ts").map_or_else(clock::now, super::seconds),
    };
    Some(Incoming { key: format!("slack:{channel}:{ts}:shortcut:{trigger}"), event: ChatEvent::Message(message) })
}
