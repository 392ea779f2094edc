//! How updates reach the bot: long polls and webhooks; and who may ask at all.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::Said;
use super::{PATIENCE, call, post, refusal, result, updates, with_anna};

fn texts(updates: &Value) -> Vec<String> {
    let updates = updates.as_array().expect("updates are a list");
    updates.iter().map(|update| update["message"]["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn updates_stay_until_they_are_confirmed() {
    let (fake, anna) = with_anna().await;
    for text in ["uno", "due", "tre"] {
        fake.say(anna, anna, text, Said::default());
    }
    let first = result(call(&fake, "getUpdates", json!({ "limit": 2 })).await);
    assert_eq!(texts(&first), ["uno", "due"]);
    let offset = first[1]["update_id"].as_i64().unwrap();
    let second = result(call(&fake, "getUpdates", json!({ "offset": offset })).await);
    assert_eq!(texts(&second), ["due", "tre"]);
    assert_eq!(fake.pending_updates(), 2);
    assert_eq!(texts(&result(call(&fake, "getUpdates", json!({ "offset": -1 })).await)), ["tre"]);
    assert_eq!(fake.pending_updates(), 1);
}

#[tokio::test]
async fn a_long_poll_waits_for_the_next_update() {
    let (fake, anna) = with_anna().await;
    let poll = call(&fake, "getUpdates", json!({ "timeout": 50 }));
    let saying = async {
        assert!(fake.wait_until(|fake| fake.calls("getUpdates") == 1, PATIENCE).await);
        fake.say(anna, anna, "ciao", Said::default());
    };
    let (polled, ()) = tokio::join!(poll, saying);
    assert_eq!(texts(&result(polled)), ["ciao"]);
}

#[tokio::test]
async fn the_older_of_two_pollers_is_sent_away() {
    let (fake, anna) = with_anna().await;
    let first = call(&fake, "getUpdates", json!({ "timeout": 50 }));
    let second = async {
        assert!(fake.wait_until(|fake| fake.calls("getUpdates") == 1, PATIENCE).await);
        let poll = call(&fake, "getUpdates", json!({ "timeout": 50 }));
        let saying = async {
            assert!(fake.wait_until(|fake| fake.calls("getUpdates") == 2, PATIENCE).await);
            fake.say(anna, anna, "ciao", Said::default());
        };
        tokio::join!(poll, saying).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(
        refusal(first),
        "409 Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
    );
    assert_eq!(texts(&result(second)), ["ciao"]);
    assert_eq!(fake.conflicts(), 1);
}

#[tokio::test]
async fn only_wanted_kinds_are_kept() {
    let (fake, anna) = with_anna().await;
    result(call(&fake, "getUpdates", json!({ "allowed_updates": ["inline_query"] })).await);
    fake.say(anna, anna, "ciao", Said::default());
    fake.ask_inline(anna, "ferie");
    let kept = updates(&fake).await;
    assert_eq!((kept.len(), &kept[0]["inline_query"]["query"]), (1, &json!("ferie")));
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_so_is_a_wrong_method() {
    let (fake, _) = with_anna().await;
    assert_eq!(refusal(post(&fake, "/bot1:x/getMe", "application/json", "{}").await), "401 Unauthorized");
    assert_eq!(refusal(call(&fake, "sendEverything", json!({})).await), "404 Not Found");
    assert_eq!(refusal(post(&fake, "/", "application/json", "{}").await), "404 Not Found");
}

#[tokio::test]
async fn parameters_come_in_every_form() {
    let (fake, anna) = with_anna().await;
    fake.set_limits(None);
    let path = format!("/bot{}/SENDmessage", fake.token());
    let id = anna.0;
    let form = format!("chat_id={id}&text=perch%C3%A9+no%3F");
    result(post(&fake, &path, "application/x-www-form-urlencoded", &form).await);
    let markup = "{\"inline_keyboard\":[[{\"text\":\"x\",\"callback_data\":\"y\"}]]}";
    let part = |name: &str, value: &str| {
        format!("--Abc\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = [part("chat_id", &id.to_string()), part("text", "a\r\nb"), part("reply_markup", markup)].concat();
    result(post(&fake, &path, "multipart/form-data; boundary=Abc", &format!("{parts}--Abc--\r\n")).await);
    result(post(&fake, &format!("{path}?chat_id={id}&text=query"), "text/plain", "").await);
    let seen = fake.answers(anna);
    let seen: Vec<(&str, usize)> = seen.iter().map(|shown| (shown.text.as_str(), shown.buttons.len())).collect();
    assert_eq!(seen, [("perché no?", 0), ("a\nb", 1), ("query", 0)]);
    let broken = post(&fake, &path, "application/json", "[1").await;
    assert_eq!(refusal(broken), "400 Bad Request: can't parse the request: no JSON object");
}

#[tokio::test]
async fn commands_are_kept_for_each_language() {
    let (fake, _) = with_anna().await;
    let ask = |text: &str| json!([{ "command": "ask", "description": text }]);
    result(call(&fake, "setMyCommands", json!({ "commands": ask("Ask") })).await);
    result(call(&fake, "setMyCommands", json!({ "commands": ask("Chiedi"), "language_code": "it" })).await);
    assert_eq!(fake.commands(""), [("ask".to_owned(), "Ask".to_owned())]);
    assert_eq!(fake.commands("it"), [("ask".to_owned(), "Chiedi".to_owned())]);
    assert_eq!(result(call(&fake, "getMyCommands", json!({ "language_code": "it" })).await), ask("Chiedi"));
    let wrong = json!({ "commands": [{ "command": "Ask!", "description": "x" }] });
    assert_eq!(refusal(call(&fake, "setMyCommands", wrong).await), "400 Bad Request: BOT_COMMAND_INVALID");
    result(call(&fake, "deleteMyCommands", json!({ "language_code": "it" })).await);
    assert!(fake.commands("it").is_empty());
}

/// Whether a request holds its whole body, which is JSON.
fn complete(request: &[u8]) -> bool {
    let body = std::str::from_utf8(request).ok().and_then(|request| request.split_once("\r\n\r\n"));
    body.is_some_and(|(_, body)| serde_json::from_str::<Value>(body).is_ok())
}

/// Takes one delivery of a webhook and answers it.
async fn take(listener: &TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().await.expect("a delivery comes");
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !complete(&request) {
        let read = stream.read(&mut buffer).await.expect("a delivery can be read");
        assert_ne!(read, 0, "the delivery ended early");
        request.extend_from_slice(&buffer[..read]);
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.expect("an answer");
    String::from_utf8(request).expect("a delivery is UTF-8")
}

#[tokio::test]
async fn a_webhook_gets_each_update_until_it_takes_it() {
    let (fake, anna) = with_anna().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let plain = json!({ "url": "http://example.com/hook" });
    let https = "400 Bad Request: bad webhook: An HTTPS URL must be provided for webhook";
    assert_eq!(refusal(call(&fake, "setWebhook", plain).await), https);
    result(call(&fake, "setWebhook", json!({ "url": url, "secret_token": "sesamo" })).await);
    let polled = refusal(call(&fake, "getUpdates", json!({})).await);
    assert!(polled.starts_with("409 Conflict: can't use getUpdates method while webhook is active"), "{polled}");
    fake.say(anna, anna, "ciao", Said::default());
    let deliveries = async {
        let refused = take(&listener, "500 Internal Server Error").await;
        (refused, take(&listener, "200 OK").await)
    };
    let (refused, taken) = tokio::time::timeout(PATIENCE, deliveries).await.expect("both deliveries come");
    assert!(taken.starts_with("POST /hook HTTP/1.1") && taken.contains("\"text\":\"ciao\""), "{taken}");
    assert!(taken.contains("X-Telegram-Bot-Api-Secret-Token: sesamo"), "{taken}");
    assert_eq!(refused, taken);
    assert!(fake.wait_until(|fake| fake.pending_updates() == 0, PATIENCE).await);
    let info = result(call(&fake, "getWebhookInfo", json!({})).await);
    assert_eq!((&info["url"], &info["pending_update_count"]), (&json!(url), &json!(0)));
    assert_eq!(info["last_error_message"], "Wrong response from the webhook: 500");
    result(call(&fake, "deleteWebhook", json!({})).await);
    assert_eq!(result(call(&fake, "getUpdates", json!({})).await), json!([]));
}

#[tokio::test]
async fn a_dropped_server_ends_what_waits() {
    let (fake, _) = with_anna().await;
    let (url, token) = (fake.api_url(), fake.token());
    let mut stream = tokio::net::TcpStream::connect(url.replace("http://", "")).await.unwrap();
    let request = format!("GET /bot{token}/getUpdates?timeout=50 HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(fake.wait_until(|fake| fake.calls("getUpdates") == 1, PATIENCE).await);
    drop(fake);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
}
