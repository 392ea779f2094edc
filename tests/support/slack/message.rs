//! Messages: what the server keeps of them, what the API tells, what people see.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::render::{self, Button};

/// Whether a message is, or was, written as a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// It never was.
    No,
    Open {
        since: Instant,
        /// Written in chunks, not as Markdown text: the two cannot be mixed.
        chunks: bool,
    },
    /// By `chat.stopStream`, by the person's stop button, or by itself.
    Ended { stopped_by_person: bool },
}

/// What stood in a message at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub at: Instant,
    pub plain: String,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub ts: String,
    /// The message that its thread began with.
    pub thread_ts: Option<String>,
    pub user: String,
    /// Whom the thread's first message is of.
    pub parent_user: Option<String>,
    pub bot_id: Option<String>,
    pub subtype: Option<&'static str>,
    pub text: String,
    /// Written by the stream, in front of the blocks.
    pub streamed: String,
    pub blocks: Vec<Value>,
    pub metadata: Option<Value>,
    pub files: Vec<String>,
    pub client_msg_id: Option<String>,
    /// Who edited it last, and when.
    pub edited: Option<(String, String)>,
    pub edits: usize,
    pub stream: Stream,
    pub deleted: bool,
    pub unfurls: bool,
    pub broadcast: bool,
    /// (name, user)
    pub reactions: Vec<(String, String)>,
    pub versions: Vec<Version>,
}

impl Message {
    pub fn new(ts: String, user: &str, text: &str) -> Self {
        Message {
            ts,
            thread_ts: None,
            user: user.to_owned(),
            parent_user: None,
            bot_id: None,
            subtype: None,
            text: text.to_owned(),
            streamed: String::new(),
            blocks: Vec::new(),
            metadata: None,
            files: Vec::new(),
            client_msg_id: None,
            edited: None,
            edits: 0,
            stream: Stream::No,
            deleted: false,
            unfurls: false,
            broadcast: false,
            reactions: Vec::new(),
            versions: Vec::new(),
        }
    }

    /// Notes what stands there now.
    pub fn shown(&mut self) {
        self.versions.push(Version { at: Instant::now(), plain: self.plain() });
    }

    pub fn plain(&self) -> String {
        if self.stream == Stream::No {
            return render::words(&self.text, &self.blocks);
        }
        let below = if self.blocks.is_empty() { String::new() } else { render::words("", &self.blocks) };
        let parts = [self.streamed.as_str(), below.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    /// As the API tells it; metadata only where it is asked for.
    pub fn json(&self, team: &str, metadata: bool) -> Value {
        let text = if self.stream == Stream::No { &self.text } else { &self.streamed };
        let mut message = json!({
            "type": "message", "user": self.user, "text": text, "ts": self.ts, "team": team,
        });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                message[name] = value;
            }
        };
        set("subtype", self.subtype.map(Value::from));
        set("thread_ts", self.thread_ts.clone().map(Value::from));
        set("parent_user_id", self.parent_user.clone().map(Value::from));
        set("client_msg_id", self.client_msg_id.clone().map(Value::from));
        set("bot_id", self.bot_id.clone().map(Value::from));
        set(
            "bot_profile",
            self.bot_id.as_ref().map(|id| {
                json!({"id": id, "name": "bot", "deleted": false,
            "updated": 1, "icons": {}, "app_id": super::world::APP_ID, "team_id": team})
            }),
        );
        set("app_id", self.bot_id.as_ref().map(|_| Value::from(super::world::APP_ID)));
        set("edited", self.edited.as_ref().map(|(user, ts)| json!({"user": user, "ts": ts})));
        set("metadata", self.metadata.clone().filter(|_| metadata));
        let files = self.files.iter().enumerate();
        let files: Vec<_> = files.map(|(index, name)| file(&self.ts, index, name, &self.user)).collect();
        set("files", (!files.is_empty()).then(|| Value::from(files)));
        let mut blocks = self.blocks.clone();
        if !self.streamed.is_empty() {
            blocks.insert(0, rich_text(&self.streamed));
        } else if blocks.is_empty() && self.bot_id.is_none() && !self.text.is_empty() {
            blocks.push(rich_text(&self.text));
        }
        set("blocks", (!blocks.is_empty()).then(|| Value::from(blocks)));
        let reactions = self.reactions.iter().map(|(name, user)| json!({"name": name, "users": [user], "count": 1}));
        let reactions: Vec<_> = reactions.collect();
        set("reactions", (!reactions.is_empty()).then(|| Value::from(reactions)));
        message
    }
}

fn rich_text(text: &str) -> Value {
    json!({"type": "rich_text", "block_id": "r0", "elements": [
        {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]},
    ]})
}

fn file(ts: &str, index: usize, name: &str, user: &str) -> Value {
    let id = format!("F{}{index}", ts.replace('.', ""));
    let kind = name.rsplit_once('.').map_or("text", |(_, kind)| kind);
    json!({
        "id": id, "created": 1_700_000_000, "timestamp": 1_700_000_000, "name": name, "title": name, "user": user,
        "filetype": kind, "mimetype": "application/octet-stream", "size": 1_024, "mode": "hosted",
        "is_external": false, "is_public": true, "file_access": "visible",
    })
}

/// A message as people see it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub ts: String,
    pub thread_ts: Option<String>,
    pub user: String,
    /// Written by the bot under test.
    pub ours: bool,
    /// `text` as it was sent; where there are blocks, people see it in notifications only.
    pub text: String,
    pub blocks: Vec<Value>,
    /// The words of the message: Markdown as it was written, references resolved.
    pub plain: String,
    pub buttons: Vec<Button>,
    /// Whom it calls: `@U1`, `!channel`.
    pub calls: Vec<String>,
    pub files: Vec<String>,
    pub metadata: Option<Value>,
    pub reactions: Vec<String>,
    pub edits: usize,
    pub streaming: bool,
    /// It was written as a stream, at least at first.
    pub streamed: bool,
    pub deleted: bool,
    /// Links and media in it are unfurled.
    pub unfurls: bool,
    pub shown_at: Instant,
    /// When words stood in it for the first time: a stream may begin without.
    pub words_at: Option<Instant>,
    pub changed_at: Instant,
    /// Everything that stood in it, the first text first.
    pub versions: Vec<Version>,
}

impl Shown {
    pub fn of(message: &Message, bot: &str) -> Self {
        let first = message.versions.first().map_or_else(Instant::now, |version| version.at);
        let text = format!("{}{}", message.text, message.streamed);
        Shown {
            ts: message.ts.clone(),
            thread_ts: message.thread_ts.clone(),
            user: message.user.clone(),
            ours: message.user == bot,
            blocks: message.blocks.clone(),
            plain: message.plain(),
            buttons: render::buttons(&message.blocks),
            calls: render::calls(&text, &message.blocks),
            text,
            files: message.files.clone(),
            metadata: message.metadata.clone(),
            reactions: message.reactions.iter().map(|(name, _)| name.clone()).collect(),
            edits: message.edits,
            streaming: matches!(message.stream, Stream::Open { .. }),
            streamed: message.stream != Stream::No,
            deleted: message.deleted,
            unfurls: message.unfurls,
            shown_at: first,
            words_at: message.versions.iter().find(|version| !version.plain.trim().is_empty()).map(|found| found.at),
            changed_at: message.versions.last().map_or(first, |version| version.at),
            versions: message.versions.clone(),
        }
    }

    /// The button with this `action_id` or `value`.
    pub fn button(&self, name: &str) -> Option<&Button> {
        self.buttons.iter().find(|button| button.value == name || button.action_id == name)
    }
}
