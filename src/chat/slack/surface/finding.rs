//! Finds a message whose receipt was lost: by the mark that posted messages carry, and streams, which carry none until
//! they end, by their text.

use std::collections::HashMap;

use serde::Deserialize;
use slack_morphism::prelude::SlackMessageMetadata;

use crate::chat::delivery::markup::plain;
use crate::chat::delivery::{Address, Content};
use crate::chat::slack::SlackIdentity;
use crate::chat::slack::client::{Api, CallError};
use crate::domain::MessageId;

const MARK: &str = "cervella_answer";
/// Messages that are looked through, newest first or, in a thread, from the question on.
const MESSAGES_MAX: &str = "200";
/// Letters of a stream's text that are compared.
const LETTERS_COMPARED: usize = 40;

#[derive(Deserialize)]
pub(super) struct History {
    #[serde(default)]
    messages: Vec<Posted>,
}

#[derive(Deserialize)]
struct Posted {
    #[serde(default)]
    ts: String,
    user: Option<String>,
    bot_id: Option<String>,
    #[serde(default)]
    text: String,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    event_payload: serde_json::Value,
}

/// Which question a message answers, and a hash of its text: an answer may have several messages.
pub(super) fn mark(to: &Address, content: &Content) -> SlackMessageMetadata {
    let payload =
        HashMap::from([("question".to_owned(), to.question.0.clone()), ("content".to_owned(), fingerprint(content))]);
    SlackMessageMetadata::new(MARK.to_owned()).with_event_payload(payload)
}

fn fingerprint(content: &Content) -> String {
    blake3::hash(content.markdown.as_bytes()).to_hex()[..16].to_owned()
}

pub(super) async fn history(api: &Api, to: &Address) -> Result<History, CallError> {
    // A question by slash command has no place in the channel.
    let oldest = Some(to.question.0.as_str()).filter(|ts| is_ts(ts));
    let mut query = vec![
        ("channel", Some(to.thread.chat.id.as_str())),
        ("oldest", oldest),
        ("inclusive", Some("false")),
        ("limit", Some(MESSAGES_MAX)),
        ("include_all_metadata", Some("true")),
    ];
    match &to.thread.id {
        Some(thread) => {
            query.push(("ts", Some(thread)));
            api.get("conversations.replies", &query).await
        }
        None => api.get("conversations.history", &query).await,
    }
}

pub(super) fn posted(
    history: &History,
    identity: &SlackIdentity,
    to: &Address,
    content: &Content,
    known: &[MessageId],
) -> Option<MessageId> {
    let fingerprint = fingerprint(content);
    let candidates: Vec<&Posted> = history
        .messages
        .iter()
        .filter(|posted| own(posted, identity) && later(&posted.ts, &to.question.0))
        .filter(|posted| !known.iter().any(|known| known.0 == posted.ts))
        .collect();
    let marked = candidates.iter().find(|posted| {
        posted.metadata.as_ref().filter(|mark| mark.event_type == MARK).is_some_and(|mark| {
            mark.event_payload["question"] == to.question.0 && mark.event_payload["content"] == fingerprint
        })
    });
    let unmarked = || {
        let streamed = |posted: &&&Posted| {
            let mark = posted.metadata.as_ref().is_some_and(|mark| mark.event_type == MARK);
            !mark && same_text(&posted.text, &content.markdown)
        };
        candidates.iter().find(streamed).filter(|_| to.thread.id.is_some())
    };
    marked.or_else(unmarked).map(|posted| MessageId(posted.ts.clone()))
}

fn own(posted: &Posted, identity: &SlackIdentity) -> bool {
    posted.user.as_deref().is_some_and(|user| user == identity.user_id)
        || (posted.bot_id.is_some() && posted.bot_id == identity.bot_id)
}

fn is_ts(id: &str) -> bool {
    id.split_once('.').is_some_and(|(seconds, rest)| digits(seconds) && digits(rest) && rest.len() == 6)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `ts` of Slack have equal lengths, so they compare as texts.
fn later(ts: &str, question: &str) -> bool {
    !is_ts(question) || ts > question
}

/// Slack gives a stream's text back in another markup: letters are compared.
fn same_text(shown: &str, markdown: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).take(LETTERS_COMPARED).collect::<String>();
    let (shown, posted) = (letters(shown), letters(&plain(markdown)));
    !posted.is_empty() && (shown.is_empty() || shown == posted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Chat, Platform, Principal, Thread};

    fn address(thread: Option<&str>, question: &str) -> Address {
        let chat = Chat { platform: Platform::Slack, id: "C1".to_owned() };
        Address {
            thread: Thread { chat, id: thread.map(str::to_owned) },
            question: MessageId(question.to_owned()),
            asker: Principal { platform: Platform::Slack, id: "U1".to_owned() },
            private: false,
        }
    }

    fn check(to: &Address, messages: &Value, known: &[&str], expect: Option<&str>) {
        let identity =
            SlackIdentity { user_id: "UBOT".to_owned(), bot_id: Some("B1".to_owned()), ..SlackIdentity::default() };
        let content = Content { markdown: "The wifi **password** is on the board".to_owned(), ..Content::default() };
        let history = serde_json::from_value(json!({ "messages": messages })).unwrap();
        let known: Vec<_> = known.iter().map(|&id| MessageId(id.to_owned())).collect();
        let found = posted(&history, &identity, to, &content, &known);
        assert_eq!(found, expect.map(|id| MessageId(id.to_owned())));
    }

    fn marked(to: &Address, ts: &str, markdown: &str) -> Value {
        let content = Content { markdown: markdown.to_owned(), ..Content::default() };
        json!({"ts": ts, "user": "UBOT", "bot_id": "B1", "text": markdown, "metadata": mark(to, &content)})
    }

    const QUESTION: &str = "1700000000.000100";
    const LATER: &str = "1700000005.000100";
    const TEXT: &str = "The wifi **password** is on the board";

    #[test]
    fn a_posted_message_is_found_by_its_mark() {
        let to = address(Some(QUESTION), QUESTION);
        let other = address(Some(QUESTION), "1700000001.000100");
        check(&to, &json!([marked(&to, LATER, TEXT)]), &[], Some(LATER));
        check(&to, &json!([marked(&to, LATER, "Another part")]), &[], None);
        check(&to, &json!([marked(&other, LATER, TEXT)]), &[], None);
        check(&to, &json!([marked(&to, LATER, TEXT)]), &[LATER], None);
        check(&to, &json!([marked(&to, "1699999999.000100", TEXT)]), &[], None);
    }

    #[test]
    fn a_command_has_no_place_but_its_mark() {
        let to = address(None, "13345224609.738474920.8088930838d88f008e0");
        check(&to, &json!([marked(&to, LATER, TEXT)]), &[], Some(LATER));
        check(&to, &json!([{"ts": LATER, "user": "UBOT", "text": TEXT}]), &[], None);
    }

    #[test]
    fn a_stream_is_found_by_its_text() {
        let to = address(Some(QUESTION), QUESTION);
        let text = "The wifi *password* is on the board";
        check(&to, &json!([{"ts": LATER, "user": "UBOT", "text": text}]), &[], Some(LATER));
        check(&to, &json!([{"ts": LATER, "user": "U2", "text": text}]), &[], None);
        check(&to, &json!([{"ts": LATER, "bot_id": "B1", "text": "Something else"}]), &[], None);
        check(&to, &json!([{"ts": LATER, "bot_id": "B1", "text": text}]), &[LATER], None);
    }
}
