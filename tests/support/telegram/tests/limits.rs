//! The published limits, with the clock in the test's hand.

use std::time::Duration;

use tokio::time::Instant;

use super::super::limits::Limiter;
use super::super::reply::Refusal;
use super::super::{ChatId, Limit, Limits};

struct Bot {
    limiter: Limiter,
    start: Instant,
}

impl Bot {
    fn new() -> Self {
        Bot { limiter: Limiter::new(Limits::default()), start: Instant::now() }
    }

    /// Writes at a time in milliseconds: the limit that was exceeded, with the seconds to wait.
    fn write(&mut self, chat: i64, at_ms: u64) -> Option<(Limit, u64)> {
        let now = self.start + Duration::from_millis(at_ms);
        let before = self.limiter.violations.len();
        let admitted = self.limiter.admit(ChatId(chat), chat < 0, "sendMessage", now);
        assert!(admitted.is_err() || self.limiter.violations.len() == before);
        self.limiter.violations.get(before).map(|violation| (violation.limit, violation.retry_after))
    }
}

#[test]
fn a_chat_takes_a_short_burst_and_then_one_each_second() {
    let mut bot = Bot::new();
    for at in [0, 0, 0, 1000, 2000, 2960] {
        assert_eq!(bot.write(1, at), None, "{at}");
    }
    assert_eq!(bot.write(2, 2960), None);
    assert_eq!(bot.write(1, 3000), Some((Limit::Chat, 1)));
    assert_eq!(bot.write(1, 3500), Some((Limit::Impatient, 1)));
    assert_eq!(bot.write(1, 4600), None);
}

#[test]
fn what_was_on_its_way_when_the_bot_was_asked_to_wait_is_no_violation() {
    let mut bot = Bot::new();
    bot.limiter.ask_to_wait(ChatId(1), 3, bot.start);
    assert_eq!(bot.write(1, 200), None);
    assert_eq!(bot.write(1, 300), Some((Limit::Impatient, 3)));
    assert_eq!(bot.write(2, 300), None);
    assert_eq!(bot.limiter.admit(ChatId(1), false, "sendMessage", bot.start), Err(Refusal::RetryAfter(3)));
    assert_eq!(bot.write(1, 2990), None);
}

#[test]
fn a_group_takes_twenty_in_a_minute() {
    let mut bot = Bot::new();
    for index in 0..20 {
        assert_eq!(bot.write(-1, index * 1000), None);
    }
    assert_eq!(bot.write(-1, 20_000), Some((Limit::Group, 40)));
    assert_eq!(bot.write(-1, 60_000), None);
    assert_eq!(bot.write(-1, 60_500), Some((Limit::Group, 1)));
}

#[test]
fn a_bot_writes_thirty_in_a_second() {
    let mut bot = Bot::new();
    for chat in 1..=30 {
        assert_eq!(bot.write(chat, chat as u64), None);
    }
    assert_eq!(bot.write(31, 100), Some((Limit::Bot, 1)));
    assert_eq!(bot.write(32, 1100), None);
}
