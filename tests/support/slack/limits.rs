//! The published limits on how often a method may be called: https://docs.slack.dev/apis/web-api/rate-limits. A call above
//! them is refused, and remembered for the test.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How much a call may come early: the way to the server is not always equally long.
const JITTER: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Messages: one a second in each channel, with a small burst.
    Posts,
    /// Calls in any minute, over the whole workspace.
    PerMinute(usize),
}

impl Tier {
    pub const TWO: Tier = Tier::PerMinute(20);
    pub const THREE: Tier = Tier::PerMinute(50);
    pub const FOUR: Tier = Tier::PerMinute(100);
    /// "Special": hundreds.
    pub const MANY: Tier = Tier::PerMinute(600);
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages in one channel in a row before it is one in each `post_interval`.
    pub post_burst: u32,
    pub post_interval: Duration,
    /// Share of the tiers that is granted; tests that cannot wait for a minute take less.
    pub tiers: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { post_burst: 4, post_interval: Duration::from_secs(1), tiers: 1.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Messages too fast in one channel.
    Posts,
    /// Too many calls of a method in one minute.
    Tier,
    /// Called before the wait that the platform asked for was over. The wait is for the method in all channels, but for
    /// posts.
    Impatient,
    /// Too many or too long texts, blocks, elements.
    Size,
}

/// A call that broke a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub limit: Limit,
    pub method: String,
    pub channel: Option<String>,
    pub what: String,
    pub at: Instant,
    /// Seconds that the caller was told to wait.
    pub retry_after: Option<u64>,
}

/// How long to wait, and why.
type Exceeded = (Duration, Limit, String);

#[derive(Debug, Default)]
pub struct Limiter {
    pub limits: Option<Limits>,
    pub violations: Vec<Violation>,
    /// When a channel will have used up nothing (the virtual schedule of a leaky bucket).
    channels: HashMap<String, Instant>,
    methods: HashMap<&'static str, VecDeque<Instant>>,
    /// Until when the platform asked to wait, for a method or for the posts in one channel.
    told: HashMap<(&'static str, Option<String>), Instant>,
}

impl Limiter {
    pub fn new(limits: Limits) -> Self {
        Limiter { limits: Some(limits), ..Limiter::default() }
    }

    /// The caller was told to wait: calls before that time are violations.
    pub fn ask_to_wait(&mut self, method: &'static str, channel: Option<&str>, wait: Duration) {
        self.told.insert((method, channel.map(str::to_owned)), Instant::now() + wait);
    }

    /// Notes a call, or says how many seconds it has to wait.
    pub fn admit(&mut self, method: &'static str, tier: Tier, channel: Option<&str>) -> Result<(), u64> {
        let Some(limits) = self.limits else { return Ok(()) };
        let now = Instant::now();
        let channel = channel.filter(|_| tier == Tier::Posts);
        let key = (method, channel.map(str::to_owned));
        self.told.retain(|_, until| now + JITTER < *until);
        let (wait, limit, what) = match self.told.get(&key) {
            Some(until) => (*until - now, Limit::Impatient, "called before the wait was over".to_owned()),
            None => {
                let free = match tier {
                    Tier::Posts => self.post(channel.unwrap_or_default(), limits, now),
                    Tier::PerMinute(count) => self.call(method, ((count as f64 * limits.tiers) as usize).max(1), now),
                };
                match free {
                    Ok(()) => return Ok(()),
                    Err(refused) => refused,
                }
            }
        };
        let seconds = (wait.as_secs_f64().ceil() as u64).max(1);
        self.told.entry(key).or_insert(now + Duration::from_secs(seconds));
        self.violations.push(Violation {
            limit,
            method: method.to_owned(),
            channel: channel.map(str::to_owned),
            what,
            at: now,
            retry_after: Some(seconds),
        });
        Err(seconds)
    }

    fn post(&mut self, channel: &str, limits: Limits, now: Instant) -> Result<(), Exceeded> {
        let empty = self.channels.entry(channel.to_owned()).or_insert(now);
        let ahead = empty.saturating_duration_since(now);
        let room = limits.post_interval * limits.post_burst.saturating_sub(1) + JITTER;
        if ahead > room {
            return Err((ahead - room, Limit::Posts, "more than one message a second in a channel".to_owned()));
        }
        *empty = now + ahead + limits.post_interval;
        Ok(())
    }

    fn call(&mut self, method: &'static str, count: usize, now: Instant) -> Result<(), Exceeded> {
        let calls = self.methods.entry(method).or_default();
        while calls.front().is_some_and(|call| now.duration_since(*call) + JITTER >= MINUTE) {
            calls.pop_front();
        }
        if calls.len() >= count {
            let wait = MINUTE.saturating_sub(now.duration_since(calls[0]));
            return Err((wait, Limit::Tier, format!("more than {count} calls in a minute")));
        }
        calls.push_back(now);
        Ok(())
    }
}
