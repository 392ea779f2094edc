//! What goes wrong on demand.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{ChatKind, FakeTelegram, Fault, Limit, Limits, PersonId, Said};
use super::{PATIENCE, call, refusal, result, send, with_anna};

async fn write(fake: &FakeTelegram, anna: PersonId) -> Option<(u16, Value)> {
    call(fake, "sendMessage", json!({ "chat_id": anna.0, "text": "<b>x</b>", "parse_mode": "HTML" })).await
}

#[tokio::test]
async fn scripted_faults_are_met_in_their_order() {
    let (fake, anna) = with_anna().await;
    fake.fault("sendMessage", Fault::ServerError(502));
    fake.fault("sendMessage", Fault::Drop);
    fake.fault("sendMessage", Fault::RefuseMarkup);
    fake.fault("sendMessage", Fault::LostReceipt);
    assert_eq!(refusal(write(&fake, anna).await), "502 Bad Gateway");
    assert_eq!(write(&fake, anna).await, None);
    assert!(refusal(write(&fake, anna).await).starts_with("400 Bad Request: can't parse entities: "));
    assert!(fake.answers(anna).is_empty());
    assert_eq!(write(&fake, anna).await, None);
    assert_eq!(fake.answers(anna).len(), 1);
    assert_eq!((fake.faults_left(), fake.calls("sendMessage")), (0, 4));
    result(write(&fake, anna).await);
}

#[tokio::test]
async fn who_does_not_wait_as_asked_is_found_out() {
    let (fake, anna) = with_anna().await;
    fake.set_limits(Some(Limits { on_its_way: Duration::ZERO, ..Limits::default() }));
    fake.fault("sendMessage", Fault::RetryAfter(3));
    let (status, body) = write(&fake, anna).await.unwrap();
    let expected = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 3",
        "parameters": { "retry_after": 3 } });
    assert_eq!((status, body), (429, expected));
    assert!(fake.violations().is_empty());
    assert!(refusal(write(&fake, anna).await).starts_with("429 "));
    let violation = fake.violations().remove(0);
    assert_eq!((violation.limit, violation.method.as_str()), (Limit::Impatient, "sendMessage"));
    assert_eq!(violation.chat, anna.into());
}

#[tokio::test]
async fn a_fault_can_be_for_one_chat() {
    let (fake, anna) = with_anna().await;
    let team = fake.add_chat(ChatKind::Supergroup, "Team", &[anna]);
    fake.fault_in(team, "sendMessage", Fault::Drop);
    send(&fake, anna, "ciao").await;
    assert_eq!(call(&fake, "sendMessage", json!({ "chat_id": team.0, "text": "x" })).await, None);
}

#[tokio::test]
async fn a_hanging_call_has_no_effect() {
    let (fake, anna) = with_anna().await;
    fake.fault("sendMessage", Fault::Hang);
    tokio::select! {
        answer = write(&fake, anna) => panic!("it was answered: {answer:?}"),
        came = fake.wait_until(|fake| fake.faults_left() == 0, PATIENCE) => assert!(came),
    }
    assert!(fake.answers(anna).is_empty());
}

#[tokio::test]
async fn a_message_can_vanish_under_an_edit() {
    let (fake, anna) = with_anna().await;
    let id = send(&fake, anna, "ciao").await;
    fake.fault("editMessageText", Fault::Gone);
    let edit = json!({ "chat_id": anna.0, "message_id": id, "text": "x" });
    assert_eq!(refusal(call(&fake, "editMessageText", edit).await), "400 Bad Request: message to edit not found");
    assert!(fake.messages(anna)[0].deleted);
}

async fn poll(fake: &FakeTelegram, offset: i64) -> Vec<(i64, String)> {
    let updates = result(call(fake, "getUpdates", json!({ "offset": offset })).await);
    let one = |update: &Value| {
        (update["update_id"].as_i64().unwrap(), update["message"]["text"].as_str().unwrap().to_owned())
    };
    updates.as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn updates_come_again_or_in_another_order() {
    let (fake, anna) = with_anna().await;
    fake.fault("getUpdates", Fault::Redeliver);
    fake.say(anna, anna, "uno", Said::default());
    let first = poll(&fake, 0).await;
    let next = first[0].0 + 1;
    assert_eq!(poll(&fake, next).await, first);
    assert_eq!(poll(&fake, next).await, []);

    fake.fault("getUpdates", Fault::OutOfOrder);
    fake.say(anna, anna, "due", Said::default());
    assert_eq!(poll(&fake, next).await, [(next, "due".to_owned())]);
    fake.say(anna, anna, "tre", Said::default());
    let turned = [(next, "tre".to_owned()), (next + 1, "due".to_owned())];
    assert_eq!(poll(&fake, next).await, turned);
    assert_eq!(fake.faults_left(), 0);
}

#[tokio::test]
async fn chance_is_the_same_for_the_same_seed() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let (fake, anna) = with_anna().await;
        fake.set_limits(None);
        fake.faults_by_chance(seed, 0.3, &[Fault::ServerError(500), Fault::Drop]);
        let mut run = Vec::new();
        for _ in 0..60 {
            run.push(write(&fake, anna).await.map(|(status, _)| status));
        }
        fake.no_faults_by_chance();
        result(write(&fake, anna).await);
        assert_eq!(run.iter().filter(|status| **status == Some(200)).count(), fake.answers(anna).len() - 1);
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    let met = runs[0].iter().filter(|status| **status != Some(200)).count();
    assert!((8..=28).contains(&met), "{met} of 60");
    assert!(runs[0].contains(&None) && runs[0].contains(&Some(500)));
}

#[tokio::test]
async fn without_a_network_nothing_comes_through() {
    let (fake, anna) = with_anna().await;
    let poll = call(&fake, "getUpdates", json!({ "timeout": 50 }));
    let cutting = async {
        assert!(fake.wait_until(|fake| fake.calls("getUpdates") == 1, PATIENCE).await);
        fake.set_network(false);
    };
    assert_eq!(tokio::join!(poll, cutting).0, None);
    assert_eq!(write(&fake, anna).await, None);
    assert!(fake.answers(anna).is_empty());
    fake.set_network(true);
    result(write(&fake, anna).await);
}
