//! Updates as Telegram sends them, and some as it never should.

use proptest::prelude::*;
use serde_json::json;

use super::super::fake::identity;
use super::*;

/// A message of Ada (id 42) in the group -200, with the given fields put over it.
fn group(fields: Value) -> Value {
    let mut message = json!({
        "message_id": 10,
        "from": {"id": 42, "is_bot": false, "first_name": "Ada", "username": "ada", "language_code": "it"},
        "chat": {"id": -200, "title": "Ufficio", "type": "supergroup"},
        "date": 1_750_000_000,
    });
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    for (name, value) in fields {
        message[name] = value;
    }
    message
}

fn private(mut fields: Value) -> Value {
    fields["chat"] = json!({"id": 42, "first_name": "Ada", "type": "private"});
    group(fields)
}

fn entity(kind: &str, offset: usize, length: usize) -> Value {
    json!([{"type": kind, "offset": offset, "length": length}])
}

fn event(update: &Value) -> Incoming {
    match decode(update, &identity()) {
        Decoded::Event(incoming) => incoming,
        other => panic!("{other:?}"),
    }
}

fn told(message: Value) -> Message {
    match event(&Value::from_iter([("message", message)])).event {
        ChatEvent::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

/// Whom a message is for, its command and what is left of its text.
fn check(message: Value, addressed: Addressed, command: Option<&str>, text: &str) {
    let shown = message.to_string();
    let told = told(message);
    assert_eq!((told.addressed, told.command.as_deref(), told.text.as_str()), (addressed, command, text), "{shown}");
}

fn check_skipped(update: &Value, why: &'static str) {
    assert_eq!(decode(update, &identity()), Decoded::Skipped(why), "{update}");
}

#[test]
fn a_question_in_a_private_chat() {
    let incoming = event(&json!({"update_id": 1, "message": private(json!({"text": " Quante ferie ho? "}))}));
    assert_eq!(incoming.key, "telegram:42:10");
    let chat = Chat { platform: Platform::Telegram, id: "42".to_owned() };
    let expect = Message {
        thread: Thread { chat, id: None },
        id: MessageId("10".to_owned()),
        author: Principal { platform: Platform::Telegram, id: "42".to_owned() },
        by_bot: false,
        external: false,
        text: "Quante ferie ho?".to_owned(),
        private: true,
        addressed: Addressed::Bot,
        command: None,
        attachments: false,
        language: Some(Language::Italian),
        sent_at: 1_750_000_000,
    };
    assert_eq!(incoming.event, ChatEvent::Message(expect));
}

#[test]
fn mentions_tell_whom_a_message_is_for() {
    use Addressed::{Bot, Nobody, SomebodyElse};
    check(group(json!({"text": "chi ha le chiavi?"})), Nobody, None, "chi ha le chiavi?");
    let hers = |text: &str, offset, length| group(json!({"text": text, "entities": entity("mention", offset, length)}));
    check(hers("@CervellaBot quante ferie?", 0, 12), Bot, None, "quante ferie?");
    check(hers("@cervellabot, quante ferie?", 0, 12), Bot, None, "quante ferie?");
    check(hers("👩‍💻 dimmi @CervellaBot quante", 12, 12), Bot, None, "👩‍💻 dimmi quante");
    check(hers("@CervellaBot", 0, 12), Bot, None, "");
    check(hers("@CervellaBotto quante?", 0, 14), SomebodyElse, None, "@CervellaBotto quante?");
    check(hers("@luca quante ferie?", 0, 5), SomebodyElse, None, "@luca quante ferie?");
    // No entity: the name stands in code, for instance.
    check(group(json!({"text": "@CervellaBot è il bot"})), Nobody, None, "@CervellaBot è il bot");
    // A wrong range counts for nothing.
    check(hers("ciao", 3, 90), Nobody, None, "ciao");
    let by_id = |id: i64, text: &str| {
        let user = json!({"id": id, "is_bot": false, "first_name": "X"});
        group(json!({"text": text, "entities": [{"type": "text_mention", "offset": 0, "length": 5, "user": user}]}))
    };
    check(by_id(77, "Cerve quante?"), Bot, None, "quante?");
    check(by_id(78, "Mario quante?"), SomebodyElse, None, "@Mario quante?");
    let both = json!([{"type": "mention", "offset": 0, "length": 5}, {"type": "mention", "offset": 6, "length": 12}]);
    check(group(json!({"text": "@luca @CervellaBot lo sa", "entities": both})), Bot, None, "@luca lo sa");
}

#[test]
fn a_question_is_not_lost_because_of_what_stands_around_it() {
    let around = json!({"text": "quante ferie?", "entities": [{"type": "mention", "offset": -1, "length": "x"}, 7],
        "caption_entities": null, "reply_to_message": {"message_id": "x"}});
    check(group(around), Addressed::Nobody, None, "quante ferie?");
}

#[test]
fn replies_tell_whom_a_message_is_for() {
    let reply = |from: i64, fields: Value| {
        let mut message = group(fields);
        message["text"] = json!("e poi?");
        message["reply_to_message"] =
            json!({"message_id": 9, "from": {"id": from, "is_bot": false}, "chat": {"id": -200}, "date": 1});
        message
    };
    check(reply(77, json!({})), Addressed::Bot, None, "e poi?");
    check(reply(43, json!({})), Addressed::SomebodyElse, None, "e poi?");
    check(reply(42, json!({})), Addressed::Nobody, None, "e poi?");
    // In a topic, what answers nothing answers the message that opened it.
    let in_topic = json!({"message_thread_id": 9, "is_topic_message": true});
    check(reply(43, in_topic), Addressed::Nobody, None, "e poi?");
    let other_topic = json!({"message_thread_id": 5, "is_topic_message": true});
    check(reply(43, other_topic), Addressed::SomebodyElse, None, "e poi?");
    let mut of_a_channel = group(json!({"text": "e poi?"}));
    of_a_channel["reply_to_message"] = json!({"message_id": 9, "sender_chat": {"id": -300}});
    check(of_a_channel, Addressed::SomebodyElse, None, "e poi?");
}

#[test]
fn commands_are_taken_apart() {
    use Addressed::{Bot, Nobody, SomebodyElse};
    let sent = |text: &str, length| group(json!({"text": text, "entities": entity("bot_command", 0, length)}));
    check(sent("/ask quante ferie?", 4), Bot, Some("ask"), "quante ferie?");
    check(sent("/ASK@cervellabot\nquante?", 16), Bot, Some("ask"), "quante?");
    check(sent("/help", 5), Bot, Some("help"), "");
    check(sent("/ask@OtherBot quante?", 13), SomebodyElse, None, "/ask@OtherBot quante?");
    let inside = json!({"text": "usa /ask qui", "entities": entity("bot_command", 4, 4)});
    check(group(inside), Nobody, None, "usa /ask qui");
    let caption = json!({"caption": "/ask che cos'è?", "caption_entities": entity("bot_command", 0, 4), "photo": []});
    check(group(caption), Bot, Some("ask"), "che cos'è?");
    check(
        private(json!({"text": "/x@OtherBot", "entities": entity("bot_command", 0, 11)})),
        SomebodyElse,
        None,
        "/x@OtherBot",
    );
}

#[test]
fn start_opens_a_conversation() {
    let start = private(json!({"text": "/start pair", "entities": entity("bot_command", 0, 6)}));
    let incoming = event(&json!({"update_id": 1, "message": start}));
    assert_eq!(incoming.key, "telegram:42:10");
    assert!(matches!(incoming.event, ChatEvent::Opened(Opened { language: Some(Language::Italian), .. })));
    check_skipped(&json!({"update_id": 1, "edited_message": start}), "an edited /start");
    let in_group = group(json!({"text": "/start", "entities": entity("bot_command", 0, 6)}));
    check_skipped(&json!({"update_id": 1, "message": in_group}), "/start in a group");
}

#[test]
fn topics_are_threads_and_chains_of_replies_are_not() {
    let in_thread = |fields: Value| told(group(fields)).thread.to_string();
    assert_eq!(in_thread(json!({"text": "x", "message_thread_id": 5, "is_topic_message": true})), "telegram:-200/5");
    assert_eq!(in_thread(json!({"text": "x", "message_thread_id": 5})), "telegram:-200");
}

#[test]
fn an_edit_is_an_event_of_its_own() {
    let edited = group(json!({"text": "quante ferie?", "edit_date": 1_750_000_060}));
    let incoming = event(&json!({"update_id": 1, "edited_message": edited}));
    assert_eq!(incoming.key, "telegram:-200:10:edit:1750000060");
    assert!(matches!(incoming.event, ChatEvent::Edited(Message { sent_at: 1_750_000_060, .. })));
    let moving = group(json!({"location": {"latitude": 1.0, "longitude": 1.0}, "edit_date": 2}));
    check_skipped(&json!({"update_id": 1, "edited_message": moving}), "a service message");
}

#[test]
fn files_pictures_and_voice_are_attachments() {
    for kind in ["photo", "document", "voice", "audio", "video", "sticker", "location", "poll"] {
        let sent = told(private(json!({kind: {"file_id": "x"}})));
        assert!(sent.attachments && sent.text.is_empty(), "{kind}");
        let captioned = told(private(json!({kind: {"file_id": "x"}, "caption": "che cos'è?"})));
        assert!(captioned.attachments && captioned.text == "che cos'è?", "{kind}");
    }
    let album = |id: i64, caption: Option<&str>| {
        let mut picture = private(json!({"photo": [], "media_group_id": "555", "message_id": id}));
        if let Some(caption) = caption {
            picture["caption"] = json!(caption);
        }
        event(&json!({"update_id": id, "message": picture})).key
    };
    assert_eq!(album(11, None), album(12, None));
    assert_eq!(album(13, Some("che cos'è?")), "telegram:42:13");
}

#[test]
fn buttons_are_pressed() {
    let pressed = |data: &str| {
        json!({"update_id": 1, "callback_query": {
            "id": "9001", "from": {"id": 42, "is_bot": false, "first_name": "Ada", "language_code": "en-GB"},
            "message": {"message_id": 11, "chat": {"id": -200, "type": "supergroup"}, "date": 0,
                "message_thread_id": 5, "is_topic_message": true},
            "chat_instance": "1", "data": data}})
    };
    for button in Button::ALL {
        let incoming = event(&pressed(button.code()));
        assert_eq!(incoming.key, "telegram:press:9001");
        let ChatEvent::Pressed(press) = incoming.event else { panic!("{button:?}") };
        assert_eq!((press.button, press.receipt.as_deref()), (button, Some("9001")));
        assert_eq!((press.thread.to_string().as_str(), press.message.0.as_str()), ("telegram:-200/5", "11"));
        assert_eq!(press.language, Some(Language::English));
    }
    check_skipped(&pressed("buy"), "an unknown button");
    check_skipped(
        &json!({"update_id": 1, "callback_query": {"id": "1", "from": {"id": 42}, "inline_message_id": "x", "data": "stop"}}),
        "a button of an inline message",
    );
}

#[test]
fn inline_queries_are_no_events_and_do_not_show_their_text() {
    let update =
        json!({"update_id": 1, "inline_query": {"id": "7", "from": {"id": 42}, "query": " ferie ", "offset": ""}});
    let Decoded::Inline(query) = decode(&update, &identity()) else { panic!() };
    assert_eq!(
        (query.id.as_str(), query.person.to_string().as_str(), query.text.as_str()),
        ("7", "telegram:42", "ferie")
    );
    assert!(!format!("{query:?}").contains("ferie"));
}

#[test]
fn a_group_that_becomes_a_supergroup_goes_on_under_another_id() {
    let told = event(&json!({"update_id": 1, "message": group(json!({"migrate_to_chat_id": -100_500}))}));
    let chat = |id: &str| Chat { platform: Platform::Telegram, id: id.into() };
    assert_eq!(told.event, ChatEvent::Moved { from: chat("-200"), to: chat("-100500") });
}

#[test]
fn what_is_for_nobody_is_skipped() {
    let message = |fields: Value| json!({"update_id": 1, "message": group(fields)});
    check_skipped(&message(json!({"new_chat_members": [{"id": 5}]})), "a service message");
    let anonymous = "in the name of a chat: an anonymous admin or a channel";
    check_skipped(&message(json!({"text": "x", "sender_chat": {"id": -200}})), anonymous);
    check_skipped(
        &message(json!({"text": "x", "via_bot": {"id": 77, "is_bot": true}})),
        "a result of our own inline mode",
    );
    check_skipped(&message(json!({"text": "x", "chat": {"id": -1, "type": "channel"}})), "of a channel");
    check_skipped(&message(json!({"text": "x", "from": null})), "of nobody");
    check_skipped(&message(json!({"text": 5})), "of an unknown shape");
    check_skipped(&json!({"update_id": 1, "something_new": {}}), "of no kind that was asked for");
    check_skipped(&json!(null), "of no kind that was asked for");
    let other = told(group(json!({"text": "x", "via_bot": {"id": 5, "is_bot": true}})));
    assert_eq!(other.addressed, Addressed::Nobody);
}

#[test]
fn bots_and_languages_are_told() {
    let from = |user: Value| told(group(json!({"text": "x", "from": user})));
    assert!(from(json!({"id": 5, "is_bot": true})).by_bot);
    for (code, language) in [("it", Language::Italian), ("it-IT", Language::Italian), ("de", Language::English)] {
        assert_eq!(from(json!({"id": 5, "language_code": code})).language, Some(language));
    }
    assert_eq!(from(json!({"id": 5})).language, None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof!["stop", "group", "private", "@CervellaBot x", "/ask@CervellaBot x", "mention"]
            .prop_map(Value::from),
    ];
    let name = prop_oneof![
        "message|edited_message|callback_query|inline_query|from|chat|id|type|text|caption|entities|offset|length",
        "caption_entities|user|message_id|date|edit_date|reply_to_message|sender_chat|photo|data|query|via_bot",
        "[a-z_]{1,10}",
    ];
    leaf.prop_recursive(5, 80, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..8).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_survived(update in any_json()) {
        decode(&update, &identity());
    }

    #[test]
    fn any_entities_are_survived(text in "\\PC{0,30}", marks in prop::collection::vec((0..5_usize, 0..40_usize, 0..40_usize), 0..5)) {
        let kinds = ["mention", "bot_command", "text_mention", "bold", "text_link"];
        let entities: Vec<_> = marks
            .into_iter()
            .map(|(kind, offset, length)| json!({"type": kinds[kind], "offset": offset, "length": length}))
            .collect();
        let update = json!({"update_id": 1, "message": group(json!({"text": text, "entities": entities}))});
        prop_assert!(matches!(decode(&update, &identity()), Decoded::Event(_)));
    }
}
