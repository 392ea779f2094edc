//! The fake itself: what a bot is answered and what a test sees, over a bare connection and through teloxide.

mod client;
mod faults;
mod limits;
mod markup;
mod people;
mod polling;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ChatId, FakeTelegram, PersonId};

/// Long enough for a busy machine; nothing waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with a person who has a private chat.
async fn with_anna() -> (FakeTelegram, PersonId) {
    let fake = FakeTelegram::start().await;
    let anna = fake.add_person("Anna", Some("it"));
    (fake, anna)
}

/// Posts a body and reads what comes back until the connection ends; `None`: nothing came.
async fn post(fake: &FakeTelegram, path: &str, content_type: &str, body: &str) -> Option<(u16, Value)> {
    let host = fake.api_url().replace("http://", "");
    let mut stream = TcpStream::connect(&host).await.ok()?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // A connection that is cut may end in an error.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).expect("the answer is UTF-8");
    let status = answer.get(9..12)?.parse().expect("the answer begins with a status");
    let body = answer.split("\r\n\r\n").nth(1).expect("the answer has a body");
    Some((status, serde_json::from_str(body).expect("the answer is JSON")))
}

async fn call(fake: &FakeTelegram, method: &str, parameters: Value) -> Option<(u16, Value)> {
    post(fake, &format!("/bot{}/{method}", fake.token()), "application/json", &parameters.to_string()).await
}

/// The result of a call that must succeed.
#[track_caller]
fn result(answer: Option<(u16, Value)>) -> Value {
    let (status, mut body) = answer.expect("an answer came");
    assert_eq!((status, &body["ok"]), (200, &json!(true)), "{body}");
    body["result"].take()
}

/// Code and description of a call that must be refused.
#[track_caller]
fn refusal(answer: Option<(u16, Value)>) -> String {
    let (status, body) = answer.expect("an answer came");
    assert_eq!((&body["ok"], &body["error_code"]), (&json!(false), &json!(status)), "{body}");
    format!("{status} {}", body["description"].as_str().expect("a refusal has a description"))
}

async fn send(fake: &FakeTelegram, chat: impl Into<ChatId>, text: &str) -> i64 {
    let sent = result(call(fake, "sendMessage", json!({ "chat_id": chat.into().0, "text": text })).await);
    sent["message_id"].as_i64().expect("a message has a number")
}

/// What waits for the bot, everything confirmed at once.
async fn updates(fake: &FakeTelegram) -> Vec<Value> {
    let updates = result(call(fake, "getUpdates", json!({})).await);
    let updates = updates.as_array().expect("updates are a list").clone();
    if let Some(last) = updates.last() {
        let offset = last["update_id"].as_i64().expect("an update has a number") + 1;
        assert_eq!(result(call(fake, "getUpdates", json!({ "offset": offset })).await), json!([]));
    }
    updates
}
