//! Spans as a collector of OpenTelemetry receives them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Notify;

use crate::http::Request;
use crate::support::{cervella, handbook};

const PATIENCE: Duration = Duration::from_secs(120);
const QUESTION: &str = "How many albatross nests does the travel desk refund a night?";

/// What the collector was sent, as it came.
#[derive(Default)]
struct Received {
    bodies: Mutex<Vec<Bytes>>,
    came: Notify,
}

async fn collector(received: Arc<Received>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    async fn take(State(received): State<Arc<Received>>, body: Bytes) -> StatusCode {
        received.bodies.lock().expect("sound").push(body);
        received.came.notify_one();
        StatusCode::OK
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let routes = axum::Router::new().route("/v1/traces", axum::routing::post(take)).with_state(received);
    (address, tokio::spawn(async move { axum::serve(listener, routes).await.expect("served") }))
}

struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    async fn start(data: &Path, collector: SocketAddr, log: &Path) -> Self {
        let mut command = cervella(data);
        command.env("CERVELLA__WEB__LISTEN", "127.0.0.1:0");
        command.env("CERVELLA__TELEMETRY__COLLECTOR", format!("http://{collector}/"));
        // What is logged is another matter.
        command.env("RUST_LOG", "warn");
        command.arg("serve").stdout(Stdio::null()).stderr(std::fs::File::create(log).expect("made"));
        let child = command.spawn().expect("the program starts");
        let start = Instant::now();
        let address = loop {
            let logged = std::fs::read_to_string(log).expect("readable");
            let address = logged.lines().find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
            if let Some(address) = address
                && Request::get("/readyz").send(address).await.status == 200
            {
                break address;
            }
            assert!(start.elapsed() < PATIENCE, "{logged}");
            tokio::task::yield_now().await;
        };
        Service { child, address }
    }

    /// Asked to, it ends within some seconds and without complaint.
    fn end(mut self) {
        let start = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spans(received: &Received) -> Vec<Span> {
    let bodies = received.bodies.lock().expect("sound").clone();
    let requests = bodies.into_iter().map(|body| ExportTraceServiceRequest::decode(body).expect("OTLP"));
    let resources = requests.flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn text(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_one_trace_without_its_words() {
    let Some(data) = handbook() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let received = Arc::new(Received::default());
    let (address, _collector) = collector(Arc::clone(&received)).await;
    let service = Service::start(data, address, &log).await;
    let said = Request::ask("How many days of remote work are there in a week?").send(service.address).await.body;
    Request::ask(QUESTION).send(service.address).await;
    // They are sent every few seconds.
    while spans(&received).iter().filter(|span| span.name == "question").count() < 2 {
        let came = tokio::time::timeout(PATIENCE, received.came.notified()).await;
        assert!(came.is_ok(), "{:?}", spans(&received));
    }
    service.end();
    let everything = received.bodies.lock().expect("sound").concat();
    let spans = spans(&received);
    let questions: Vec<&Span> = spans.iter().filter(|span| span.name == "question").collect();
    assert_eq!(questions.len(), 2, "{spans:?}");
    let trace_id = text(questions[0], "trace_id").expect("what the reader sees");
    assert!(said.contains(&trace_id), "{trace_id} is not in {said}");
    for part in ["retrieve", "generate"] {
        let found = spans.iter().find(|span| span.name == part && span.parent_span_id == questions[0].span_id);
        let found = found.unwrap_or_else(|| panic!("no {part} in {spans:?}"));
        assert_eq!(found.trace_id, questions[0].trace_id);
        assert!(found.end_time_unix_nano > found.start_time_unix_nano);
    }
    for word in ["albatross", "remote work"] {
        assert!(!everything.windows(word.len()).any(|window| window == word.as_bytes()), "{word} was sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_gone_costs_nothing_but_one_line() {
    let Some(data) = handbook() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let service = Service::start(data, gone, &log).await;
    let reply = Request::ask(QUESTION).send(service.address).await;
    assert_eq!(reply.status, 200);
    service.end();
    let logged = std::fs::read_to_string(&log).expect("readable");
    assert_eq!(logged.matches("the collector of traces cannot be reached").count(), 1, "{logged}");
}
