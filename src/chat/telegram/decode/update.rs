//! The fields of updates that are looked at. Everything else is ignored, so that a Bot API which grows stays readable.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct RawMessage {
    pub message_id: i64,
    pub chat: RawChat,
    #[serde(default)]
    pub date: i64,
    pub edit_date: Option<i64>,
    pub from: Option<RawUser>,
    pub sender_chat: Option<IgnoredAny>,
    pub via_bot: Option<RawUser>,
    pub message_thread_id: Option<i64>,
    #[serde(default)]
    pub is_topic_message: bool,
    #[serde(default, deserialize_with = "readable")]
    pub reply_to_message: Option<RawReply>,
    pub text: Option<String>,
    #[serde(default, deserialize_with = "all_readable")]
    pub entities: Vec<RawEntity>,
    pub caption: Option<String>,
    #[serde(default, deserialize_with = "all_readable")]
    pub caption_entities: Vec<RawEntity>,
    pub media_group_id: Option<String>,
    pub migrate_to_chat_id: Option<i64>,
    #[serde(flatten)]
    pub kinds: Kinds,
}

/// What a message can carry besides text.
#[derive(Deserialize)]
pub(super) struct Kinds {
    photo: Option<IgnoredAny>,
    document: Option<IgnoredAny>,
    voice: Option<IgnoredAny>,
    audio: Option<IgnoredAny>,
    video: Option<IgnoredAny>,
    video_note: Option<IgnoredAny>,
    animation: Option<IgnoredAny>,
    sticker: Option<IgnoredAny>,
    paid_media: Option<IgnoredAny>,
    story: Option<IgnoredAny>,
    contact: Option<IgnoredAny>,
    location: Option<IgnoredAny>,
    poll: Option<IgnoredAny>,
    checklist: Option<IgnoredAny>,
    dice: Option<IgnoredAny>,
}

impl Kinds {
    pub fn any(&self) -> bool {
        let files = [&self.photo, &self.document, &self.voice, &self.audio, &self.video, &self.video_note];
        let shown = [&self.animation, &self.sticker, &self.paid_media, &self.story, &self.contact];
        let others = [&self.location, &self.poll, &self.checklist, &self.dice];
        files.into_iter().chain(shown).chain(others).any(Option::is_some)
    }
}

/// The message that is answered.
#[derive(Deserialize)]
pub(super) struct RawReply {
    pub message_id: i64,
    pub from: Option<RawUser>,
    pub forum_topic_created: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct RawChat {
    pub id: i64,
    #[serde(rename = "type", default)]
    pub kind: String,
}

#[derive(Deserialize)]
pub(super) struct RawUser {
    pub id: i64,
    #[serde(default)]
    pub is_bot: bool,
    pub language_code: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawEntity {
    #[serde(rename = "type")]
    pub kind: String,
    /// In UTF-16 units.
    pub offset: usize,
    pub length: usize,
    pub user: Option<RawUser>,
}

#[derive(Deserialize)]
pub(super) struct RawPress {
    pub id: String,
    pub from: RawUser,
    pub message: Option<RawPressed>,
    pub data: Option<String>,
}

/// The message that a button belongs to; of one that is too old only chat and id are told.
#[derive(Deserialize)]
pub(super) struct RawPressed {
    pub message_id: i64,
    pub chat: RawChat,
    pub message_thread_id: Option<i64>,
    #[serde(default)]
    pub is_topic_message: bool,
}

#[derive(Deserialize)]
pub(super) struct RawInline {
    pub id: String,
    pub from: RawUser,
    #[serde(default)]
    pub query: String,
}

/// Nothing where it has an unknown shape: a question is not lost because of what stands around it.
fn readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

fn all_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let all = Option::<Vec<Value>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(all.into_iter().filter_map(|one| T::deserialize(one).ok()).collect())
}
