//! The daemon as systemd sees it: what it says over the notify socket, and how it ends.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::Request;
use crate::support::{cervella, handbook};

const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than a machine that runs tests stands still now and then.
const WATCHDOG: Duration = Duration::from_secs(9);

/// The service manager's side of the protocol.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        Manager { socket }
    }

    /// Whether the service says this within some time, whatever else it says before.
    fn hears(&self, word: &str, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut message = [0; 4096];
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).expect("set");
            let bytes = match self.socket.recv(&mut message) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            if String::from_utf8_lossy(&message[..bytes]).lines().any(|line| line == word) {
                return true;
            }
        }
        false
    }
}

struct Service(Child);

impl Service {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(data: &Path, socket: &Path) -> Command {
    let mut command = cervella(data);
    command.env("CERVELLA__WEB__LISTEN", "127.0.0.1:0").env("NOTIFY_SOCKET", socket);
    command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    command.arg("serve");
    command
}

/// Hands stderr over as systemd does that sends it to the journal.
fn into_journal(command: &mut Command, journal: File) {
    let file = journal.metadata().expect("a file");
    command.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino())).stderr(journal);
}

#[test]
fn systemd_hears_when_it_is_ready_at_work_and_ends() {
    let Some(data) = handbook() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let mut service = Service(serve(data, &path).spawn().expect("the program starts"));
    assert!(manager.hears("READY=1", PATIENCE));
    for _ in 0..3 {
        assert!(manager.hears("WATCHDOG=1", WATCHDOG), "the watchdog would have ended it");
    }
    // A process that does not go on says nothing: that is when systemd starts it anew.
    service.signal(Signal::STOP);
    while manager.hears("WATCHDOG=1", Duration::from_millis(500)) {}
    assert!(!manager.hears("WATCHDOG=1", WATCHDOG));
    service.signal(Signal::CONT);
    assert!(manager.hears("WATCHDOG=1", WATCHDOG));
    service.signal(Signal::TERM);
    assert!(manager.hears("STOPPING=1", Duration::from_secs(5)));
    assert_eq!(service.0.wait().expect("it ends").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_change_while_it_runs_and_nonsense_changes_nothing() {
    const SILENT: &str = "What is the capital of Mongolia's neighbour to the south?";
    let Some(data) = handbook() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, file, log) = (folder.path().join("notify"), folder.path().join("c.toml"), folder.path().join("log"));
    let manager = Manager::at(&path);
    let write = |answer: &str| {
        std::fs::write(&file, format!("[answer]\nevidence_min = 1.0\n{answer}")).expect("written");
    };
    write("contact = \"the front desk\"\n");
    let mut command = serve(data, &path);
    command.arg("--config").arg(&file);
    into_journal(&mut command, File::create(&log).expect("made"));
    let service = Service(command.spawn().expect("the program starts"));
    assert!(manager.hears("READY=1", PATIENCE));
    let logged = || std::fs::read_to_string(&log).expect("readable");
    let address = logged().lines().find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
    let address: SocketAddr = address.expect("it listens");
    let answered = async || Request::ask(SILENT).send(address).await.body;
    let after = async |said: &str| {
        let seen = logged().matches(said).count();
        service.signal(Signal::HUP);
        let start = Instant::now();
        while logged().matches(said).count() == seen {
            assert!(start.elapsed() < PATIENCE, "{}", logged());
            tokio::task::yield_now().await;
        }
    };
    assert!(answered().await.contains("the front desk"));
    write("contact = \"Mrs Albatros\"\n");
    after("the settings were read again").await;
    assert!(answered().await.contains("Mrs Albatros"));
    write("contact = \"nobody\"\nevidence_max = 1\n");
    after("the settings stay as they are").await;
    assert!(answered().await.contains("Mrs Albatros"));
    write("contact = \"Mrs Albatros\"\n[models]\nembedding = \"other\"\n");
    after("what changed in models holds from the next start on").await;
    let begins = |said: &str| logged().lines().find(|line| line.contains(said)).map(|line| line[..3].to_owned());
    assert_eq!(begins("the settings were read again").as_deref(), Some("<6>"));
    assert_eq!(begins("the settings stay as they are").as_deref(), Some("<3>"));
    assert_eq!(begins("what changed in models").as_deref(), Some("<4>"));
}

#[test]
fn the_journal_hears_why_it_does_not_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let mut command = serve(folder.path(), &folder.path().join("notify"));
    command.env("CERVELLA__ANSWER__EVIDENCE_MIN", "much");
    into_journal(&mut command, File::create(&log).expect("made"));
    assert_eq!(command.status().expect("the program starts").code(), Some(64));
    let logged = std::fs::read_to_string(&log).expect("readable");
    assert!(logged.starts_with("<3>cervella: ") && logged.contains("evidence_min"), "{logged}");
}
