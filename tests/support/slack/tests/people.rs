//! What people do, and how the bot is told of it.

use super::*;

#[tokio::test]
async fn a_mention_arrives_as_a_message_and_as_a_mention() {
    let office = office().await;
    let mut socket = office.socket().await;
    let text = format!("{} ferie?", office.fake.mention());
    let ts = office.fake.say(&office.channel, &office.anna, &text, Said::default());
    let (message, mention) = (socket.event().await, socket.event().await);
    assert_eq!((&message["type"], &message["channel_type"]), (&json!("message"), &json!("channel")));
    assert_eq!(mention["type"], "app_mention");
    for event in [message, mention] {
        assert_eq!((event["ts"].as_str(), event["text"].as_str()), (Some(ts.as_str()), Some(text.as_str())));
        assert_eq!(event["user"], office.anna.as_str());
    }
    let acked = office.fake.wait_until(|fake| fake.ack_delays().len() == 2, PATIENCE).await;
    assert!(acked && office.fake.pending_events() == 0);
}

#[tokio::test]
async fn everything_that_people_do_is_told() {
    let office = office().await;
    let Office { fake, anna, channel, .. } = &office;
    let mut socket = office.socket().await;
    let direct = fake.direct(anna);
    let ts = fake.say(&direct, anna, "ciao", Said::default());
    let event = socket.event().await;
    assert_eq!((&event["channel_type"], event.get("app_id")), (&json!("im"), None));
    fake.say(&direct, anna, "e poi?", Said::in_thread(&ts));
    let event = socket.event().await;
    assert_eq!((&event["thread_ts"], &event["parent_user_id"]), (&json!(ts), &json!(anna)));
    fake.edit(&direct, &ts, "salve");
    let event = socket.event().await;
    assert_eq!((&event["subtype"], &event["message"]["text"]), (&json!("message_changed"), &json!("salve")));
    assert_eq!(event["previous_message"]["text"], "ciao");
    fake.delete(&direct, &ts);
    assert_eq!(socket.event().await["message"]["subtype"], "tombstone");
    let lonely = fake.say(channel, anna, "", Said::with_file("a.pdf"));
    let event = socket.event().await;
    assert_eq!((&event["subtype"], &event["files"][0]["name"]), (&json!("file_share"), &json!("a.pdf")));
    fake.delete(channel, &lonely);
    let event = socket.event().await;
    assert_eq!((&event["subtype"], &event["deleted_ts"]), (&json!("message_deleted"), &json!(lonely)));
    let other = fake.add_bot("Other");
    fake.say(channel, &other, "beep", Said::default());
    assert!(socket.event().await["bot_id"].is_string());
    let thread = fake.open_assistant(anna, Some(channel));
    let event = socket.event().await;
    assert_eq!(event["assistant_thread"]["thread_ts"], json!(thread));
    fake.change_context(anna, &thread, channel);
    assert_eq!(socket.event().await["type"], "assistant_thread_context_changed");
    fake.open_home(anna);
    assert_eq!(socket.event().await["type"], "app_home_opened");
    let carla = fake.add_user("Carla", "en-US");
    fake.join(channel, &carla);
    assert_eq!(socket.event().await["type"], "member_joined_channel");
    assert_eq!(socket.event().await["subtype"], "channel_join");
    let trigger = fake.slash(channel, anna, "/cervella", "ask ferie?");
    let command = socket.event().await;
    assert_eq!((&command["text"], &command["trigger_id"]), (&json!("ask ferie?"), &json!(trigger)));
}

#[tokio::test]
async fn own_messages_come_back_and_can_be_pressed() {
    let office = office().await;
    let Office { fake, anna, channel, .. } = &office;
    let mut socket = office.socket().await;
    let blocks = json!([
        {"type": "markdown", "text": "**22** giorni"},
        {"type": "context_actions", "elements": [{"type": "feedback_buttons", "action_id": "feedback",
            "positive_button": {"text": {"type": "plain_text", "text": "Utile"}, "value": "helpful"},
            "negative_button": {"text": {"type": "plain_text", "text": "Inutile"}, "value": "not_helpful"}}]},
        {"type": "actions", "elements": [{"type": "button", "action_id": "stop", "value": "stop",
            "text": {"type": "plain_text", "text": "Ferma"}}]},
    ]);
    let ts = office.post(json!({"text": "22", "blocks": blocks})).await.unwrap();
    assert_eq!(socket.event().await["bot_id"], BOT_ID);
    fake.press(channel, anna, &ts, "not_helpful");
    let press = socket.event().await;
    assert_eq!(press["actions"][0]["type"], "feedback_buttons");
    assert_eq!((&press["actions"][0]["value"], &press["container"]["message_ts"]), (&json!("not_helpful"), &json!(ts)));
    fake.press(channel, anna, &ts, "stop");
    assert_eq!(socket.event().await["actions"][0]["action_id"], "stop");
    fake.shortcut(channel, anna, &ts, "ask_cervella");
    let shortcut = socket.event().await;
    assert_eq!((&shortcut["callback_id"], &shortcut["message"]["text"]), (&json!("ask_cervella"), &json!("22")));
    let shown = fake.message(channel, &ts).unwrap();
    assert_eq!((shown.plain.as_str(), shown.buttons.len(), shown.edits), ("**22** giorni", 3, 0));
}

#[tokio::test]
async fn a_person_stops_what_the_agent_writes() {
    let office = office().await;
    let Office { fake, anna, channel, .. } = &office;
    fake.set_echo(false);
    let mut socket = office.socket().await;
    let said = fake.say(channel, anna, "ferie?", Said::default());
    socket.event().await;
    let place = json!({"channel_id": channel, "thread_ts": said, "status": "processing"});
    office.call("agents.sessions.setStatus", place).await.unwrap();
    assert_eq!(fake.sessions(), [(channel.clone(), said.clone(), "processing".to_owned())]);
    let start = json!({"channel": channel, "thread_ts": said, "markdown_text": "22",
        "recipient_user_id": anna, "recipient_team_id": fake.team()});
    let ts = office.call("chat.startStream", start).await.unwrap()["ts"].clone();
    fake.stop_agent(channel, anna, &said);
    let event = socket.event().await;
    assert_eq!((&event["type"], &event["streaming_message_ts"]), (&json!("agent_session_stopped"), &json!([ts])));
    let append = json!({"channel": channel, "ts": ts, "markdown_text": "x"});
    assert_eq!(office.call("chat.appendStream", append).await, Err("stopped_by_user".to_owned()));
}

#[tokio::test]
async fn the_panel_and_the_trigger_take_answers() {
    let office = office().await;
    let Office { fake, anna, channel, .. } = &office;
    let mut socket = office.socket().await;
    let direct = fake.direct(anna);
    let thread = fake.open_assistant(anna, None);
    socket.event().await;
    let place = |more: Value| {
        let mut all = json!({"channel_id": direct, "thread_ts": thread});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    office.call("assistant.threads.setStatus", place(json!({"status": "cerca…"}))).await.unwrap();
    let prompts = json!({"title": "Prova:", "prompts": [{"title": "Ferie", "message": "Quante ferie ho?"}]});
    office.call("assistant.threads.setSuggestedPrompts", place(prompts)).await.unwrap();
    office.call("assistant.threads.setTitle", place(json!({"title": "Ferie"}))).await.unwrap();
    let expect = "== Anna (direct messages)\n#1 Cervella: New Assistant Thread\n#1 offers, below \"Prova:\":\n    [Ferie] \
         Quante ferie ho?\n#1 is called \"Ferie\"\n";
    assert_eq!(fake.transcript(&direct), expect);
    office.call("chat.postMessage", json!({"channel": direct, "thread_ts": thread, "text": "22"})).await.unwrap();
    let statuses: Vec<String> = fake.statuses().into_iter().map(|status| status.status).collect();
    assert_eq!(statuses, ["cerca…", ""]);
    assert_eq!(fake.answers_to(&direct, &thread).len(), 1);
    socket.event().await;

    let trigger = fake.slash(channel, anna, "/cervella", "help");
    let command = socket.next().await;
    let answer = json!({"envelope_id": command["envelope_id"], "payload": {"text": "aiuto"}});
    socket.0.send(Frame::text(answer.to_string())).await.unwrap();
    assert!(fake.wait_until(|fake| fake.ephemerals().len() == 1, PATIENCE).await);
    assert_eq!(fake.responses()[0].trigger, trigger);
    // A command that nobody takes is not sent again: the person sees that it failed.
    fake.set_interaction_patience(SHORT);
    fake.slash(channel, anna, "/cervella", "help");
    socket.next().await;
    assert!(fake.wait_until(|fake| fake.untaken().len() == 1, PATIENCE).await);
    assert_eq!(fake.untaken()[0].what, "slash_commands");
}

#[tokio::test]
async fn a_transcript_reads_as_people_see_it() {
    let office = office().await;
    let Office { fake, anna, bruno, channel } = &office;
    let said = fake.say(channel, anna, &format!("{} ferie &amp; permessi?", fake.mention()), Said::default());
    let blocks = json!([
        {"type": "markdown", "text": "**22** giorni\n\n- di ferie"},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "[1] <https://example.com/a|Ferie &lt;b&gt;>"}]},
        {"type": "actions", "elements": [{"type": "button", "action_id": "stop", "value": "stop",
            "text": {"type": "plain_text", "text": "Ferma"}}]},
    ]);
    office.post(json!({"text": "22", "blocks": blocks, "thread_ts": said})).await.unwrap();
    fake.edit(channel, &said, "scusate");
    let gone = fake.say(channel, bruno, "ciao <!here>", Said::default());
    fake.delete(channel, &gone);
    office.post(json!({"text": "<!channel> and `<!here>`"})).await.unwrap();
    let ephemeral = json!({"channel": channel, "user": anna, "text": "grazie"});
    office.call("chat.postEphemeral", ephemeral).await.unwrap();
    let expect = "== general (channel)\n#1 Anna (edited): scusate\n#2 Cervella -> #1:\n    **22** giorni\n\n    - di \
                  ferie\n\n    [1] Ferie <b> (https://example.com/a)\n    [Ferma]\n#3 Bruno (deleted): ciao here\n#4 \
                  Cervella: channel and `here`\n    calls !channel\n(for Anna alone): grazie\n";
    assert_eq!(fake.transcript(channel), expect);
}
