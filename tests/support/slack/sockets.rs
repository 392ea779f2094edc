//! Socket Mode as seen from the platform: which sockets are open, what is on its way to the bot, what was acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fakes::chance::Chance;

/// Frames on their way to one socket; a client that reads no more loses what comes after them.
const FRAMES_MAX: usize = 1_024;
/// Sockets that one app may have.
pub const SOCKETS_MAX: usize = 10;
/// When nothing is due, a look is taken this often.
const LOOK_EVERY: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Event,
    Interactive,
    Command,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Event => "events_api",
            Kind::Interactive => "interactive",
            Kind::Command => "slash_commands",
        }
    }
}

/// Which of the open sockets an event goes to.
#[derive(Clone, Debug, Default)]
pub enum Routing {
    /// Any of them, the same for the same seed.
    Random(u64),
    /// One after the other.
    #[default]
    Turns,
    Oldest,
    Newest,
}

/// How fast the bot took an event.
#[derive(Clone, Debug, PartialEq)]
pub struct AckDelay {
    /// `message`, `app_mention`, `block_actions`, `slash_commands`, …
    pub what: String,
    /// From the last delivery to the acknowledgement.
    pub delay: Duration,
    /// 0: at the first delivery.
    pub retry: u32,
}

/// Something that the bot did not take, however often it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Untaken {
    pub what: String,
    pub payload: Value,
    pub deliveries: u32,
}

/// To the task of a socket.
#[derive(Debug)]
pub enum Frame {
    Text(String),
    /// The server closes the socket after this time.
    CloseAfter(Duration),
}

#[derive(Debug)]
pub struct Socket {
    pub frames: mpsc::Sender<Frame>,
    /// Nothing is read or sent any more.
    pub half_open: CancellationToken,
    /// Was told to go: gets no events any more.
    pub leaving: bool,
}

#[derive(Debug)]
struct Envelope {
    /// One for each delivery.
    ids: Vec<String>,
    kind: Kind,
    payload: Value,
    made: Instant,
    /// When it is sent, or sent again.
    due: Instant,
    sent: Option<Instant>,
    on: Option<u64>,
    deliveries: u32,
    /// Sent to two sockets at the same time.
    doubled: bool,
    /// Stays behind until a later one was sent.
    held: bool,
}

#[derive(Debug)]
pub struct Sockets {
    /// `ws://127.0.0.1:PORT`
    pub url: String,
    pub open: BTreeMap<u64, Socket>,
    pub tickets: BTreeSet<String>,
    pub acks: Vec<AckDelay>,
    pub untaken: Vec<Untaken>,
    /// Sockets opened since the start.
    pub opened: u64,
    /// Handshakes that will be refused.
    pub refused: usize,
    pub redelivery_after: Duration,
    pub deliveries_max: u32,
    /// Within this time a person's command or press has to be taken; it is not sent again.
    pub interaction_max: Duration,
    pub ping_every: Duration,
    /// Events that will be sent twice.
    pub doubled: usize,
    /// Events that will be overtaken by the next one.
    pub overtaken: usize,
    routing: Routing,
    chance: Chance,
    turn: usize,
    queue: VecDeque<Envelope>,
    counter: u64,
}

impl Sockets {
    pub fn new(url: String) -> Self {
        Sockets {
            url,
            open: BTreeMap::new(),
            tickets: BTreeSet::new(),
            acks: Vec::new(),
            untaken: Vec::new(),
            opened: 0,
            refused: 0,
            redelivery_after: Duration::from_secs(3),
            deliveries_max: 4,
            interaction_max: Duration::from_secs(3),
            ping_every: Duration::from_secs(5),
            doubled: 0,
            overtaken: 0,
            routing: Routing::default(),
            chance: Chance::new(1),
            turn: 0,
            queue: VecDeque::new(),
            counter: 0,
        }
    }

    pub fn route(&mut self, routing: Routing) {
        if let Routing::Random(seed) = routing {
            self.chance = Chance::new(seed);
        }
        self.routing = routing;
    }

    /// Events that are not taken yet.
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    pub fn ticket(&mut self) -> String {
        self.counter += 1;
        let ticket = format!("fake-ticket-{:08}", self.counter);
        self.tickets.insert(ticket.clone());
        format!("{}/link/?ticket={ticket}&app_id={}", self.url, super::world::APP_ID)
    }

    pub fn push(&mut self, kind: Kind, payload: Value) {
        let now = Instant::now();
        let doubled = self.doubled > 0;
        self.doubled -= usize::from(doubled);
        let held = !doubled && self.overtaken > 0;
        self.overtaken -= usize::from(held);
        self.queue.push_back(Envelope {
            ids: Vec::new(),
            kind,
            payload,
            made: now,
            due: now,
            sent: None,
            on: None,
            deliveries: 0,
            doubled,
            held,
        });
    }

    /// A new socket: its number and what is sent to it.
    pub fn add(&mut self) -> (u64, mpsc::Receiver<Frame>, CancellationToken) {
        self.opened += 1;
        let (frames, receiver) = mpsc::channel(FRAMES_MAX);
        let half_open = CancellationToken::new();
        let socket = Socket { frames, half_open: half_open.clone(), leaving: false };
        self.open.insert(self.opened, socket);
        (self.opened, receiver, half_open)
    }

    /// A socket ended: what was sent over it and not taken is sent again at once.
    pub fn remove(&mut self, number: u64) {
        self.open.remove(&number);
        let now = Instant::now();
        for envelope in self.queue.iter_mut().filter(|envelope| envelope.on == Some(number)) {
            envelope.due = envelope.due.min(now);
        }
    }

    pub fn hello(&self, host: u64) -> Value {
        json!({
            "type": "hello", "num_connections": self.open.len(),
            "debug_info": {"host": format!("fake-applink-{host}"), "build_number": 1, "approximate_connection_time": 18_060},
            "connection_info": {"app_id": super::world::APP_ID},
        })
    }

    /// Tells all sockets, or the oldest that was not told yet, to go. How many were told.
    pub fn disconnect(&mut self, reason: &str, all: bool) -> usize {
        let grace = if reason == "warning" { Duration::from_secs(10) } else { Duration::from_secs(2) };
        let staying = self.open.iter_mut().filter(|(_, socket)| !socket.leaving);
        let mut told = 0;
        for (number, socket) in staying.take(if all { usize::MAX } else { 1 }) {
            let debug_info = json!({"host": format!("fake-applink-{number}")});
            let frame = json!({"type": "disconnect", "reason": reason, "debug_info": debug_info});
            socket.leaving = true;
            // A socket whose frames nobody reads cannot be told.
            let _ = socket.frames.try_send(Frame::Text(frame.to_string()));
            let _ = socket.frames.try_send(Frame::CloseAfter(grace));
            told += 1;
        }
        told
    }

    /// An acknowledgement: what it was for, with the payload that the event had.
    pub fn acknowledge(&mut self, id: &str) -> Option<Value> {
        let index = self.queue.iter().position(|envelope| envelope.ids.iter().any(|own| own == id))?;
        let envelope = self.queue.remove(index)?;
        let delay = envelope.sent.map_or(Duration::ZERO, |sent| sent.elapsed());
        self.acks.push(AckDelay { what: what(&envelope), delay, retry: envelope.deliveries.saturating_sub(1) });
        Some(envelope.payload)
    }

    /// Sends what is due; when to look again.
    pub fn deliver(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.give_up(now);
        for index in 0..self.queue.len() {
            if self.queue[index].due > now || self.queue[index].held {
                continue;
            }
            let Some(number) = self.choose(self.queue[index].on) else { continue };
            let doubled = self.queue[index].doubled && self.queue[index].deliveries == 0;
            self.send(index, number);
            if doubled {
                let other = self.choose(Some(number)).unwrap_or(number);
                self.send(index, other);
                self.queue[index].deliveries = 1;
            }
            // What stayed behind has been overtaken.
            for earlier in self.queue.range_mut(..index) {
                earlier.held = false;
            }
        }
        let overtaken = self.queue.iter().any(|envelope| !envelope.held && envelope.due <= now);
        if overtaken && self.open.values().any(|socket| !socket.leaving) {
            return Some(now);
        }
        let moments = self.queue.iter().map(|envelope| match (envelope.kind, envelope.due <= now) {
            (Kind::Event, true) => now + LOOK_EVERY,
            (Kind::Event, false) => envelope.due,
            _ => envelope.made + self.interaction_max,
        });
        moments.min()
    }

    /// Forgets what was sent often enough, and interactions that a person waited for.
    fn give_up(&mut self, now: Instant) {
        let (deliveries_max, interaction_max) = (self.deliveries_max, self.interaction_max);
        let given_up = |envelope: &Envelope| match envelope.kind {
            Kind::Event => envelope.deliveries >= deliveries_max && envelope.due <= now,
            _ => now.duration_since(envelope.made) >= interaction_max,
        };
        let untaken = self.queue.iter().filter(|envelope| given_up(envelope)).map(|envelope| Untaken {
            what: what(envelope),
            payload: envelope.payload.clone(),
            deliveries: envelope.deliveries,
        });
        self.untaken.extend(untaken.collect::<Vec<_>>());
        self.queue.retain(|envelope| !given_up(envelope));
    }

    /// Any socket but the one that it went over before, if there is another.
    fn choose(&mut self, but: Option<u64>) -> Option<u64> {
        let all: Vec<u64> = self.open.iter().filter(|(_, socket)| !socket.leaving).map(|(number, _)| *number).collect();
        let others: Vec<u64> = all.iter().copied().filter(|number| Some(*number) != but).collect();
        let from = if others.is_empty() { all } else { others };
        if from.is_empty() {
            return None;
        }
        self.turn += 1;
        let index = match self.routing {
            Routing::Random(_) => self.chance.below(from.len()),
            Routing::Turns => self.turn % from.len(),
            Routing::Oldest => 0,
            Routing::Newest => from.len() - 1,
        };
        Some(from[index])
    }

    fn send(&mut self, index: usize, number: u64) {
        self.counter += 1;
        let id = format!("{:08x}-0000-4000-8000-{:012x}", self.counter, number);
        let envelope = &mut self.queue[index];
        let mut frame = json!({
            "envelope_id": id, "type": envelope.kind.name(), "payload": envelope.payload,
            "accepts_response_payload": envelope.kind != Kind::Event,
        });
        if envelope.kind == Kind::Event {
            frame["retry_attempt"] = json!(envelope.deliveries);
            frame["retry_reason"] = json!(if envelope.deliveries > 0 { "timeout" } else { "" });
        }
        envelope.ids.push(id);
        envelope.sent = Some(Instant::now());
        envelope.on = Some(number);
        envelope.deliveries += 1;
        envelope.due = match envelope.kind {
            Kind::Event => Instant::now() + self.redelivery_after,
            _ => envelope.made + self.interaction_max,
        };
        if let Some(socket) = self.open.get(&number) {
            // A socket whose frames nobody reads loses it, and it is sent again.
            let _ = socket.frames.try_send(Frame::Text(frame.to_string()));
        }
    }
}

fn what(envelope: &Envelope) -> String {
    let named = match envelope.kind {
        Kind::Event => envelope.payload["event"]["type"].as_str(),
        Kind::Interactive => envelope.payload["type"].as_str(),
        Kind::Command => None,
    };
    named.unwrap_or(envelope.kind.name()).to_owned()
}
