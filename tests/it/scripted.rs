//! An answerer that says what a test tells it to, when the test tells it to: for what the real one does not do on
//! demand (wait, fail, fall silent).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cervella::answer::AnswerEvent;
use cervella::chat::web::{Answering, DocumentError, Exposure, SampleQuestion, ServiceStatus, serve};
use cervella::domain::{Answer, AnswerTimings, Citation, Language, Passage, PassageId, Question, TokenCounts, Verdict};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub enum Step {
    Tell(AnswerEvent),
    /// Waits for [`Scripted::release`].
    Gate,
}

pub struct Scripted {
    /// What is told for a question; a script without `Done` or `Failed` at its end is a lost connection.
    scripts: HashMap<&'static str, Vec<Step>>,
    passages: Vec<Passage>,
    ready: AtomicBool,
    failing: Mutex<Option<String>>,
    gate: Arc<Semaphore>,
    stopped: watch::Sender<usize>,
    asked: Mutex<Vec<Question>>,
}

impl Scripted {
    pub fn new(scripts: impl IntoIterator<Item = (&'static str, Vec<Step>)>) -> Self {
        Scripted {
            scripts: scripts.into_iter().collect(),
            passages: leave_document(),
            ready: AtomicBool::new(true),
            failing: Mutex::default(),
            gate: Arc::new(Semaphore::new(0)),
            stopped: watch::Sender::new(0),
            asked: Mutex::default(),
        }
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub fn set_failing(&self, reason: &str) {
        *self.failing.lock().expect("no test panics in here") = Some(reason.to_owned());
    }

    /// Lets one gate pass.
    pub fn release(&self) {
        self.gate.add_permits(1);
    }

    /// Waits until so many answers were stopped by their cancel token or by their reader.
    pub async fn stopped(&self, answers: usize) {
        let mut stopped = self.stopped.subscribe();
        let waiting = stopped.wait_for(|stopped| *stopped >= answers);
        tokio::time::timeout(super::http::PATIENCE, waiting).await.expect("the work is stopped").expect("it lives");
    }

    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().expect("no test panics in here").clone()
    }
}

impl Answering for Scripted {
    fn ask(&self, question: Question, cancel: CancellationToken) -> mpsc::Receiver<AnswerEvent> {
        let (events, receiver) = mpsc::channel(4);
        let script = self.scripts.get(question.text.as_str()).cloned().unwrap_or_default();
        self.asked.lock().expect("no test panics in here").push(question);
        let (gate, stopped) = (Arc::clone(&self.gate), self.stopped.clone());
        tokio::spawn(async move {
            for step in script {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    () = events.closed() => {}
                    () = follow(step, &gate, &events) => continue,
                }
                stopped.send_modify(|stopped| *stopped += 1);
                return;
            }
        });
        receiver
    }

    fn document(&self, passage: PassageId) -> Result<Vec<Passage>, DocumentError> {
        if passage == UNREADABLE {
            return Err(DocumentError::Unreadable("the disk said no".into()));
        }
        let is_known = self.passages.iter().any(|known| known.id == passage);
        Ok(if is_known { self.passages.clone() } else { Vec::new() })
    }

    fn status(&self) -> ServiceStatus {
        ServiceStatus {
            ready: self.ready.load(Ordering::Relaxed),
            model: "Scripted 1B".to_owned(),
            documents: 2,
            passages: self.passages.len(),
            samples: vec![
                SampleQuestion { text: "Quante ferie ho?".to_owned(), language: Language::Italian },
                SampleQuestion { text: "How do I get a VPN account?".to_owned(), language: Language::English },
            ],
        }
    }

    fn failing(&self) -> Option<String> {
        self.failing.lock().expect("no test panics in here").clone()
    }

    fn metrics(&self) -> String {
        "cervella_ready 1\n# EOF\n".to_owned()
    }
}

async fn follow(step: Step, gate: &Semaphore, events: &mpsc::Sender<AnswerEvent>) {
    match step {
        // A reader who is gone is noticed by `closed`.
        Step::Tell(event) => drop(events.send(event).await),
        Step::Gate => gate.acquire().await.expect("never closed").forget(),
    }
}

/// The chat page on a free port, over a scripted answerer.
pub struct Served {
    pub address: SocketAddr,
    pub scripted: Arc<Scripted>,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub async fn start(scripted: Scripted) -> Self {
        Served::exposed(scripted, Exposure::default()).await
    }

    pub async fn exposed(scripted: Scripted, exposure: Exposure) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (scripted, shutdown) = (Arc::new(scripted), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, exposure, scripted.clone(), shutdown.clone()));
        Served { address, scripted, shutdown, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Shuts down and waits for the end, which must come within the two seconds that are promised.
    pub async fn shut_down(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(2), self.serving).await;
        ended.expect("the server ends within two seconds").expect("without a panic").expect("without an error");
    }
}

pub const QUOTED: PassageId = PassageId([1; 16]);
pub const UNREADABLE: PassageId = PassageId([0xee; 16]);
pub const GONE: PassageId = PassageId([0xdd; 16]);

/// A document in three passages, the second of which is cited.
fn leave_document() -> Vec<Passage> {
    let passage = |ordinal: u32, headings: &[&str], text: &str| Passage {
        collection: "knowledge".to_owned(),
        link: None,
        id: PassageId([ordinal as u8; 16]),
        path: "it/ferie.md".to_owned(),
        title: "Ferie e permessi".to_owned(),
        headings: headings.iter().map(|&heading| heading.to_owned()).collect(),
        anchor: None,
        date: None,
        language: Language::Italian,
        ordinal,
        text: text.to_owned(),
    };
    let long = "Questo paragrafo sta prima del passo citato. ".repeat(60);
    vec![
        passage(0, &[], &format!("# Ferie e permessi\n\n{long}")),
        passage(
            1,
            &["Quante ferie"],
            "## Quante ferie\n\nChi lavora a tempo pieno ha **26 giorni** di [ferie](ferie.md) all'anno.\n\n\
             - Se ne portano *dieci* all'anno dopo.\n- Si chiedono sul portale.",
        ),
        passage(2, &["Permessi"], &format!("## Permessi\n\n{long}")),
    ]
}

pub fn citation(n: usize) -> Citation {
    Citation {
        link: None,
        n,
        path: "it/ferie.md".to_owned(),
        title: "Ferie e permessi".to_owned(),
        date: None,
        heading: "Quante ferie".to_owned(),
        quote: "Chi lavora a tempo pieno ha **26 giorni** di [ferie](ferie.md) all'anno.".to_owned(),
        passage_id: QUOTED,
        language: Language::Italian,
    }
}

pub fn started() -> Step {
    Step::Tell(AnswerEvent::Started { trace_id: "trace-7".to_owned(), language: Language::Italian })
}

pub fn quote() -> Step {
    Step::Tell(AnswerEvent::Quote(citation(1)))
}

pub fn text(delta: &str) -> Step {
    Step::Tell(AnswerEvent::Text(delta.to_owned()))
}

pub fn failed() -> Step {
    let message = "Il modello si è fermato.".to_owned();
    Step::Tell(AnswerEvent::Failed { message, trace_id: "trace-7".to_owned() })
}

pub fn done(verdict: Verdict, text: &str, citations: Vec<Citation>) -> Step {
    Step::Tell(AnswerEvent::Done(Box::new(Answer {
        text: text.to_owned(),
        question: None,
        language: Language::Italian,
        verdict,
        citations,
        timings_ms: AnswerTimings {
            retrieve: 12.0,
            first_text: 40.0,
            first_token: Some(900.0),
            total: 2_400.0,
            ..AnswerTimings::default()
        },
        tokens: TokenCounts { prompt: 800, budget: 800, cached: 0, generated: 40 },
        withheld: Vec::new(),
        copy_of: None,
        kept: None,
    })))
}
