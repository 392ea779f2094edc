//! The built program as a service, started, stopped and killed.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;

use crate::fakes::slack::FakeSlack;
use crate::fakes::telegram::FakeTelegram;
use crate::support::{cervella, handbook, root};

/// Longest time until a daemon is ready, or an answer is there, on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A data folder with the handbook's index and an empty store, and the settings of a daemon.
pub(super) struct House {
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl House {
    /// `None`, said aloud, when the models are missing.
    pub(super) fn new() -> Option<Self> {
        let handbook = handbook()?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&handbook.join("index"), &folder.path().join("index"));
        let knowledge = root().join("knowledge").display().to_string();
        let settings = vec![
            ("CERVELLA__KNOWLEDGE__FOLDERS".to_owned(), knowledge),
            ("CERVELLA__WEB__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ];
        Some(House { folder, settings })
    }

    pub(super) fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        self.settings.push((key.to_owned(), value.into()));
        self
    }

    pub(super) fn on_telegram(self, telegram: &FakeTelegram) -> Self {
        self.set("CERVELLA__TELEGRAM__TOKEN", telegram.token()).set("CERVELLA__TELEGRAM__API_URL", telegram.api_url())
    }

    pub(super) fn on_slack(self, slack: &FakeSlack) -> Self {
        self.set("CERVELLA__SLACK__APP_TOKEN", slack.app_token())
            .set("CERVELLA__SLACK__BOT_TOKEN", slack.bot_token())
            .set("CERVELLA__SLACK__API_URL", slack.api_url())
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Everything that daemons of this house have logged.
    pub(super) fn logged(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Where the newest daemon serves its page.
    #[track_caller]
    pub(super) fn page(&self) -> SocketAddr {
        let logged = self.logged();
        let told = logged.lines().rev().find_map(|line| line.strip_prefix("listening on http://"));
        told.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no address in {logged}"))
    }

    /// None of these stands in the log.
    #[track_caller]
    pub(super) fn keeps_to_itself(&self, secrets: &[&str]) {
        let logged = self.logged();
        assert!(logged.contains("answered verdict="), "the log is empty");
        for (at, secret) in secrets.iter().enumerate() {
            let line = logged.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "secret {at} is in the log: {line:?}");
        }
    }

    pub(super) fn data(&self) -> &Path {
        self.folder.path()
    }

    /// The program with this house's data and settings.
    pub(super) fn run(&self, arguments: &[&str]) -> Command {
        let mut command = cervella(self.folder.path());
        command.envs(self.settings.iter().cloned()).args(arguments);
        command
    }

    pub(super) fn command(&self) -> Command {
        self.run(&["serve"])
    }

    /// Starts a daemon; it is killed when it is dropped.
    pub(super) fn open(&self) -> Daemon {
        let log = File::options().create(true).append(true).open(self.log()).expect("the log can be written");
        let child = self.command().stderr(log).spawn().expect("the program starts");
        Daemon { child }
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("named"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).expect("the file can be copied")),
        }
    }
}

pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    /// SIGKILL, and waits for the end.
    pub(super) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and the exit code.
    pub(super) fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }

    pub(super) fn resident_mb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") / 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
