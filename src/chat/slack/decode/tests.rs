//! Payloads as Slack sends them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn identity() -> SlackIdentity {
    SlackIdentity {
        team_id: "T1".to_owned(),
        team_name: "Team".to_owned(),
        user_id: "UBOT".to_owned(),
        bot_id: Some("BBOT".to_owned()),
    }
}

fn frame(kind: &str, payload: &Value) -> Frame {
    let frame = json!({"type": kind, "envelope_id": "e1", "accepts_response_payload": false, "payload": payload});
    decode(frame.to_string().as_bytes(), &identity())
}

fn incoming(kind: &str, payload: &Value) -> Option<Incoming> {
    match frame(kind, payload) {
        Frame::Envelope { id, incoming } => {
            assert_eq!(id, "e1");
            incoming.map(|incoming| *incoming)
        }
        other => panic!("{other:?}"),
    }
}

fn heard(event: &Value) -> Option<Incoming> {
    incoming(
        "events_api",
        &json!({"token": "t", "team_id": "T1", "api_app_id": "A1", "type": "event_callback", "event_id": "Ev1",
            "event_time": 1_700_000_000, "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": true}],
            "event": event}),
    )
}

/// The event with some fields replaced or added.
fn with(event: Value, fields: Value) -> Value {
    let (Value::Object(mut event), Value::Object(fields)) = (event, fields) else { panic!("two objects") };
    event.extend(fields);
    Value::Object(event)
}

const TS: &str = "1700000000.000100";

fn in_channel(text: &str) -> Value {
    json!({"type": "message", "channel": "C1", "channel_type": "channel", "user": "U1", "text": text, "ts": TS,
        "event_ts": TS, "client_msg_id": "8a", "team": "T1", "blocks": [{"type": "rich_text", "elements": []}]})
}

fn in_private(text: &str) -> Value {
    with(in_channel(text), json!({"channel": "D1", "channel_type": "im"}))
}

/// A message in one line: key, thread, author and how it is addressed, text.
fn line(incoming: &Incoming) -> String {
    let (verb, message) = match &incoming.event {
        ChatEvent::Message(message) => ("says", message),
        ChatEvent::Edited(message) => ("edits", message),
        other => panic!("{other:?}"),
    };
    let mut line = format!("{} | {} | {}", incoming.key, message.thread, message.author);
    for (is, word) in [(message.by_bot, "bot"), (message.private, "private"), (message.attachments, "files")] {
        if is {
            line.push_str(&format!(" ({word})"));
        }
    }
    if let Some(command) = &message.command {
        line.push_str(&format!(" (/{command})"));
    }
    line.push_str(&format!(" {verb} to {:?}: {}", message.addressed, message.text));
    line
}

fn check(event: &Value, expect: &str) {
    let incoming = heard(event).unwrap_or_else(|| panic!("nothing heard: {event}"));
    assert_eq!(line(&incoming), expect);
}

fn check_silent(event: &Value) {
    assert_eq!(heard(event), None, "{event}");
}

#[test]
fn messages_in_channels() {
    check(
        &in_channel("how do I reach the office?"),
        "slack:C1:1700000000.000100 | slack:C1/1700000000.000100 | slack:U1 says to Nobody: how do I reach the office?",
    );
    check(
        &in_channel("<@UBOT> how do I reach the office?"),
        "slack:C1:1700000000.000100 | slack:C1/1700000000.000100 | slack:U1 says to Bot: how do I reach the office?",
    );
    check(
        &in_channel("<@U2> do you know?"),
        "slack:C1:1700000000.000100 | slack:C1/1700000000.000100 | slack:U1 says to SomebodyElse: @U2 do you know?",
    );
}

#[test]
fn a_mention_is_the_message_that_it_arrives_with() {
    let message = with(in_channel("<@UBOT> ciao"), json!({"thread_ts": "1699999999.000100", "parent_user_id": "U2"}));
    let mention = json!({"type": "app_mention", "channel": "C1", "user": "U1", "text": "<@UBOT> ciao", "ts": TS,
        "thread_ts": "1699999999.000100", "event_ts": TS, "team": "T1"});
    let (message, mention) = (heard(&message).unwrap(), heard(&mention).unwrap());
    assert_eq!(message, mention);
    assert_eq!(line(&mention), "slack:C1:1700000000.000100 | slack:C1/1699999999.000100 | slack:U1 says to Bot: ciao");
}

#[test]
fn threads() {
    let reply = |text: &str, parent: &str| {
        with(in_channel(text), json!({"thread_ts": "1699999999.000100", "parent_user_id": parent}))
    };
    let start = "slack:C1:1700000000.000100 | slack:C1/1699999999.000100 | slack:U1 says to";
    check(&reply("and on Sunday?", "U2"), &format!("{start} Nobody: and on Sunday?"));
    check(&reply("and on Sunday?", "UBOT"), &format!("{start} Nobody: and on Sunday?"));
    check(&reply("<@U2> and on Sunday?", "UBOT"), &format!("{start} SomebodyElse: @U2 and on Sunday?"));
    let broadcast = with(reply("and on Sunday?", "U2"), json!({"subtype": "thread_broadcast"}));
    check(&broadcast, &format!("{start} Nobody: and on Sunday?"));
}

#[test]
fn people_of_another_workspace_are_known_as_such() {
    let external = |team: &str| {
        let message = with(in_channel("ciao"), json!({"user_team": team, "source_team": team}));
        let Some(Incoming { event: ChatEvent::Message(message), .. }) = heard(&message) else { panic!("no message") };
        message.external
    };
    assert!(external("T2"));
    assert!(!external("T1"));
}

#[test]
fn direct_messages() {
    check(
        &in_private("Quanti giorni di ferie ho?"),
        "slack:D1:1700000000.000100 | slack:D1 | slack:U1 (private) says to Nobody: Quanti giorni di ferie ho?",
    );
    let panel = with(in_private("Quanti giorni?"), json!({"thread_ts": "1699999999.000100", "assistant_thread": {}}));
    check(
        &panel,
        "slack:D1:1700000000.000100 | slack:D1/1699999999.000100 | slack:U1 (private) says to Nobody: Quanti giorni?",
    );
    let group = with(in_channel("hi"), json!({"channel": "G1", "channel_type": "mpim"}));
    check(&group, "slack:G1:1700000000.000100 | slack:G1/1700000000.000100 | slack:U1 says to Nobody: hi");
}

#[test]
fn files() {
    let files = json!([{"id": "F1", "mimetype": "image/png", "filetype": "png"}]);
    let event = with(in_private("what is this?"), json!({"subtype": "file_share", "files": files}));
    check(&event, "slack:D1:1700000000.000100 | slack:D1 | slack:U1 (private) (files) says to Nobody: what is this?");
}

#[test]
fn bots_are_known_as_bots() {
    let start = "slack:C1:1700000000.000100 | slack:C1/1700000000.000100 |";
    check(&with(in_channel("x"), json!({"bot_id": "B2"})), &format!("{start} slack:U1 (bot) says to Nobody: x"));
    check(&with(in_channel("x"), json!({"user": "UBOT"})), &format!("{start} slack:UBOT (bot) says to Nobody: x"));
    let integration =
        json!({"type": "message", "subtype": "bot_message", "channel": "C1", "bot_id": "B9", "text": "x", "ts": TS});
    check(&integration, &format!("{start} slack:B9 (bot) says to Nobody: x"));
}

fn change(before: &str, after: &Value) -> Value {
    json!({"type": "message", "subtype": "message_changed", "hidden": true, "channel": "C1", "channel_type": "channel",
        "ts": "1700000009.000200", "event_ts": "1700000009.000200", "message": after,
        "previous_message": {"type": "message", "user": "U1", "text": before, "ts": TS}})
}

#[test]
fn edited_questions() {
    let after = json!({"type": "message", "user": "U1", "text": "<@UBOT> new", "ts": TS,
        "edited": {"user": "U1", "ts": "1700000009.000000"}});
    check(
        &change("<@UBOT> old", &after),
        "slack:C1:1700000000.000100:edit:1700000009.000000 | slack:C1/1700000000.000100 | slack:U1 edits to Bot: new",
    );
    // An unfurled link, an answer below it: the text is the same.
    check_silent(&change("<@UBOT> new", &after));
    // The bot's own edits.
    check_silent(&change("<@UBOT> old", &with(after, json!({"user": "UBOT", "bot_id": "BBOT"}))));
}

#[test]
fn deleted_questions() {
    let expect = Incoming {
        key: "slack:C1:1700000000.000100:deleted".to_owned(),
        event: ChatEvent::Deleted { chat: chat("C1"), message: MessageId(TS.to_owned()) },
    };
    let before = json!({"type": "message", "user": "U1", "text": "old", "ts": TS});
    let gone = json!({"type": "message", "subtype": "message_deleted", "hidden": true, "channel": "C1",
        "ts": "1700000009.000200", "deleted_ts": TS, "previous_message": before});
    assert_eq!(heard(&gone), Some(expect.clone()));
    // With answers below it, it stays as a stone.
    let stone = json!({"type": "message", "subtype": "tombstone", "user": "USLACKBOT_", "text": "This message was deleted.",
        "ts": TS, "hidden": true});
    assert_eq!(heard(&change("old", &stone)), Some(expect));
    let own = with(gone, json!({"previous_message": {"user": "UBOT", "bot_id": "BBOT", "text": "old", "ts": TS}}));
    check_silent(&own);
}

#[test]
fn what_nobody_says_is_left_out() {
    for subtype in ["channel_join", "channel_topic", "pinned_item", "message_replied", "assistant_app_thread"] {
        check_silent(&with(in_channel("x"), json!({"subtype": subtype})));
    }
    check_silent(&json!({"type": "reaction_added", "user": "U1"}));
    assert_eq!(incoming("events_api", &json!({})), None);
    assert_eq!(incoming("something_new", &json!({"a": 1})), None);
}

fn slash(text: &str) -> Value {
    json!({"token": "t", "team_id": "T1", "team_domain": "team", "channel_id": "C1", "channel_name": "general",
        "user_id": "U1", "user_name": "anna", "command": "/cervella", "text": text, "api_app_id": "A1",
        "response_url": "https://hooks.slack.com/commands/1", "trigger_id": "13.7.8"})
}

#[test]
fn slash_commands() {
    let check = |text: &str, expect: &str| {
        let incoming = incoming("slash_commands", &slash(text)).unwrap();
        assert_eq!(line(&incoming), format!("slack:C1:command:13.7.8 | slack:C1 | slack:U1 {expect}"));
    };
    check("ask where is the office?", "(/ask) says to Bot: where is the office?");
    check("where is the office?", "(/ask) says to Bot: where is the office?");
    check("Status", "(/status) says to Bot: ");
    check("  lang it ", "(/lang) says to Bot: it");
    check("", "(/ask) says to Bot: ");
    check("ask <@U2|anna> in <#C2|travel>", "(/ask) says to Bot: @anna in #travel");
    // Names are no ids: what admins do is done to ids.
    check("allow <@U2|anna>", "(/allow) says to Bot: @U2");
    check("deny <#C2|travel>", "(/deny) says to Bot: #C2");
}

#[test]
fn the_shortcut_asks_for_whoever_chose_it() {
    let payload = json!({"type": "message_action", "callback_id": SHORTCUT, "trigger_id": "13.7.8",
        "action_ts": "1700000050.000000", "message_ts": TS, "response_url": "https://hooks.slack.com/app/1",
        "team": {"id": "T1", "domain": "team"}, "channel": {"id": "C1", "name": "general"},
        "user": {"id": "U2", "username": "anna", "team_id": "T1", "name": "anna"},
        "message": {"type": "message", "user": "U1", "bot_id": "B7", "ts": TS, "text": "how do we <!here> park?",
            "blocks": [{"type": "something_new"}]}});
    let asked = incoming("interactive", &payload).unwrap();
    assert_eq!(
        line(&asked),
        "slack:C1:1700000000.000100:shortcut:13.7.8 | slack:C1/1700000000.000100 | slack:U2 says to Bot: \
         how do we @here park?"
    );
    let other = with(payload, json!({"callback_id": "another_app"}));
    assert_eq!(incoming("interactive", &other), None);
}

fn pressed(action: &Value) -> Option<Incoming> {
    incoming(
        "interactive",
        &json!({"type": "block_actions", "user": {"id": "U1", "username": "anna", "team_id": "T1"},
            "api_app_id": "A1", "token": "t", "trigger_id": "13.7.8", "team": {"id": "T1"},
            "container": {"type": "message", "message_ts": TS, "channel_id": "C1", "is_ephemeral": false,
                "thread_ts": "1699999999.000100"},
            "channel": {"id": "C1", "name": "general"},
            "message": {"type": "message", "user": "UBOT", "bot_id": "BBOT", "ts": TS, "text": "x",
                "thread_ts": "1699999999.000100", "blocks": [{"type": "something_new"}]},
            "state": {"values": {}}, "response_url": "https://hooks.slack.com/actions/1", "actions": [action]}),
    )
}

#[test]
fn buttons() {
    let check = |action: Value, expect: Button| {
        let incoming = pressed(&action).unwrap();
        assert_eq!(incoming.key, "slack:C1:1700000000.000100:press:1700000060.000000");
        let expect = Press {
            thread: thread_of("C1", Some("1699999999.000100")),
            message: MessageId(TS.to_owned()),
            author: person("U1"),
            external: false,
            button: expect,
            language: None,
            receipt: None,
        };
        assert_eq!(incoming.event, ChatEvent::Pressed(expect));
    };
    let moment = json!({"action_ts": "1700000060.000000", "block_id": "b"});
    for button in [Button::Stop, Button::Sources] {
        let action = json!({"type": "button", "action_id": button.code(), "value": button.code()});
        check(with(action, moment.clone()), button);
    }
    for button in [Button::Helpful, Button::NotHelpful] {
        let action = json!({"type": "feedback_buttons", "action_id": "feedback", "value": button.code()});
        check(with(action, moment.clone()), button);
    }
    assert_eq!(pressed(&json!({"type": "button", "action_id": "other", "value": "x", "action_ts": "1.0"})), None);
}

#[test]
fn a_press_of_somebody_from_another_company() {
    let by = |team: &str| {
        let payload = json!({"type": "block_actions", "user": {"id": "U9", "team_id": team},
            "container": {"message_ts": TS, "channel_id": "C1"}, "channel": {"id": "C1"}, "message": {"ts": TS},
            "actions": [{"type": "feedback_buttons", "action_id": "feedback", "value": "helpful", "action_ts": "1.0"}]});
        match incoming("interactive", &payload).map(|incoming| incoming.event) {
            Some(ChatEvent::Pressed(press)) => press.external,
            other => panic!("{other:?}"),
        }
    };
    assert!(by("T9") && !by(&identity().team_id));
}

#[test]
fn an_opened_panel() {
    let started = json!({"type": "assistant_thread_started", "event_ts": "1700000001.000000", "assistant_thread":
        {"user_id": "U1", "channel_id": "D1", "thread_ts": TS, "context": {"channel_id": "C1", "team_id": "T1"}}});
    let opened = Opened { thread: thread_of("D1", Some(TS)), author: person("U1"), language: None };
    let expect = Incoming { key: format!("slack:D1:{TS}:opened"), event: ChatEvent::Opened(opened) };
    assert_eq!(heard(&started), Some(expect));
}

#[test]
fn slacks_own_stop_button() {
    let stopped = json!({"type": "agent_session_stopped", "channel": "C1", "thread_ts": "1699999999.000100",
        "user": "U1", "event_ts": "1700000060.000000", "streaming_message_ts": [TS]});
    let press = Press {
        thread: thread_of("C1", Some("1699999999.000100")),
        message: MessageId(TS.to_owned()),
        author: person("U1"),
        external: false,
        button: Button::Stop,
        language: None,
        receipt: None,
    };
    let key = format!("slack:C1:{TS}:press:1700000060.000000");
    assert_eq!(heard(&stopped), Some(Incoming { key, event: ChatEvent::Pressed(press) }));
}

#[test]
fn frames_of_the_socket() {
    let check = |frame: Value, expect: Frame| assert_eq!(decode(frame.to_string().as_bytes(), &identity()), expect);
    check(
        json!({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"},
            "debug_info": {"host": "applink-1", "approximate_connection_time": 18_060}}),
        Frame::Hello,
    );
    check(
        json!({"type": "disconnect", "reason": "refresh_requested", "debug_info": {"host": "applink-1"}}),
        Frame::Disconnect { reason: "refresh_requested".to_owned() },
    );
    check(json!({"type": "pong"}), Frame::Other);
    assert_eq!(decode(b"not json", &identity()), Frame::Other);
    assert_eq!(decode(&[0xff, 0xfe], &identity()), Frame::Other);
    assert_eq!(decode("[".repeat(100_000).as_bytes(), &identity()), Frame::Other);
}

/// JSON made of the words that the decoder looks for, so that its branches are reached.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "type",
        "channel",
        "user",
        "text",
        "ts",
        "thread_ts",
        "message",
        "previous_message",
        "subtype",
        "event",
        "payload",
        "envelope_id",
        "message_changed",
        "message_deleted",
        "tombstone",
        "events_api",
        "interactive",
        "slash_commands",
        "block_actions",
        "message_action",
        "actions",
        "value",
        "action_id",
        "stop",
        "feedback",
        "container",
        "channel_id",
        "trigger_id",
        "user_id",
        "files",
        "edited",
        "hello",
        "disconnect",
        "reason",
        "assistant_thread_started",
        "assistant_thread",
        "agent_session_stopped",
        "streaming_message_ts",
        "id",
        "app_mention",
        "callback_id",
        "ask_cervella",
        "<@UBOT>",
        "1700000000.000100",
        "D1",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&bytes, &identity());
    }

    #[test]
    fn any_payload_is_read_without_a_panic(value in any_json(), kind in 0..3_usize) {
        frame(["events_api", "interactive", "slash_commands"][kind], &value);
        decode(value.to_string().as_bytes(), &identity());
        event(&value, &identity());
    }

    #[test]
    fn any_field_of_a_message_may_be_anything(field in "[a-z_]{2,12}", value in any_json()) {
        let mut event = in_channel("<@UBOT> x");
        event[field] = value.clone();
        heard(&event);
        event["subtype"] = "message_changed".into();
        event["message"] = value;
        heard(&event);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[<>@!#|&^a-zà-ü;]{0,40}") {
        let read = text::plain(&text, "UBOT");
        prop_assert!(read.text.chars().count() <= text.chars().count());
    }
}
