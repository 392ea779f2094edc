//! Telegram's updates to the words of the house. Pure: nothing is asked, nothing is kept; an update that is not
//! understood is named and skipped, because everything behind it would wait for it.

mod update;
mod words;

#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde_json::Value;

use self::update::{RawChat, RawInline, RawMessage, RawPress, RawReply, RawUser};
use self::words::Words;
use super::TelegramIdentity;
use crate::chat::event::{Addressed, Button, ChatEvent, Incoming, Message, Opened, Press};
use crate::domain::{Chat, Language, MessageId, Platform, Principal, Thread};

/// What an update is for us.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    Event(Incoming),
    Inline(InlineQuery),
    /// Nothing to do, and why.
    Skipped(&'static str),
}

/// Somebody types `@bot …` in any chat.
#[derive(Clone, PartialEq)]
pub struct InlineQuery {
    pub id: String,
    pub person: Principal,
    pub text: String,
}

impl std::fmt::Debug for InlineQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InlineQuery").field("id", &self.id).field("person", &self.person).finish_non_exhaustive()
    }
}

/// The kinds of updates that Telegram is asked for.
pub const ALLOWED_UPDATES: [&str; 4] = ["message", "edited_message", "callback_query", "inline_query"];

pub fn decode(update: &Value, me: &TelegramIdentity) -> Decoded {
    let outcome = if let Some(raw) = update.get("message") {
        message(raw, me, false).map(Decoded::Event)
    } else if let Some(raw) = update.get("edited_message") {
        message(raw, me, true).map(Decoded::Event)
    } else if let Some(raw) = update.get("callback_query") {
        press(raw).map(Decoded::Event)
    } else if let Some(raw) = update.get("inline_query") {
        inline(raw).map(Decoded::Inline)
    } else {
        Err("of no kind that was asked for")
    };
    outcome.unwrap_or_else(Decoded::Skipped)
}

/// `Ok` or why it is skipped.
type Outcome<T> = Result<T, &'static str>;

fn read<T: DeserializeOwned>(raw: &Value) -> Outcome<T> {
    T::deserialize(raw).map_err(|_| "of an unknown shape")
}

fn message(raw: &Value, me: &TelegramIdentity, is_edit: bool) -> Outcome<Incoming> {
    let raw: RawMessage = read(raw)?;
    if let Some(to) = raw.migrate_to_chat_id {
        let chat = |id: i64| Chat { platform: Platform::Telegram, id: id.to_string() };
        let event = ChatEvent::Moved { from: chat(raw.chat.id), to: chat(to) };
        return Ok(Incoming { key: format!("telegram:{}:moved", raw.chat.id), event });
    }
    let author = author(&raw, me)?;
    let private = raw.chat.kind == "private";
    let attachments = raw.kinds.any();
    let (text, entities) = match (&raw.text, &raw.caption) {
        (Some(text), _) => (text.as_str(), &raw.entities),
        (None, Some(caption)) => (caption.as_str(), &raw.caption_entities),
        // Edits without a text: a live location that moves, a game score.
        (None, None) if !attachments || is_edit => return Err("a service message"),
        (None, None) => ("", &raw.entities),
    };
    let words = words::read(text, entities, me);
    let thread = thread(&raw.chat, raw.message_thread_id, raw.is_topic_message);
    let mut key = format!("telegram:{}:{}", raw.chat.id, raw.message_id);
    if words.command.as_deref() == Some("start") {
        if is_edit {
            return Err("an edited /start");
        }
        // In a group it says hello to every bot there.
        if !private {
            return Err("/start in a group");
        }
        let event = ChatEvent::Opened(Opened { thread, author: principal(author), language: language(author) });
        return Ok(Incoming { key, event });
    }
    if is_edit {
        key.push_str(&format!(":edit:{}", raw.edit_date.unwrap_or(raw.date)));
    } else if let (true, Some(album)) = (raw.text.is_none() && raw.caption.is_none(), &raw.media_group_id) {
        // Pictures that were sent together are one thing for the person: one event, whichever arrives first.
        key = format!("telegram:{}:album:{album}", raw.chat.id);
    }
    let addressed = addressed(&raw, &words, author, me, private);
    let told = Message {
        thread,
        id: MessageId(raw.message_id.to_string()),
        author: principal(author),
        by_bot: author.is_bot,
        external: false,
        text: words.text,
        private,
        addressed,
        command: words.command,
        attachments,
        language: language(author),
        sent_at: if is_edit { raw.edit_date.unwrap_or(raw.date) } else { raw.date },
    };
    let event = if is_edit { ChatEvent::Edited(told) } else { ChatEvent::Message(told) };
    Ok(Incoming { key, event })
}

/// The person or bot who wrote the message, unless nobody whom access rules could know.
fn author<'m>(raw: &'m RawMessage, me: &TelegramIdentity) -> Outcome<&'m RawUser> {
    if !matches!(raw.chat.kind.as_str(), "private" | "group" | "supergroup") {
        return Err("of a channel");
    }
    if raw.sender_chat.is_some() {
        return Err("in the name of a chat: an anonymous admin or a channel");
    }
    if raw.via_bot.as_ref().is_some_and(|bot| bot.id == me.id) {
        return Err("a result of our own inline mode");
    }
    raw.from.as_ref().ok_or("of nobody")
}

fn addressed(raw: &RawMessage, words: &Words, author: &RawUser, me: &TelegramIdentity, private: bool) -> Addressed {
    if words.is_for_another_bot && !words.mentions_bot {
        return Addressed::SomebodyElse;
    }
    let replied = answered_person(raw);
    if private || words.mentions_bot || words.command.is_some() || replied == Some(me.id) {
        return Addressed::Bot;
    }
    // Who answers oneself goes on talking to whom one talked to.
    let is_for_another = words.mentions_others || replied.is_some_and(|person| person != author.id);
    if is_for_another { Addressed::SomebodyElse } else { Addressed::Nobody }
}

/// Who wrote the message that is answered. In a forum topic every message that answers none "answers" the one that
/// opened the topic.
fn answered_person(raw: &RawMessage) -> Option<i64> {
    let reply: &RawReply = raw.reply_to_message.as_ref()?;
    let opens_topic = reply.forum_topic_created.is_some()
        || (raw.is_topic_message && raw.message_thread_id == Some(reply.message_id));
    if opens_topic { None } else { Some(reply.from.as_ref().map_or(0, |user| user.id)) }
}

fn press(raw: &Value) -> Outcome<Incoming> {
    let raw: RawPress = read(raw)?;
    let message = raw.message.ok_or("a button of an inline message")?;
    let button = raw.data.as_deref().and_then(Button::from_code).ok_or("an unknown button")?;
    let press = Press {
        thread: thread(&message.chat, message.message_thread_id, message.is_topic_message),
        message: MessageId(message.message_id.to_string()),
        author: principal(&raw.from),
        external: false,
        button,
        language: language(&raw.from),
        receipt: Some(raw.id.clone()),
    };
    Ok(Incoming { key: format!("telegram:press:{}", raw.id), event: ChatEvent::Pressed(press) })
}

fn inline(raw: &Value) -> Outcome<InlineQuery> {
    let raw: RawInline = read(raw)?;
    Ok(InlineQuery { id: raw.id, person: principal(&raw.from), text: raw.query.trim().to_owned() })
}

/// A thread id is also told in groups without topics, where it is that of a chain of replies.
fn thread(chat: &RawChat, thread: Option<i64>, is_topic: bool) -> Thread {
    let chat = Chat { platform: Platform::Telegram, id: chat.id.to_string() };
    Thread { chat, id: thread.filter(|_| is_topic).map(|id| id.to_string()) }
}

fn principal(user: &RawUser) -> Principal {
    Principal { platform: Platform::Telegram, id: user.id.to_string() }
}

fn language(user: &RawUser) -> Option<Language> {
    let code = user.language_code.as_deref()?;
    let primary = code.split(['-', '_']).next().unwrap_or_default();
    Some(if primary.eq_ignore_ascii_case("it") { Language::Italian } else { Language::English })
}
