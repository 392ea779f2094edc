//! The fake against a client that looks at everything: the library that the bot is built on, and bare sockets.

mod calls;
mod faults;
mod people;
mod sockets;

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

use super::world::BOT_ID;
use super::{
    Button, ChannelKind, FakeSlack, Fault, Limit, Limits, Routing, Said, Version, block_examples, check_blocks,
};

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
