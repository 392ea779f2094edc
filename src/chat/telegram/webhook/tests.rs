//! The webhook as Telegram and strangers meet it.

use serde_json::json;
use tokio::sync::watch;

use super::super::WebhookOptions;
use super::super::fake::{Book, Fake, NoQuotes, identity, refusal};
use super::super::inline::InlineDesk;
use super::*;
use crate::chat::connection::Connection;

const SECRET: &str = "canary_secret-1";

fn options(url: &str, secret: &str) -> WebhookOptions {
    WebhookOptions { url: url.to_owned(), secret: secret.to_owned(), listen: "127.0.0.1:0".parse().unwrap() }
}

fn reception(fake: &Fake, book: &Arc<Book>, stop: &CancellationToken) -> Arc<Reception<Book, NoQuotes>> {
    let calls = Calls::new(&fake.options()).unwrap();
    let inline = Arc::new(InlineDesk::new(calls, Arc::new(NoQuotes), stop.clone()));
    Arc::new(Reception { identity: identity(), intake: Arc::clone(book), inline })
}

/// Status of what is sent to the route.
async fn send(address: &str, secret: Option<&str>, body: String) -> u16 {
    let client = teloxide::net::default_reqwest_settings().build().unwrap();
    let mut request = client.post(format!("http://{address}/telegram/hook")).body(body);
    if let Some(secret) = secret {
        request = request.header(SECRET_HEADER, secret);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn only_who_knows_the_secret_is_believed_and_yes_means_written_down() {
    let fake = Fake::start().await;
    let book = Arc::new(Book::default());
    let stop = CancellationToken::new();
    let options = options("https://bot.example/telegram/hook?x=1", SECRET);
    let listener = bind(&options).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = router(&options, reception(&fake, &book, &stop));
    let stopped = stop.clone();
    let serving = tokio::spawn(async move { serve(listener, router, &stopped).await });

    let update = json!({"update_id": 1, "message": {"message_id": 10, "date": 1, "text": "x",
        "from": {"id": 42, "is_bot": false}, "chat": {"id": 42, "type": "private"}}});
    assert_eq!(send(&address, None, update.to_string()).await, 401);
    assert_eq!(send(&address, Some("canary_secret-2"), update.to_string()).await, 401);
    book.refusals.lock().unwrap().push_back(true);
    assert_eq!(send(&address, Some(SECRET), update.to_string()).await, 503);
    assert_eq!(*book.keys.lock().unwrap(), Vec::<String>::new());
    assert_eq!(send(&address, Some(SECRET), update.to_string()).await, 200);
    assert_eq!(*book.keys.lock().unwrap(), ["telegram:42:10"]);
    assert_eq!(send(&address, Some(SECRET), "{\"update_id\":2,\"new\":1}".to_owned()).await, 200);
    assert_eq!(send(&address, Some(SECRET), "no json".to_owned()).await, 200);
    assert_eq!(send(&address, Some(SECRET), "x".repeat(UPDATE_BYTES_MAX + 1)).await, 400);

    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn telegram_is_told_the_address_until_it_takes_it() {
    let fake = Fake::start().await;
    fake.script("SetWebhook", [refusal(502, "Bad Gateway")]);
    let stop = CancellationToken::new();
    let (health, mut told) = watch::channel(Connection::Connecting);
    let book = Arc::new(Book::default());
    let reception = reception(&fake, &book, &stop);
    let calls = Calls::new(&fake.options()).unwrap();
    let stopped = stop.clone();
    let listening = tokio::spawn(async move {
        listen(options("https://bot.example/hook", SECRET), calls, reception, &Health(health), &stopped).await;
    });
    told.wait_for(|told| matches!(told, Connection::Lost { .. })).await.unwrap();
    told.wait_for(|told| *told == Connection::Connected).await.unwrap();
    assert_eq!(
        fake.calls("SetWebhook")[1],
        json!({"url": "https://bot.example/hook", "secret_token": SECRET, "max_connections": 1,
            "allowed_updates": ["message", "edited_message", "callback_query", "inline_query"]})
    );
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), listening).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn settings_that_telegram_would_refuse_are_told() {
    let outcome =
        |url: &'static str, secret: &'static str| async move { bind(&options(url, secret)).await.unwrap_err() };
    assert!(matches!(outcome("https://x/y", "").await, TelegramError::WebhookSecret));
    assert!(matches!(outcome("https://x/y", "a b").await, TelegramError::WebhookSecret));
    assert!(matches!(outcome("x/y", SECRET).await, TelegramError::WebhookUrl));
    assert!(matches!(outcome("https://", SECRET).await, TelegramError::WebhookUrl));
    assert!(!format!("{:?}", options("https://x/y", SECRET)).contains(SECRET));
}

#[test]
fn the_route_is_the_path_of_the_address() {
    let check = |url: &str, expect: Option<&str>| assert_eq!(path(url).as_deref(), expect, "{url}");
    check("https://bot.example/a/b?c#d", Some("/a/b"));
    check("https://bot.example", Some("/"));
    check("https://bot.example/", Some("/"));
    check("https:///a", None);
    check("https://x/{a}", None);
}
