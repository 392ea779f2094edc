//! Everything that the platform knows: people, chats, what waits for the bot and what the bot did.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::time::Instant;

use super::answers::{Action, InlineQuery, Press};
use super::faults::Faults;
use super::limits::{Limiter, Limits};
use super::message::{Attachment, Keyboard, Message, Service, Version};
use super::places::{ChatId, ChatKind, Person, PersonId, Room, Standing};
use super::reply::Refusal;
use super::request::Parameters;
use super::text::Rich;
use super::updates::Updates;
use super::webhook::Webhook;

/// The platform's time: that of tokio, so that a test which stops tokio's clock stops this one.
#[derive(Debug)]
struct Clock {
    started: Instant,
    unix: Duration,
}

/// Commands by scope (its JSON) and language.
pub type Commands = BTreeMap<(String, String), Vec<(String, String)>>;

#[derive(Debug)]
pub struct State {
    clock: Clock,
    pub token: String,
    pub bot: PersonId,
    pub username: String,
    /// The bot sees only what is for it in groups, as it is unless BotFather is told otherwise.
    pub privacy: bool,
    pub people: BTreeMap<PersonId, Person>,
    pub rooms: BTreeMap<ChatId, Room>,
    /// The last message number of private chats and basic groups, which count together.
    last_number: i64,
    pub updates: Updates,
    pub webhook: Option<Webhook>,
    pub limiter: Limiter,
    pub faults: Faults,
    pub commands: Commands,
    pub presses: Vec<Press>,
    pub inline: Vec<InlineQuery>,
    pub actions: Vec<Action>,
    /// Calls by method, in lower case, those with faults too.
    pub calls: BTreeMap<String, u64>,
    last_query: u64,
}

/// A message that is about to stand in a chat.
#[derive(Debug)]
pub struct Draft {
    pub author: PersonId,
    pub rich: Rich,
    pub buttons: Keyboard,
    pub preview: bool,
    pub reply_to: Option<i64>,
    pub thread: Option<i64>,
    pub attachment: Option<Attachment>,
    pub service: Option<Service>,
}

impl Draft {
    pub fn text(author: PersonId, rich: Rich) -> Self {
        Draft {
            author,
            preview: rich.linked(),
            rich,
            buttons: Keyboard::new(),
            reply_to: None,
            thread: None,
            attachment: None,
            service: None,
        }
    }

    pub fn service(author: PersonId, service: Service) -> Self {
        Draft { service: Some(service), ..Draft::text(author, Rich::default()) }
    }
}

impl State {
    pub fn new(token: String, bot: Person) -> Self {
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        State {
            clock: Clock { started: Instant::now(), unix },
            token,
            bot: bot.id,
            username: bot.username.clone().unwrap_or_default(),
            privacy: true,
            people: BTreeMap::from([(bot.id, bot)]),
            rooms: BTreeMap::new(),
            last_number: 0,
            updates: Updates::new(100_001),
            webhook: None,
            limiter: Limiter::new(Limits::default()),
            faults: Faults::default(),
            commands: Commands::new(),
            presses: Vec::new(),
            inline: Vec::new(),
            actions: Vec::new(),
            calls: BTreeMap::new(),
            last_query: 0,
        }
    }

    pub fn unix(&self) -> i64 {
        (self.clock.unix + self.clock.started.elapsed()).as_secs() as i64
    }

    pub fn person_json(&self, person: PersonId) -> Value {
        self.people.get(&person).map_or(Value::Null, Person::json)
    }

    /// An id for a press or an inline query.
    pub fn query_id(&mut self) -> String {
        self.last_query += 1;
        format!("{}", 4_000_000_000_000_000_000 + self.last_query)
    }

    pub fn room(&self, chat: ChatId) -> &Room {
        self.rooms.get(&chat).unwrap_or_else(|| panic!("there is no chat {}", chat.0))
    }

    pub fn room_mut(&mut self, chat: ChatId) -> &mut Room {
        self.rooms.get_mut(&chat).unwrap_or_else(|| panic!("there is no chat {}", chat.0))
    }

    /// The chat that a call names, if there is one.
    pub fn named(&self, parameters: &Parameters) -> Result<ChatId, Refusal> {
        if !parameters.has("chat_id") {
            return Err(Refusal::ChatMissing);
        }
        let chat = parameters.integer("chat_id").map(ChatId).ok_or(Refusal::ChatNotFound)?;
        if self.rooms.contains_key(&chat) { Ok(chat) } else { Err(Refusal::ChatNotFound) }
    }

    /// Counts a message or an edit of the bot.
    pub fn admit(&mut self, chat: ChatId, method: &str) -> Result<(), Refusal> {
        let group = self.room(chat).kind != ChatKind::Private;
        self.limiter.admit(chat, group, method, Instant::now())
    }

    /// Puts a message into its chat and tells its number.
    pub fn post(&mut self, chat: ChatId, draft: Draft) -> i64 {
        let sent = self.unix();
        let kind = self.room(chat).kind;
        let shared = &mut self.last_number;
        let room = self.rooms.get_mut(&chat).expect("the chat was looked up");
        let number = if kind.own_numbers() { &mut room.last_number } else { shared };
        *number += 1;
        let id = *number;
        let answered = draft.reply_to.and_then(|id| room.messages.get(&id));
        let thread = match (kind, answered) {
            (ChatKind::Forum, Some(answered)) => answered.thread,
            (ChatKind::Forum, None) => draft.thread,
            (ChatKind::Supergroup, Some(answered)) => answered.thread.or(Some(answered.id)),
            _ => None,
        };
        let version = Version::now(draft.rich, draft.buttons, draft.preview);
        let message = Message {
            id,
            author: draft.author,
            sent,
            edited: None,
            reply_to: draft.reply_to,
            thread,
            attachment: draft.attachment,
            service: draft.service,
            deleted: false,
            reactions: Vec::new(),
            versions: vec![version],
        };
        room.messages.insert(id, message);
        id
    }

    /// Tells the bot about a message if it may see it.
    pub fn tell(&mut self, kind: &'static str, chat: ChatId, id: i64) {
        let room = self.room(chat);
        let message = &room.messages[&id];
        if self.sees(room, message) {
            let content = self.message_json(chat, message, true);
            self.updates.add(kind, content);
        }
    }

    /// Whether a message reaches the bot at all.
    fn sees(&self, room: &Room, message: &Message) -> bool {
        if matches!(room.bot, Standing::Left | Standing::Kicked) || message.author == self.bot {
            return false;
        }
        if room.kind == ChatKind::Private || message.service.is_some() {
            return true;
        }
        if !self.privacy || room.bot == Standing::Admin {
            return true;
        }
        let rich = &message.now().rich;
        let answered = message.reply_to.and_then(|id| room.messages.get(&id));
        rich.mentions(&self.username)
            || rich.commands(&self.username)
            || answered.is_some_and(|answered| answered.author == self.bot)
    }
}
