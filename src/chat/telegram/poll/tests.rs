//! Polling against a scripted Bot API: what is confirmed when, and what becomes of every fault.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::fake::{BREAK_OFF, Book, Fake, HANG, NoQuotes, TOKEN, identity, refusal};
use super::super::listen;
use super::*;
use crate::chat::connection::Connection;

struct Scene {
    fake: Fake,
    book: Arc<Book>,
    health: watch::Receiver<Connection>,
    stop: CancellationToken,
    listening: JoinHandle<()>,
}

impl Scene {
    fn keys(&self) -> Vec<String> {
        self.book.keys.lock().unwrap().clone()
    }

    async fn until(&mut self, is_so: impl FnMut(&Connection) -> bool) -> Connection {
        let change = tokio::time::timeout(Duration::from_secs(20), self.health.wait_for(is_so)).await;
        change.expect("the connection changes").unwrap().clone()
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.listening).await.expect("it stops").unwrap();
    }
}

async fn scene(answers: impl IntoIterator<Item = Value>, refusals: &[bool]) -> Scene {
    let fake = Fake::start().await;
    fake.script("GetUpdates", answers);
    let book = Arc::new(Book { refusals: Mutex::new(refusals.iter().copied().collect()), ..Book::default() });
    let (health, told) = watch::channel(Connection::Off);
    let stop = CancellationToken::new();
    let listening =
        tokio::spawn(listen(fake.options(), identity(), Arc::clone(&book), Arc::new(NoQuotes), health, stop.clone()));
    Scene { fake, book, health: told, stop, listening }
}

fn update(id: i64) -> Value {
    json!({"update_id": id, "message": {"message_id": id, "date": 1, "text": "canary-text",
        "from": {"id": 42, "is_bot": false}, "chat": {"id": 42, "type": "private"}}})
}

fn batch(ids: impl IntoIterator<Item = i64>) -> Value {
    json!({"ok": true, "result": ids.into_iter().map(update).collect::<Vec<_>>()})
}

fn keys(ids: impl IntoIterator<Item = i64>) -> Vec<String> {
    ids.into_iter().map(|id| format!("telegram:42:{id}")).collect()
}

fn offsets(polls: &[Value]) -> Vec<Option<i64>> {
    polls.iter().map(|poll| poll.get("offset").and_then(Value::as_i64)).collect()
}

#[tokio::test]
async fn updates_are_confirmed_after_they_were_taken() {
    let mut scene = scene([batch([5, 6]), batch([7])], &[]).await;
    let polls = scene.fake.heard("GetUpdates", 4).await;
    assert_eq!(offsets(&polls[..4]), [None, Some(7), Some(8), None]);
    assert_eq!(scene.keys(), keys([5, 6, 7]));
    assert_eq!(
        polls[0],
        json!({"limit": 100, "timeout": 0,
            "allowed_updates": ["message", "edited_message", "callback_query", "inline_query"]})
    );
    assert_eq!(scene.until(|told| *told == Connection::Connected).await, Connection::Connected);
    scene.stop().await;
}

#[tokio::test]
async fn an_update_that_was_not_written_down_comes_again() {
    let scene = scene([batch([5, 6, 7]), batch([6, 7])], &[false, true]).await;
    let polls = scene.fake.heard("GetUpdates", 3).await;
    assert_eq!(offsets(&polls[..3]), [None, Some(6), Some(8)]);
    assert_eq!(scene.keys(), keys([5, 6, 7]));
    scene.stop().await;
}

#[tokio::test]
async fn what_is_not_understood_is_passed_by() {
    let odd = json!({"ok": true, "result": [{"update_id": 5, "message": {"message_id": "x"}}, {"update_id": 6, "new": 1}, update(7)]});
    let scene = scene([odd], &[]).await;
    let polls = scene.fake.heard("GetUpdates", 2).await;
    assert_eq!(offsets(&polls[..2]), [None, Some(8)]);
    assert_eq!(scene.keys(), keys([7]));
    scene.stop().await;
}

#[tokio::test]
async fn an_update_that_is_no_readable_json_does_not_hold_up_the_others() {
    // Half of a pair of surrogates.
    let broken = r#"{"update_id":6,"message":{"text":"\ud83d"}}"#;
    let both = json!(format!(r#"{{"ok":true,"result":[{},{broken}]}}"#, update(5)));
    let alone = json!(format!(r#"{{"ok":true,"result":[{broken}]}}"#));
    let scene = scene([both, batch([5]), alone.clone(), alone, batch([7])], &[]).await;
    let polls = scene.fake.heard("GetUpdates", 6).await;
    assert_eq!(offsets(&polls[..6]), [None, None, Some(6), Some(6), Some(7), Some(8)]);
    assert_eq!(scene.keys(), keys([5, 7]));
    scene.stop().await;
}

#[tokio::test]
async fn polls_that_fail_hang_or_break_off_are_replaced() {
    for fault in [refusal(502, "Bad Gateway"), json!(HANG), json!(BREAK_OFF), json!("<html>")] {
        let mut scene = scene([fault, batch([5])], &[]).await;
        scene.until(|told| matches!(told, Connection::Lost { .. })).await;
        scene.until(|told| *told == Connection::Connected).await;
        scene.fake.heard("GetUpdates", 3).await;
        assert_eq!(scene.keys(), keys([5]));
        scene.stop().await;
    }
}

#[tokio::test]
async fn two_programs_with_one_token_are_told() {
    let conflict = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    let mut scene = scene(vec![refusal(409, conflict); 2], &[]).await;
    let told = scene.until(|told| matches!(told, Connection::Lost { .. })).await;
    let text = format!("{told:?}");
    assert!(text.contains("another program") && text.contains("telegram.token") && !text.contains(TOKEN), "{text}");
    scene.until(|told| *told == Connection::Connected).await;
    assert_eq!(scene.fake.calls("DeleteWebhook").len(), 0);
    scene.stop().await;
}

#[tokio::test]
async fn a_webhook_in_the_way_is_taken_away_and_what_waits_is_kept() {
    let conflict =
        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
    let mut scene = scene([refusal(409, conflict), batch([5])], &[]).await;
    scene.until(|told| *told == Connection::Connected).await;
    assert_eq!(scene.fake.calls("DeleteWebhook"), [json!({"drop_pending_updates": false})]);
    scene.fake.heard("GetUpdates", 3).await;
    assert_eq!(scene.keys(), keys([5]));
    scene.stop().await;
}

#[tokio::test]
async fn a_revoked_token_is_told() {
    let mut scene = scene(vec![refusal(401, "Unauthorized"); 2], &[]).await;
    let told = scene.until(|told| matches!(told, Connection::Lost { .. })).await;
    assert_eq!(told, Connection::Lost { reason: "telegram.token is refused by Telegram".to_owned() });
    scene.stop().await;
}

#[tokio::test]
async fn inline_queries_are_answered_and_not_written_down() {
    let query = json!({"update_id": 5, "inline_query": {"id": "9", "from": {"id": 42}, "query": "ferie"}});
    let scene = scene([json!({"ok": true, "result": [query]})], &[]).await;
    let answers = scene.fake.heard("AnswerInlineQuery", 1).await;
    assert_eq!((&answers[0]["inline_query_id"], &answers[0]["results"]), (&json!("9"), &json!([])));
    assert_eq!(scene.keys(), Vec::<String>::new());
    scene.stop().await;
}

#[tokio::test]
async fn an_address_that_is_none_is_told_and_the_process_goes_on() {
    let options = super::super::TelegramOptions { api_url: "nowhere".to_owned(), ..Fake::start().await.options() };
    let (health, mut told) = watch::channel(Connection::Off);
    let stop = CancellationToken::new();
    let listening =
        tokio::spawn(listen(options, identity(), Arc::new(Book::default()), Arc::new(NoQuotes), health, stop.clone()));
    told.wait_for(|told| matches!(told, Connection::Lost { .. })).await.unwrap();
    stop.cancel();
    listening.await.unwrap();
}
