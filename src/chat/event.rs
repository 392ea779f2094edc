//! What the platforms tell, in one form for all of them. An event is written to the inbox in this form before it is
//! acknowledged, so its fields may be added to but never change their meaning.

use serde::{Deserialize, Serialize};

use crate::domain::{Chat, Language, MessageId, Principal, Thread};

/// An event on its way into the inbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Equal for every delivery of what is one event for people: a redelivery, the same envelope over two sockets, a
    /// mention that arrives as a message as well. Made of the platform, the chat and the message.
    pub key: String,
    pub event: ChatEvent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatEvent {
    Message(Message),
    /// The message has a new text; `message.id` is that of the old one.
    Edited(Message),
    Deleted {
        chat: Chat,
        message: MessageId,
    },
    Pressed(Press),
    /// A person opened a conversation without a question: Slack's assistant panel, Telegram's `/start`.
    Opened(Opened),
    /// A chat goes on under another id: Telegram's groups that become supergroups.
    Moved {
        from: Chat,
        to: Chat,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Where its answer goes: on Slack the thread of the message or, at the top of a channel, the one it starts; in a
    /// direct message and on Telegram the chat or topic itself.
    pub thread: Thread,
    pub id: MessageId,
    pub author: Principal,
    /// Written by a bot, this one included.
    pub by_bot: bool,
    /// Of another organisation, in a chat that is shared with it.
    #[serde(default)]
    pub external: bool,
    /// Plain text: the mention of this bot removed, other mentions as `@name` or `@id`, entities decoded.
    pub text: String,
    /// One person and the bot: everything is for the bot.
    pub private: bool,
    pub addressed: Addressed,
    /// `/ask …`, `/cervella ask …`: the text holds the rest.
    pub command: Option<String>,
    /// Carries files, pictures, voice.
    pub attachments: bool,
    /// The language the person has set in the platform, as a guess where the text does not tell.
    pub language: Option<Language>,
    /// Unix time in seconds at which the platform took the message.
    pub sent_at: i64,
}

/// Whom a message is for, as far as its form tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addressed {
    /// Mentions the bot, answers one of its messages, or is a command.
    Bot,
    /// Mentions somebody else, or answers somebody else's message.
    SomebodyElse,
    /// Neither.
    Nobody,
}

/// A button under one of the bot's messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Press {
    pub thread: Thread,
    /// The bot's message that the button belongs to.
    pub message: MessageId,
    pub author: Principal,
    /// They belong to another organisation.
    #[serde(default)]
    pub external: bool,
    pub button: Button,
    pub language: Option<Language>,
    /// What the platform wants to have confirmed: Telegram's callback query id.
    pub receipt: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Button {
    Helpful,
    NotHelpful,
    Sources,
    Stop,
}

impl Button {
    pub const ALL: [Button; 4] = [Button::Helpful, Button::NotHelpful, Button::Sources, Button::Stop];

    /// As the platforms carry it: Slack's `action_id` and `value`, Telegram's `callback_data`.
    pub fn code(self) -> &'static str {
        match self {
            Button::Helpful => "helpful",
            Button::NotHelpful => "not_helpful",
            Button::Sources => "sources",
            Button::Stop => "stop",
        }
    }

    pub fn from_code(code: &str) -> Option<Self> {
        Button::ALL.into_iter().find(|button| button.code() == code)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    pub thread: Thread,
    pub author: Principal,
    pub language: Option<Language>,
}
