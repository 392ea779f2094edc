//! What the bot writes: `sendMessage`, the edits, `deleteMessage`, reactions.

use serde_json::{Value, json};

use super::html;
use super::message::{Button, Keyboard, Version};
use super::places::{ChatId, ChatKind, Standing};
use super::reply::Refusal;
use super::request::Parameters;
use super::state::{Draft, State};
use super::text::Rich;

pub const TEXT_UNITS_MAX: usize = 4096;
const CALLBACK_DATA_BYTES_MAX: usize = 64;

/// The text of a call, its markup read.
pub fn rich(parameters: &Parameters, field: &str) -> Result<Rich, Refusal> {
    let text = parameters.text(field).unwrap_or_default().replace('\r', "");
    let rich = match (parameters.text("parse_mode").as_deref(), parameters.json("entities")) {
        (Some(mode), _) if mode.eq_ignore_ascii_case("html") => html::parse(&text).map_err(Refusal::Markup)?,
        (Some(""), None) | (None, None) => Rich::typed(&text),
        (None, Some(Value::Array(entities))) => html::with_entities(&text, &entities).map_err(Refusal::Markup)?,
        (None, Some(_)) => return Err(Refusal::Markup("expected an Array of MessageEntity".to_owned())),
        (Some(_), _) => return Err(Refusal::ParseMode),
    };
    if rich.text.is_empty() { Err(Refusal::EmptyText) } else { Ok(rich) }
}

/// The buttons below a message. Keyboards of other kinds are taken without effect.
pub fn keyboard(parameters: &Parameters) -> Result<Keyboard, Refusal> {
    let Some(markup) = parameters.json("reply_markup") else { return Ok(Keyboard::new()) };
    if !markup.is_object() {
        return Err(Refusal::ReplyMarkup);
    }
    let Some(rows) = markup["inline_keyboard"].as_array() else { return Ok(Keyboard::new()) };
    let rows = rows.iter().map(|row| row.as_array().ok_or(Refusal::ReplyMarkup)?.iter().map(button).collect());
    let rows: Result<Keyboard, Refusal> = rows.collect();
    Ok(rows?.into_iter().filter(|row| !row.is_empty()).collect())
}

fn button(json: &Value) -> Result<Button, Refusal> {
    const OTHERS: &[&str] = &[
        "web_app",
        "login_url",
        "switch_inline_query",
        "switch_inline_query_current_chat",
        "switch_inline_query_chosen_chat",
        "copy_text",
        "pay",
    ];
    let field = |name: &str| json[name].as_str().map(str::to_owned);
    let label = field("text").filter(|label| !label.trim().is_empty()).ok_or(Refusal::TextButton)?;
    let (data, url) = (field("callback_data"), field("url"));
    if let Some(data) = &data
        && !(1..=CALLBACK_DATA_BYTES_MAX).contains(&data.len())
    {
        return Err(Refusal::ButtonData);
    }
    if let Some(url) = &url
        && !["http://", "https://", "tg://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
    {
        return Err(Refusal::ButtonUrl(url.clone()));
    }
    if data.is_none() && url.is_none() && !OTHERS.iter().any(|name| !json[*name].is_null()) {
        return Err(Refusal::TextButton);
    }
    Ok(Button { label, data, url, json: json.clone() })
}

fn preview(parameters: &Parameters, rich: &Rich) -> bool {
    let options = parameters.json("link_preview_options").unwrap_or_default();
    let off = options["is_disabled"].as_bool().unwrap_or(false) || parameters.flag("disable_web_page_preview");
    rich.linked() && !off
}

impl State {
    pub fn send_message(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let rich = rich(parameters, "text")?;
        if rich.units() > TEXT_UNITS_MAX {
            return Err(Refusal::TooLong);
        }
        let buttons = keyboard(parameters)?;
        self.room(chat).writable()?;
        let thread = self.thread(chat, parameters)?;
        let reply_to = self.replied(chat, parameters)?;
        self.admit(chat, "sendMessage")?;
        let preview = preview(parameters, &rich);
        let draft = Draft { buttons, preview, reply_to, thread, ..Draft::text(self.bot, rich) };
        let id = self.post(chat, draft);
        Ok(self.message_json(chat, &self.room(chat).messages[&id], true))
    }

    /// The topic that a call names. Where there are no topics, there is no thread to write into.
    pub fn thread(&self, chat: ChatId, parameters: &Parameters) -> Result<Option<i64>, Refusal> {
        let Some(thread) = parameters.integer("message_thread_id").filter(|thread| *thread != 0) else {
            return Ok(None);
        };
        let room = self.room(chat);
        match room.topics.get(&thread) {
            Some(topic) if topic.closed && room.bot != Standing::Admin => Err(Refusal::TopicClosed),
            Some(_) if room.kind == ChatKind::Forum => Ok(Some(thread)),
            _ => Err(Refusal::ThreadNotFound),
        }
    }

    fn replied(&self, chat: ChatId, parameters: &Parameters) -> Result<Option<i64>, Refusal> {
        let reply = parameters.json("reply_parameters").unwrap_or_default();
        let Some(id) = reply["message_id"].as_i64().or_else(|| parameters.integer("reply_to_message_id")) else {
            return Ok(None);
        };
        let lenient = reply["allow_sending_without_reply"].as_bool().unwrap_or(false)
            || parameters.flag("allow_sending_without_reply");
        match self.room(chat).messages.get(&id) {
            Some(message) if !message.deleted => Ok(Some(id)),
            _ if lenient => Ok(None),
            _ => Err(Refusal::ReplyNotFound),
        }
    }

    pub fn edit_message_text(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let rich = rich(parameters, "text")?;
        if rich.units() > TEXT_UNITS_MAX {
            return Err(Refusal::EditTooLong);
        }
        // An edit without a keyboard takes the keyboard away.
        let buttons = keyboard(parameters)?;
        let preview = preview(parameters, &rich);
        self.edit(chat, parameters, "editMessageText", |_| (rich, buttons, preview))
    }

    pub fn edit_message_reply_markup(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let buttons = keyboard(parameters)?;
        self.edit(chat, parameters, "editMessageReplyMarkup", |now| (now.rich.clone(), buttons, now.preview))
    }

    fn edit(
        &mut self,
        chat: ChatId,
        parameters: &Parameters,
        method: &str,
        content: impl FnOnce(&Version) -> (Rich, Keyboard, bool),
    ) -> Result<Value, Refusal> {
        let id = parameters.integer("message_id").ok_or(Refusal::MessageMissing)?;
        self.room(chat).writable()?;
        self.admit(chat, method)?;
        let (bot, unix) = (self.bot, self.unix());
        let message = self.room_mut(chat).messages.get_mut(&id).filter(|message| !message.deleted);
        let message = message.ok_or(Refusal::EditNotFound)?;
        if message.author != bot || message.service.is_some() {
            return Err(Refusal::CannotEdit);
        }
        let now = message.now();
        let (rich, buttons, preview) = content(now);
        if rich == now.rich && buttons == now.buttons {
            return Err(Refusal::NotModified);
        }
        message.versions.push(Version::now(rich, buttons, preview));
        message.edited = Some(unix);
        Ok(self.message_json(chat, &self.room(chat).messages[&id], true))
    }

    pub fn delete_message(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let id = parameters.integer("message_id").ok_or(Refusal::MessageMissing)?;
        self.delete(chat, id)?;
        Ok(json!(true))
    }

    /// Passes over those that cannot be found or deleted.
    pub fn delete_messages(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let list = parameters.json("message_ids").unwrap_or_default();
        for id in list.as_array().ok_or(Refusal::MessageMissing)?.iter().filter_map(Value::as_i64) {
            let _ = self.delete(chat, id);
        }
        Ok(json!(true))
    }

    fn delete(&mut self, chat: ChatId, id: i64) -> Result<(), Refusal> {
        let bot = self.bot;
        let room = self.room_mut(chat);
        room.writable()?;
        let may_all = room.kind == ChatKind::Private || room.bot == Standing::Admin;
        let message = room.messages.get_mut(&id).filter(|message| !message.deleted);
        let message = message.ok_or(Refusal::DeleteNotFound)?;
        if !may_all && message.author != bot {
            return Err(Refusal::CannotDelete);
        }
        message.deleted = true;
        Ok(())
    }

    pub fn set_message_reaction(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let id = parameters.integer("message_id").ok_or(Refusal::MessageMissing)?;
        let list = parameters.json("reaction").unwrap_or_else(|| json!([]));
        let list = list.as_array().ok_or(Refusal::ReactionInvalid)?;
        let emoji = |reaction: &Value| reaction["emoji"].as_str().map(str::to_owned).ok_or(Refusal::ReactionInvalid);
        let reactions: Vec<String> = list.iter().map(emoji).collect::<Result<_, _>>()?;
        // A bot has one reaction for a message.
        if reactions.len() > 1 {
            return Err(Refusal::ReactionInvalid);
        }
        let room = self.room_mut(chat);
        room.writable()?;
        let message = room.messages.get_mut(&id).filter(|message| !message.deleted);
        message.ok_or(Refusal::ReactNotFound)?.reactions = reactions;
        Ok(json!(true))
    }
}
