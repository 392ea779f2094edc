//! One socket over a pipe in memory, with time under control.

use std::sync::Mutex;

use serde_json::Value;
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::chat::intake::NotTaken;
use crate::chat::slack::SlackOptions;

const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Takes events, or refuses them.
#[derive(Default)]
struct Desk {
    taken: Mutex<Vec<String>>,
    broken: bool,
}

impl Intake for Desk {
    async fn accept(&self, incoming: Incoming) -> Result<(), NotTaken> {
        if self.broken {
            return Err(NotTaken);
        }
        self.taken.lock().unwrap().push(incoming.key);
        Ok(())
    }
}

/// Slack's end of a socket, and ours at work.
struct Meeting {
    slack: WebSocketStream<DuplexStream>,
    ours: JoinHandle<Ended>,
    room: Arc<Room<Desk>>,
    ready: Arc<Mutex<bool>>,
}

async fn meet(broken: bool) -> Meeting {
    let mut options = SlackOptions::new(String::new(), String::new());
    options.api_url = "http://127.0.0.1:1/api".to_owned();
    let room = Arc::new(Room {
        api: Api::new(&options).unwrap(),
        identity: SlackIdentity { user_id: "UBOT".to_owned(), ..SlackIdentity::default() },
        intake: Arc::new(Desk { broken, ..Desk::default() }),
        silence_max: SILENCE_MAX,
        locales: Locales::default(),
        titles: Titles::default(),
        titles_free: Room::<Desk>::titles_free(),
        stop: CancellationToken::new(),
    });
    let (ours, slack) = duplex(1 << 16);
    let ours = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let slack = WebSocketStream::from_raw_socket(slack, Role::Server, None).await;
    let ready = Arc::new(Mutex::new(false));
    let (task_room, task_ready) = (room.clone(), ready.clone());
    let ours = tokio::spawn(async move { serve(&task_room, ours, || *task_ready.lock().unwrap() = true).await });
    Meeting { slack, ours, room, ready }
}

impl Meeting {
    async fn say(&mut self, frame: Value) {
        self.slack.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn greet(&mut self) {
        self.say(json!({"type": "hello"})).await;
    }

    async fn ask(&mut self, envelope: &str, ts: &str) {
        let event = json!({"type": "message", "channel": "C1", "user": "U1", "text": "<@UBOT> x", "ts": ts});
        self.say(json!({"type": "events_api", "envelope_id": envelope, "payload": {"event": event}})).await;
    }

    /// The next acknowledgement; `None`: nothing but pings within a second.
    async fn acknowledged(&mut self) -> Option<String> {
        let texts = async {
            loop {
                match self.slack.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let frame: Value = serde_json::from_str(text.as_str()).unwrap();
                        return frame["envelope_id"].as_str().unwrap().to_owned();
                    }
                    Some(Ok(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        timeout(Duration::from_secs(1), texts).await.ok()
    }

    fn taken(&self) -> Vec<String> {
        self.room.intake.taken.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_was_taken() {
    let mut meeting = meet(false).await;
    meeting.greet().await;
    meeting.ask("e1", "1700000000.000100").await;
    assert_eq!(meeting.acknowledged().await.as_deref(), Some("e1"));
    assert_eq!(meeting.taken(), ["slack:C1:1700000000.000100"]);
    assert!(*meeting.ready.lock().unwrap());

    // What is of no use is acknowledged too, so that it does not come again.
    meeting.say(json!({"type": "events_api", "envelope_id": "e2", "payload": {"event": {"type": "new"}}})).await;
    assert_eq!(meeting.acknowledged().await.as_deref(), Some("e2"));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_down_is_not_acknowledged() {
    let mut meeting = meet(true).await;
    meeting.greet().await;
    meeting.ask("e1", "1700000000.000100").await;
    assert_eq!(meeting.acknowledged().await, None);
    assert!(!meeting.ours.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_silent_socket_is_given_up() {
    let mut meeting = meet(false).await;
    meeting.greet().await;
    // Frames keep it alive, pings and pongs as well.
    for _ in 0..5 {
        tokio::time::sleep(SILENCE_MAX - Duration::from_secs(1)).await;
        meeting.slack.send(Message::Ping("x".into())).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!meeting.ours.is_finished());
    let silent = Instant::now();
    assert_eq!(meeting.ours.await.unwrap(), lost("silence"));
    let waited = silent.elapsed();
    assert!(waited <= SILENCE_MAX + Duration::from_secs(1), "{waited:?}");
    assert!(waited >= SILENCE_MAX - Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_socket_without_a_greeting_is_given_up() {
    let mut meeting = meet(false).await;
    let began = Instant::now();
    // A live line without a greeting is no socket.
    tokio::time::sleep(HELLO_MAX / 2).await;
    meeting.slack.send(Message::Ping("x".into())).await.unwrap();
    assert_eq!(meeting.ours.await.unwrap(), lost("no greeting"));
    assert_eq!(began.elapsed().as_secs(), HELLO_MAX.as_secs());
    assert!(!*meeting.ready.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn ends_that_slack_announces() {
    let check = async |reason: &str, expect: Ended| {
        let mut meeting = meet(false).await;
        meeting.greet().await;
        meeting.say(json!({"type": "disconnect", "reason": reason, "debug_info": {"host": "h"}})).await;
        assert_eq!(meeting.ours.await.unwrap(), expect, "{reason}");
    };
    check("warning", Ended::Refreshed).await;
    check("refresh_requested", Ended::Refreshed).await;
    check("link_disabled", lost("socket mode is turned off for the app")).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_line_ends_the_socket() {
    let mut meeting = meet(false).await;
    meeting.greet().await;
    drop(meeting.slack);
    assert!(matches!(meeting.ours.await.unwrap(), Ended::Lost { .. }));
}

#[tokio::test(start_paused = true)]
async fn stopping_closes_the_socket() {
    let mut meeting = meet(false).await;
    meeting.greet().await;
    meeting.room.stop.cancel();
    let last = timeout(Duration::from_secs(1), meeting.slack.next()).await.unwrap();
    assert!(matches!(last, Some(Ok(Message::Close(_)))), "{last:?}");
    drop(meeting.slack);
    assert_eq!(meeting.ours.await.unwrap(), Ended::Stopped);
}
