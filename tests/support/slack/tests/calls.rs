//! Calls of the Web API: refusals, streams, history, blocks.

use super::*;

#[tokio::test]
async fn calls_are_refused_with_the_codes_of_the_platform() {
    let office = office().await;
    let Office { fake, anna, bruno, channel } = &office;
    fake.set_limits(None);
    let check = async |method: &str, parameters: Value, expect: &str| {
        assert_eq!(office.call(method, parameters.clone()).await, Err(expect.to_owned()), "{method} {parameters}");
    };
    let said = fake.say(channel, anna, "ciao", Said::default());
    let own = office.post(json!({"text": "salve"})).await.unwrap();
    let elsewhere = fake.add_channel(ChannelKind::Private, "secret", std::slice::from_ref(anna));
    fake.leave(&elsewhere, &fake.bot_user());
    check("chat.postMessage", json!({"channel": "C0", "text": "x"}), "channel_not_found").await;
    check("chat.postMessage", json!({"channel": elsewhere, "text": "x"}), "channel_not_found").await;
    check("chat.postMessage", json!({"channel": channel}), "no_text").await;
    check("chat.postMessage", json!({"channel": channel, "text": "x".repeat(40_001)}), "msg_too_long").await;
    check("chat.postMessage", json!({"channel": channel, "text": "x", "thread_ts": "1.000001"}), "thread_not_found")
        .await;
    check("chat.update", json!({"channel": channel, "ts": said, "text": "x"}), "cant_update_message").await;
    check("chat.update", json!({"channel": channel, "ts": "1.000001", "text": "x"}), "message_not_found").await;
    check("chat.update", json!({"channel": channel, "ts": own, "text": "x".repeat(4_001)}), "msg_too_long").await;
    check("chat.delete", json!({"channel": channel, "ts": said}), "cant_delete_message").await;
    let carla = fake.add_user("Carla", "en-US");
    check("chat.postEphemeral", json!({"channel": channel, "user": carla, "text": "x"}), "user_not_in_channel").await;
    check("conversations.replies", json!({"channel": channel, "ts": "1.000001"}), "thread_not_found").await;
    check("users.info", json!({"user": "U9"}), "user_not_found").await;
    check("no.such", json!({}), "unknown_method").await;
    check("apps.connections.open", json!({}), "not_allowed_token_type").await;
    let wrong = office.call_with("xoxb-wrong".to_owned(), "auth.test", json!({})).await;
    assert_eq!(wrong, Err("invalid_auth".to_owned()));
    fake.set_scopes(&["users:read"]);
    check("chat.postMessage", json!({"channel": channel, "text": "x"}), "missing_scope").await;
    fake.set_scopes(&["chat:write"]);
    fake.leave(channel, &fake.bot_user());
    check("chat.postMessage", json!({"channel": channel, "text": "x"}), "not_in_channel").await;
    assert!(fake.violations().iter().all(|violation| violation.limit == Limit::Size), "{:?}", fake.violations());
    assert_eq!(fake.direct(bruno).len(), 9);
}

#[tokio::test]
async fn a_stream_grows_ends_and_is_over() {
    let office = office().await;
    let Office { fake, anna, channel, .. } = &office;
    let said = fake.say(channel, anna, "ferie?", Said::default());
    let start = async |more: Value| {
        let mut all =
            json!({"channel": channel, "thread_ts": said, "recipient_user_id": anna, "recipient_team_id": "T"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        office.call("chat.startStream", all).await.map(|answer| answer["ts"].as_str().unwrap().to_owned())
    };
    let lacking = office.call("chat.startStream", json!({"channel": channel, "thread_ts": said})).await;
    assert_eq!(lacking, Err("missing_recipient_user_id".to_owned()));
    let ts = start(json!({"markdown_text": "**22** "})).await.unwrap();
    let stream = |method: &'static str, ts: &str, more: Value| {
        let mut all = json!({"channel": channel, "ts": ts});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        office.call(method, all)
    };
    stream("chat.appendStream", &ts, json!({"markdown_text": "giorni"})).await.unwrap();
    let chunks = json!({"chunks": [{"type": "markdown_text", "text": "x"}]});
    let mixed = stream("chat.appendStream", &ts, chunks).await;
    assert_eq!(mixed, Err("streaming_mode_mismatch".to_owned()));
    let update = stream("chat.update", &ts, json!({"text": "x"})).await;
    assert_eq!(update, Err("streaming_state_conflict".to_owned()));
    let shown = fake.message(channel, &ts).unwrap();
    assert!(shown.streaming && shown.thread_ts.as_deref() == Some(said.as_str()));
    let last = json!({"markdown_text": ".", "blocks": [{"type": "divider"}],
        "metadata": {"event_type": "m", "event_payload": {"a": "b"}}});
    stream("chat.stopStream", &ts, last).await.unwrap();
    let shown = fake.message(channel, &ts).unwrap();
    assert_eq!((shown.streaming, shown.plain.as_str()), (false, "**22** giorni.\n\n---"));
    assert_eq!(shown.metadata.unwrap()["event_payload"]["a"], "b");
    let over = stream("chat.appendStream", &ts, json!({"markdown_text": "x"})).await;
    assert_eq!(over, Err("message_not_in_streaming_state".to_owned()));

    let ts = start(json!({})).await.unwrap();
    fake.fault("chat.appendStream", Fault::DeadStream);
    let dead = stream("chat.appendStream", &ts, json!({"markdown_text": "x"})).await;
    assert_eq!(dead, Err("message_not_in_streaming_state".to_owned()));
    stream("chat.update", &ts, json!({"text": "whole"})).await.unwrap();
    assert_eq!(fake.message(channel, &ts).unwrap().plain, "whole");
    fake.set_stream_age(Duration::ZERO);
    let ts = start(json!({"markdown_text": "old"})).await.unwrap();
    assert!(!fake.message(channel, &ts).unwrap().streaming);
}

#[tokio::test]
async fn answers_are_found_in_the_history() {
    let office = office().await;
    let Office { fake, anna, channel, .. } = &office;
    let said = fake.say(channel, anna, "ferie?", Said::default());
    let metadata = json!({"event_type": "answer", "event_payload": {"question": said}});
    let ts = office.post(json!({"text": "22", "thread_ts": said, "metadata": metadata})).await.unwrap();
    let all = json!({"channel": channel, "ts": said, "oldest": said, "include_all_metadata": "true", "limit": "200"});
    let replies = office.call("conversations.replies", all).await.unwrap();
    let messages = replies["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!((&messages[1]["ts"], &messages[1]["metadata"]), (&json!(ts), &metadata));
    let history = office.call("conversations.history", json!({"channel": channel})).await.unwrap();
    assert_eq!(history["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_growth_of_a_message_is_remembered() {
    let office = office().await;
    let Office { fake, anna, channel, .. } = &office;
    let said = fake.say(channel, anna, "ferie?", Said::default());
    let start = json!({"channel": channel, "thread_ts": said, "recipient_user_id": anna, "recipient_team_id": "T"});
    let ts = office.call("chat.startStream", start).await.unwrap()["ts"].as_str().unwrap().to_owned();
    assert_eq!(fake.message(channel, &ts).unwrap().words_at, None);
    let more = |method: &'static str, text: &str| {
        office.call(method, json!({"channel": channel, "ts": ts, "markdown_text": text}))
    };
    more("chat.appendStream", "22 ").await.unwrap();
    more("chat.stopStream", "giorni").await.unwrap();
    let shown = fake.message(channel, &ts).unwrap();
    let plain = |version: &Version| version.plain.clone();
    assert_eq!(shown.versions.iter().map(plain).collect::<Vec<_>>(), ["", "22 ", "22 giorni"]);
    assert_eq!((shown.words_at, shown.changed_at), (Some(shown.versions[1].at), shown.versions[2].at));
    assert!(shown.streamed && shown.shown_at <= shown.changed_at && shown.user == fake.bot_user());
    assert_eq!((shown.button("stop").map(|button: &Button| button.label.clone()), shown.blocks.len()), (None, 0));
    let linked = office.post(json!({"text": "https://example.com"})).await.unwrap();
    assert!(fake.message(channel, &linked).unwrap().unfurls);
    fake.archive(channel);
    assert_eq!(office.post(json!({"text": "x"})).await, Err("is_archived".to_owned()));
}

#[test]
fn blocks_are_checked_as_slack_does() {
    let check = |blocks: Value, fine: bool| {
        assert_eq!(check_blocks(&blocks).is_ok(), fine, "{:?}", check_blocks(&blocks));
    };
    for (blocks, fine) in block_examples() {
        check(blocks, fine);
    }
}
