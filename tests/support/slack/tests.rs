//! The fake against a client that looks at everything: the library that the bot is built on, and bare sockets.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use slack_morphism::errors::SlackClientError;
use slack_morphism::hyper_tokio::SlackClientHyperConnector;
use slack_morphism::prelude::{
    SlackCommandEvent, SlackEventCallbackBody, SlackInteractionEvent, SlackPushEventCallback,
};
use slack_morphism::{SlackApiToken, SlackApiTokenValue, SlackClient};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Button, ChannelKind, FakeSlack, Fault, Limit, Limits, Routing, Said, Version};

/// Nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing comes: as long as a test looks for what must not come.
const SHORT: Duration = Duration::from_millis(60);

/// A workspace with two people and one channel.
struct Office {
    fake: FakeSlack,
    anna: String,
    bruno: String,
    channel: String,
}

async fn office() -> Office {
    let fake = FakeSlack::start().await;
    let (anna, bruno) = (fake.add_user("Anna", "it-IT"), fake.add_user("Bruno", "en-US"));
    let channel = fake.add_channel(ChannelKind::Public, "general", &[anna.clone(), bruno.clone()]);
    Office { fake, anna, bruno, channel }
}

impl Office {
    async fn call_with(&self, token: String, method: &str, parameters: Value) -> Result<Value, String> {
        let connector = SlackClientHyperConnector::with_connector(HttpConnector::new());
        let client = SlackClient::new(connector.with_slack_api_url(&self.fake.api_url()));
        let token = SlackApiToken::new(SlackApiTokenValue(token));
        let session = client.open_session(&token);
        let call = session.http_session_api.http_post::<_, Value>(method, &parameters, None);
        let answer = timeout(PATIENCE, call).await.map_err(|_| "no answer".to_owned())?;
        answer.map_err(|error| match error {
            SlackClientError::ApiError(error) => error.code,
            SlackClientError::HttpError(error) => error.status_code.as_u16().to_string(),
            SlackClientError::RateLimitError(limit) => {
                format!("wait {}", limit.retry_after.unwrap_or_default().as_secs())
            }
            _ => "lost".to_owned(),
        })
    }

    async fn call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        self.call_with(self.fake.bot_token(), method, parameters).await
    }

    async fn post(&self, parameters: Value) -> Result<String, String> {
        let mut all = json!({"channel": self.channel});
        all.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        self.call("chat.postMessage", all).await.map(|answer| answer["ts"].as_str().unwrap().to_owned())
    }

    /// A socket that has been greeted.
    async fn socket(&self) -> Socket {
        let opened = self.call_with(self.fake.app_token(), "apps.connections.open", json!({})).await.unwrap();
        let (socket, _) = connect_async(opened["url"].as_str().unwrap()).await.unwrap();
        let mut socket = Socket(socket);
        assert_eq!(socket.next().await["type"], "hello");
        socket
    }
}

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn look(&mut self, patience: Duration) -> Option<Value> {
        loop {
            match timeout(patience, self.0.next()).await.ok()?? {
                Ok(Frame::Text(text)) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                Ok(Frame::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn next(&mut self) -> Value {
        self.look(PATIENCE).await.expect("a frame comes")
    }

    async fn ack(&mut self, frame: &Value) {
        let ack = json!({"envelope_id": frame["envelope_id"]});
        self.0.send(Frame::text(ack.to_string())).await.unwrap();
    }

    /// The next event, acknowledged, which the library's models have to know.
    async fn event(&mut self) -> Value {
        let frame = self.next().await;
        self.ack(&frame).await;
        let payload = frame["payload"].clone();
        let read = match frame["type"].as_str() {
            Some("events_api") => serde_json::from_value::<SlackPushEventCallback>(payload)
                .map(|payload| assert!(!matches!(payload.event, SlackEventCallbackBody::Unknown(_)), "{frame}")),
            Some("interactive") => serde_json::from_value::<SlackInteractionEvent>(payload).map(|_| ()),
            _ => serde_json::from_value::<SlackCommandEvent>(payload).map(|_| ()),
        };
        read.unwrap_or_else(|error| panic!("{error}: {frame}"));
        match frame["type"].as_str() {
            Some("events_api") => frame["payload"]["event"].clone(),
            _ => frame["payload"].clone(),
        }
    }
}

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
    assert_eq!(socket.event().await["bot_id"], super::world::BOT_ID);
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
async fn what_is_not_taken_comes_again_over_the_other_socket() {
    let office = office().await;
    let fake = &office.fake;
    fake.set_redelivery(SHORT, 2);
    let (mut first, mut second) = (office.socket().await, office.socket().await);
    fake.route(Routing::Oldest);
    fake.say(&office.channel, &office.anna, "ciao", Said::default());
    let (once, again) = (first.next().await, second.next().await);
    assert_eq!(once["payload"], again["payload"]);
    assert_eq!((&once["retry_attempt"], &again["retry_attempt"]), (&json!(0), &json!(1)));
    // Late is not too late.
    first.ack(&once).await;
    assert!(fake.wait_until(|fake| fake.pending_events() == 0, PATIENCE).await);
    assert_eq!(fake.ack_delays()[0].retry, 1);

    fake.say(&office.channel, &office.anna, "nobody takes this", Said::default());
    assert!(fake.wait_until(|fake| fake.untaken().len() == 1, PATIENCE).await);
    assert_eq!(fake.untaken()[0].deliveries, 2);
}

#[tokio::test]
async fn a_socket_that_ends_hands_its_events_on() {
    let office = office().await;
    let fake = &office.fake;
    let mut first = office.socket().await;
    fake.say(&office.channel, &office.anna, "ciao", Said::default());
    let once = first.next().await;
    drop(first);
    let mut second = office.socket().await;
    assert_eq!(second.next().await["payload"], once["payload"]);
}

#[tokio::test]
async fn events_come_twice_or_in_another_order_on_demand() {
    let office = office().await;
    let fake = &office.fake;
    let (mut first, mut second) = (office.socket().await, office.socket().await);
    fake.duplicate(1);
    fake.say(&office.channel, &office.anna, "twice", Said::default());
    let (one, other) = (first.next().await, second.next().await);
    assert_eq!(one["payload"]["event_id"], other["payload"]["event_id"]);
    assert_ne!(one["envelope_id"], other["envelope_id"]);
    first.ack(&one).await;
    second.ack(&other).await;
    assert!(fake.wait_until(|fake| fake.pending_events() == 0, PATIENCE).await);

    drop(second);
    assert!(fake.wait_until(|fake| fake.sockets() == 1, PATIENCE).await);
    fake.out_of_order();
    fake.say(&office.channel, &office.anna, "first", Said::default());
    fake.say(&office.channel, &office.anna, "second", Said::default());
    assert_eq!(first.event().await["text"], "second");
    assert_eq!(first.event().await["text"], "first");
}

#[tokio::test]
async fn a_dead_socket_stays_silent() {
    let office = office().await;
    let fake = &office.fake;
    fake.set_ping_interval(Duration::from_millis(5));
    let mut dead = office.socket().await;
    assert_eq!(fake.half_open(), 1);
    fake.say(&office.channel, &office.anna, "ciao", Said::default());
    dead.0.send(Frame::Ping("hello?".into())).await.unwrap();
    assert_eq!(dead.look(SHORT).await, None);
    fake.set_redelivery(SHORT, 4);
    let mut living = office.socket().await;
    fake.say(&office.channel, &office.anna, "salve", Said::default());
    assert_eq!(living.event().await["text"], "salve");
}

#[tokio::test]
async fn sockets_are_told_to_go_and_refused() {
    let office = office().await;
    let fake = &office.fake;
    let mut old = office.socket().await;
    assert_eq!(fake.disconnect("refresh_requested"), 1);
    let frame = old.next().await;
    assert_eq!((&frame["type"], &frame["reason"]), (&json!("disconnect"), &json!("refresh_requested")));
    fake.say(&office.channel, &office.anna, "ciao", Said::default());
    let mut new = office.socket().await;
    assert_eq!(new.event().await["text"], "ciao");
    fake.send_event(json!({"type": "tokens_revoked", "tokens": {"bot": [fake.bot_user()]}}));
    let frame = new.next().await;
    assert_eq!(frame["payload"]["event"]["type"], "tokens_revoked");
    new.ack(&frame).await;
    // The old one was told already.
    assert_eq!(fake.disconnect_one("warning"), 1);
    assert_eq!(new.next().await["reason"], "warning");

    fake.refuse_connections(1);
    let open = || office.call_with(fake.app_token(), "apps.connections.open", json!({}));
    let opened = open().await.unwrap();
    assert!(connect_async(opened["url"].as_str().unwrap()).await.is_err());
    // A ticket is good for one socket.
    let opened = open().await.unwrap();
    assert!(connect_async(opened["url"].as_str().unwrap()).await.is_ok());
    assert!(connect_async(opened["url"].as_str().unwrap()).await.is_err());
}

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
async fn faults_meet_the_calls_they_are_meant_for() {
    let office = office().await;
    let fake = &office.fake;
    let texts = || fake.answers(&office.channel).into_iter().map(|shown| shown.text).collect::<Vec<_>>();
    for (fault, expect) in [
        (Fault::ServerError(503), "503"),
        (Fault::Drop, "lost"),
        (Fault::Error("internal_error"), "internal_error"),
        (Fault::LostReceipt, "lost"),
    ] {
        fake.fault("chat.postMessage", fault);
        let answer = office.post(json!({"text": format!("{fault:?}")})).await;
        assert_eq!(answer, Err(expect.to_owned()), "{fault:?}");
    }
    assert_eq!(texts(), ["LostReceipt"]);
    fake.fault("chat.postMessage", Fault::Hang);
    assert!(timeout(SHORT, office.post(json!({"text": "hang"}))).await.is_err());
    fake.fault("chat.postMessage", Fault::RefuseBlocks);
    office.post(json!({"text": "no blocks"})).await.unwrap();
    assert_eq!(fake.faults_left(), 1);
    let blocks = json!({"text": "x", "blocks": [{"type": "divider"}]});
    assert_eq!(office.post(blocks).await, Err("invalid_blocks".to_owned()));
    fake.fault("chat.postMessage", Fault::RetryAfter(7));
    assert_eq!(office.post(json!({"text": "x"})).await, Err("wait 7".to_owned()));
    assert_eq!(fake.violations(), []);
    // The wait is not over.
    assert!(office.post(json!({"text": "x"})).await.unwrap_err().starts_with("wait "));
    assert_eq!(fake.violations().iter().map(|violation| violation.limit).collect::<Vec<_>>(), [Limit::Impatient]);
    let direct = fake.direct(&office.anna);
    fake.fault_in(&direct, "chat.postMessage", Fault::Error("fatal_error"));
    let elsewhere = json!({"channel": direct, "text": "x"});
    assert_eq!(office.call("chat.postMessage", elsewhere).await, Err("fatal_error".to_owned()));
    let last = fake.calls("chat.postMessage").pop().unwrap();
    assert_eq!((last.method.as_str(), &last.parameters["text"]), ("chat.postMessage", &json!("x")));
    assert!(fake.calls("").windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[tokio::test]
async fn too_many_calls_are_refused_and_remembered() {
    let office = office().await;
    let fake = &office.fake;
    // Longer than the real one, so that a slow machine is not let off.
    fake.set_limits(Some(Limits { post_interval: Duration::from_secs(30), ..Limits::default() }));
    for _ in 0..4 {
        office.post(json!({"text": "x"})).await.unwrap();
    }
    assert!(office.post(json!({"text": "x"})).await.unwrap_err().starts_with("wait "));
    let violations = fake.violations();
    assert_eq!((violations.len(), violations[0].limit), (1, Limit::Posts));
    assert_eq!(violations[0].channel.as_ref(), Some(&office.channel));
    assert!(violations[0].retry_after.is_some_and(|seconds| (1..=30).contains(&seconds)));
    // Another channel has a count of its own.
    let direct = fake.direct(&office.anna);
    office.call("chat.postMessage", json!({"channel": direct, "text": "x"})).await.unwrap();
    fake.set_limits(Some(Limits { tiers: 0.1, ..Limits::default() }));
    let ts = fake.answers(&direct)[0].ts.clone();
    for _ in 0..5 {
        office.call("chat.update", json!({"channel": direct, "ts": ts, "text": "y"})).await.unwrap();
    }
    let refused = office.call("chat.update", json!({"channel": direct, "ts": ts, "text": "y"})).await.unwrap_err();
    assert!(refused.starts_with("wait "), "{refused}");
    assert_eq!(fake.violations().last().unwrap().limit, Limit::Tier);
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

#[tokio::test]
async fn faults_by_chance_are_the_same_for_the_same_seed() {
    let run = async |seed: u64| {
        let office = office().await;
        office.fake.set_limits(None);
        office.fake.faults_by_chance(seed, 0.5, &[Fault::ServerError(500), Fault::Error("fatal_error")]);
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(office.post(json!({"text": "x"})).await.err());
        }
        office.fake.faults_by_chance(seed, 0.0, &[]);
        office.post(json!({"text": "x"})).await.unwrap();
        answers
    };
    let answers = run(7).await;
    assert_eq!(answers, run(7).await);
    assert_ne!(answers, run(8).await);
    for expect in [None, Some("500".to_owned()), Some("fatal_error".to_owned())] {
        assert!(answers.contains(&expect), "{answers:?}");
    }
}

#[tokio::test]
async fn without_a_network_nothing_is_reached() {
    let office = office().await;
    let fake = &office.fake;
    let mut socket = office.socket().await;
    fake.set_network(false);
    assert_eq!(socket.look(PATIENCE).await, None);
    assert_eq!(office.post(json!({"text": "x"})).await, Err("lost".to_owned()));
    fake.set_network(true);
    office.post(json!({"text": "x"})).await.unwrap();
    assert_eq!(office.socket().await.event().await["text"], "x");
}

#[tokio::test]
async fn events_go_to_the_socket_that_is_wanted() {
    let office = office().await;
    let fake = &office.fake;
    let (mut first, mut second) = (office.socket().await, office.socket().await);
    let say = || fake.say(&office.channel, &office.anna, "ciao", Said::default());
    fake.route(Routing::Newest);
    say();
    second.event().await;
    assert_eq!(fake.half_open_one(), 1);
    fake.route(Routing::Random(3));
    fake.set_redelivery(SHORT, 100);
    for _ in 0..10 {
        say();
        second.event().await;
    }
    assert_eq!(first.look(SHORT).await, None);
    let late = fake.ack_delays().iter().filter(|ack| ack.retry > 0).count();
    assert!((1..10).contains(&late), "{late}");
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

#[test]
fn blocks_are_checked_as_slack_does() {
    let check = |blocks: Value, fine: bool| {
        assert_eq!(super::check_blocks(&blocks).is_ok(), fine, "{:?}", super::check_blocks(&blocks));
    };
    for (blocks, fine) in super::block_examples() {
        check(blocks, fine);
    }
}
