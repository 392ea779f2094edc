//! A small Hugging Face hub on loopback, for as long as a test runs: it lists a repository and serves its files by
//! ranges, and it can be told to misbehave.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

pub(super) const REPO: &str = "acme/tiny-GGUF";
pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub does instead of serving the next request for a file's content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mischief {
    /// Closes the connection after so many bytes.
    CutAfter(usize),
    /// Sends so many bytes and then nothing.
    SilentAfter(usize),
    /// Answers with this status.
    Status(u16),
    /// Sends all of the file, whatever range was asked for.
    IgnoreRange,
}

/// A request for the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) name: String,
    pub(super) range_start: usize,
}

#[derive(Default)]
pub(super) struct Behaviour {
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// Taken one after another by requests for content (not by the question for size and tag).
    pub(super) mischief: VecDeque<Mischief>,
    pub(super) token: Option<String>,
    /// Where files are redirected to, like the hub does with large ones.
    pub(super) cdn: Option<String>,
    /// The size and the checksum that are stated, where they differ from the file's.
    pub(super) stated_size: Option<u64>,
    pub(super) stated_sha256: Option<String>,
    pub(super) served: Vec<Served>,
    /// Authorization headers, of all requests.
    pub(super) tokens_seen: Vec<Option<String>>,
}

pub(super) struct TestHub {
    pub(super) endpoint: String,
    behaviour: Arc<Mutex<Behaviour>>,
}

struct Request {
    path: String,
    range: Option<(usize, Option<usize>)>,
    authorization: Option<String>,
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TestHub {
    pub(super) fn new(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let behaviour = Arc::new(Mutex::new(Behaviour { files, ..Behaviour::default() }));
        let shared = Arc::clone(&behaviour);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle is part of the tests.
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { endpoint, behaviour }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    pub(super) fn served(&self) -> Vec<Served> {
        self.behaviour.lock().unwrap().served.clone()
    }

    pub(super) fn tokens_seen(&self) -> Vec<Option<String>> {
        self.behaviour.lock().unwrap().tokens_seen.clone()
    }
}

fn serve(mut stream: TcpStream, behaviour: &Mutex<Behaviour>) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let mut behaviour = behaviour.lock().unwrap();
    behaviour.tokens_seen.push(request.authorization.clone());
    let path = request.path.split('?').next().unwrap_or_default();
    if path == format!("/api/models/{REPO}/revision/main") {
        let body = listing(&behaviour);
        drop(behaviour);
        return respond(&mut stream, 200, &[("Content-Type", "application/json")], body.as_bytes());
    }
    let name = path.rsplit_once(&format!("/resolve/{COMMIT}/")).map(|(_, name)| name);
    let Some(name) = name.or_else(|| path.strip_prefix("/cdn/")).map(str::to_owned) else {
        return respond(&mut stream, 404, &[], b"");
    };
    let Some(bytes) = behaviour.files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| bytes.clone()) else {
        return respond(&mut stream, 404, &[], b"");
    };
    let allowed = behaviour.token.as_ref().map(|token| format!("Bearer {token}"));
    if !path.starts_with("/cdn/") && allowed.is_some() && allowed != request.authorization {
        return respond(&mut stream, 401, &[], b"");
    }
    let tag = format!("\"{}\"", behaviour.stated_sha256.clone().unwrap_or_else(|| sha256(&bytes)));
    if let Some(cdn) = &behaviour.cdn {
        let location = format!("{cdn}/cdn/{name}");
        let headers = [("X-Linked-Etag", tag.as_str()), ("X-Repo-Commit", COMMIT), ("Location", &location)];
        return respond(&mut stream, 302, &headers, b"");
    }
    let (start, end) = request.range.unwrap_or((0, None));
    let probe = end.is_some();
    let mischief = if probe { None } else { behaviour.mischief.pop_front() };
    if !probe {
        behaviour.served.push(Served { name, range_start: start });
    }
    let total = behaviour.stated_size.map_or(bytes.len(), |size| size as usize);
    drop(behaviour);
    send_file(&mut stream, &bytes, (start, end), total, &tag, mischief)
}

fn send_file(
    stream: &mut TcpStream,
    bytes: &[u8],
    (start, end): (usize, Option<usize>),
    total: usize,
    tag: &str,
    mischief: Option<Mischief>,
) -> std::io::Result<()> {
    if let Some(Mischief::Status(status)) = mischief {
        return respond(stream, status, &[], b"");
    }
    let start = if matches!(mischief, Some(Mischief::IgnoreRange)) { 0 } else { start };
    if start >= bytes.len() {
        return respond(stream, 416, &[], b"");
    }
    let body = &bytes[start..end.map_or(bytes.len(), |end| bytes.len().min(end + 1))];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nETag: {tag}\r\nX-Repo-Commit: {COMMIT}\r\n\
         Content-Range: bytes {start}-{}/{total}\r\nContent-Length: {}\r\n\r\n",
        start + body.len() - 1,
        body.len()
    )?;
    match mischief {
        Some(Mischief::CutAfter(length)) => stream.write_all(&body[..length.min(body.len())]),
        Some(Mischief::SilentAfter(length)) => {
            stream.write_all(&body[..length.min(body.len())])?;
            // Until the client has gone away.
            let mut rest = Vec::new();
            std::io::Read::read_to_end(stream, &mut rest).map(drop)
        }
        _ => stream.write_all(body),
    }
}

fn listing(behaviour: &Behaviour) -> String {
    let files = behaviour.files.iter().map(|(name, bytes)| {
        let size = behaviour.stated_size.unwrap_or(bytes.len() as u64);
        let sha256 = behaviour.stated_sha256.clone().unwrap_or_else(|| sha256(bytes));
        serde_json::json!({ "rfilename": name, "size": size, "lfs": { "sha256": sha256, "size": size, "pointerSize": 134 } })
    });
    serde_json::json!({ "sha": COMMIT, "siblings": files.collect::<Vec<_>>() }).to_string()
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, range: None, authorization: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.trim().to_owned()),
            "range" => {
                let range = value.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-'));
                request.range = range.map(|(start, end)| (start.parse().unwrap(), end.parse().ok()));
            }
            _ => {}
        }
    }
    Ok(request)
}

fn respond(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} Test\r\nConnection: close\r\nContent-Length: {}\r\n", body.len())?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(body)
}
