//! What the bot answers beside messages: button presses, inline queries, and that it is at work.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::places::{ChatId, PersonId};
use super::reply::Refusal;
use super::request::Parameters;
use super::sending;
use super::state::State;

/// A button press by somebody.
#[derive(Clone, Debug)]
pub struct Press {
    pub query: String,
    pub chat: ChatId,
    pub message: i64,
    pub person: PersonId,
    pub label: String,
    pub data: String,
    pub at: Instant,
    pub answer: Option<CallbackAnswer>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CallbackAnswer {
    pub query: String,
    /// Shown to who pressed.
    pub text: Option<String>,
    /// As a window that must be closed, not as a notice.
    pub alert: bool,
    pub at: Instant,
}

/// `@bot …` typed by somebody in any chat.
#[derive(Clone, Debug)]
pub struct InlineQuery {
    pub query: String,
    pub person: PersonId,
    pub text: String,
    pub at: Instant,
    pub answer: Option<InlineAnswer>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct InlineAnswer {
    pub query: String,
    pub results: Vec<InlineResult>,
    pub cache_time: i64,
    pub personal: bool,
    /// The button above the results.
    pub button: Option<String>,
    pub at: Instant,
}

/// An article that can be chosen, and the message that it becomes then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineResult {
    pub id: String,
    pub title: String,
    pub description: Option<String>,
    pub text: String,
    pub html: String,
}

/// "typing…"
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub chat: ChatId,
    pub topic: Option<i64>,
    pub action: String,
    pub at: Instant,
}

const ACTIONS: &[&str] = &[
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
];

const INLINE_RESULTS_MAX: usize = 50;
const NOTICE_CHARACTERS_MAX: usize = 200;

impl State {
    pub fn answer_callback_query(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let query = parameters.text("callback_query_id").unwrap_or_default();
        let text = parameters.text("text").filter(|text| !text.is_empty());
        if text.as_ref().is_some_and(|text| text.chars().count() > NOTICE_CHARACTERS_MAX) {
            return Err(Refusal::EditTooLong);
        }
        // A second answer to the same press is refused like one to a press that never was.
        let press = self.presses.iter_mut().find(|press| press.query == query && press.answer.is_none());
        let alert = parameters.flag("show_alert");
        let answer = CallbackAnswer { query, text, alert, at: Instant::now() };
        press.ok_or(Refusal::QueryTooOld)?.answer = Some(answer);
        Ok(json!(true))
    }

    pub fn answer_inline_query(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let query = parameters.text("inline_query_id").unwrap_or_default();
        let list = parameters.json("results").unwrap_or_default();
        let list = list.as_array().ok_or(Refusal::Result("expected an Array of InlineQueryResult"))?;
        if list.len() > INLINE_RESULTS_MAX {
            return Err(Refusal::TooManyResults);
        }
        let results: Vec<InlineResult> = list.iter().map(inline_result).collect::<Result<_, _>>()?;
        for (index, result) in results.iter().enumerate() {
            if results[..index].iter().any(|other| other.id == result.id) {
                return Err(Refusal::ResultIdTwice);
            }
        }
        let button = parameters.json("button").and_then(|button| button["text"].as_str().map(str::to_owned));
        let answer = InlineAnswer {
            query: query.clone(),
            results,
            cache_time: parameters.integer("cache_time").unwrap_or(300),
            personal: parameters.flag("is_personal"),
            button,
            at: Instant::now(),
        };
        let asked = self.inline.iter_mut().find(|asked| asked.query == query && asked.answer.is_none());
        asked.ok_or(Refusal::QueryTooOld)?.answer = Some(answer);
        Ok(json!(true))
    }

    pub fn send_chat_action(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        self.room(chat).writable()?;
        let topic = self.thread(chat, parameters)?;
        let action = parameters.text("action").unwrap_or_default();
        if !ACTIONS.contains(&action.as_str()) {
            return Err(Refusal::WrongAction);
        }
        self.actions.push(Action { chat, topic, action, at: Instant::now() });
        Ok(json!(true))
    }
}

fn inline_result(result: &Value) -> Result<InlineResult, Refusal> {
    let field = |name: &str| result[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let id = field("id").filter(|id| id.len() <= 64).ok_or(Refusal::ResultId)?;
    if field("type").as_deref() != Some("article") {
        return Err(Refusal::Result("only articles are known here"));
    }
    let title = field("title").ok_or(Refusal::Result("article title is empty"))?;
    sending::keyboard(&Parameters::of(result))?;
    let rich = sending::rich(&Parameters::of(&result["input_message_content"]), "message_text")?;
    if rich.units() > sending::TEXT_UNITS_MAX {
        return Err(Refusal::EditTooLong);
    }
    Ok(InlineResult { id, title, description: field("description"), html: rich.html(), text: rich.text })
}
