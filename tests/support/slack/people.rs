//! What people do: the test acts for them, and the bot is told as the platform would tell it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::events::{self, Assistant, Interaction};
use super::message::{Message, Stream};
use super::sockets::Kind;
use super::world::{BOT_USER, Channel, ChannelKind, TEAM, User, World};

/// How something is said.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The thread that it answers in.
    pub thread: Option<String>,
    /// Names of files that come along.
    pub files: Vec<String>,
    /// An answer in a thread that is shown in the channel as well.
    pub broadcast: bool,
}

impl Said {
    pub fn in_thread(ts: &str) -> Self {
        Said { thread: Some(ts.to_owned()), ..Said::default() }
    }

    pub fn with_file(name: &str) -> Self {
        Said { files: vec![name.to_owned()], ..Said::default() }
    }
}

impl World {
    /// A person, with the direct messages they have with the bot.
    pub fn add_user(&mut self, name: &str, locale: &str, bot: bool) -> String {
        let number = self.users.len() + 1;
        let id = format!("U0USER{number:03}");
        let bot_id = bot.then(|| format!("B0BOT{number:03}"));
        let user = User { id: id.clone(), name: name.to_owned(), locale: locale.to_owned(), bot_id };
        self.users.insert(id.clone(), user);
        if !bot {
            self.add_channel(ChannelKind::Im, name, std::slice::from_ref(&id));
        }
        id
    }

    pub fn add_channel(&mut self, kind: ChannelKind, name: &str, members: &[String]) -> String {
        let letter = match kind {
            ChannelKind::Im => 'D',
            _ => 'C',
        };
        let id = format!("{letter}0CHAN{:03}", self.channels.len() + 1);
        let channel = Channel {
            id: id.clone(),
            name: name.to_owned(),
            kind,
            members: members.iter().cloned().collect::<BTreeSet<_>>(),
            bot: true,
            archived: false,
            messages: Default::default(),
        };
        self.channels.insert(id.clone(), channel);
        id
    }

    pub fn user(&self, id: &str) -> &User {
        self.users.get(id).unwrap_or_else(|| panic!("there is no user {id}"))
    }

    pub fn say(&mut self, channel: &str, user: &str, text: &str, said: Said) -> String {
        let ts = self.ts();
        let author = self.user(user).clone();
        let mut message = Message::new(ts, user, text);
        message.thread_ts = said.thread.map(|thread| {
            let root = self.channel(channel).root(&thread).map(|root| root.ts.clone());
            root.unwrap_or_else(|| panic!("there is no message {thread} in {channel}"))
        });
        message.files = said.files;
        message.broadcast = said.broadcast;
        message.subtype = match (&author.bot_id, message.files.is_empty(), said.broadcast) {
            (Some(_), _, _) => Some("bot_message"),
            (None, false, _) => Some("file_share"),
            (None, true, true) => Some("thread_broadcast"),
            (None, true, false) => None,
        };
        message.client_msg_id =
            author.bot_id.is_none().then(|| format!("{:08x}-aaaa-4aaa-8aaa-{:012x}", self.count(), 0));
        message.bot_id = author.bot_id;
        self.begin_thread(channel, message.thread_ts.as_deref());
        self.place(channel, message)
    }

    /// A message becomes the first of a thread with its first answer.
    pub fn begin_thread(&mut self, channel: &str, root: Option<&str>) {
        if let Some(root) = root {
            let message = self.message_mut(channel, root);
            message.thread_ts = Some(message.ts.clone());
        }
    }

    pub fn edit(&mut self, channel: &str, ts: &str, text: &str) {
        let moment = self.ts();
        let message = self.message_mut(channel, ts);
        let before = message.json(TEAM, true);
        let mentioned = events::mentions_bot(&message.text);
        text.clone_into(&mut message.text);
        message.edits += 1;
        message.edited = Some((message.user.clone(), moment));
        message.shown();
        self.tell_changed(channel, ts, &before);
        let place = self.channel(channel);
        let mention = events::mention(place, &place.messages[ts]).filter(|_| !mentioned && place.bot);
        if let Some(mention) = mention {
            self.send_event(mention);
        }
    }

    pub fn delete(&mut self, channel: &str, ts: &str) {
        let message = self.message_mut(channel, ts);
        let before = message.json(TEAM, true);
        message.deleted = true;
        if let Some(version) = message.versions.last().cloned() {
            message.versions.push(super::message::Version { at: Instant::now(), ..version });
        }
        self.tell_deleted(channel, ts, &before);
    }

    pub fn tell_deleted(&mut self, channel: &str, ts: &str, before: &Value) {
        let moment = self.ts();
        let place = self.channel(channel);
        let message = &place.messages[ts];
        if !place.bot || (message.user == BOT_USER && !self.echo) {
            return;
        }
        let event = match place.replies(ts).next() {
            Some(_) => events::tombstone(place, message, before, &moment),
            None => events::deleted(place, ts, before, &moment),
        };
        self.send_event(event);
    }

    /// Presses a button that stands under a message now; the trigger of the press.
    pub fn press(&mut self, channel: &str, user: &str, ts: &str, name: &str) -> String {
        let message = self.channel(channel).messages.get(ts).cloned();
        let message = message.unwrap_or_else(|| panic!("there is no message {ts} in {channel}"));
        let buttons = super::render::buttons(&message.blocks);
        let button = buttons.iter().find(|button| button.value == name || button.action_id == name);
        let button = button.unwrap_or_else(|| panic!("{ts} has no button {name}: {buttons:?}")).clone();
        self.interact(channel, user, Kind::Interactive, |interaction| interaction.block_actions(&message, &button))
    }

    pub fn shortcut(&mut self, channel: &str, user: &str, ts: &str, callback_id: &str) -> String {
        let message = self.message_mut(channel, ts).clone();
        self.interact(channel, user, Kind::Interactive, |interaction| interaction.message_action(&message, callback_id))
    }

    pub fn slash(&mut self, channel: &str, user: &str, command: &str, text: &str) -> String {
        self.interact(channel, user, Kind::Command, |interaction| interaction.slash_command(command, text))
    }

    fn interact(&mut self, channel: &str, user: &str, kind: Kind, payload: impl Fn(&Interaction) -> Value) -> String {
        let trigger = self.trigger(channel, user);
        let moment = self.ts();
        let interaction = Interaction {
            user: self.user(user),
            channel: self.channel(channel),
            trigger: &trigger,
            response_url: format!("{}/respond/{trigger}", self.url),
            moment,
        };
        let payload = payload(&interaction);
        self.sockets.push(kind, payload);
        trigger
    }

    /// A person opens the assistant panel: a thread of its own in the direct messages. Its `ts`.
    pub fn open_assistant(&mut self, user: &str, looks_at: Option<&str>) -> String {
        let channel = self.im_of(user).unwrap_or_else(|| panic!("{user} has no direct messages")).id.clone();
        let ts = self.ts();
        let mut root = Message::new(ts.clone(), BOT_USER, "New Assistant Thread");
        root.bot_id = Some(super::world::BOT_ID.to_owned());
        root.subtype = Some("assistant_app_thread");
        root.thread_ts = Some(ts.clone());
        root.shown();
        self.channel_mut(&channel).messages.insert(ts.clone(), root);
        let place = Assistant { user, channel: &channel, thread_ts: &ts, looks_at };
        let event = events::assistant("assistant_thread_started", &place, &ts);
        self.send_event(event);
        ts
    }

    pub fn change_context(&mut self, user: &str, thread_ts: &str, looks_at: &str) {
        let channel = self.im_of(user).unwrap_or_else(|| panic!("{user} has no direct messages")).id.clone();
        let moment = self.ts();
        let place = Assistant { user, channel: &channel, thread_ts, looks_at: Some(looks_at) };
        let event = events::assistant("assistant_thread_context_changed", &place, &moment);
        self.send_event(event);
    }

    pub fn open_home(&mut self, user: &str) {
        let channel = self.im_of(user).unwrap_or_else(|| panic!("{user} has no direct messages")).id.clone();
        let moment = self.ts();
        self.send_event(json!({
            "type": "app_home_opened", "user": user, "channel": channel, "tab": "messages", "event_ts": moment,
        }));
    }

    /// Slack's own stop button, which is there while a stream is written in a thread.
    pub fn stop_agent(&mut self, channel: &str, user: &str, thread_ts: &str) {
        let mut stopped = Vec::new();
        for message in self.channel_mut(channel).messages.values_mut() {
            let here = message.thread_ts.as_deref() == Some(thread_ts);
            if here && matches!(message.stream, Stream::Open { .. }) {
                message.stream = Stream::Ended { stopped_by_person: true };
                stopped.push(message.ts.clone());
            }
        }
        let moment = self.ts();
        self.send_event(json!({
            "type": "agent_session_stopped", "channel": channel, "thread_ts": thread_ts, "user": user,
            "streaming_message_ts": stopped, "event_ts": moment,
        }));
    }

    pub fn join(&mut self, channel: &str, user: &str) {
        let moment = self.ts();
        let place = self.channel_mut(channel);
        if user == BOT_USER {
            place.bot = true;
        } else {
            place.members.insert(user.to_owned());
        }
        let letter = if place.kind == ChannelKind::Private { "G" } else { "C" };
        if !place.bot {
            return;
        }
        self.send_event(json!({
            "type": "member_joined_channel", "user": user, "channel": channel, "channel_type": letter, "team": TEAM,
            "event_ts": moment,
        }));
        if user != BOT_USER {
            let mut message = Message::new(moment, user, &format!("<@{user}> has joined the channel"));
            message.subtype = Some("channel_join");
            self.place(channel, message);
        }
    }

    pub fn leave(&mut self, channel: &str, user: &str) {
        let place = self.channel_mut(channel);
        if user == BOT_USER {
            place.bot = false;
        } else {
            place.members.remove(user);
        }
    }
}
