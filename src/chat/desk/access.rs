//! Who may use the bot, and where: the settings first, then what admins decided in the chat.

use std::hash::{BuildHasher, RandomState};

use super::Live;
use crate::chat::clock;
use crate::chat::records::Records;
use crate::domain::{Chat, Platform, Principal};
use crate::store::{AccessEntry, Standing, Store, StoreError};

const PAIRING_VALID_S: i64 = 24 * 3600;
/// Who decided about a chat that the settings admit under its former id, which stands behind it.
const BY_SETTINGS: &str = "settings ";

/// What the settings say.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// `slack:U…`, `telegram:42`.
    pub admins: Vec<String>,
    /// People and chats.
    pub members: Vec<String>,
    /// Everybody who can write to the bot may use it: for Slack, the members of the workspace.
    pub everyone: bool,
    /// Chats in which only mentions are answered.
    pub mentions_only: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Admin,
    Member,
    /// Not admitted, and not told so yet.
    Stranger,
    /// Not admitted, and told so.
    Told,
    /// Gets nothing.
    Excluded,
}

pub struct Access {
    rules: Live<AccessRules>,
    records: Records,
}

impl Access {
    pub fn new(rules: Live<AccessRules>, records: Records) -> Self {
        Access { rules, records }
    }

    pub fn mentions_only(&self, chat: &Chat) -> bool {
        (self.rules)().mentions_only.contains(&chat.to_string())
    }

    /// What `person` may do in `chat`; `external`: they belong to another organisation.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn role(&self, person: &Principal, chat: &Chat, external: bool) -> Result<Role, StoreError> {
        let (person, chat) = (person.to_string(), chat.to_string());
        let rules = (self.rules)();
        if rules.admins.contains(&person) {
            return Ok(Role::Admin);
        }
        let (asked_person, asked_chat) = (person.clone(), chat.clone());
        let (of_person, of_chat) =
            self.records.with(move |store| Ok((store.access(&asked_person)?, store.access(&asked_chat)?))).await?;
        let standing = |entry: &Option<AccessEntry>| entry.as_ref().map(|entry| entry.standing.clone());
        let now = clock::now();
        // What only the settings say of a chat that moved ends with them.
        let of_chat = of_chat.filter(|entry| match entry.by.strip_prefix(BY_SETTINGS) {
            Some(former) => rules.members.iter().any(|member| member == former),
            None => true,
        });
        let (of_person, of_chat) = (standing(&of_person), standing(&of_chat));
        if of_person == Some(Standing::Admin) {
            return Ok(Role::Admin);
        }
        if of_person == Some(Standing::Denied) || of_chat == Some(Standing::Denied) {
            return Ok(Role::Excluded);
        }
        let is_member = (rules.everyone && !external)
            || of_person == Some(Standing::Member)
            || of_chat == Some(Standing::Member)
            || rules.members.iter().any(|member| *member == person || *member == chat);
        Ok(match (is_member, of_chat) {
            (true, _) => Role::Member,
            (false, Some(Standing::Greeted)) => Role::Told,
            (false, Some(Standing::Pairing { expires, .. })) if expires > now => Role::Told,
            (false, _) => Role::Stranger,
        })
    }

    /// Notes that a chat was told, once, that it may not ask. In a private chat the answer holds a code by which an admin
    /// admits the person.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn greet(&self, chat: &Chat, private: bool) -> Result<Option<String>, StoreError> {
        let (subject, now) = (chat.to_string(), clock::now());
        let code = private.then(pairing_code);
        let standing = match &code {
            Some(code) => Standing::Pairing { code: code.clone(), expires: now + PAIRING_VALID_S },
            None => Standing::Greeted,
        };
        let entry = AccessEntry { standing, by: "cervella".to_owned(), at: now };
        self.records.with(move |store| store.set_access(&subject, &entry)).await?;
        Ok(code)
    }

    /// The code that a chat was told, while it is valid.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn code(&self, chat: &Chat) -> Result<Option<String>, StoreError> {
        let subject = chat.to_string();
        let entry = self.records.with(move |store| store.access(&subject)).await?;
        Ok(entry.and_then(|entry| match entry.standing {
            Standing::Pairing { code, expires } if expires > clock::now() => Some(code),
            _ => None,
        }))
    }

    /// Whom an admin means: a code, `here`, a written subject, or a person's id or mention on this platform.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn subject(&self, written: &str, platform: Platform, here: &Chat) -> Result<Option<String>, StoreError> {
        let written = written.trim().trim_matches(['`', '<', '>']).to_owned();
        if matches!(written.as_str(), "here" | "qui") {
            return Ok(Some(here.to_string()));
        }
        let code = written.clone();
        let paired = self.records.with(move |store| {
            let Some(subject) = store.pairing(&code)? else { return Ok(None) };
            let standing = store.access(&subject)?.map(|entry| entry.standing);
            let is_valid = matches!(standing, Some(Standing::Pairing { expires, .. }) if expires > clock::now());
            Ok(is_valid.then_some(subject))
        });
        if let Some(subject) = paired.await? {
            return Ok(Some(subject));
        }
        // A bare number is a code, and this one is not valid: taken for a person's, it would admit a stranger.
        let (named, id) = match (written.split_once(':'), platform) {
            (Some((name, id)), _) => (name.to_owned(), id),
            (None, Platform::Slack) => (platform.to_string(), written.trim_start_matches('@')),
            (None, Platform::Telegram) => return Ok(None),
        };
        let is_platform = named == Platform::Slack.to_string() || named == Platform::Telegram.to_string();
        let is_id = match named.as_str() {
            "slack" => id.len() > 1 && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()),
            _ => id.parse::<i64>().is_ok(),
        };
        Ok((is_platform && is_id).then(|| format!("{named}:{id}")))
    }

    /// # Errors
    /// The store cannot be written.
    pub async fn set(&self, subject: &str, standing: Standing, by: &Principal) -> Result<(), StoreError> {
        let (subject, entry) = (subject.to_owned(), AccessEntry { standing, by: by.to_string(), at: clock::now() });
        self.records.with(move |store| store.set_access(&subject, &entry)).await
    }

    /// A chat goes on under another id, with what was decided about it.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn follow(&self, from: &Chat, to: &Chat) -> Result<(), StoreError> {
        let (from, to) = (from.to_string(), to.to_string());
        let rules = (self.rules)();
        let is_set = rules.members.contains(&from);
        if is_set || rules.mentions_only.contains(&from) {
            tracing::warn!(from, to, "a chat of the settings has a new id: name the new one there");
        }
        let followed = self.records.with(move |store| {
            let decided = store.access(&from)?.filter(|entry| is_decided(&entry.standing));
            let by_settings = || {
                let by = format!("{BY_SETTINGS}{from}");
                is_set.then(|| AccessEntry { standing: Standing::Member, by, at: clock::now() })
            };
            match decided.or_else(by_settings) {
                // What was decided about the new id stands.
                Some(entry) if !store.access(&to)?.is_some_and(|known| is_decided(&known.standing)) => {
                    store.set_access(&to, &entry)
                }
                _ => Ok(()),
            }
        });
        followed.await
    }

    /// Everybody whose standing was decided in a chat, as lines for an admin.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn listed(&self) -> Result<Vec<String>, StoreError> {
        let entries = self.records.with(Store::all_access).await?;
        let line = |(subject, entry): (String, AccessEntry)| {
            let standing = match entry.standing {
                Standing::Admin => "admin",
                Standing::Member => "member",
                Standing::Denied => "denied",
                Standing::Greeted => "unknown",
                Standing::Pairing { .. } => "pairing",
            };
            format!("- `{subject}`: {standing}")
        };
        Ok(entries.into_iter().map(line).collect())
    }
}

fn is_decided(standing: &Standing) -> bool {
    matches!(standing, Standing::Admin | Standing::Member | Standing::Denied)
}

/// Six digits that nobody can guess within their day, given that every try needs an admin.
fn pairing_code() -> String {
    let number = RandomState::new().hash_one(clock::now()) % 1_000_000;
    format!("{number:06}")
}
