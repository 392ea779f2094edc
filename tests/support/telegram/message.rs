//! A message of a chat, as it is kept, as the API tells it and as a test reads it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::places::{ChatId, ChatKind, PersonId};
use super::state::State;
use super::text::Rich;

/// What came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    Picture,
    Voice,
    Document { name: String, media_type: String },
}

/// What happened in a chat without anybody writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    Joined(Vec<PersonId>),
    Left(PersonId),
    TopicOpened(String),
    UpgradedTo(ChatId),
    UpgradedFrom(ChatId),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Button {
    pub label: String,
    /// What a press tells the bot.
    pub data: Option<String>,
    pub url: Option<String>,
    /// As the bot sent it.
    pub json: Value,
}

pub type Keyboard = Vec<Vec<Button>>;

/// What stood in a message from some moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub at: Instant,
    pub rich: Rich,
    /// The text with its formatting as Telegram's tags.
    pub html: String,
    pub buttons: Keyboard,
    /// The platform may show a page that the text links to.
    pub preview: bool,
}

impl Version {
    pub fn now(rich: Rich, buttons: Keyboard, preview: bool) -> Arc<Self> {
        Arc::new(Version { at: Instant::now(), html: rich.html(), rich, buttons, preview })
    }
}

#[derive(Clone, Debug)]
pub struct Message {
    pub id: i64,
    pub author: PersonId,
    pub sent: i64,
    pub edited: Option<i64>,
    pub reply_to: Option<i64>,
    /// Number of the topic; in a supergroup without topics that of the message that began the replies.
    pub thread: Option<i64>,
    pub attachment: Option<Attachment>,
    pub service: Option<Service>,
    pub deleted: bool,
    /// What the bot put under it.
    pub reactions: Vec<String>,
    /// Never empty. Shared with the tests, which look often.
    pub versions: Vec<Arc<Version>>,
}

impl Message {
    pub fn now(&self) -> &Version {
        self.versions.last().expect("a message has a first version")
    }
}

/// A message as a test sees it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub id: i64,
    pub author: PersonId,
    pub by_bot: bool,
    pub text: String,
    /// The text with its formatting as Telegram's tags.
    pub html: String,
    pub reply_to: Option<i64>,
    pub topic: Option<i64>,
    pub buttons: Keyboard,
    pub preview: bool,
    pub attachment: Option<Attachment>,
    pub service: Option<Service>,
    pub reactions: Vec<String>,
    pub deleted: bool,
    pub edits: usize,
    pub shown_at: Instant,
    pub changed_at: Instant,
    /// Everything that stood in it, the first text first.
    pub versions: Vec<Arc<Version>>,
}

impl Shown {
    pub fn of(message: &Message, topics: bool, bot: PersonId) -> Self {
        let now = message.now();
        Shown {
            id: message.id,
            author: message.author,
            by_bot: message.author == bot,
            text: now.rich.text.clone(),
            html: now.html.clone(),
            reply_to: message.reply_to,
            topic: message.thread.filter(|_| topics),
            buttons: now.buttons.clone(),
            preview: now.preview,
            attachment: message.attachment.clone(),
            service: message.service.clone(),
            reactions: message.reactions.clone(),
            deleted: message.deleted,
            edits: message.versions.len() - 1,
            shown_at: message.versions[0].at,
            changed_at: now.at,
            versions: message.versions.clone(),
        }
    }

    /// The label's button, whatever it does.
    pub fn button(&self, label: &str) -> Option<&Button> {
        self.buttons.iter().flatten().find(|button| button.label == label)
    }
}

impl State {
    /// A message for the API, with the message it answers unless it is itself such a one.
    pub fn message_json(&self, chat: ChatId, message: &Message, outermost: bool) -> Value {
        let room = &self.rooms[&chat];
        let now = message.now();
        let mut value = json!({
            "message_id": message.id,
            "date": message.sent,
            "chat": room.json(self.people.get(&PersonId(chat.0))),
            "from": self.person_json(message.author),
        });
        if let Some(edited) = message.edited {
            value["edit_date"] = json!(edited);
        }
        if let Some(thread) = message.thread {
            value["message_thread_id"] = json!(thread);
            if room.kind == ChatKind::Forum {
                value["is_topic_message"] = json!(true);
            }
        }
        // In a topic, what answers nothing answers the message that opened the topic.
        let topic = message.thread.filter(|thread| room.kind == ChatKind::Forum && *thread != message.id);
        if let Some(answered) = message.reply_to.or(topic).and_then(|id| room.messages.get(&id))
            && outermost
            && !answered.deleted
        {
            value["reply_to_message"] = self.message_json(chat, answered, false);
        }
        if message.service.is_none() {
            self.add_text(&mut value, message);
        }
        if let Some(attachment) = &message.attachment {
            add_attachment(&mut value, attachment, message.id);
        }
        if let Some(service) = &message.service {
            self.add_service(&mut value, service);
        }
        if !now.buttons.is_empty() {
            value["reply_markup"] = keyboard_json(&now.buttons);
        }
        value
    }

    fn add_text(&self, value: &mut Value, message: &Message) {
        let rich = &message.now().rich;
        let (text, entities) = match message.attachment {
            Some(_) => ("caption", "caption_entities"),
            None => ("text", "entities"),
        };
        if !rich.text.is_empty() || message.attachment.is_none() {
            value[text] = json!(rich.text);
        }
        let list = rich.entities_json(|id| self.person_json(PersonId(id)));
        if !list.is_empty() {
            value[entities] = Value::Array(list);
        }
        if !message.now().preview && rich.linked() {
            value["link_preview_options"] = json!({ "is_disabled": true });
        }
    }

    fn add_service(&self, value: &mut Value, service: &Service) {
        match service {
            Service::Joined(people) => {
                let all: Vec<Value> = people.iter().map(|person| self.person_json(*person)).collect();
                value["new_chat_members"] = Value::Array(all);
            }
            Service::Left(person) => value["left_chat_member"] = self.person_json(*person),
            Service::TopicOpened(name) => {
                value["forum_topic_created"] = json!({ "name": name, "icon_color": 7_322_096 });
            }
            Service::UpgradedTo(chat) => value["migrate_to_chat_id"] = json!(chat.0),
            Service::UpgradedFrom(chat) => value["migrate_from_chat_id"] = json!(chat.0),
        }
    }
}

pub fn keyboard_json(keyboard: &Keyboard) -> Value {
    let rows: Vec<Vec<&Value>> = keyboard.iter().map(|row| row.iter().map(|button| &button.json).collect()).collect();
    json!({ "inline_keyboard": rows })
}

fn add_attachment(value: &mut Value, attachment: &Attachment, id: i64) {
    let file = json!({ "file_id": format!("file-{id}"), "file_unique_id": format!("unique-{id}"), "file_size": 2048 });
    let with = |more: Value| {
        let mut all = file.clone();
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    };
    match attachment {
        Attachment::Picture => value["photo"] = json!([with(json!({ "width": 90, "height": 60 }))]),
        Attachment::Voice => value["voice"] = with(json!({ "duration": 3, "mime_type": "audio/ogg" })),
        Attachment::Document { name, media_type } => {
            value["document"] = with(json!({ "file_name": name, "mime_type": media_type }));
        }
    }
}
