//! Telegram, played: a Bot API server on a free port of this machine, with the people who talk to the bot. The test acts
//! for the people and reads what stands in their chats; the bot under test knows only the address and the token.

mod answers;
mod connection;
mod faults;
mod html;
mod limits;
mod message;
mod methods;
mod people;
mod places;
mod reply;
mod request;
mod sending;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod transcript;
mod updates;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;

pub use answers::{Action, CallbackAnswer, InlineAnswer, InlineQuery, InlineResult, Press};
pub use faults::Fault;
pub use limits::{Limit, Limits, Violation};
pub use message::{Attachment, Button, Service, Shown, Version};
pub use people::Said;
pub use places::{ChatId, ChatKind, Person, PersonId, Standing};

use super::waiting;
use places::Room;
use server::Server;
use state::State;

const BOT_ID: i64 = 5_550_000_001;

/// The server; dropping it ends it and all its connections.
#[derive(Debug)]
pub struct FakeTelegram {
    server: Arc<Server>,
    address: SocketAddr,
}

impl Drop for FakeTelegram {
    fn drop(&mut self) {
        self.server.stop.cancel();
        self.server.network.set(false);
    }
}

/// The server, as the bot meets it.
impl FakeTelegram {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("this machine has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        // Telegram's tokens: the bot's number and 35 letters. Each server has its own.
        let token = format!("{BOT_ID}:AAF-fake_token_of_a_test_{:_>10}", address.port());
        let bot = Person {
            id: PersonId(BOT_ID),
            first_name: "Cervella".to_owned(),
            username: Some("cervella_bot".to_owned()),
            language: None,
            bot: true,
        };
        FakeTelegram { server: Server::start(listener, State::new(token, bot)), address }
    }

    /// What goes before `/bot<token>/method`.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn token(&self) -> String {
        self.server.state().token.clone()
    }

    pub fn bot(&self) -> PersonId {
        PersonId(BOT_ID)
    }

    pub fn username(&self) -> String {
        self.server.state().username.clone()
    }

    /// Without a network every connection breaks, and new ones do at once.
    pub fn set_network(&self, there: bool) {
        self.server.network.set(there);
    }

    /// Other limits; `None`: none at all.
    pub fn set_limits(&self, limits: Option<Limits>) {
        self.server.state().limiter.limits = limits;
    }

    /// Privacy mode of the bot in groups; on at the start.
    pub fn set_privacy(&self, on: bool) {
        self.server.state().privacy = on;
    }

    /// The next call of this method meets a fault; faults of a method wait in a queue.
    pub fn fault(&self, method: &str, fault: Fault) {
        self.server.state().faults.script(method, None, fault);
    }

    /// The next call of this method for this chat meets a fault.
    pub fn fault_in(&self, chat: impl Into<ChatId>, method: &str, fault: Fault) {
        self.server.state().faults.script(method, Some(chat.into()), fault);
    }

    /// From now on this share of all calls meets one of these faults.
    pub fn faults_by_chance(&self, seed: u64, share: f64, faults: &[Fault]) {
        self.server.state().faults.by_chance(seed, share, faults);
    }

    pub fn no_faults_by_chance(&self) {
        self.server.state().faults.none_by_chance();
    }

    /// Scripted faults that no call has met yet.
    pub fn faults_left(&self) -> usize {
        self.server.state().faults.left()
    }
}

/// People and their chats.
impl FakeTelegram {
    /// A person with a private chat with the bot; the user name is `name` in lower case with `_tg`.
    pub fn add_person(&self, name: &str, language: Option<&str>) -> PersonId {
        self.add(name, language, false)
    }

    /// Another bot.
    pub fn add_bot(&self, name: &str) -> PersonId {
        self.add(name, None, true)
    }

    fn add(&self, name: &str, language: Option<&str>, bot: bool) -> PersonId {
        self.server.change(|state| {
            let id = PersonId(1000 + state.people.len() as i64);
            // Only plain letters make a user name; who has none is mentioned by a text mention.
            let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric());
            let ending = if bot { "_bot" } else { "_tg" };
            let username = plain.then(|| format!("{}{ending}", name.to_ascii_lowercase()));
            let language = language.map(str::to_owned);
            state.people.insert(id, Person { id, first_name: name.to_owned(), username, language, bot });
            state.rooms.insert(id.into(), Room::new(id.into(), ChatKind::Private, name));
            id
        })
    }

    pub fn person(&self, person: PersonId) -> Person {
        self.server.state().people[&person].clone()
    }

    /// A group, supergroup or forum; the bot is in it.
    pub fn add_chat(&self, kind: ChatKind, title: &str, members: &[PersonId]) -> ChatId {
        self.server.change(|state| {
            let number = state.rooms.len() as i64;
            let id = ChatId(if kind.own_numbers() { -1_001_000_000_000 - number } else { -4_000 - number });
            let mut room = Room::new(id, kind, title);
            room.members.extend(members);
            state.rooms.insert(id, room);
            id
        })
    }

    pub fn add_admin(&self, chat: ChatId, person: PersonId) {
        self.server.change(|state| {
            let room = state.room_mut(chat);
            room.members.insert(person);
            room.admins.insert(person);
        });
    }

    /// Opens a topic in a forum and tells its number.
    pub fn open_topic(&self, chat: ChatId, person: PersonId, name: &str) -> i64 {
        self.server.change(|state| state.open_topic(chat, person, name))
    }

    pub fn close_topic(&self, chat: ChatId, topic: i64) {
        self.server.change(|state| {
            if let Some(topic) = state.room_mut(chat).topics.get_mut(&topic) {
                topic.closed = true;
            }
        });
    }

    /// Makes the bot something else in a chat. In a private chat `Kicked` means that the person blocked it.
    pub fn place_bot(&self, chat: impl Into<ChatId>, by: PersonId, standing: Standing) {
        self.server.change(|state| state.place_bot(chat.into(), by, standing));
    }

    /// Turns a basic group into a supergroup and tells its new id.
    pub fn upgrade(&self, chat: ChatId, by: PersonId) -> ChatId {
        self.server.change(|state| {
            let new = ChatId(-1_001_000_000_000 - state.rooms.len() as i64);
            state.upgrade(chat, new, by);
            new
        })
    }
}

/// What people do.
impl FakeTelegram {
    /// Writes a message and tells its number.
    pub fn say(&self, chat: impl Into<ChatId>, person: PersonId, text: &str, said: Said) -> i64 {
        self.server.change(|state| state.say(chat.into(), person, text, said))
    }

    pub fn edit(&self, chat: impl Into<ChatId>, message: i64, text: &str) {
        self.server.change(|state| state.edit_said(chat.into(), message, text));
    }

    /// Deletes a message, the bot's too. Bots are not told.
    pub fn delete(&self, chat: impl Into<ChatId>, message: i64) {
        self.server.change(|state| state.delete_said(chat.into(), message));
    }

    /// Presses the button with this label or callback data, which must be there; tells the query's id.
    pub fn press(&self, chat: impl Into<ChatId>, person: PersonId, message: i64, button: &str) -> String {
        self.server.change(|state| state.press(chat.into(), person, message, button))
    }

    /// Types `@bot text` somewhere; tells the query's id.
    pub fn ask_inline(&self, person: PersonId, text: &str) -> String {
        self.server.change(|state| state.ask_inline(person, text))
    }

    pub fn join(&self, chat: ChatId, person: PersonId) {
        self.server.change(|state| state.join(chat, person));
    }

    pub fn leave(&self, chat: ChatId, person: PersonId) {
        self.server.change(|state| state.leave(chat, person));
    }
}

/// What there is to see.
impl FakeTelegram {
    /// Every message of a chat, deleted ones too, in their order.
    pub fn messages(&self, chat: impl Into<ChatId>) -> Vec<Shown> {
        let state = self.server.state();
        let room = state.room(chat.into());
        room.messages.values().map(|message| Shown::of(message, room.kind == ChatKind::Forum, state.bot)).collect()
    }

    pub fn message(&self, chat: impl Into<ChatId>, id: i64) -> Option<Shown> {
        self.messages(chat).into_iter().find(|message| message.id == id)
    }

    /// The bot's messages of a chat that are not deleted.
    pub fn answers(&self, chat: impl Into<ChatId>) -> Vec<Shown> {
        let mut messages = self.messages(chat);
        messages.retain(|message| message.by_bot && !message.deleted && message.service.is_none());
        messages
    }

    /// Button presses, with their answers.
    pub fn presses(&self) -> Vec<Press> {
        self.server.state().presses.clone()
    }

    pub fn callback_answers(&self) -> Vec<CallbackAnswer> {
        self.server.state().presses.iter().filter_map(|press| press.answer.clone()).collect()
    }

    pub fn inline_queries(&self) -> Vec<InlineQuery> {
        self.server.state().inline.clone()
    }

    pub fn inline_answers(&self) -> Vec<InlineAnswer> {
        self.server.state().inline.iter().filter_map(|query| query.answer.clone()).collect()
    }

    /// The bot's commands with their descriptions for everybody; the language `""` is that of who has no other.
    pub fn commands(&self, language: &str) -> Vec<(String, String)> {
        self.server.state().commands_of(&json!({ "type": "default" }), language)
    }

    pub fn actions(&self) -> Vec<Action> {
        self.server.state().actions.clone()
    }

    /// Calls above the published limits.
    pub fn violations(&self) -> Vec<Violation> {
        self.server.state().limiter.violations.clone()
    }

    /// How often a method was called, whatever came of it.
    pub fn calls(&self, method: &str) -> u64 {
        self.server.state().calls.get(&method.to_ascii_lowercase()).copied().unwrap_or_default()
    }

    /// How often one `getUpdates` ended another.
    pub fn conflicts(&self) -> u64 {
        self.server.state().updates.conflicts
    }

    /// Updates that the bot has not confirmed.
    pub fn pending_updates(&self) -> usize {
        self.server.state().updates.pending()
    }

    /// A chat as text that is the same in every run.
    pub fn transcript(&self, chat: impl Into<ChatId>) -> String {
        self.server.state().transcript(chat.into())
    }

    /// Waits until something is true; tells whether it became so.
    #[must_use]
    pub async fn wait_until(&self, mut predicate: impl FnMut(&Self) -> bool, patience: Duration) -> bool {
        self.wait_for(|fake| predicate(fake).then_some(()), patience).await.is_some()
    }

    /// Waits until there is something to see.
    pub async fn wait_for<T>(&self, mut look: impl FnMut(&Self) -> Option<T>, patience: Duration) -> Option<T> {
        waiting::wait_for(self.server.changes.subscribe(), patience, || look(self)).await
    }
}
