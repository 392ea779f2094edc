//! For the unit tests of this folder: a Bot API that notes every call and answers with what the test has scripted, or
//! yes; and an intake that takes down what it is handed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{QuotedPassage, Quotes, TelegramIdentity, TelegramOptions};
use crate::chat::event::Incoming;
use crate::chat::intake::{Intake, NotTaken};
use crate::domain::Principal;

pub(super) const TOKEN: &str = "123:canary-token";

/// A scripted answer that never comes.
pub(super) const HANG: &str = "hang";
/// A scripted answer that breaks off.
pub(super) const BREAK_OFF: &str = "break off";

#[derive(Clone)]
pub(super) struct Fake {
    api_url: String,
    state: Arc<Mutex<Scripted>>,
    heard: watch::Sender<usize>,
}

#[derive(Default)]
struct Scripted {
    answers: HashMap<String, VecDeque<Value>>,
    calls: Vec<(String, Value)>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api_url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Fake { api_url, state: Arc::default(), heard: watch::Sender::new(0) };
        let route = axum::routing::post(answer);
        let router = Router::new().route("/{token}/{method}", route).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub fn options(&self) -> TelegramOptions {
        TelegramOptions {
            api_url: self.api_url.clone(),
            poll_timeout: std::time::Duration::ZERO,
            poll_grace: std::time::Duration::from_millis(200),
            ..TelegramOptions::new(TOKEN)
        }
    }

    /// What the next calls of this method are answered with.
    pub fn script(&self, method: &str, answers: impl IntoIterator<Item = Value>) {
        self.state.lock().unwrap().answers.entry(method.to_owned()).or_default().extend(answers);
    }

    /// The parameters of all calls of this method so far.
    pub fn calls(&self, method: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.calls.iter().filter(|(name, _)| name == method).map(|(_, parameters)| parameters.clone()).collect()
    }

    /// Waits until a method was called so often.
    pub async fn heard(&self, method: &str, times: usize) -> Vec<Value> {
        let mut heard = self.heard.subscribe();
        let enough = heard.wait_for(|_| self.calls(method).len() >= times);
        tokio::time::timeout(std::time::Duration::from_secs(20), enough).await.expect("the calls came").unwrap();
        self.calls(method)
    }
}

pub(super) fn refusal(code: u16, description: &str) -> Value {
    json!({"ok": false, "error_code": code, "description": description})
}

async fn answer(
    State(fake): State<Fake>,
    Path((token, method)): Path<(String, String)>,
    body: axum::body::Bytes,
) -> Response {
    if token != format!("bot{TOKEN}") {
        return axum::Json(refusal(401, "Unauthorized")).into_response();
    }
    let parameters = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let scripted = {
        let mut state = fake.state.lock().unwrap();
        state.calls.push((method.clone(), parameters));
        state.answers.get_mut(&method).and_then(VecDeque::pop_front)
    };
    fake.heard.send_modify(|count| *count += 1);
    let answer = match scripted {
        Some(answer) => answer,
        None if method == "GetUpdates" => json!({"ok": true, "result": []}),
        None => json!({"ok": true, "result": true}),
    };
    match &answer {
        Value::String(word) if word == HANG => std::future::pending().await,
        Value::String(word) if word == BREAK_OFF => {
            let body = futures::stream::iter([Ok("{\"ok\":"), Err(std::io::Error::other("scripted"))]);
            axum::body::Body::from_stream(body).into_response()
        }
        // Raw text: not every answer is JSON that can be written by hand.
        Value::String(text) => text.clone().into_response(),
        other => {
            let code = other["error_code"].as_u64().unwrap_or(200) as u16;
            (StatusCode::from_u16(code).unwrap(), axum::Json(answer)).into_response()
        }
    }
}

/// The bot of these tests.
pub(super) fn identity() -> TelegramIdentity {
    TelegramIdentity { id: 77, username: "CervellaBot".to_owned(), supports_inline_queries: true, privacy_mode: false }
}

/// Takes down the keys of events, or refuses where the test says so.
#[derive(Default)]
pub(super) struct Book {
    pub keys: Mutex<Vec<String>>,
    /// Whether each of the next events is refused.
    pub refusals: Mutex<VecDeque<bool>>,
}

impl Intake for Book {
    async fn accept(&self, incoming: Incoming) -> Result<(), NotTaken> {
        if self.refusals.lock().unwrap().pop_front().unwrap_or(false) {
            return Err(NotTaken);
        }
        self.keys.lock().unwrap().push(incoming.key);
        Ok(())
    }
}

pub(super) struct NoQuotes;

impl Quotes for NoQuotes {
    async fn quotes(&self, _person: Principal, _text: String) -> Vec<QuotedPassage> {
        Vec::new()
    }
}
