//! The child process that reads untrusted files: the program itself with the hidden subcommand `extract FILE`.
//! The child limits its own memory, time and files; the parent limits the wall clock and what it reads back.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_process_group, set_parent_process_death_signal, setpriority_process, setrlimit,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::source::RECOGNITION_TIME_MAX;
use super::{ExtractError, Format, extract_here, read};
use crate::ingest::document::Document;

/// What a child process may cost. The child has limits of its own too: see `run_child`.
#[derive(Clone, Debug)]
pub struct ExtractLimits {
    /// Bytes of the file itself.
    pub source_bytes_max: u64,
    /// Bytes of JSON that the child may answer with.
    pub output_bytes_max: u64,
    /// Wall-clock time of the child, without the pages that are images.
    pub time_max: Duration,
}

impl ExtractLimits {
    fn time_for(&self, path: &Path) -> Duration {
        let may_hold_images = matches!(Format::of(path), Some(Format::Pdf | Format::Zip));
        self.time_max + if may_hold_images { RECOGNITION_TIME_MAX } else { Duration::ZERO }
    }
}

impl Default for ExtractLimits {
    fn default() -> Self {
        ExtractLimits { source_bytes_max: 32 << 20, output_bytes_max: 64 << 20, time_max: Duration::from_secs(90) }
    }
}

const CHILD_MEMORY_BYTES_MAX: u64 = 1 << 30;
const CHILD_CPU_SECONDS_MAX: u64 = 60;
const CHILD_OPEN_FILES_MAX: u64 = 32;
/// Priority of a process that reads files.
const NICENESS: i32 = 10;
/// Of what a dying child says, enough for one sentence.
const STDERR_BYTES_MAX: u64 = 4_096;
/// How often a parent that waits looks whether it still should.
const CANCEL_LOOK: Duration = Duration::from_millis(100);

/// What the child prints: one line of JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Document(Document),
    Failed(String),
}

/// The child's side: limits this process (1 GiB of memory, 60 s of CPU, no core), reads the
/// file and prints the document, or why there is none, as one line of JSON. A file that cannot be read is an outcome.
///
/// # Errors
/// When the limits cannot be set or `out` cannot be written.
pub fn run_child(path: &Path, out: impl Write) -> io::Result<()> {
    let limit = |resource, value| setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
    limit(Resource::As, CHILD_MEMORY_BYTES_MAX)?;
    limit(Resource::Cpu, CHILD_CPU_SECONDS_MAX)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, CHILD_OPEN_FILES_MAX)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Questions come first; where the system does not let go of priority, they wait a little.
    let _ = setpriority_process(None, NICENESS);
    write_outcome(path, out)
}

fn write_outcome(path: &Path, mut out: impl Write) -> io::Result<()> {
    let document = Format::of(path)
        .ok_or_else(|| ExtractError::Unsupported { path: path.to_owned() })
        .and_then(|format| extract_here(format, path, &read(path, ExtractLimits::default().source_bytes_max)?));
    let outcome = match document {
        Ok(document) => Outcome::Document(document),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Outcome::Failed(format!("{error}{cause}"))
        }
    };
    serde_json::to_writer(&mut out, &outcome)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The parent's side: runs `executable extract PATH` and reads the document from it.
///
/// # Errors
/// What the child reports about the file, and clear sentences for a child that is too slow, says too much or dies;
/// `Cancelled`.
pub fn extract_in_child(
    executable: &Path,
    path: &Path,
    limits: &ExtractLimits,
    cancel: &CancellationToken,
) -> Result<Document, ExtractError> {
    let failed = |source| ExtractError::Read { path: path.to_owned(), source };
    let absolute = path.canonicalize().map_err(failed)?;
    let bytes = absolute.metadata().map_err(failed)?.len();
    if bytes > limits.source_bytes_max {
        return Err(ExtractError::TooLarge { path: path.to_owned(), bytes, limit_bytes: limits.source_bytes_max });
    }
    let mut child = Command::new(executable)
        .arg("extract")
        .arg(&absolute)
        // The child needs nothing of the daemon's environment, which may hold tokens.
        .env_clear()
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ExtractError::NoReader {
            path: path.to_owned(),
            executable: executable.to_owned(),
            source,
        })?;
    let stdout = collect(child.stdout.take(), limits.output_bytes_max);
    let stderr = collect(child.stderr.take(), STDERR_BYTES_MAX);
    let time_max = limits.time_for(path);
    let deadline = Instant::now() + time_max;
    let answer = loop {
        match stdout.recv_timeout(CANCEL_LOOK) {
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline && !cancel.is_cancelled() => {}
            answer => break answer,
        }
    };
    let too_long = answer.as_ref().is_ok_and(|answer| answer.len() as u64 > limits.output_bytes_max);
    let too_slow = matches!(answer, Err(RecvTimeoutError::Timeout));
    // Its output has ended, so the child ends: unless it is stuck, or says too much.
    let status = if too_long || too_slow { None } else { wait_until(&mut child, deadline).map_err(failed)? };
    let Some(status) = status else {
        // And with it the programs that it reads scans with.
        let _ = Pid::from_raw(child.id() as i32).map(|group| kill_process_group(group, Signal::KILL));
        let _ = child.wait();
        return Err(match too_long {
            true => ExtractError::UnpacksTooLarge { path: path.to_owned(), limit_bytes: limits.output_bytes_max },
            false if cancel.is_cancelled() => ExtractError::Cancelled { path: path.to_owned() },
            false => ExtractError::TooSlow { path: path.to_owned(), seconds: time_max.as_secs() },
        });
    };
    let died = |reason| ExtractError::ReaderDied { path: path.to_owned(), reason };
    if !status.success() {
        let said = stderr.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        return Err(died(cause_of_death(status, &String::from_utf8_lossy(&said))));
    }
    match serde_json::from_slice(&answer.unwrap_or_default()) {
        Ok(Outcome::Document(document)) => Ok(document),
        Ok(Outcome::Failed(message)) => Err(ExtractError::Reported(message)),
        Err(reason) => Err(died(format!("its answer is not a document: {reason}"))),
    }
}

/// Reads a pipe on a thread of its own, up to one byte more than `bytes_max`; what comes after that is not read.
pub(super) fn collect(pipe: Option<impl Read + Send + 'static>, bytes_max: u64) -> Receiver<Vec<u8>> {
    let (send, receive) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What was read before an error is kept.
            let _ = pipe.take(bytes_max + 1).read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    receive
}

pub(super) fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn cause_of_death(status: ExitStatus, stderr: &str) -> String {
    if stderr.contains("memory allocation of") {
        return format!("it needed more than {} MiB of memory", CHILD_MEMORY_BYTES_MAX >> 20);
    }
    if stderr.contains("overflowed its stack") {
        return "it is nested too deep".into();
    }
    match status.signal().and_then(Signal::from_named_raw) {
        Some(Signal::XCPU | Signal::KILL) => {
            format!("it needed more than {CHILD_CPU_SECONDS_MAX} s of CPU, or was killed")
        }
        Some(Signal::SEGV | Signal::BUS | Signal::ABORT | Signal::ILL) => "it crashed".into(),
        Some(signal) => format!("it was ended by signal {}", signal.as_raw()),
        None => {
            // A panic is a line of the log: time, level, and what is told.
            let mut errors = stderr.lines().filter_map(|line| line.split_once(' ')?.1.strip_prefix("ERROR "));
            let said = errors.next_back().or_else(|| stderr.lines().find(|line| !line.trim().is_empty()));
            said.unwrap_or("no reason given").chars().take(200).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents").join(name)
    }

    /// What a reader that behaves as `script` does leads to.
    fn check(script: &str, limits: &ExtractLimits) -> Result<Document, String> {
        extract_in_child(
            &fixture(&format!("readers/{script}.sh")),
            &fixture("guida.md"),
            limits,
            &CancellationToken::new(),
        )
        .map_err(|e| e.to_string())
    }

    fn limits() -> ExtractLimits {
        ExtractLimits { time_max: Duration::from_secs(20), ..ExtractLimits::default() }
    }

    #[test]
    fn a_document_comes_back_as_it_was() {
        let mut line = Vec::new();
        write_outcome(&fixture("guida.md"), &mut line).unwrap();
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let Outcome::Document(document) = serde_json::from_slice(&line).unwrap() else { panic!("no document") };
        let bytes = std::fs::read(fixture("guida.md")).unwrap();
        assert_eq!(document, extract_here(Format::Markdown, &fixture("guida.md"), &bytes).unwrap());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_outcome() {
        let mut line = Vec::new();
        write_outcome(Path::new("/none.pdf"), &mut line).unwrap();
        assert!(String::from_utf8(line).unwrap().starts_with("{\"failed\":\"cannot read `/none.pdf`"));
    }

    #[test]
    fn what_a_reader_says_is_passed_on() {
        assert_eq!(check("fails", &limits()).unwrap_err(), "`a.pdf` has no text layer");
        assert_eq!(check("answers", &limits()).unwrap().title, "Ciao");
    }

    #[test]
    fn a_reader_that_dies_is_reported_with_its_cause() {
        for (script, cause) in [
            ("panics", r#"(panicked place="src/x.rs:1:2" thread="main")"#),
            ("crashes", "(it crashed)"),
            ("out_of_memory", "1024 MiB of memory"),
            ("stack", "nested too deep"),
            ("garbage", "its answer is not a document"),
            ("silent", "its answer is not a document"),
        ] {
            let error = check(script, &limits()).unwrap_err();
            assert!(error.contains(cause) && error.contains("guida.md"), "{script}: {error}");
        }
    }

    #[test]
    fn a_reader_that_hangs_or_never_stops_talking_is_ended() {
        let started = Instant::now();
        let quick = ExtractLimits { time_max: Duration::from_millis(300), output_bytes_max: 1_000, ..limits() };
        assert!(check("hangs", &quick).unwrap_err().contains("took longer"));
        assert!(check("closes_and_hangs", &quick).unwrap_err().contains("took longer"));
        assert!(
            check("floods", &ExtractLimits { output_bytes_max: 1_000, ..limits() }).unwrap_err().contains("1000 bytes")
        );
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_reader_is_ended_when_nobody_waits_any_more() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let started = Instant::now();
        let error =
            extract_in_child(&fixture("readers/hangs.sh"), &fixture("guida.md"), &limits(), &cancel).unwrap_err();
        assert!(matches!(error, ExtractError::Cancelled { .. }), "{error}");
        assert!(started.elapsed() < limits().time_max / 2);
    }

    #[test]
    fn a_reader_sees_nothing_of_the_environment() {
        // The script fails if any variable but those of the shell itself is set.
        assert_eq!(check("environment", &limits()).unwrap().title, "Ciao");
    }

    #[test]
    fn a_missing_reader_and_a_large_file_are_told() {
        let error =
            extract_in_child(Path::new("/no/such/program"), &fixture("guida.md"), &limits(), &CancellationToken::new())
                .unwrap_err();
        assert!(error.to_string().contains("/no/such/program"));
        let small = ExtractLimits { source_bytes_max: 10, ..limits() };
        assert!(check("answers", &small).unwrap_err().contains("limit of 10"));
    }
}
