//! What Telegram is sent for each call of delivery, and what its answers are taken for.

use serde_json::{Value, json};

use super::super::fake::{BREAK_OFF, Fake, identity, refusal};
use super::*;
use crate::chat::delivery::Source;
use crate::chat::event::Button;
use crate::domain::{Chat, Platform, Principal};

async fn surface() -> (Fake, TelegramSurface) {
    let fake = Fake::start().await;
    let mut surface = TelegramSurface::new(&fake.options(), identity()).unwrap();
    surface.probe_interval = Duration::ZERO;
    (fake, surface)
}

fn address(chat: &str, topic: Option<&str>) -> Address {
    Address {
        thread: Thread {
            chat: Chat { platform: Platform::Telegram, id: chat.to_owned() },
            id: topic.map(str::to_owned),
        },
        question: MessageId("10".to_owned()),
        asker: Principal { platform: Platform::Telegram, id: "42".to_owned() },
        private: !chat.starts_with('-'),
    }
}

fn content(markdown: &str) -> Content {
    Content { markdown: markdown.to_owned(), ..Content::default() }
}

fn sent(id: i64) -> Value {
    json!({"ok": true, "result": {"message_id": id, "some_new_field": {}}})
}

#[tokio::test]
async fn an_answer_in_a_topic_replies_to_its_question() {
    let (fake, surface) = surface().await;
    fake.script("SendMessage", [sent(11)]);
    let content = Content {
        sources: vec![Source { n: 1, title: "Ferie › Preavviso".to_owned(), url: None }],
        buttons: vec![Button::Stop],
        language: Some(Language::Italian),
        ..content("Due settimane [1]")
    };
    let id = surface.post(&address("-100200", Some("5")), &content).await.unwrap();
    assert_eq!(id.0, "11");
    assert_eq!(
        fake.calls("SendMessage"),
        [json!({
            "chat_id": -100_200,
            "message_thread_id": 5,
            "text": "Due settimane [1]\n\n[1] Ferie › Preavviso",
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": true},
            "reply_parameters": {"message_id": 10, "allow_sending_without_reply": true},
            "reply_markup": {"inline_keyboard": [[{"text": "Ferma", "callback_data": "stop"}]]},
        })]
    );
}

#[tokio::test]
async fn a_private_answer_stands_alone_and_plain_text_has_no_markup() {
    let (fake, surface) = surface().await;
    fake.script("SendMessage", [sent(11)]);
    let content = Content { plain: true, ..content("a < b") };
    surface.post(&address("42", None), &content).await.unwrap();
    let expect = json!({"chat_id": 42, "text": "a < b", "link_preview_options": {"is_disabled": true}});
    assert_eq!(fake.calls("SendMessage"), [expect]);
}

#[tokio::test]
async fn edits_replace_text_and_buttons() {
    let (fake, surface) = surface().await;
    fake.script("EditMessageText", [
        sent(11),
        refusal(400, "Bad Request: message is not modified: specified new message content and reply markup are exactly the same"),
        json!({"ok": true, "result": true}),
    ]);
    for _ in 0..3 {
        surface.edit(&address("42", None), &MessageId("11".to_owned()), &content("Sì")).await.unwrap();
    }
    assert_eq!(
        fake.calls("EditMessageText")[0],
        json!({"chat_id": 42, "message_id": 11, "text": "Sì", "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": true}})
    );
}

async fn check(answer: Value, expect: &str) {
    let (fake, surface) = surface().await;
    fake.script("EditMessageText", [answer.clone()]);
    fake.script("SendMessage", [answer.clone()]);
    let to = address("-100200", None);
    let of_edit = surface.edit(&to, &MessageId("11".to_owned()), &content("x")).await.unwrap_err();
    let of_post = surface.post(&to, &content("x")).await.unwrap_err();
    assert_eq!((format!("{of_edit:?}"), format!("{of_post:?}")), (expect.to_owned(), expect.to_owned()), "{answer}");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    check(
        json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 3", "parameters": {"retry_after": 3}}),
        "Wait(3s)",
    )
    .await;
    check(refusal(502, "Bad Gateway"), "Unreachable(\"status 502\")").await;
    check(json!(BREAK_OFF), "Unreachable(\"the connection broke off\")").await;
    check(refusal(400, "Bad Request: can't parse entities: Unexpected end tag at byte offset 7"), "Markup").await;
    check(refusal(400, "Bad Request: message is too long"), "Markup").await;
    check(refusal(400, "Bad Request: message to edit not found"), "Gone").await;
    check(refusal(400, "Bad Request: message can't be edited"), "Gone").await;
    for (code, description) in [
        (403, "Forbidden: bot was blocked by the user"),
        (403, "Forbidden: bot was kicked from the supergroup chat"),
        (400, "Bad Request: chat not found"),
        (400, "Bad Request: not enough rights to send text messages to the chat"),
    ] {
        let expect = format!("Refused(\"error {code}, {}\")", description.to_lowercase());
        check(refusal(code, description), &expect).await;
    }
}

async fn find(
    surface: &TelegramSurface,
    behind: Option<&MessageId>,
    known: &[MessageId],
) -> Result<Option<MessageId>, SendError> {
    surface.find(&address("42", None), &Lost { content: &content("Sì"), behind, known }).await
}

/// The question waited while others wrote: the search begins behind what was known when the message was posted.
#[tokio::test]
async fn a_lost_message_is_found_behind_what_was_heard_before_it() {
    let (fake, surface) = surface().await;
    for number in ["40", "70", "60"] {
        surface.heard(&MessageId(number.to_owned()), true);
    }
    surface.heard(&MessageId("9000".to_owned()), false);
    let newest = surface.newest(&address("42", None));
    assert_eq!(newest, Some(MessageId("70".to_owned())));
    fake.script("EditMessageText", [refusal(400, "Bad Request: message is not modified")]);
    // What was said after it does not hide it.
    let known = [MessageId("90".to_owned())];
    assert_eq!(find(&surface, newest.as_ref(), &known).await.unwrap(), Some(MessageId("71".to_owned())));
}

#[tokio::test]
async fn a_lost_message_is_found_behind_its_question() {
    let (fake, surface) = surface().await;
    fake.script(
        "EditMessageText",
        [refusal(400, "Bad Request: message can't be edited"), refusal(400, "Bad Request: message is not modified")],
    );
    let known = ["12", "13"].map(|id| MessageId(id.to_owned()));
    let found = find(&surface, None, &known).await.unwrap();
    assert_eq!(found, Some(MessageId("15".to_owned())));
    let tried: Vec<_> = fake.calls("EditMessageText").iter().map(|call| call["message_id"].clone()).collect();
    assert_eq!(tried, [14, 15]);
}

#[tokio::test]
async fn a_message_that_never_arrived_is_not_found() {
    let (fake, surface) = surface().await;
    fake.script("EditMessageText", vec![refusal(400, "Bad Request: message to edit not found"); 2 * PROBES_MAX]);
    assert_eq!(find(&surface, None, &[]).await.unwrap(), None);
    assert_eq!(fake.calls("EditMessageText").len(), PROBES_MAX);
}

#[tokio::test]
async fn a_search_that_is_interrupted_is_not_a_no_and_goes_on_where_it_was() {
    let (fake, surface) = surface().await;
    let not_found = refusal(400, "Bad Request: message to edit not found");
    fake.script("EditMessageText", [not_found.clone(), refusal(502, "Bad Gateway")]);
    fake.script("EditMessageText", vec![not_found; 2 * PROBES_MAX]);
    let outcome = find(&surface, None, &[]).await;
    assert!(matches!(outcome, Err(SendError::Unreachable(_))), "{outcome:?}");
    assert_eq!(find(&surface, None, &[]).await.unwrap(), None);
    let tried: Vec<_> = fake.calls("EditMessageText").iter().map(|call| call["message_id"].as_i64().unwrap()).collect();
    assert_eq!(tried, [11, 12].into_iter().chain(12..=10 + PROBES_MAX as i64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_that_is_gone_is_removed_already() {
    let (fake, surface) = surface().await;
    fake.script(
        "DeleteMessage",
        [
            json!({"ok": true, "result": true}),
            refusal(400, "Bad Request: message to delete not found"),
            refusal(400, "Bad Request: message can't be deleted for everyone"),
        ],
    );
    let message = MessageId("11".to_owned());
    let to = address("42", None);
    surface.remove(&to, &message).await.unwrap();
    surface.remove(&to, &message).await.unwrap();
    assert!(matches!(surface.remove(&to, &message).await, Err(SendError::Gone)));
}

#[tokio::test]
async fn presses_are_confirmed_and_old_ones_forgotten() {
    let (fake, surface) = surface().await;
    let to = address("42", None);
    let receipt = Receipt { to: &to, person: &to.asker, code: Some("9001") };
    surface.confirm(&receipt, "Grazie!").await.unwrap();
    assert_eq!(fake.calls("AnswerCallbackQuery"), [json!({"callback_query_id": "9001", "text": "Grazie!"})]);
    let old = "Bad Request: query is too old and response timeout expired or query ID is invalid";
    fake.script("AnswerCallbackQuery", [refusal(400, old)]);
    surface.confirm(&receipt, &"x".repeat(300)).await.unwrap();
    assert_eq!(fake.calls("AnswerCallbackQuery")[1]["text"].as_str().unwrap().chars().count(), 200);
}

#[tokio::test]
async fn a_conversation_opens_with_questions_to_ask() {
    let (fake, surface) = surface().await;
    let questions = ["Uno?", "Due?", "Tre?", "Quattro?"].map(str::to_owned);
    surface.suggest(&address("42", None), Language::Italian, "Ciao!", &questions).await.unwrap();
    let sent = fake.calls("SendMessage");
    assert_eq!(sent[0]["text"], "Ciao!\n\nPer esempio:\n• Uno?\n• Due?\n• Tre?");
    assert_eq!(sent[0].get("parse_mode"), None);
}

#[tokio::test]
async fn typing_is_shown_in_the_topic() {
    let (fake, surface) = surface().await;
    let to = address("-100200", Some("5"));
    surface.working(&to, true).await;
    surface.working(&to, false).await;
    let expect = json!({"chat_id": -100_200, "message_thread_id": 5, "action": "typing"});
    assert_eq!(fake.calls("SendChatAction"), [expect]);
}

#[tokio::test]
async fn what_is_no_chat_of_telegram_is_refused() {
    let (_fake, surface) = surface().await;
    let outcome = surface.post(&address("C0123", None), &content("x")).await;
    assert!(matches!(outcome, Err(SendError::Refused(_))), "{outcome:?}");
}
