//! Just enough HTTP to see what goes over the wire: one request a connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing here takes longer than this unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

pub struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Request {
    pub fn get(path: impl Into<String>) -> Self {
        Request { method: "GET", path: path.into(), headers: Vec::new(), body: String::new() }
    }

    pub fn post(path: impl Into<String>, body: impl Into<String>) -> Self {
        Request { method: "POST", path: path.into(), headers: Vec::new(), body: body.into() }
            .with("content-type", "application/json")
    }

    pub fn ask(question: &str) -> Self {
        Request::post("/api/ask", serde_json::json!({ "question": question, "language": null }).to_string())
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends the request and waits for the whole reply.
    pub async fn send(self, to: SocketAddr) -> Reply {
        let stream = self.open(to).await;
        tokio::time::timeout(PATIENCE, stream.rest()).await.expect("the reply ends")
    }

    /// Sends the request and leaves the reply to be read as it comes.
    pub async fn open(self, to: SocketAddr) -> OpenReply {
        let mut stream = TcpStream::connect(to).await.expect("the server listens");
        let host = if self.headers.iter().any(|(name, _)| *name == "host") {
            String::new()
        } else {
            format!("host: {to}\r\n")
        };
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (method, path, length) = (self.method, self.path, self.body.len());
        let head =
            format!("{method} {path} HTTP/1.1\r\n{host}{headers}connection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("the head is taken");
        // A server may refuse a long body by its length alone and close before it has read it.
        let _ = stream.write_all(self.body.as_bytes()).await;
        OpenReply { stream, read: Vec::new() }
    }
}

/// A reply that is still coming. Dropping it closes the connection.
pub struct OpenReply {
    stream: TcpStream,
    read: Vec<u8>,
}

impl OpenReply {
    /// Waits until `text` has come.
    pub async fn wait_for(&mut self, text: &str) {
        let waiting = async {
            while !String::from_utf8_lossy(&self.read).contains(text) {
                assert_ne!(self.stream.read_buf(&mut self.read).await.expect("readable"), 0, "ended before {text:?}");
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{text:?} did not come"));
    }

    /// Whether all of the announced length has come: not every server closes the connection after it.
    fn is_whole(&self) -> bool {
        let text = String::from_utf8_lossy(&self.read);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
        let length = head
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        length.is_some_and(|length| self.read.len() >= head.len() + 4 + length)
    }

    /// The whole reply: as long as was announced, or until the server closes the connection.
    pub async fn rest(mut self) -> Reply {
        // A reset after the last byte is the end, too: the server did not read all that was sent.
        while !self.is_whole() && self.stream.read_buf(&mut self.read).await.is_ok_and(|read| read > 0) {}
        let text = String::from_utf8(self.read).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status code");
        let mut reply = Reply { status, head: head.to_owned(), body: body.to_owned() };
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = without_chunks(body);
        }
        reply
    }
}

/// Takes the length lines out of a chunked body, which may be cut short.
fn without_chunks(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or_else(|_| panic!("no length of a chunk: {length:?}"));
        let (chunk, after) = rest.split_at(length.min(rest.len()));
        whole.push_str(chunk);
        body = after.trim_start_matches("\r\n");
    }
    whole
}
