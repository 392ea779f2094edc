//! People and chats, as the tests name them and as the API tells them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::message::Message;
use super::reply::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersonId(pub i64);

/// A private chat has the id of its person; groups have negative ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChatId(pub i64);

impl From<PersonId> for ChatId {
    /// The private chat of a person with the bot.
    fn from(person: PersonId) -> Self {
        ChatId(person.0)
    }
}

/// Somebody with an account; also a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: PersonId,
    pub first_name: String,
    pub username: Option<String>,
    /// As set in the person's client: `it`, `en`.
    pub language: Option<String>,
    pub bot: bool,
}

impl Person {
    pub fn json(&self) -> Value {
        let mut user = json!({ "id": self.id.0, "is_bot": self.bot, "first_name": self.first_name });
        if let Some(username) = &self.username {
            user["username"] = json!(username);
        }
        if let Some(language) = &self.language {
            user["language_code"] = json!(language);
        }
        user
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatKind {
    Private,
    /// A basic group.
    Group,
    Supergroup,
    /// A supergroup with topics.
    Forum,
}

impl ChatKind {
    /// The type name of the API.
    pub fn name(self) -> &'static str {
        match self {
            ChatKind::Private => "private",
            ChatKind::Group => "group",
            ChatKind::Supergroup | ChatKind::Forum => "supergroup",
        }
    }

    /// Has message numbers of its own.
    pub fn own_numbers(self) -> bool {
        matches!(self, ChatKind::Supergroup | ChatKind::Forum)
    }
}

/// What the bot is in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Member,
    /// Sees every message, privacy mode or not.
    Admin,
    Left,
    Kicked,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Member => "member",
            Standing::Admin => "administrator",
            Standing::Left => "left",
            Standing::Kicked => "kicked",
        }
    }
}

#[derive(Debug)]
pub struct Room {
    pub id: ChatId,
    pub kind: ChatKind,
    pub title: String,
    pub members: BTreeSet<PersonId>,
    pub admins: BTreeSet<PersonId>,
    pub bot: Standing,
    /// Topics of a forum by the number of the message that opened them.
    pub topics: BTreeMap<i64, Topic>,
    pub messages: BTreeMap<i64, Message>,
    pub upgraded_to: Option<ChatId>,
    /// The last number given here, where the chat counts by itself.
    pub last_number: i64,
}

#[derive(Debug)]
pub struct Topic {
    pub name: String,
    pub closed: bool,
}

impl Room {
    pub fn new(id: ChatId, kind: ChatKind, title: &str) -> Self {
        Room {
            id,
            kind,
            title: title.to_owned(),
            members: BTreeSet::new(),
            admins: BTreeSet::new(),
            bot: Standing::Member,
            topics: BTreeMap::new(),
            messages: BTreeMap::new(),
            upgraded_to: None,
            last_number: 0,
        }
    }

    /// `chat` of a message; `person` is whose private chat it is.
    pub fn json(&self, person: Option<&Person>) -> Value {
        let mut chat = json!({ "id": self.id.0, "type": self.kind.name() });
        match person {
            Some(person) if self.kind == ChatKind::Private => {
                chat["first_name"] = json!(person.first_name);
                if let Some(username) = &person.username {
                    chat["username"] = json!(username);
                }
            }
            _ => chat["title"] = json!(self.title),
        }
        match self.kind {
            ChatKind::Forum => chat["is_forum"] = json!(true),
            ChatKind::Group => chat["all_members_are_administrators"] = json!(false),
            _ => {}
        }
        chat
    }

    /// Whether the bot may write here.
    pub fn writable(&self) -> Result<(), Refusal> {
        if let Some(new) = self.upgraded_to {
            return Err(Refusal::Upgraded(new.0));
        }
        match (self.bot, self.kind) {
            (Standing::Kicked, ChatKind::Private) => Err(Refusal::Blocked),
            (Standing::Kicked, kind) => Err(Refusal::Kicked(kind.name())),
            (Standing::Left, kind) => Err(Refusal::NotMember(kind.name())),
            _ => Ok(()),
        }
    }

    /// `ChatMember` of somebody.
    pub fn member_json(&self, person: &Person, bot: bool) -> Value {
        let admin = match bot {
            true => self.bot == Standing::Admin,
            false => self.admins.contains(&person.id),
        };
        let status = match bot {
            true => self.bot.name(),
            false if admin => "administrator",
            false if self.members.contains(&person.id) => "member",
            false => "left",
        };
        let mut member = json!({ "user": person.json(), "status": status });
        let rights = [
            "can_manage_chat",
            "can_change_info",
            "can_delete_messages",
            "can_manage_video_chats",
            "can_invite_users",
            "can_restrict_members",
            "can_promote_members",
            "can_post_stories",
            "can_edit_stories",
            "can_delete_stories",
            "can_send_welcome_messages",
            "can_be_edited",
            "is_anonymous",
        ];
        if admin {
            for right in rights {
                member[right] = json!(right.starts_with("can_delete") || right == "can_manage_chat");
            }
        }
        if status == "kicked" {
            member["until_date"] = json!(0);
        }
        member
    }
}
