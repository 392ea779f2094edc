//! What comes over the socket, as events of people. Pure: any bytes in, no panic. Slack's JSON is read by hand, because a
//! field of a new shape must cost us that field and not the event.

mod interaction;
mod text;

use serde_json::Value;

use super::SlackIdentity;
use crate::chat::event::Button;
use crate::chat::event::{Addressed, ChatEvent, Incoming, Message, Opened, Press};
use crate::domain::{Chat, MessageId, Platform, Principal, Thread};

/// `callback_id` of the message shortcut in the app's manifest.
pub const SHORTCUT: &str = "ask_cervella";

/// First words of `/cervella …` that name a command; anything else is a question.
pub const COMMANDS: [&str; 13] = [
    "ask", "sources", "lang", "status", "help", "forget", "about", "reindex", "pause", "resume", "allow", "deny", "who",
];

/// One frame of Socket Mode.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The socket is ready.
    Hello,
    /// Slack is going to close the socket.
    Disconnect { reason: String },
    /// To be acknowledged by its id, once `incoming` is written down.
    Envelope { id: String, incoming: Option<Box<Incoming>> },
    /// Nothing that is known.
    Other,
}

/// Reads a frame as it came.
pub fn decode(frame: &[u8], identity: &SlackIdentity) -> Frame {
    let Ok(value) = serde_json::from_slice::<Value>(frame) else { return Frame::Other };
    match word(&value, "type") {
        "hello" => Frame::Hello,
        "disconnect" => {
            let reason = word(&value, "reason");
            Frame::Disconnect {
                reason: reason.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(60).collect(),
            }
        }
        kind => match filled(&value, "envelope_id") {
            Some(id) => Frame::Envelope { id: id.to_owned(), incoming: payload(kind, &value, identity).map(Box::new) },
            None => Frame::Other,
        },
    }
}

fn payload(kind: &str, envelope: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    let payload = envelope.get("payload")?;
    match kind {
        "events_api" => event(payload.get("event")?, identity),
        "slash_commands" => interaction::command(payload, identity),
        "interactive" => interaction::interaction(payload, identity),
        _ => None,
    }
}

/// An event of the Events API.
fn event(event: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    match word(event, "type") {
        "message" => message_event(event, identity),
        "app_mention" => said(event, event, identity),
        "assistant_thread_started" => {
            let started = event.get("assistant_thread")?;
            let channel = filled(started, "channel_id")?;
            let thread = filled(started, "thread_ts")?;
            let author = person(filled(started, "user_id")?);
            let opened = Opened { thread: thread_of(channel, Some(thread)), author, language: None };
            Some(Incoming { key: format!("slack:{channel}:{thread}:opened"), event: ChatEvent::Opened(opened) })
        }
        "agent_session_stopped" => stopped(event),
        _ => None,
    }
}

fn message_event(event: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    match word(event, "subtype") {
        "" | "file_share" | "thread_broadcast" | "me_message" | "bot_message" => said(event, event, identity),
        "message_changed" => changed(event, identity),
        "message_deleted" => {
            let before = event.get("previous_message").unwrap_or(&Value::Null);
            let ts = filled(event, "deleted_ts").or_else(|| filled(before, "ts"))?;
            if by_bot(before, identity) { None } else { deleted(filled(event, "channel")?, ts) }
        }
        // Joins, topics, pins and the like: nobody says anything.
        _ => None,
    }
}

/// A message in `body`; the event around it knows the channel.
fn said(event: &Value, body: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    let message = message(event, body, identity)?;
    let key = format!("slack:{}:{}", message.thread.chat.id, message.id);
    Some(Incoming { key, event: ChatEvent::Message(message) })
}

fn message(event: &Value, body: &Value, identity: &SlackIdentity) -> Option<Message> {
    let channel = filled(event, "channel")?;
    let ts = filled(body, "ts")?;
    let by_bot = by_bot(body, identity);
    let author = filled(body, "user").or_else(|| filled(body, "bot_id"))?;
    let private = word(event, "channel_type") == "im" || channel.starts_with('D');
    let plain = text::plain(word(body, "text"), &identity.user_id);
    let addressed = match (plain.mentions_bot, plain.mentions_others) {
        (true, _) => Addressed::Bot,
        (false, true) => Addressed::SomebodyElse,
        (false, false) => Addressed::Nobody,
    };
    let thread = filled(body, "thread_ts").or(if private { None } else { Some(ts) });
    Some(Message {
        thread: thread_of(channel, thread),
        id: MessageId(ts.to_owned()),
        author: person(author),
        by_bot,
        external: is_external(body, identity),
        text: plain.text,
        private,
        addressed,
        command: None,
        attachments: has_files(body),
        language: None,
        sent_at: seconds(ts),
    })
}

/// Whether the author belongs to another workspace: channels can be shared between companies.
fn is_external(body: &Value, identity: &SlackIdentity) -> bool {
    let teams = ["user_team", "source_team"].into_iter().filter_map(|name| filled(body, name));
    !identity.team_id.is_empty() && teams.into_iter().any(|team| team != identity.team_id)
}

fn changed(event: &Value, identity: &SlackIdentity) -> Option<Incoming> {
    let after = event.get("message")?;
    let before = event.get("previous_message").unwrap_or(&Value::Null);
    let ts = filled(after, "ts")?;
    // A deleted message that has answers below it stays as a stone, which is Slackbot's.
    if word(after, "subtype") == "tombstone" {
        return if by_bot(before, identity) { None } else { deleted(filled(event, "channel")?, ts) };
    }
    if by_bot(after, identity) {
        return None;
    }
    // Unfurled links, new answers in a thread and the like change a message too, but not what it says.
    let same = before.get("text").and_then(Value::as_str) == Some(word(after, "text"));
    if same || (before.is_null() && after.get("edited").is_none()) {
        return None;
    }
    let mut message = message(event, after, identity)?;
    let edited = after
        .get("edited")
        .and_then(|edited| filled(edited, "ts"))
        .or_else(|| filled(event, "event_ts"))
        .or_else(|| filled(event, "ts"))?;
    message.sent_at = seconds(edited);
    let key = format!("slack:{}:{ts}:edit:{edited}", message.thread.chat.id);
    Some(Incoming { key, event: ChatEvent::Edited(message) })
}

fn deleted(channel: &str, ts: &str) -> Option<Incoming> {
    let event = ChatEvent::Deleted { chat: chat(channel), message: MessageId(ts.to_owned()) };
    Some(Incoming { key: format!("slack:{channel}:{ts}:deleted"), event })
}

/// Slack's own stop button, which it shows while a stream is written.
fn stopped(event: &Value) -> Option<Incoming> {
    let channel = filled(event, "channel")?;
    let streams = event.get("streaming_message_ts").and_then(Value::as_array);
    let message = streams.and_then(|streams| streams.first()).and_then(Value::as_str);
    let thread = filled(event, "thread_ts");
    let message = message.filter(|ts| !ts.is_empty()).or(thread)?;
    let moment = filled(event, "event_ts").unwrap_or(message);
    let press = Press {
        thread: thread_of(channel, thread),
        message: MessageId(message.to_owned()),
        author: person(filled(event, "user")?),
        external: false,
        button: Button::Stop,
        language: None,
        receipt: None,
    };
    Some(Incoming { key: format!("slack:{channel}:{message}:press:{moment}"), event: ChatEvent::Pressed(press) })
}

fn by_bot(body: &Value, identity: &SlackIdentity) -> bool {
    let user = word(body, "user");
    filled(body, "bot_id").is_some()
        || word(body, "subtype") == "bot_message"
        || body.get("bot_profile").is_some_and(|profile| !profile.is_null())
        || user == "USLACKBOT"
        || (!user.is_empty() && user == identity.user_id)
}

fn has_files(body: &Value) -> bool {
    body.get("files").and_then(Value::as_array).is_some_and(|files| !files.is_empty())
}

/// The field's text, empty when there is none.
fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The field's text, if there is one.
fn filled<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    Some(word(value, name)).filter(|text| !text.is_empty())
}

fn person(id: &str) -> Principal {
    Principal { platform: Platform::Slack, id: id.to_owned() }
}

fn chat(channel: &str) -> Chat {
    Chat { platform: Platform::Slack, id: channel.to_owned() }
}

fn thread_of(channel: &str, thread: Option<&str>) -> Thread {
    Thread { chat: chat(channel), id: thread.map(str::to_owned) }
}

/// Whole seconds of a `ts`.
fn seconds(ts: &str) -> i64 {
    ts.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
