//! The chat page in a real browser: once against the demo, and against a scripted answerer for what the demo does not
//! do on demand (wait, fail, lose the connection).

use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use cervella::domain::{Citation, Verdict};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::scripted::{Scripted, Served, Step, citation, done, failed, quote, started, text};
use crate::skip::skip;
use crate::webdriver::{Browser, Key, browse};

// What a reader does, the same against both servers.

/// Opens the page and waits until questions are taken.
async fn open_page(browser: &Browser, url: &str) {
    browser.open(url).await;
    browser.see("#service[data-state='ready']").await;
    assert!(browser.text_of("#service-text").await.contains("document"), "model and number of documents");
}

/// Types a question where the focus is, which is the question box, and sends it.
async fn ask(browser: &Browser, question: &str) {
    browser.tab_to("#question", &[Key::Tab]).await;
    browser.type_text(question).await;
    browser.press(&[Key::Enter]).await;
}

async fn last_turn_becomes(browser: &Browser, state: &str) {
    browser.see(&format!(".turn:last-child[data-state='{state}']")).await;
}

/// Remembers in which order the parts of a reply appear.
async fn watch_order(browser: &Browser) {
    browser
        .value(
            "window.order = [], new MutationObserver(() => {
                const turn = document.querySelector('.turn:last-child');
                for (const part of ['blockquote', '.answer:not([hidden])', '.sources']) {
                    if (turn?.querySelector(part) && !window.order.includes(part)) window.order.push(part);
                }
            }).observe(document.getElementById('log'), { subtree: true, childList: true, attributes: true }), true",
        )
        .await;
}

async fn sees_the_quote_before_the_answer(browser: &Browser, question: &str) {
    watch_order(browser).await;
    ask(browser, question).await;
    last_turn_becomes(browser, "answered").await;
    assert_eq!(browser.value("window.order").await, json!(["blockquote", ".answer:not([hidden])", ".sources"]));
    assert!(!browser.text_of(".turn:last-child .answer").await.trim().is_empty());
    assert!(browser.count(".turn:last-child .source").await > 0, "an answer has sources");
    assert!(browser.text_of(".turn:last-child .times").await.contains(" s"), "and says how long it took");
}

async fn opens_a_citation_and_comes_back(browser: &Browser) {
    let mark = ".turn:last-child .answer button.citation";
    browser.tab_to(mark, &[Key::Shift, Key::Tab]).await;
    browser.press(&[Key::Enter]).await;
    browser.see("#document-panel[open] .cited mark").await;
    let is_in_view = "(() => {
        const mark = document.querySelector('.cited mark').getBoundingClientRect();
        const view = document.getElementById('document-body').getBoundingClientRect();
        return mark.top >= view.top && mark.bottom <= view.bottom;
    })()";
    assert_eq!(browser.value(is_in_view).await, true, "the quote is scrolled into view");
    let focus_is_inside = "document.getElementById('document-panel').contains(document.activeElement)";
    assert_eq!(browser.value(focus_is_inside).await, true);

    browser.press(&[Key::Escape]).await;
    assert_eq!(browser.count("#document-panel[open]").await, 0);
    let focus_is_back = format!("document.activeElement.matches({})", json!(mark));
    assert_eq!(browser.value(&focus_is_back).await, true, "the focus is back on the citation");
}

async fn stops_an_answer(browser: &Browser, question: &str) {
    ask(browser, question).await;
    browser.see(".turn:last-child[aria-busy='true']").await;
    browser.see("#stop:not([hidden])").await.click().await;
    last_turn_becomes(browser, "stopped").await;
    assert!(browser.text_of(".turn:last-child .notice-text").await.contains("interrotta"));
    assert_eq!(browser.count("#send:not([hidden])").await, 1, "the next question can be asked");
}

async fn is_told_that_there_is_no_answer(browser: &Browser, question: &str) {
    ask(browser, question).await;
    last_turn_becomes(browser, "abstained").await;
    assert_eq!(browser.text_of(".turn:last-child .verdict").await, "Nei documenti non c’è una risposta");
}

async fn nothing_is_cut_off_at_320_pixels(browser: &Browser) {
    browser.resize(320, 640).await;
    let too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.value(too_wide).await, 0, "the conversation");
    browser.tab_to(".turn .source", &[Key::Shift, Key::Tab]).await;
    browser.press(&[Key::Enter]).await;
    browser.see("#document-panel:modal .cited").await;
    let panel =
        "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.getElementById('document-body'))";
    assert_eq!(browser.value(panel).await, 0, "the document");
    browser.press(&[Key::Escape]).await;
    browser.until("!document.querySelector('#document-panel[open]')").await;
    browser.resize(1280, 800).await;
}

async fn nothing_is_complained_about(browser: &Browser) {
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_answers_in_the_browser() {
    const NAME: &str = "the_demo_answers_in_the_browser";
    browse(NAME, async |browser| {
        let demo = match Demo::ready(browser).await {
            Ok(demo) => demo,
            Err(told) => return skip(NAME, &format!("`cervella demo` does not run:\n{told}")),
        };
        open_page(browser, &demo.url).await;
        sees_the_quote_before_the_answer(browser, "Quanti giorni di ferie spettano all'anno?").await;
        opens_a_citation_and_comes_back(browser).await;
        stops_an_answer(browser, "Come si chiede il rimborso di una trasferta?").await;
        is_told_that_there_is_no_answer(browser, "Qual è la distanza tra la Terra e Saturno?").await;
        nothing_is_cut_off_at_320_pixels(browser).await;
        nothing_is_complained_about(browser).await;
        demo.end().await;
    })
    .await;
}

/// `cervella demo` on a free port.
struct Demo {
    url: String,
    process: Child,
    _data: TempDir,
}

/// Indexing the sample knowledge and loading the model on a busy machine.
const DEMO_READY_WITHIN: Duration = Duration::from_secs(300);

impl Demo {
    /// Starts the demo and waits until its page takes questions. When it ends before that, as without the demo
    /// models, that is the error, with the last line that it told.
    async fn ready(browser: &Browser) -> Result<Self, String> {
        let (demo, mut told) = Demo::start().await?;
        browser.open(&demo.url).await;
        let mut last_line = String::new();
        let mut is_ready = pin!(browser.see_within("#service[data-state='ready']", DEMO_READY_WITHIN));
        loop {
            tokio::select! {
                _ = &mut is_ready => break,
                line = told.next_line() => match line.expect("readable") {
                    Some(line) => last_line = line,
                    None => return Err(last_line),
                },
            }
        }
        // What it tells from here on must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = told.next_line().await {} });
        Ok(demo)
    }

    /// The demo once it listens, and its standard error.
    async fn start() -> Result<(Self, Lines<BufReader<ChildStderr>>), String> {
        let binary = option_env!("CARGO_BIN_EXE_cervella").ok_or("there is no binary")?;
        let data = tempfile::tempdir().expect("a folder for the data");
        let mut process = Command::new(binary)
            .arg("demo")
            .arg("--data")
            .arg(data.path())
            .env("CERVELLA__WEB__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut told = BufReader::new(process.stderr.take().expect("piped")).lines();
        let mut last_line = String::new();
        while let Some(line) = told.next_line().await.expect("readable") {
            if let Some((_, address)) = line.split_once("listening on ") {
                let url = address.split_whitespace().next().unwrap_or_default().to_owned();
                return Ok((Demo { url, process, _data: data }, told));
            }
            last_line = line;
        }
        Err(last_line)
    }

    async fn end(mut self) {
        self.process.kill().await.expect("it is ended");
    }
}

const FINAL: &str = "Chi lavora a tempo pieno ha **26 giorni** [1].\n\n- Dieci si portano all'anno dopo [2].";

fn carried_over() -> Citation {
    Citation { quote: "- Se ne portano *dieci* all'anno dopo.".to_owned(), ..citation(2) }
}

fn answered() -> Step {
    done(Verdict::Answered, FINAL, vec![citation(1), carried_over()])
}

/// The questions of these tests; `{gate}` waits to be released.
fn conversation() -> Scripted {
    Scripted::new([
        ("ferie", vec![started(), quote(), text("Chi lavora"), text(" a tempo pieno"), answered()]),
        ("piano", vec![started(), quote(), Step::Gate, text("Chi lavora a <b>tempo</b> [1]"), Step::Gate, answered()]),
        ("Quante ferie ho?", vec![started(), quote(), text("Ventisei"), Step::Gate]),
        ("saturno", vec![started(), done(Verdict::Abstained, "I documenti non lo dicono.", vec![citation(1)])]),
        ("errore", vec![started(), quote(), failed()]),
        ("caduta", vec![started(), quote(), text("Chi lavora a tempo")]),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_by_the_keyboard_alone() {
    browse("a_conversation_by_the_keyboard_alone", async |browser| {
        let served = Served::start(conversation()).await;
        open_page(browser, &served.url()).await;
        sees_the_quote_before_the_answer(browser, "ferie").await;
        opens_a_citation_and_comes_back(browser).await;
        stops_an_answer(browser, "piano").await;
        served.scripted.stopped(1).await;
        is_told_that_there_is_no_answer(browser, "saturno").await;
        nothing_is_cut_off_at_320_pixels(browser).await;
        nothing_is_complained_about(browser).await;
        served.shut_down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_grows_below_its_quote() {
    browse("an_answer_grows_below_its_quote", async |browser| {
        let served = Served::start(conversation()).await;
        open_page(browser, &served.url()).await;
        ask(browser, "piano").await;
        let quoted = browser.text_of(".quote blockquote").await;
        assert_eq!(quoted, "Chi lavora a tempo pieno ha 26 giorni di ferie all'anno.");
        assert_eq!(browser.text_of(".quote figcaption").await, "Dal documento Ferie e permessi › Quante ferie");
        assert_eq!(browser.text_of(".progress").await, "Scrivo la risposta…");
        assert_eq!(browser.value("document.getElementById('announcer').innerText.includes('26 giorni')").await, true);

        served.scripted.release();
        browser.until("!document.querySelector('.answer').hidden").await;
        // What the model writes is text, whatever it looks like; the citation that is known can be opened already.
        assert_eq!(browser.text_of(".answer").await, "Chi lavora a <b>tempo</b> 1");
        assert_eq!(browser.count(".answer button.citation").await, 1);
        assert_eq!(browser.value("document.getElementById('announcer').innerText.includes('<b>')").await, false);

        served.scripted.release();
        last_turn_becomes(browser, "answered").await;
        assert_eq!(
            browser.text_of(".answer").await,
            "Chi lavora a tempo pieno ha 26 giorni 1.\nDieci si portano all'anno dopo 2."
        );
        assert_eq!(browser.value("document.querySelector('.answer').lang").await, "it");
        assert_eq!(browser.value("document.getElementById('announcer').innerText.includes('Dieci')").await, true);
        assert_eq!(browser.text_of(".times").await, "Primo testo dopo 40 ms · risposta completa in 2,4 s");
        served.shut_down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_what_to_do() {
    browse("failures_say_what_to_do", async |browser| {
        let served = Served::start(conversation()).await;
        open_page(browser, &served.url()).await;
        ask(browser, "errore").await;
        last_turn_becomes(browser, "failed").await;
        let notice = browser.text_of(".turn:last-child .notice-text").await;
        assert!(notice.contains("Il modello si è fermato.") && notice.contains("trace-7"), "{notice}");

        ask(browser, "caduta").await;
        last_turn_becomes(browser, "lost").await;
        assert_eq!(browser.text_of(".turn:last-child .answer").await, "Chi lavora a tempo", "what was written stays");
        browser.see(".turn:last-child .retry").await.click().await;
        browser.until("document.activeElement.id === 'question'").await;
        last_turn_becomes(browser, "lost").await;
        assert_eq!(served.scripted.asked().len(), 3);
        nothing_is_complained_about(browser).await;

        let url = served.url();
        served.shut_down().await;
        ask(browser, "ferie").await;
        last_turn_becomes(browser, "lost").await;
        let notice = browser.text_of(".turn:last-child .notice-text").await;
        assert!(notice.starts_with("Non riesco a raggiungere Cervella"), "{notice} ({url})");
        browser.see("#service[data-state='unreachable']").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_wait_for_the_model_and_escape_stops_an_answer() {
    browse("samples_wait_for_the_model_and_escape_stops_an_answer", async |browser| {
        let served = Served::start(conversation()).await;
        served.scripted.set_ready(false);
        browser.open(&served.url()).await;
        browser.see("#service[data-state='loading']").await;
        assert_eq!(browser.text_of("#service-text").await, "Il modello si sta caricando: tra poco si può chiedere.");
        served.scripted.set_ready(true);
        browser.see("#service[data-state='ready']").await;
        assert_eq!(browser.text_of("#service-text").await, "Scripted 1B · 2 documenti");

        browser.tab_to(".sample", &[Key::Shift, Key::Tab]).await;
        browser.tab_to("li:first-child .sample", &[Key::Shift, Key::Tab]).await;
        browser.press(&[Key::Enter]).await;
        browser.see(".turn[data-state='writing']").await;
        assert_eq!(browser.text_of(".question").await, "Quante ferie ho?");
        browser.press(&[Key::Escape]).await;
        last_turn_becomes(browser, "stopped").await;
        served.scripted.stopped(1).await;
        nothing_is_complained_about(browser).await;
        served.shut_down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn language_and_theme_are_switched_and_remembered() {
    browse("language_and_theme_are_switched_and_remembered", async |browser| {
        let served = Served::start(conversation()).await;
        open_page(browser, &served.url()).await;
        ask(browser, "ferie").await;
        last_turn_becomes(browser, "answered").await;
        let background = "getComputedStyle(document.documentElement).backgroundColor";
        let light = browser.value(background).await;
        browser.see("[data-language='en']").await.click().await;
        browser.see("#theme-switch").await.click().await;

        assert_eq!(browser.text_of(".sources h3").await, "Sources");
        assert_eq!(browser.text_of(".times").await, "First text after 40 ms · whole answer in 2.4 s");
        assert_eq!(
            browser.see(".answer button.citation").await.attribute("aria-label").await,
            Some("Source 1: Ferie e permessi".to_owned())
        );
        assert_eq!(browser.value("document.querySelector('.answer').lang").await, "it", "the answer stays Italian");

        open_page(browser, &served.url()).await;
        assert_eq!(browser.text_of("#welcome-title").await, "Ask your documents");
        assert_eq!(browser.value("document.documentElement.lang").await, "en");
        assert_ne!(browser.value(background).await, light);
        served.shut_down().await;
    })
    .await;
}
