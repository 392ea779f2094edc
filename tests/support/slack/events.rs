//! Events and interactions as Slack words them: https://docs.slack.dev/reference/events

use serde_json::{Value, json};

use super::message::Message;
use super::render::Button;
use super::world::{APP_ID, BOT_USER, Channel, ChannelKind, TEAM, TEAM_NAME, User};

/// `message`, for something that was said.
pub fn said(channel: &Channel, message: &Message) -> Value {
    let mut event = message.json(TEAM, true);
    event["channel"] = json!(channel.id);
    event["channel_type"] = json!(channel.kind.name());
    event["event_ts"] = json!(message.ts);
    event
}

/// `app_mention`, which comes in addition to the `message` where the bot is mentioned outside of direct messages.
pub fn mention(channel: &Channel, message: &Message) -> Option<Value> {
    if channel.kind == ChannelKind::Im || message.user == BOT_USER || !mentions_bot(&message.text) {
        return None;
    }
    let mut event = said(channel, message);
    event["type"] = json!("app_mention");
    if let Some(event) = event.as_object_mut() {
        event.remove("channel_type");
        event.remove("subtype");
        event.remove("parent_user_id");
    }
    Some(event)
}

pub fn mentions_bot(text: &str) -> bool {
    text.contains(&format!("<@{BOT_USER}>")) || text.contains(&format!("<@{BOT_USER}|"))
}

pub fn changed(channel: &Channel, message: &Message, before: &Value, moment: &str) -> Value {
    json!({
        "type": "message", "subtype": "message_changed", "hidden": true, "channel": channel.id,
        "channel_type": channel.kind.name(), "ts": moment, "event_ts": moment,
        "message": message.json(TEAM, true), "previous_message": before,
    })
}

/// The stone that stays of a deleted message which has answers.
pub fn tombstone(channel: &Channel, message: &Message, before: &Value, moment: &str) -> Value {
    let stone = json!({
        "type": "message", "subtype": "tombstone", "user": "USLACKBOT", "text": "This message was deleted.",
        "hidden": true, "ts": message.ts, "thread_ts": message.ts,
    });
    json!({
        "type": "message", "subtype": "message_changed", "hidden": true, "channel": channel.id,
        "channel_type": channel.kind.name(), "ts": moment, "event_ts": moment,
        "message": stone, "previous_message": before,
    })
}

pub fn deleted(channel: &Channel, ts: &str, before: &Value, moment: &str) -> Value {
    json!({
        "type": "message", "subtype": "message_deleted", "hidden": true, "channel": channel.id,
        "channel_type": channel.kind.name(), "ts": moment, "event_ts": moment, "deleted_ts": ts,
        "previous_message": before,
    })
}

/// `assistant_thread_started` or `assistant_thread_context_changed`.
pub fn assistant(kind: &str, place: &Assistant<'_>, moment: &str) -> Value {
    let context = match place.looks_at {
        Some(channel) => json!({"channel_id": channel, "team_id": TEAM, "enterprise_id": null}),
        None => json!({}),
    };
    json!({
        "type": kind,
        "assistant_thread": {
            "user_id": place.user, "context": context, "channel_id": place.channel, "thread_ts": place.thread_ts,
        },
        "event_ts": moment,
    })
}

/// The panel of a person.
pub struct Assistant<'a> {
    pub user: &'a str,
    pub channel: &'a str,
    pub thread_ts: &'a str,
    /// The channel that is open beside it.
    pub looks_at: Option<&'a str>,
}

/// An interaction of a person.
pub struct Interaction<'a> {
    pub user: &'a User,
    pub channel: &'a Channel,
    pub trigger: &'a str,
    pub response_url: String,
    pub moment: String,
}

impl Interaction<'_> {
    fn json(&self, kind: &str) -> Value {
        json!({
            "type": kind, "token": "verification", "trigger_id": self.trigger, "api_app_id": APP_ID,
            "team": {"id": TEAM, "domain": "example"}, "enterprise": null, "is_enterprise_install": false,
            "user": {"id": self.user.id, "username": self.user.name, "name": self.user.name, "team_id": TEAM},
            "channel": {"id": self.channel.id, "name": match self.channel.kind {
                ChannelKind::Im => "directmessage",
                _ => &self.channel.name,
            }},
            "response_url": self.response_url,
        })
    }

    pub fn block_actions(&self, message: &Message, button: &Button) -> Value {
        let mut payload = self.json("block_actions");
        let mut container = json!({
            "type": "message", "message_ts": message.ts, "channel_id": self.channel.id, "is_ephemeral": false,
        });
        if let Some(thread) = &message.thread_ts {
            container["thread_ts"] = json!(thread);
        }
        payload["container"] = container;
        payload["message"] = message.json(TEAM, false);
        payload["state"] = json!({"values": {}});
        let mut action = json!({
            "type": if button.feedback { "feedback_buttons" } else { "button" },
            "action_id": button.action_id, "block_id": button.block_id, "action_ts": self.moment,
            "text": {"type": "plain_text", "text": button.label, "emoji": true},
        });
        if !button.value.is_empty() {
            action["value"] = json!(button.value);
        }
        payload["actions"] = json!([action]);
        payload
    }

    pub fn message_action(&self, message: &Message, callback_id: &str) -> Value {
        let mut payload = self.json("message_action");
        payload["callback_id"] = json!(callback_id);
        payload["message_ts"] = json!(message.ts);
        payload["action_ts"] = json!(self.moment);
        payload["message"] = message.json(TEAM, false);
        payload
    }

    pub fn slash_command(&self, command: &str, text: &str) -> Value {
        json!({
            "token": "verification", "team_id": TEAM, "team_domain": TEAM_NAME.to_lowercase(),
            "channel_id": self.channel.id, "channel_name": match self.channel.kind {
                ChannelKind::Im => "directmessage",
                ChannelKind::Private => "privategroup",
                _ => &self.channel.name,
            },
            "user_id": self.user.id, "user_name": self.user.name, "command": command, "text": text,
            "api_app_id": APP_ID, "is_enterprise_install": "false", "response_url": self.response_url,
            "trigger_id": self.trigger,
        })
    }
}
