//! The daemon of a run: its data, its settings, its life.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::daemon::House;
use crate::http::Request;
use crate::scene::{CANTEEN_QUESTION, CLOSED, CLOSED_QUESTION, Scene, canteen, told};
use crate::shim::Shim;
use crate::tiny::TinyModel;

/// Longest time until a daemon is ready, or a document's change is in its answers.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Running<'a> {
    pub scene: &'a Scene,
    pub shim: Shim,
    pub house: House,
    /// The documents that change and those that few may read, and the model.
    folder: TempDir,
    /// Where the daemon says that it is ready.
    manager: UnixDatagram,
    daemon: Option<Child>,
    pub starts: usize,
}

impl<'a> Running<'a> {
    /// # Panics
    /// The demo models are not installed.
    pub fn new(scene: &'a Scene) -> Self {
        let shim = Shim::build();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["open", "closed"] {
            fs::create_dir(at(name)).expect("made");
        }
        fs::write(at("open/canteen.md"), canteen(scene.price.load(Ordering::SeqCst))).expect("written");
        let bands = format!("# Salary bands\n\nA senior engineer is paid in band {CLOSED}, reviewed every spring.\n");
        fs::write(at("closed/bands.md"), bands).expect("written");
        TinyModel::new().write(&at("tiny.gguf"));
        let manager = UnixDatagram::bind(at("notify")).expect("a socket");
        manager.set_nonblocking(true).expect("set");
        let text = |name: &str| at(name).display().to_string();
        let house = House::new().expect("the demo models are installed: `cervella models pull demo`");
        let mut house = house
            .on_slack(&scene.slack)
            .on_telegram(&scene.telegram)
            .set("NOTIFY_SOCKET", text("notify"))
            .set("CERVELLA__CHAT__MEMBERS", scene.members())
            .set("CERVELLA__CHAT__PERSON_PER_HOUR", "100000")
            .set("CERVELLA__CHAT__ALL_PER_HOUR", "100000")
            .set("CERVELLA__MODELS__ANSWER", text("tiny.gguf"))
            .set("CERVELLA__ANSWER__PROMPT_TOKENS_MAX", "2048")
            .set("CERVELLA__ANSWER__NEW_TOKENS_MAX", "16")
            .set("CERVELLA__KNOWLEDGE__COLLECTIONS__CANTEEN__FOLDERS", text("open"))
            .set("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__FOLDERS", text("closed"))
            .set("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__READERS", "slack:C0NOBODY");
        for (key, value) in shim.settings(house.data()) {
            house = house.set(&key, value);
        }
        Running { scene, shim, house, folder, manager, daemon: None, starts: 0 }
    }

    /// Starts the daemon and does not wait.
    pub fn begin(&mut self) {
        assert!(self.daemon.is_none(), "one at a time");
        // What the one before said is not for this one.
        while self.heard().is_some() {}
        let log = fs::File::options().create(true).append(true).open(self.house.log()).expect("the log can be written");
        self.daemon = Some(self.house.command().stderr(log).spawn().expect("the program starts"));
        self.starts += 1;
    }

    fn heard(&self) -> Option<String> {
        let mut message = [0; 4096];
        let bytes = self.manager.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..bytes]).into_owned())
    }

    /// Waits until the daemon is ready.
    ///
    /// # Errors
    /// It ends, or does not become ready.
    pub async fn ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            while let Some(heard) = self.heard() {
                if heard.lines().any(|line| line == "READY=1") {
                    return Ok(());
                }
            }
            if let Some(status) = self.ended() {
                return Err(format!("the daemon ended at its start with {status}:\n{}", self.last_lines()));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("the daemon does not become ready:\n{}", self.last_lines()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Of the log.
    fn last_lines(&self) -> String {
        let logged = self.house.logged();
        let lines: Vec<&str> = logged.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or does not become ready.
    pub async fn open(&mut self) -> Result<(), String> {
        self.begin();
        self.ready().await
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.daemon.as_mut()?.try_wait().expect("it can be asked")
    }

    pub fn has_ended(&mut self) -> bool {
        self.ended().is_some()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        // It may have ended by itself.
        let _ = daemon.kill();
        daemon.wait().expect("it ends");
    }

    pub fn signal(&self, signal: Signal) {
        let daemon = self.daemon.as_ref().expect("it runs");
        kill_process(Pid::from_child(daemon), signal).expect("it runs");
    }

    /// SIGTERM.
    ///
    /// # Errors
    /// It does not end well.
    pub fn stop(&mut self) -> Result<(), String> {
        self.signal(Signal::TERM);
        let status = self.daemon.take().expect("it runs").wait().expect("it ends");
        if status.success() { Ok(()) } else { Err(format!("the daemon ended with {status}")) }
    }

    /// Whether the closed collection is in the index at all: else nobody could be told of it.
    pub fn closed_is_indexed(&self) -> bool {
        let found = self.house.run(&["search", CLOSED_QUESTION]).output().expect("the program starts");
        String::from_utf8_lossy(&found.stdout).contains(CLOSED)
    }

    /// Changes the document, and does not wait until that is known.
    pub fn raise_price(&self, price: usize) {
        fs::write(self.folder.path().join("open/canteen.md"), canteen(price)).expect("written");
    }

    /// Waits until the daemon's page tells the price; from then on nobody may be told an older one.
    ///
    /// # Errors
    /// It does not.
    pub async fn price_is_known(&self, price: usize) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let reply = Request::ask(CANTEEN_QUESTION).send(self.house.page()).await;
            if told(&reply.body) == Some(price) {
                self.scene.price.store(price, Ordering::SeqCst);
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("the price {price} is not known after {PATIENCE:?}: {}", reply.body));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Begins a backup into a folder of its own; it may fail, because the daemon is killed meanwhile.
    pub fn begin_backup(&self) -> (Child, PathBuf) {
        let folder = self.folder.path().join(format!("backup-{}", self.starts));
        let mut command = self.house.run(&["backup", folder.to_str().expect("UTF-8")]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        (child, folder)
    }

    fn number(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.daemon.as_ref()?.id())).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name))?.trim().trim_end_matches("kB").trim().parse().ok()
    }

    pub fn resident_mb(&self) -> f64 {
        self.number("status", "VmRSS:").unwrap_or_default() as f64 / 1024.0
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").id()
    }

    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.kill();
        }
    }
}
