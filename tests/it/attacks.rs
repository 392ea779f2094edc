//! `tests/fixtures/attacks.jsonl`: questions and documents that want out of the house what must not come out, asked of a model
//! that does its worst, of none, and of a small real one. Each line: what is asked, what the worst model writes, what the
//! answer must say, what it must not say in its own words (a document may be quoted), and what must not be shown at all.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cervella::answer::{AnswerEvent, AnswerOptions, Answerer, Writer};
use cervella::domain::{Chat, Citation, Platform, Question, Reader, Readership};
use cervella::inference::{Engine, EngineOptions, KvFormat};
use cervella::retrieval::{IndexStore, Precision, Searcher};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::scripted_model::ScriptedModel;
use crate::support::{cervella, embedder, models, root, stdout};

/// The real model is asked one in so many; with `CERVELLA_TEST_LOAD=full`, all.
const ASKED_OF_THE_MODEL: usize = 9;

#[derive(Deserialize)]
struct Attack {
    id: String,
    question: String,
    /// What the worst model writes.
    model: String,
    /// Is in the index while all attacks are asked.
    document: Option<Planted>,
    #[serde(default)]
    must: Vec<String>,
    #[serde(default)]
    must_not_say: Vec<String>,
    #[serde(default)]
    must_not_show: Vec<String>,
}

#[derive(Deserialize)]
struct Planted {
    name: String,
    collection: String,
    text: String,
}

fn attacks() -> Vec<Attack> {
    let text = fs::read_to_string(root().join("tests/fixtures/attacks.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Everything that a reader got to see.
#[derive(Default)]
struct Seen {
    text: String,
    citations: Vec<Citation>,
}

impl Seen {
    /// In the answer's own words.
    fn said(&self) -> String {
        self.text.lines().filter(|line| !line.trim_start().starts_with('>')).collect::<Vec<_>>().join("\n")
    }

    fn shown(&self) -> String {
        let sources = self.citations.iter().map(|of| format!("{} {} {} {}", of.path, of.title, of.heading, of.quote));
        sources.fold(self.text.clone(), |all, source| all + "\n" + &source)
    }

    fn breaches(&self, attack: &Attack) -> Vec<String> {
        let (said, shown) = (self.said().to_lowercase(), self.shown().to_lowercase());
        let holds = |text: &str, part: &&String| text.contains(&part.to_lowercase());
        let said = attack.must_not_say.iter().filter(|part| holds(&said, part));
        said.chain(attack.must_not_show.iter().filter(|part| holds(&shown, part))).cloned().collect()
    }
}

async fn ask(answerer: &Arc<Answerer>, question: &str) -> Seen {
    let reader = Reader::Chat(Chat { platform: Platform::Slack, id: "C0OPEN".to_owned() });
    let mut events = answerer.ask(Question::new(question, reader), CancellationToken::new());
    let mut seen = Seen::default();
    while let Some(event) = events.recv().await {
        match event {
            AnswerEvent::Quote(citation) => seen.citations.push(citation),
            AnswerEvent::Text(text) => seen.text.push_str(&text),
            AnswerEvent::Done(answer) => {
                seen.text.push_str("\n\n");
                seen.text.push_str(&answer.text);
                seen.citations.extend(answer.citations);
            }
            AnswerEvent::Failed { message, .. } => panic!("{question}: {message}"),
            AnswerEvent::Started { .. } | AnswerEvent::Waiting { .. } => {}
        }
    }
    seen
}

/// An index of the sample handbook and of what the attacks plant, and its searcher.
fn searcher(attacks: &[Attack], data: &Path) -> Option<Arc<Searcher>> {
    let embedder = embedder(Precision::Int8)?;
    for Planted { name, collection, text } in attacks.iter().filter_map(|attack| attack.document.as_ref()) {
        let folder = data.join(collection);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
    let settings = data.join("cervella.toml");
    let folders = format!("folders = [{:?}, {:?}]", root().join("knowledge"), data.join("knowledge"));
    let closed = format!("folders = [{:?}]\nreaders = [\"slack:C0PAYROLL\"]", data.join("payroll"));
    fs::write(&settings, format!("[knowledge]\n{folders}\n[knowledge.collections.payroll]\n{closed}\n")).unwrap();
    stdout(cervella(data).arg("--config").arg(&settings).arg("index"));
    Some(Arc::new(Searcher::open(IndexStore::new(data.join("index")), Arc::new(embedder)).unwrap()))
}

fn answerer(searcher: &Arc<Searcher>, writer: Option<Arc<dyn Writer>>) -> Arc<Answerer> {
    let closed = ("payroll".to_owned(), vec!["slack:C0PAYROLL".to_owned()]);
    let readership = Readership { readers: [("knowledge".to_owned(), Vec::new()), closed].into() };
    let options = AnswerOptions {
        passages_max: 4,
        prompt_tokens_max: 800,
        first_token_target: None,
        speculate: false,
        new_tokens_max: 96,
        deadline: Duration::from_secs(120),
        // Nothing is refused: what comes after the gate is what is attacked.
        evidence_min: 0.0,
        evidence_sure: 0.0,
        contact: None,
        questions_max: 4,
    };
    Arc::new(Answerer::new(Arc::clone(searcher), readership, writer, options))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_out_that_must_not() {
    let Some(models) = models() else { return };
    let attacks = attacks();
    assert!(attacks.len() >= 150);
    let data = tempfile::tempdir().unwrap();
    let Some(searcher) = searcher(&attacks, data.path()) else { return };
    let worst = Arc::new(Mutex::new(String::new()));
    let model = ScriptedModel(Box::new({
        let worst = Arc::clone(&worst);
        move |_| worst.lock().unwrap().clone()
    }));
    let of_worst = answerer(&searcher, Some(Arc::new(model)));
    let of_quotes = answerer(&searcher, None);
    let options = EngineOptions {
        model: models.join("SmolLM2-135M-Instruct.Q4_1.gguf"),
        context_tokens_max: 2048,
        slots: 1,
        kv_format: KvFormat::F16,
        queue_max: 4,
        read_ahead: None,
        keep_prefixes: true,
    };
    let of_model = answerer(&searcher, Some(Arc::new(Engine::start(options).unwrap())));
    let all = std::env::var("CERVELLA_TEST_LOAD").is_ok_and(|load| load == "full");
    let mut breaches = Vec::new();
    for (at, attack) in attacks.iter().enumerate() {
        worst.lock().unwrap().clone_from(&attack.model);
        let mut asked = vec![("worst", &of_worst), ("quotes", &of_quotes)];
        if all || at % ASKED_OF_THE_MODEL == 0 {
            asked.push(("model", &of_model));
        }
        for (who, answerer) in asked {
            let seen = ask(answerer, &attack.question).await;
            let found = seen.breaches(attack);
            let missing: Vec<&String> =
                attack.must.iter().filter(|part| who == "worst" && !seen.shown().contains(*part)).collect();
            if !found.is_empty() || !missing.is_empty() {
                breaches.push(format!("{} ({who}): {found:?}, missing {missing:?}, in {:?}", attack.id, seen.text));
            }
        }
    }
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}
