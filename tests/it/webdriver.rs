//! A headless Chromium for one test, driven over WebDriver (<https://www.w3.org/TR/webdriver2/>), which is JSON over
//! HTTP. A client crate would change the features of dependencies that the product shares, and with that build all of
//! them a second time for the tests.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::FutureExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::skip::skip;

/// How long anything on the page may take, a whole answer of the demo model on a busy machine included.
const PATIENCE: Duration = Duration::from_secs(120);

const CHROMIUM_NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const CHROMIUM_FLAGS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,800",
];

/// The name under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys by their code points in WebDriver.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    Tab = 0xE004,
    Enter = 0xE007,
    Shift = 0xE008,
    Escape = 0xE00C,
}

pub struct Browser {
    /// Address of the session: `http://127.0.0.1:PORT/session/ID`.
    session: String,
    _chromedriver: Child,
    _driver_output: Lines<BufReader<ChildStdout>>,
    _profile: TempDir,
}

/// Runs `test` in a fresh browser that prefers Italian; says so when there is no browser on this machine.
pub async fn browse(name: &str, test: impl AsyncFnOnce(&Browser)) {
    let found = (found(&CHROMIUM_NAMES), found(&["chromedriver"]));
    let (Some(chromium), Some(chromedriver)) = found else {
        return skip(name, "it needs chromium and chromedriver");
    };
    let browser = Browser::start(&chromium, &chromedriver).await;
    // The browser is closed whether the test passes or not: killed, the driver would leave it behind.
    let outcome = AssertUnwindSafe(test(&browser)).catch_unwind().await;
    browser.command("DELETE", "", None).await;
    outcome.unwrap_or_else(|panic| resume_unwind(panic));
}

/// The path of the first of these programs that is installed.
fn found(names: &[&str]) -> Option<String> {
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find_map(|program| program.is_file().then(|| program.to_string_lossy().into_owned()))
}

impl Browser {
    async fn start(chromium: &str, chromedriver: &str) -> Self {
        let mut process = Command::new(chromedriver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts");
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let port = loop {
            let line = output.next_line().await.expect("readable").expect("chromedriver tells its port");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').parse().expect("a port");
            }
        };
        let driver = SocketAddr::from(([127, 0, 0, 1], port));
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let capabilities = json!({ "capabilities": { "alwaysMatch": capabilities(chromium, &profile) } });
        let session = request("POST", format!("http://{driver}/session"), Some(capabilities)).await;
        let id = session["sessionId"].as_str().expect("chromium starts");
        let session = format!("http://{driver}/session/{id}");
        let browser = Browser { session, _chromedriver: process, _driver_output: output, _profile: profile };
        let patience = PATIENCE.as_millis() as u64;
        let timeouts = json!({ "script": patience, "pageLoad": patience, "implicit": 0 });
        browser.command("POST", "timeouts", Some(timeouts)).await;
        browser
    }

    /// A command of the session; panics with what the driver says when it fails.
    async fn command(&self, method: &'static str, name: &str, body: Option<Value>) -> Value {
        request(method, format!("{}/{name}", self.session).trim_end_matches('/').to_owned(), body).await
    }

    pub async fn open(&self, url: &str) {
        self.command("POST", "url", Some(json!({ "url": url }))).await;
    }

    /// Waits until an element that matches `selector` is on the page.
    pub async fn see(&self, selector: &str) -> Element<'_> {
        self.see_within(selector, PATIENCE).await
    }

    pub async fn see_within(&self, selector: &str, patience: Duration) -> Element<'_> {
        let started = Instant::now();
        loop {
            if let Some(id) = self.find(selector).await.into_iter().next() {
                return Element { browser: self, id };
            }
            assert!(started.elapsed() < patience, "no {selector}");
            // Ends with the next frame that is drawn.
            self.value("new Promise((drawn) => requestAnimationFrame(() => drawn(true)))").await;
        }
    }

    async fn find(&self, selector: &str) -> Vec<String> {
        let found = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "elements", Some(found)).await;
        let elements = found.as_array().expect("a list");
        elements.iter().map(|element| element[ELEMENT].as_str().expect("an element").to_owned()).collect()
    }

    pub async fn text_of(&self, selector: &str) -> String {
        let element = self.see(selector).await;
        element.read("text").await.as_str().expect("a text").to_owned()
    }

    pub async fn count(&self, selector: &str) -> usize {
        self.find(selector).await.len()
    }

    /// The value of a JavaScript expression; a promise is waited for.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => ({expression}))().then(done, (error) => done(`threw ${{error.stack}}`));"
        );
        self.command("POST", "execute/async", Some(json!({ "script": script, "args": [] }))).await
    }

    /// Waits until a JavaScript expression is true, looking at every frame that is drawn.
    pub async fn until(&self, expression: &str) {
        self.value(&format!(
            "new Promise((seen) => {{
                const look = () => ({expression}) ? seen(true) : requestAnimationFrame(look);
                look();
            }})"
        ))
        .await;
    }

    /// Presses keys together, as `[Shift, Tab]`, wherever the focus is.
    pub async fn press(&self, keys: &[Key]) {
        let key = |kind: &str, key: &Key| {
            let value = char::from_u32(*key as u32).expect("a code point");
            json!({ "type": kind, "value": value })
        };
        let down = keys.iter().map(|pressed| key("keyDown", pressed));
        let up = keys.iter().rev().map(|pressed| key("keyUp", pressed));
        let actions: Vec<Value> = down.chain(up).collect();
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.command("POST", "actions", Some(body)).await;
    }

    /// Types where the focus is.
    pub async fn type_text(&self, text: &str) {
        let focused = self.command("GET", "element/active", None).await;
        let id = focused[ELEMENT].as_str().expect("something has the focus");
        self.command("POST", &format!("element/{id}/value"), Some(json!({ "text": text }))).await;
    }

    /// Tabs on (or back) until an element that matches `selector` has the focus, as a reader without a mouse does.
    pub async fn tab_to(&self, selector: &str, keys: &[Key]) {
        let has_focus = format!("document.activeElement.matches({})", json!(selector));
        for _ in 0..40 {
            if self.value(&has_focus).await == true {
                return;
            }
            self.press(keys).await;
        }
        panic!("{selector} was not reached by the keyboard");
    }

    /// Makes the view so wide and high, in CSS pixels; narrower than a window of the desktop can be.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size });
        self.command("POST", "goog/cdp/execute", Some(command)).await;
    }

    /// What the page wrote to the console as errors and warnings since the last call.
    pub async fn console(&self) -> Vec<String> {
        let log = self.command("POST", "se/log", Some(json!({ "type": "browser" }))).await;
        let entries = log.as_array().expect("a list");
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// An element of the page.
pub struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

impl Element<'_> {
    pub async fn click(&self) {
        self.browser.command("POST", &format!("element/{}/click", self.id), Some(json!({}))).await;
    }

    pub async fn attribute(&self, name: &str) -> Option<String> {
        self.read(&format!("attribute/{name}")).await.as_str().map(str::to_owned)
    }

    async fn read(&self, what: &str) -> Value {
        self.browser.command("GET", &format!("element/{}/{what}", self.id), None).await
    }
}

/// The `value` of the driver's reply.
async fn request(method: &'static str, url: String, body: Option<Value>) -> Value {
    let sent = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let reply = match (method, body) {
            ("GET", _) => agent.get(&url).call(),
            ("DELETE", _) => agent.delete(&url).call(),
            (_, body) => agent.post(&url).send_json(body.unwrap_or_else(|| json!({}))),
        };
        let mut reply = reply.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        let told: Value = reply.body_mut().read_json().expect("the driver answers in JSON");
        assert!(reply.status().is_success(), "{method} {url}: {told}");
        told["value"].clone()
    });
    sent.await.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))
}

fn capabilities(chromium: &str, profile: &TempDir) -> serde_json::Map<String, Value> {
    let profile = format!("--user-data-dir={}", profile.path().display());
    let flags: Vec<_> = CHROMIUM_FLAGS.into_iter().chain([profile.as_str(), "--lang=it-IT"]).collect();
    let capabilities = json!({
        "goog:chromeOptions": {
            "binary": chromium,
            "args": flags,
            "prefs": { "intl.accept_languages": "it-IT,it" },
        },
        "goog:loggingPrefs": { "browser": "WARNING" },
    });
    let Value::Object(capabilities) = capabilities else { unreachable!("an object was written above") };
    capabilities
}
