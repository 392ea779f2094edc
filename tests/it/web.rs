//! What the chat page's HTTP interface does for whoever speaks to it.

use std::time::Duration;

use cervella::chat::web::{Exposure, QUESTION_CHARACTERS_MAX, STREAMS_MAX};
use cervella::domain::{Language, Verdict};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::{PATIENCE, Reply, Request};
use crate::scripted::{GONE, QUOTED, Scripted, Served, Step, UNREADABLE, citation, done, failed, quote, started, text};

fn silent() -> Scripted {
    Scripted::new([])
}

/// Answers `wait` as far as the quote and goes on when it is released.
fn waiting() -> Scripted {
    let rest = [text("Ventisei [1]."), done(Verdict::Answered, "Ventisei [1].", vec![citation(1)])];
    Scripted::new([("wait", [started(), quote(), Step::Gate].into_iter().chain(rest).collect())])
}

async fn error_of(request: Request, served: &Served) -> (u16, String) {
    let reply = request.send(served.address).await;
    let sentence = reply.json()["error"].as_str().expect("a sentence").to_owned();
    (reply.status, sentence)
}

#[tokio::test]
async fn the_page_comes_with_all_its_files_and_nothing_from_outside() {
    let served = Served::start(silent()).await;
    let mut unseen = vec!["/".to_owned()];
    let mut seen = Vec::new();
    while let Some(path) = unseen.pop() {
        let reply = Request::get(&path).send(served.address).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-cache"), "{path}");
        let outside = reply.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http://") && !outside.contains("https://"), "{path} names an outside address");
        assert!(!outside.contains("innerHTML"), "{path} builds markup from text");
        seen.push(path);
        unseen.extend(referenced(&reply.body).filter(|path| !seen.contains(path)));
        unseen.dedup();
    }
    assert!(seen.len() > 15, "{seen:?}");
    served.shut_down().await;
}

/// The addresses that a page, a style sheet or a module names.
fn referenced(source: &str) -> impl Iterator<Item = String> {
    source.split(['"', '\'']).filter_map(|quoted| {
        let name = quoted.strip_prefix("/assets/").or_else(|| quoted.strip_prefix("./"))?;
        Some(format!("/assets/{name}"))
    })
}

#[tokio::test]
async fn a_browser_that_knows_the_page_does_not_load_it_again() {
    let served = Served::start(silent()).await;
    let first = Request::get("/assets/chat.js").send(served.address).await;
    assert_eq!(first.header("content-type"), Some("text/javascript; charset=utf-8"));
    let version = first.header("etag").expect("a version").to_owned();
    let again = Request::get("/assets/chat.js").with("if-none-match", version).send(served.address).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(Request::get("/assets/mod.rs").send(served.address).await.status, 404);
    served.shut_down().await;
}

#[tokio::test]
async fn every_reply_tells_the_browser_to_trust_nothing_else() {
    let served = Served::start(silent()).await;
    for path in ["/", "/assets/chat.js", "/api/status", "/nowhere"] {
        let reply = Request::get(path).send(served.address).await;
        let policy = reply.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
    }
    served.shut_down().await;
}

#[tokio::test]
async fn the_service_tells_whether_it_is_ready() {
    let served = Served::start(silent()).await;
    served.scripted.set_ready(false);
    assert_eq!(Request::get("/healthz").send(served.address).await.status, 200);
    assert_eq!(Request::get("/readyz").send(served.address).await.status, 503);
    let (status, sentence) = error_of(Request::ask("wait").with("accept-language", "it"), &served).await;
    assert_eq!((status, sentence.contains("caricando")), (503, true), "{sentence}");

    served.scripted.set_ready(true);
    assert_eq!(Request::get("/readyz").send(served.address).await.status, 200);
    let status = Request::get("/api/status").send(served.address).await.json();
    assert_eq!(status["model"], "Scripted 1B");
    assert_eq!(status["documents"], 2);
    assert_eq!(status["samples"][0], json!({ "text": "Quante ferie ho?", "language": "it" }));
    served.scripted.set_failing("the model is stuck");
    for path in ["/healthz", "/readyz"] {
        let reply = Request::get(path).send(served.address).await;
        assert_eq!((reply.status, reply.body.as_str()), (503, "the model is stuck\n"), "{path}");
    }
    let metrics = Request::get("/metrics").send(served.address).await;
    assert_eq!(metrics.body, "cervella_ready 1\n# EOF\n");
    assert!(metrics.header("content-type").is_some_and(|form| form.starts_with("application/openmetrics-text")));
    served.shut_down().await;
}

#[tokio::test]
async fn an_answer_arrives_as_server_sent_events() {
    let answer = "Ventisei\ngiorni [1].";
    let script = vec![started(), quote(), text("Venti"), done(Verdict::Answered, answer, vec![citation(1)])];
    let served = Served::start(Scripted::new([("Quante ferie?", script)])).await;
    let reply = Request::ask("  Quante ferie? \n").send(served.address).await;

    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let events = events_of(&reply);
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["started", "quote", "text", "done"]);
    assert_eq!(events[0].1, json!({ "trace_id": "trace-7", "language": "it" }));
    assert_eq!(events[1].1, json!({ "citation": citation(1) }));
    assert_eq!(events[2].1, json!({ "delta": "Venti" }));
    assert_eq!(events[3].1["answer"], answer);
    assert_eq!(events[3].1["verdict"], "answered");
    assert_eq!(events[3].1["citations"][0]["passage_id"], QUOTED.to_string());
    served.shut_down().await;
}

#[tokio::test]
async fn a_failure_is_the_last_event() {
    let served = Served::start(Scripted::new([("fail", vec![started(), failed(), text("never")])])).await;
    let events = events_of(&Request::ask("fail").send(served.address).await);
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].1, json!({ "message": "Il modello si è fermato.", "trace_id": "trace-7" }));
    served.shut_down().await;
}

/// Name and data of each event. An event is an `event:` line, a `data:` line and an empty line.
fn events_of(reply: &Reply) -> Vec<(String, serde_json::Value)> {
    let event = |text: &str| {
        let (name, data) = text.strip_prefix("event: ")?.split_once("\ndata: ")?;
        assert!(!data.contains('\n'), "more than one line of data in {text:?}");
        Some((name.to_owned(), serde_json::from_str(data).expect("JSON")))
    };
    let body = reply.body.strip_suffix("\n\n").unwrap_or_else(|| panic!("cut short: {:?}", reply.body));
    body.split("\n\n").map(|text| event(text).unwrap_or_else(|| panic!("no event: {text:?}"))).collect()
}

#[tokio::test]
async fn the_language_of_the_answer_can_be_asked_for() {
    let served = Served::start(silent()).await;
    for language in ["null", "\"it\"", "\"en\""] {
        let body = format!(r#"{{"question": "Ferie?", "language": {language}}}"#);
        assert_eq!(Request::post("/api/ask", body).send(served.address).await.status, 200);
    }
    let languages: Vec<_> = served.scripted.asked().iter().map(|question| question.language).collect();
    assert_eq!(languages, [None, Some(Language::Italian), Some(Language::English)]);
    served.shut_down().await;
}

#[tokio::test]
async fn a_reader_who_goes_away_stops_the_work() {
    let served = Served::start(waiting()).await;
    let mut reply = Request::ask("wait").open(served.address).await;
    reply.wait_for("event: quote").await;
    drop(reply);
    served.scripted.stopped(1).await;
    served.shut_down().await;
}

#[tokio::test]
async fn other_sites_are_kept_out() {
    let served = Served::start(silent()).await;
    for host in ["rebound.example", "localhost.rebound.example", ""] {
        let (status, _) = error_of(Request::get("/api/status").with("host", host), &served).await;
        assert_eq!(status, 421, "{host:?}");
    }
    let own = format!("localhost:{}", served.address.port());
    assert_eq!(Request::get("/").with("host", &own).send(served.address).await.status, 200);

    for origin in ["http://rebound.example", "http://localhost:1", "null"] {
        let (status, _) = error_of(Request::ask("wait").with("origin", origin), &served).await;
        assert_eq!(status, 403, "{origin}");
    }
    assert!(served.scripted.asked().is_empty());
    let asked = Request::ask("wait").with("host", &own).with("origin", format!("http://{own}"));
    assert_eq!(asked.send(served.address).await.status, 200);

    // What a page of another site may send without asking the browser first.
    let form = Request::post("/api/ask", "question=wait").with("content-type", "text/plain");
    assert_eq!(form.send(served.address).await.status, 400);
    served.shut_down().await;
}

#[tokio::test]
async fn an_exposed_page_asks_for_its_token() {
    let exposure = Exposure { token: "a token of some length".to_owned(), url: "https://ask.example".to_owned() };
    let served = Served::exposed(waiting(), exposure).await;
    served.scripted.release();
    let stranger = Request::ask("wait").with("host", "ask.example").send(served.address).await;
    assert_eq!((stranger.status, served.scripted.asked().len()), (401, 0));
    assert!(stranger.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
    let member = Request::ask("wait").with("host", "ask.example").with("origin", "https://ask.example");
    let member = member.with("authorization", "Bearer a token of some length").send(served.address).await;
    assert_eq!((member.status, served.scripted.asked().len()), (200, 1));
    assert_eq!(Request::get("/readyz").send(served.address).await.status, 200);
    served.shut_down().await;
}

#[tokio::test]
async fn questions_have_a_limit_that_is_told_in_the_language_of_the_page() {
    let served = Served::start(silent()).await;
    let longest = "è".repeat(QUESTION_CHARACTERS_MAX);
    assert_eq!(Request::ask(&longest).send(served.address).await.status, 200);

    let too_long = || Request::ask(&format!("{longest}è"));
    let (status, italian) = error_of(too_long().with("accept-language", "it-IT"), &served).await;
    assert_eq!(status, 413);
    assert_eq!(italian, "La domanda è troppo lunga: sono ammessi al massimo 4000 caratteri.");
    let (_, english) = error_of(too_long().with("accept-language", "en-GB"), &served).await;
    assert_eq!(english, "The question is too long: at most 4000 characters are allowed.");

    assert_eq!(error_of(Request::ask(&"a".repeat(100_000)), &served).await.0, 413);
    assert_eq!(error_of(Request::ask(" \n"), &served).await, (400, "The question is empty.".to_owned()));
    for body in ["", "{}", r#"{"question": 7}"#, r#"{"question": "a", "language": "de"}"#] {
        assert_eq!(error_of(Request::post("/api/ask", body), &served).await.0, 400, "{body}");
    }
    served.shut_down().await;
}

#[tokio::test]
async fn only_so_many_answers_are_written_at_once() {
    let served = Served::start(waiting()).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut reply = Request::ask("wait").open(served.address).await;
        reply.wait_for("event: quote").await;
        open.push(reply);
    }
    let refused = Request::ask("wait").send(served.address).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));

    served.scripted.release();
    let (ended, ..) = futures::future::select_all(open.into_iter().map(|reply| Box::pin(reply.rest()))).await;
    assert!(ended.body.contains("event: done"));
    Request::ask("wait").open(served.address).await.wait_for("event: quote").await;
    served.shut_down().await;
}

#[tokio::test]
async fn a_citation_leads_to_its_document() {
    let served = Served::start(silent()).await;
    let document = Request::get(format!("/api/documents/{QUOTED}")).send(served.address).await.json();
    assert_eq!(document["path"], "it/ferie.md");
    assert_eq!(document["title"], "Ferie e permessi");
    assert_eq!(document["language"], "it");
    let passages = document["passages"].as_array().expect("a list");
    let cited: Vec<_> = passages.iter().map(|passage| passage["cited"] == true).collect();
    assert_eq!(cited, [false, true, false]);
    assert_eq!(passages[1]["heading"], "Quante ferie");
    assert!(passages[1]["text"].as_str().is_some_and(|text| text.contains("**26 giorni**")), "verbatim");

    for unknown in [GONE.to_string(), "nonsense".to_owned()] {
        let (status, sentence) = error_of(Request::get(format!("/api/documents/{unknown}")), &served).await;
        assert_eq!(status, 404, "{unknown}: {sentence}");
    }
    let (status, sentence) = error_of(Request::get(format!("/api/documents/{UNREADABLE}")), &served).await;
    assert_eq!((status, sentence.as_str()), (500, "The document could not be read."));
    served.shut_down().await;
}

#[tokio::test]
async fn a_shutdown_ends_running_answers() {
    let served = Served::start(waiting()).await;
    let mut reply = Request::ask("wait").open(served.address).await;
    reply.wait_for("event: quote").await;
    // A client that never finishes its request must not hold the process, either.
    let mut slow = TcpStream::connect(served.address).await.expect("the server listens");
    slow.write_all(b"POST /api/ask HTTP/1.1\r\nhost: localhost\r\n").await.expect("taken");

    let (address, scripted) = (served.address, served.scripted.clone());
    served.shut_down().await;
    scripted.stopped(1).await;
    let rest = tokio::time::timeout(PATIENCE, reply.rest()).await.expect("the stream ends");
    assert!(!rest.body.contains("event: done"));
    let again = tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(address)).await;
    assert!(again.expect("refused at once").is_err(), "nothing listens any more");
}
