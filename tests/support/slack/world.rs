//! The workspace: who is in it, which channels it has, what stands in them, and what the bot did to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::events;
use super::faults::Faults;
use super::limits::{Limiter, Limits};
use super::message::{Message, Stream};
use super::reply::{Refusal, refuse};
use super::request::Parameters;
use super::sockets::{Kind, Sockets};

pub const TEAM: &str = "T0CERVELLA";
pub const TEAM_NAME: &str = "Example";
pub const APP_ID: &str = "A0CERVELLA";
pub const BOT_USER: &str = "U0CERVELLA";
pub const BOT_ID: &str = "B0CERVELLA";

/// What the app's manifest asks for.
pub const SCOPES: [&str; 17] = [
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:read",
    "chat:write",
    "chat:write.public",
    "commands",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "mpim:history",
    "mpim:read",
    "reactions:read",
    "reactions:write",
    "users:read",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub name: String,
    /// `it-IT`, `en-US`.
    pub locale: String,
    /// `bot_id` of somebody else's app.
    pub bot_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    Public,
    Private,
    /// One person and the bot.
    Im,
    /// Some people and the bot.
    Mpim,
}

impl ChannelKind {
    /// `channel_type` of an event.
    pub fn name(self) -> &'static str {
        match self {
            ChannelKind::Public => "channel",
            ChannelKind::Private => "group",
            ChannelKind::Im => "im",
            ChannelKind::Mpim => "mpim",
        }
    }
}

#[derive(Debug)]
pub struct Channel {
    pub id: String,
    pub name: String,
    pub kind: ChannelKind,
    pub members: BTreeSet<String>,
    /// The bot is in it.
    pub bot: bool,
    pub archived: bool,
    pub messages: BTreeMap<String, Message>,
}

impl Channel {
    /// The first messages of the thread that `ts` is in or begins.
    pub fn root(&self, ts: &str) -> Option<&Message> {
        let message = self.messages.get(ts)?;
        match &message.thread_ts {
            Some(root) if root != ts => self.messages.get(root),
            _ => Some(message),
        }
    }

    pub fn replies(&self, root: &str) -> impl Iterator<Item = &Message> {
        let root = root.to_owned();
        self.messages.values().filter(move |message| {
            message.thread_ts.as_deref() == Some(&root) && message.ts != root && !message.deleted
        })
    }
}

/// What the bot did besides messages, as it did it.
#[derive(Debug, Default)]
pub struct Deeds {
    pub statuses: Vec<Status>,
    pub prompts: Vec<Prompts>,
    /// (channel, thread, title)
    pub titles: Vec<(String, String, String)>,
    pub ephemerals: Vec<Ephemeral>,
    /// What was sent to a `response_url`, or along with an acknowledgement.
    pub responses: Vec<Response>,
    pub views: Vec<Value>,
    /// (channel, thread, status of the agent's session)
    pub sessions: Vec<(String, String, String)>,
    pub calls: Vec<Call>,
}

/// Under the bot's name in a thread: "is looking …". Empty: taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub channel: String,
    pub thread_ts: String,
    pub status: String,
    pub at: Instant,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Prompts {
    pub channel: String,
    pub thread_ts: String,
    pub title: Option<String>,
    /// (title, message)
    pub prompts: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ephemeral {
    pub channel: String,
    pub user: String,
    pub thread_ts: Option<String>,
    pub plain: String,
    pub at: Instant,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The `trigger_id` of what it responds to.
    pub trigger: String,
    pub body: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub method: String,
    /// Without the token.
    pub parameters: Value,
    pub at: Instant,
}

#[derive(Debug)]
pub struct World {
    pub app_token: String,
    pub bot_token: String,
    pub scopes: Vec<String>,
    pub users: BTreeMap<String, User>,
    pub channels: BTreeMap<String, Channel>,
    pub deeds: Deeds,
    pub limiter: Limiter,
    pub faults: Faults,
    pub sockets: Sockets,
    /// Messages of the bot are told to it as events, as the platform does.
    pub echo: bool,
    /// A stream ends by itself this long after its start.
    pub stream_age_max: Duration,
    /// Trigger of an interaction, with where and by whom.
    pub triggers: BTreeMap<String, Trigger>,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    began: Instant,
    began_micros: u128,
    last_micros: u128,
    counter: u64,
}

#[derive(Clone, Debug)]
pub struct Trigger {
    pub channel: String,
    pub user: String,
    pub since: Instant,
}

impl World {
    pub fn new(url: String, socket_url: String, secret: &str) -> Self {
        World {
            app_token: format!("xapp-1-A0CERVELLA-1-{secret}"),
            bot_token: format!("xoxb-1-{secret}"),
            scopes: SCOPES.iter().map(|&scope| scope.to_owned()).collect(),
            users: BTreeMap::new(),
            channels: BTreeMap::new(),
            deeds: Deeds::default(),
            limiter: Limiter::new(Limits::default()),
            faults: Faults::default(),
            sockets: Sockets::new(socket_url),
            echo: true,
            stream_age_max: Duration::from_secs(300),
            triggers: BTreeMap::new(),
            url,
            began: Instant::now(),
            began_micros: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros()),
            last_micros: 0,
            counter: 0,
        }
    }

    pub fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// A new `ts`: later than all before it.
    pub fn ts(&mut self) -> String {
        let now = self.began_micros + self.began.elapsed().as_micros();
        self.last_micros = now.max(self.last_micros + 1);
        format!("{}.{:06}", self.last_micros / 1_000_000, self.last_micros % 1_000_000)
    }

    pub fn channel(&self, id: &str) -> &Channel {
        self.channels.get(id).unwrap_or_else(|| panic!("there is no channel {id}"))
    }

    pub fn channel_mut(&mut self, id: &str) -> &mut Channel {
        self.channels.get_mut(id).unwrap_or_else(|| panic!("there is no channel {id}"))
    }

    pub fn message_mut(&mut self, channel: &str, ts: &str) -> &mut Message {
        let found = self.channel_mut(channel).messages.get_mut(ts);
        found.unwrap_or_else(|| panic!("there is no message {ts} in {channel}"))
    }

    /// The direct messages of a person with the bot.
    pub fn im_of(&self, user: &str) -> Option<&Channel> {
        self.channels.values().find(|channel| channel.kind == ChannelKind::Im && channel.members.contains(user))
    }

    /// The channel that a call names, which the bot can see.
    pub fn named(&self, parameters: &Parameters, name: &str) -> Result<String, Refusal> {
        let id = parameters.text(name).unwrap_or_default();
        // A person's id means the direct messages with them.
        let channel = self.channels.get(id).or_else(|| self.im_of(id));
        match channel {
            Some(channel) if channel.bot || channel.kind == ChannelKind::Public => Ok(channel.id.clone()),
            _ => refuse("channel_not_found"),
        }
    }

    /// The channel that a call names, with the bot in it.
    pub fn joined(&self, parameters: &Parameters, name: &str) -> Result<String, Refusal> {
        let id = self.named(parameters, name)?;
        if self.channel(&id).bot { Ok(id) } else { refuse("not_in_channel") }
    }

    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|has| has == scope)
    }

    /// The bot's own message, to be changed.
    pub fn own_message(&mut self, channel: &str, ts: &str, otherwise: &str) -> Result<&mut Message, Refusal> {
        self.end_old_streams();
        match self.channel_mut(channel).messages.get_mut(ts) {
            Some(message) if message.deleted => refuse("message_not_found"),
            Some(message) if message.user != BOT_USER => refuse(otherwise),
            Some(message) => Ok(message),
            None => refuse("message_not_found"),
        }
    }

    pub fn end_old_streams(&mut self) {
        let age_max = self.stream_age_max;
        for message in self.channels.values_mut().flat_map(|channel| channel.messages.values_mut()) {
            if let Stream::Open { since, .. } = message.stream
                && since.elapsed() >= age_max
            {
                message.stream = Stream::Ended { stopped_by_person: false };
            }
        }
    }

    /// Places a message, and tells the bot of it.
    pub fn place(&mut self, channel: &str, mut message: Message) -> String {
        let ts = message.ts.clone();
        message.shown();
        if message.parent_user.is_none() {
            let root = message.thread_ts.as_ref().filter(|root| **root != ts);
            message.parent_user =
                root.and_then(|root| self.channel(channel).messages.get(root)).map(|root| root.user.clone());
        }
        self.channel_mut(channel).messages.insert(ts.clone(), message);
        self.tell_message(channel, &ts);
        ts
    }

    fn tell_message(&mut self, channel: &str, ts: &str) {
        let place = self.channel(channel);
        let message = &place.messages[ts];
        if !place.bot || (message.user == BOT_USER && !self.echo) {
            return;
        }
        let event = events::said(place, message);
        let mention = events::mention(place, message);
        self.send_event(event);
        if let Some(mention) = mention {
            self.send_event(mention);
        }
    }

    /// Tells the bot that a message is another one now.
    pub fn tell_changed(&mut self, channel: &str, ts: &str, before: &Value) {
        let moment = self.ts();
        let place = self.channel(channel);
        let message = &place.messages[ts];
        if !place.bot || (message.user == BOT_USER && !self.echo) {
            return;
        }
        let event = events::changed(place, message, before, &moment);
        self.send_event(event);
    }

    pub fn send_event(&mut self, event: Value) {
        let number = self.count();
        let unix = self.began_micros / 1_000_000 + u128::from(self.began.elapsed().as_secs());
        let mut payload = json!({
            "token": "verification", "team_id": TEAM, "context_team_id": TEAM, "context_enterprise_id": null,
            "api_app_id": APP_ID, "type": "event_callback", "event_id": format!("Ev{number:09}"),
            "event_time": u64::try_from(unix).unwrap_or_default(),
            "authorizations": [{"enterprise_id": null, "team_id": TEAM, "user_id": BOT_USER, "is_bot": true,
                "is_enterprise_install": false}],
            "is_ext_shared_channel": false, "event_context": format!("4-{number}"),
        });
        payload["event"] = event;
        self.sockets.push(Kind::Event, payload);
    }

    /// A new trigger of an interaction in a channel.
    pub fn trigger(&mut self, channel: &str, user: &str) -> String {
        let trigger = format!("{}.{}.fake", self.count(), 1_700_000_000);
        let since = Instant::now();
        self.triggers.insert(trigger.clone(), Trigger { channel: channel.to_owned(), user: user.to_owned(), since });
        trigger
    }
}
