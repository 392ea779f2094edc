//! How fast a platform may be called: per chat and over all chats. One for each platform, shared by all answers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;
use crate::domain::Chat;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
/// Chats whose calls are remembered; beyond it, those that were not called for a minute are forgotten.
const CHATS_KEPT: usize = 1_000;

/// Whether a call may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// First and last text: they wait for their turn.
    Needed,
    /// Text in between: leaves half of a minute's calls to those that are needed.
    Welcome,
}

pub struct Pace {
    limits: Limits,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    chats: HashMap<Chat, ChatCalls>,
    all: Window,
}

#[derive(Default)]
struct ChatCalls {
    window: Window,
    /// The platform asked to wait.
    held_until: Option<Instant>,
}

/// Calls of the last minute (of the last second for all chats together), oldest first.
#[derive(Default)]
pub struct Window(VecDeque<Instant>);

impl Window {
    /// How long until one more call is within `max` calls in `span`.
    pub fn wait(&mut self, now: Instant, max: usize, span: Duration) -> Duration {
        while self.0.front().is_some_and(|call| now.duration_since(*call) >= span) {
            self.0.pop_front();
        }
        if self.0.len() < max {
            return Duration::ZERO;
        }
        let frees = self.0[self.0.len() - max];
        (frees + span).duration_since(now)
    }

    pub fn note(&mut self, call: Instant) {
        self.0.push_back(call);
    }

    /// Forgets the newest call.
    pub fn take_back(&mut self) {
        self.0.pop_back();
    }
}

impl Pace {
    pub fn new(limits: Limits) -> Self {
        Pace { limits, calls: Mutex::default() }
    }

    /// Takes a turn in `chat`, or says how long to wait before asking again.
    pub fn turn(&self, chat: &Chat, private: bool, urgency: Urgency) -> Result<(), Duration> {
        let now = Instant::now();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let Calls { chats, all } = &mut *calls;
        if chats.len() > CHATS_KEPT {
            chats.retain(|_, chat| chat.window.wait(now, 1, MINUTE) > Duration::ZERO);
        }
        let ChatCalls { window, held_until } = chats.entry(chat.clone()).or_default();
        let per_minute = match (private, urgency) {
            (true, _) => usize::MAX,
            (false, Urgency::Needed) => self.limits.chat_per_minute as usize,
            (false, Urgency::Welcome) => self.limits.chat_per_minute as usize / 2,
        };
        let wait = window.wait(now, per_minute, MINUTE);
        let last = window.0.back().map(|call| *call + self.limits.chat_interval);
        let wait = wait.max(last.map_or(Duration::ZERO, |next| next.saturating_duration_since(now)));
        let wait = wait.max(held_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)));
        let wait = wait.max(all.wait(now, self.limits.per_second as usize, SECOND));
        if wait > Duration::ZERO {
            return Err(wait);
        }
        window.note(now);
        all.note(now);
        Ok(())
    }

    /// Takes a turn for a call that nobody misses, if half of what is allowed in a second is free.
    pub fn spare(&self) -> bool {
        let now = Instant::now();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = calls.all.wait(now, self.limits.per_second as usize / 2, SECOND).is_zero();
        if is_free {
            calls.all.note(now);
        }
        is_free
    }

    /// The platform asked to wait: nobody calls it in this chat before.
    pub fn hold(&self, chat: &Chat, wait: Duration) {
        let until = Instant::now() + wait;
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let held = &mut calls.chats.entry(chat.clone()).or_default().held_until;
        *held = (*held).max(Some(until));
    }

    /// Least time between two edits of a message that grows.
    pub fn edit_interval(&self, private: bool) -> Duration {
        if private { self.limits.edit_interval_private } else { self.limits.edit_interval_shared }
    }

    pub fn characters_max(&self) -> usize {
        self.limits.characters_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Platform;

    fn chat(id: &str) -> Chat {
        Chat { platform: Platform::Telegram, id: id.into() }
    }

    fn pace() -> Pace {
        Pace::new(Limits {
            characters_max: 3_500,
            edit_interval_private: Duration::from_millis(1_500),
            edit_interval_shared: Duration::from_millis(3_500),
            chat_interval: SECOND,
            chat_per_minute: 18,
            per_second: 25,
        })
    }

    /// Calls that pass in `span` when each asks again as soon as it may.
    async fn passed(pace: &Pace, span: Duration, chats: &[Chat], private: bool, urgency: Urgency) -> usize {
        let end = Instant::now() + span;
        let mut passed = 0;
        while Instant::now() < end {
            let mut wait = MINUTE;
            for chat in chats {
                match pace.turn(chat, private, urgency) {
                    Ok(()) => {
                        passed += 1;
                        wait = Duration::from_millis(1);
                    }
                    Err(longer) => wait = wait.min(longer),
                }
            }
            let left = end.duration_since(Instant::now());
            tokio::time::advance(wait.clamp(Duration::from_millis(1), left.max(Duration::from_millis(1)))).await;
        }
        passed
    }

    #[tokio::test(start_paused = true)]
    async fn a_private_chat_gets_a_call_a_second() {
        let passed = passed(&pace(), MINUTE, &[chat("1")], true, Urgency::Needed).await;
        assert!((59..=61).contains(&passed), "{passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_gets_its_calls_a_minute_and_growing_text_half_of_them() {
        assert_eq!(passed(&pace(), MINUTE, &[chat("-1")], false, Urgency::Needed).await, 18);
        assert_eq!(passed(&pace(), MINUTE, &[chat("-1")], false, Urgency::Welcome).await, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn all_chats_together_keep_to_the_limit_of_a_second() {
        let chats: Vec<Chat> = (0..100).map(|n| chat(&n.to_string())).collect();
        let passed = passed(&pace(), Duration::from_secs(10), &chats, true, Urgency::Needed).await;
        assert!((240..=260).contains(&passed), "{passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_nobody_misses_leave_half_to_the_others() {
        let pace = pace();
        assert_eq!((0..100).filter(|_| pace.spare()).count(), 12);
        assert_eq!(pace.turn(&chat("1"), true, Urgency::Needed), Ok(()));
        tokio::time::advance(SECOND).await;
        assert!(pace.spare());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_calls_a_chat_while_the_platform_asks_to_wait() {
        let pace = pace();
        pace.hold(&chat("1"), Duration::from_secs(9));
        assert_eq!(pace.turn(&chat("1"), true, Urgency::Needed), Err(Duration::from_secs(9)));
        assert_eq!(pace.turn(&chat("2"), true, Urgency::Needed), Ok(()));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(pace.turn(&chat("1"), true, Urgency::Needed), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_needed_passes_when_growing_text_has_used_its_half() {
        let (pace, chat) = (pace(), chat("-1"));
        passed(&pace, Duration::from_secs(30), std::slice::from_ref(&chat), false, Urgency::Welcome).await;
        assert!(pace.turn(&chat, false, Urgency::Welcome).is_err());
        assert!(pace.turn(&chat, false, Urgency::Needed).is_ok());
    }
}
