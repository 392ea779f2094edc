//! The published limits on how fast a bot may write. A call above them is refused, and remembered for the test.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::places::ChatId;
use super::reply::Refusal;

/// How much a call may come early: the way to the server is not always equally long.
const JITTER: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages in one chat in a row before it is one in each `chat_interval`.
    pub chat_burst: u32,
    pub chat_interval: Duration,
    pub group_per_minute: usize,
    /// Over all chats.
    pub per_second: usize,
    /// After the bot was asked to wait: what comes this soon was on its way already, and is no violation.
    pub on_its_way: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            chat_burst: 3,
            chat_interval: Duration::from_secs(1),
            group_per_minute: 20,
            per_second: 30,
            on_its_way: Duration::from_millis(250),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Too fast in one chat.
    Chat,
    /// Too many in a group in one minute.
    Group,
    /// Too many over all chats in one second.
    Bot,
    /// Written before the wait that the platform asked for was over.
    Impatient,
}

/// A call above a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub limit: Limit,
    pub method: String,
    pub chat: ChatId,
    pub at: Instant,
    /// Seconds that the bot was told to wait.
    pub retry_after: u64,
}

/// The bot was asked to wait before it writes in a chat again.
#[derive(Clone, Copy, Debug)]
struct Wait {
    asked: Instant,
    until: Instant,
}

#[derive(Debug)]
pub struct Limiter {
    pub limits: Option<Limits>,
    pub violations: Vec<Violation>,
    /// When a chat will have used up nothing (the virtual schedule of a leaky bucket).
    chats: BTreeMap<ChatId, Instant>,
    groups: BTreeMap<ChatId, VecDeque<Instant>>,
    all: VecDeque<Instant>,
    waits: BTreeMap<ChatId, Wait>,
}

impl Limiter {
    pub fn new(limits: Limits) -> Self {
        Limiter {
            limits: Some(limits),
            violations: Vec::new(),
            chats: BTreeMap::new(),
            groups: BTreeMap::new(),
            all: VecDeque::new(),
            waits: BTreeMap::new(),
        }
    }

    /// The bot was asked to wait before it writes there again.
    pub fn ask_to_wait(&mut self, chat: ChatId, seconds: u64, now: Instant) {
        self.waits.insert(chat, Wait { asked: now, until: now + Duration::from_secs(seconds) });
    }

    /// Counts a message or an edit, or refuses it.
    pub fn admit(&mut self, chat: ChatId, group: bool, method: &str, now: Instant) -> Result<(), Refusal> {
        let Some(limits) = self.limits else { return Ok(()) };
        let Some((limit, until)) = self.exceeded(&limits, chat, group, now) else {
            let empty = self.chats.get(&chat).map_or(now, |at| (*at).max(now));
            self.chats.insert(chat, empty + limits.chat_interval);
            if group {
                self.groups.entry(chat).or_default().push_back(now);
            }
            self.all.push_back(now);
            return Ok(());
        };
        let retry_after = (until - now).as_millis().div_ceil(1000).max(1) as u64;
        let asked = self.waits.get(&chat).map(|wait| wait.asked);
        let late = limit == Limit::Impatient && asked.is_some_and(|asked| now < asked + limits.on_its_way);
        if limit != Limit::Impatient {
            self.ask_to_wait(chat, retry_after, now);
        }
        if !late {
            self.violations.push(Violation { limit, method: method.to_owned(), chat, at: now, retry_after });
        }
        Err(Refusal::RetryAfter(retry_after))
    }

    /// The limit that a call now would exceed, and when it no longer would.
    fn exceeded(&mut self, limits: &Limits, chat: ChatId, group: bool, now: Instant) -> Option<(Limit, Instant)> {
        if let Some(wait) = self.waits.get(&chat).filter(|wait| wait.until > now + JITTER) {
            return Some((Limit::Impatient, wait.until));
        }
        let burst = limits.chat_interval * limits.chat_burst.saturating_sub(1) + JITTER;
        if let Some(empty) = self.chats.get(&chat).copied().filter(|empty| *empty > now + burst) {
            return Some((Limit::Chat, empty - burst));
        }
        if group {
            let window = Duration::from_secs(60) - JITTER;
            if let Some(until) = full(self.groups.entry(chat).or_default(), limits.group_per_minute, window, now) {
                return Some((Limit::Group, until));
            }
        }
        full(&mut self.all, limits.per_second, Duration::from_secs(1) - JITTER, now).map(|until| (Limit::Bot, until))
    }
}

/// When the next call fits into a sliding window that is full now.
fn full(calls: &mut VecDeque<Instant>, most: usize, window: Duration, now: Instant) -> Option<Instant> {
    while calls.front().is_some_and(|at| *at + window <= now) {
        calls.pop_front();
    }
    if calls.len() < most { None } else { calls.front().map(|first| *first + window) }
}
