//! What people do: they write, edit, delete, press, ask inline, come and go.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::answers::{InlineQuery, Press};
use super::message::{Attachment, Service, Version};
use super::places::{ChatId, ChatKind, PersonId, Room, Standing, Topic};
use super::state::{Draft, State};
use super::text::{Entity, Kind, Rich};

/// How something is said, beside its text.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The number of the message that is answered.
    pub reply_to: Option<i64>,
    /// The number of the forum topic.
    pub topic: Option<i64>,
    /// The text is its caption then.
    pub attachment: Option<Attachment>,
    /// People without a user name, mentioned by their first name where it stands in the text.
    pub mentions: Vec<PersonId>,
}

impl Said {
    pub fn reply_to(message: i64) -> Self {
        Said { reply_to: Some(message), ..Said::default() }
    }

    pub fn in_topic(topic: i64) -> Self {
        Said { topic: Some(topic), ..Said::default() }
    }

    pub fn with(attachment: Attachment) -> Self {
        Said { attachment: Some(attachment), ..Said::default() }
    }

    pub fn mentioning(person: PersonId) -> Self {
        Said { mentions: vec![person], ..Said::default() }
    }
}

impl State {
    pub fn say(&mut self, chat: ChatId, person: PersonId, text: &str, said: Said) -> i64 {
        let rich = self.typed(text, &said.mentions);
        let draft = Draft {
            reply_to: said.reply_to,
            thread: said.topic,
            attachment: said.attachment,
            ..Draft::text(person, rich)
        };
        if let Some(topic) = draft.thread {
            assert!(self.room(chat).topics.contains_key(&topic), "there is no topic {topic}");
        }
        let id = self.post(chat, draft);
        self.tell("message", chat, id);
        id
    }

    fn typed(&self, text: &str, mentions: &[PersonId]) -> Rich {
        let mut rich = Rich { text: text.to_owned(), entities: Vec::new() };
        for person in mentions {
            let name = &self.people[person].first_name;
            let start = text.find(name.as_str()).unwrap_or_else(|| panic!("{name} does not stand in the text"));
            rich.entities.push(Entity { kind: Kind::Person(person.0), range: start..start + name.len() });
        }
        rich.tidy()
    }

    /// The author changes the text.
    pub fn edit_said(&mut self, chat: ChatId, id: i64, text: &str) {
        let rich = Rich::typed(text);
        let unix = self.unix();
        let message = self.room_mut(chat).messages.get_mut(&id).unwrap_or_else(|| panic!("there is no message {id}"));
        let preview = rich.linked();
        message.versions.push(Version::now(rich, Vec::new(), preview));
        message.edited = Some(unix);
        self.tell("edited_message", chat, id);
    }

    /// Somebody deletes a message; bots are not told.
    pub fn delete_said(&mut self, chat: ChatId, id: i64) {
        let message = self.room_mut(chat).messages.get_mut(&id);
        message.unwrap_or_else(|| panic!("there is no message {id}")).deleted = true;
    }

    /// Presses the button with this label or callback data.
    pub fn press(&mut self, chat: ChatId, person: PersonId, message: i64, button: &str) -> String {
        let query = self.query_id();
        let stored = &self.room(chat).messages[&message];
        let found = stored
            .now()
            .buttons
            .iter()
            .flatten()
            .find(|found| found.data.as_deref() == Some(button) || found.label == button && found.data.is_some());
        let found = found.unwrap_or_else(|| panic!("message {message} has no button {button}"));
        let (label, data) = (found.label.clone(), found.data.clone().unwrap_or_default());
        // Of a message that is gone the platform knows only its place.
        let shown = match stored.deleted {
            true => json!({ "message_id": message, "date": 0, "chat": self.message_json(chat, stored, true)["chat"] }),
            false => self.message_json(chat, stored, true),
        };
        let content = json!({
            "id": query,
            "from": self.person_json(person),
            "message": shown,
            "chat_instance": format!("{}", chat.0 ^ 0x5a5a_5a5a),
            "data": data,
        });
        let at = Instant::now();
        self.presses.push(Press { query: query.clone(), chat, message, person, label, data, at, answer: None });
        self.updates.add("callback_query", content);
        query
    }

    /// Types `@bot text` into some chat.
    pub fn ask_inline(&mut self, person: PersonId, text: &str) -> String {
        let query = self.query_id();
        let from = self.person_json(person);
        let content = json!({ "id": query, "from": from, "query": text, "offset": "", "chat_type": "sender" });
        let at = Instant::now();
        self.inline.push(InlineQuery { query: query.clone(), person, text: text.to_owned(), at, answer: None });
        self.updates.add("inline_query", content);
        query
    }

    pub fn join(&mut self, chat: ChatId, person: PersonId) {
        self.room_mut(chat).members.insert(person);
        self.service(chat, person, Service::Joined(vec![person]), None);
    }

    pub fn leave(&mut self, chat: ChatId, person: PersonId) {
        self.room_mut(chat).members.remove(&person);
        self.service(chat, person, Service::Left(person), None);
    }

    fn service(&mut self, chat: ChatId, author: PersonId, service: Service, thread: Option<i64>) -> i64 {
        let id = self.post(chat, Draft { thread, ..Draft::service(author, service) });
        self.tell("message", chat, id);
        id
    }

    /// Opens a forum topic; its number is that of the message that says so.
    pub fn open_topic(&mut self, chat: ChatId, person: PersonId, name: &str) -> i64 {
        let room = self.room_mut(chat);
        assert_eq!(room.kind, ChatKind::Forum, "only forums have topics");
        let id = room.last_number + 1;
        room.topics.insert(id, Topic { name: name.to_owned(), closed: false });
        self.service(chat, person, Service::TopicOpened(name.to_owned()), Some(id))
    }

    /// Changes what the bot is in a chat; in a private chat `Kicked` is blocked.
    pub fn place_bot(&mut self, chat: ChatId, by: PersonId, new: Standing) {
        let bot = self.bot;
        let room = self.rooms.get_mut(&chat).expect("the chat exists");
        let me = &self.people[&bot];
        let before = room.member_json(me, true);
        let was_there = matches!(room.bot, Standing::Member | Standing::Admin);
        room.bot = new;
        let after = room.member_json(me, true);
        let private = room.kind == ChatKind::Private;
        let content = json!({
            "chat": room.json(self.people.get(&PersonId(chat.0))),
            "from": self.person_json(by),
            "date": self.unix(),
            "old_chat_member": before,
            "new_chat_member": after,
        });
        self.updates.add("my_chat_member", content);
        let there = matches!(new, Standing::Member | Standing::Admin);
        if there && !was_there && !private {
            self.service(chat, by, Service::Joined(vec![bot]), None);
        }
    }

    /// A basic group becomes a supergroup with a new id; the old one refuses everything from then on.
    pub fn upgrade(&mut self, chat: ChatId, new: ChatId, by: PersonId) {
        let old = self.room_mut(chat);
        assert_eq!(old.kind, ChatKind::Group, "only basic groups are upgraded");
        let mut room = Room::new(new, ChatKind::Supergroup, &old.title);
        room.members = old.members.clone();
        room.admins = old.admins.clone();
        room.bot = old.bot;
        self.rooms.insert(new, room);
        self.service(chat, by, Service::UpgradedTo(new), None);
        self.service(new, by, Service::UpgradedFrom(chat), None);
        self.room_mut(chat).upgraded_to = Some(new);
    }

    pub fn commands_of(&self, scope: &Value, language: &str) -> Vec<(String, String)> {
        self.commands.get(&(scope.to_string(), language.to_owned())).cloned().unwrap_or_default()
    }
}
