//! Slack's limits per method, over the whole workspace: https://docs.slack.dev/apis/web-api/rate-limits. The caller paces
//! chats; what is counted here are the methods, so that growing answers leave room for those that end.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::chat::delivery::Window;

const MINUTE: Duration = Duration::from_secs(60);
/// Waited beyond what Slack asks for: our clock and theirs are not the same.
const HOLD_MARGIN: Duration = Duration::from_millis(200);

/// Calls in one minute: the tiers 2, 3 and 4 of Slack's table, a little below.
const LIMITS: [(&str, usize); 4] =
    [("chat.startStream", 18), ("chat.stopStream", 18), ("chat.update", 48), ("chat.appendStream", 95)];

#[derive(Default)]
pub(super) struct MethodPace {
    methods: Mutex<HashMap<&'static str, Method>>,
}

#[derive(Default)]
struct Method {
    calls: Window,
    /// Slack asked to wait.
    held_until: Option<Instant>,
}

impl MethodPace {
    /// Notes a call, or says how long it has to wait. Calls that are not `needed` leave a third of the minute free.
    pub(super) fn take(&self, method: &'static str, needed: bool) -> Result<(), Duration> {
        let now = Instant::now();
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let Method { calls, held_until } = methods.entry(method).or_default();
        let held = held_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let limit = LIMITS.iter().find(|(name, _)| *name == method).map(|(_, limit)| *limit);
        let full =
            limit.map_or(Duration::ZERO, |limit| calls.wait(now, if needed { limit } else { limit * 2 / 3 }, MINUTE));
        let wait = held.max(full);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        if limit.is_some() {
            calls.note(now);
        }
        Ok(())
    }

    /// Slack asked to wait: the method is not called before, in no channel.
    pub(super) fn hold(&self, method: &'static str, wait: Duration) {
        // Posts are limited for each channel, and the caller keeps to that.
        if method == "chat.postMessage" {
            return;
        }
        let until = Instant::now() + wait + HOLD_MARGIN;
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let held = &mut methods.entry(method).or_default().held_until;
        *held = (*held).max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn growing_answers_leave_room_for_last_words() {
        let pace = MethodPace::default();
        let growing = (0..100).filter(|_| pace.take("chat.update", false).is_ok()).count();
        assert_eq!(growing, 32);
        assert_eq!(pace.take("chat.update", false), Err(MINUTE));
        let last = (0..100).filter(|_| pace.take("chat.update", true).is_ok()).count();
        assert_eq!(last, 16);

        tokio::time::advance(MINUTE).await;
        assert_eq!(pace.take("chat.update", false), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_method_is_left_alone_for_as_long_as_slack_asks() {
        let pace = MethodPace::default();
        pace.hold("chat.delete", Duration::from_secs(5));
        assert!(pace.take("chat.delete", true).is_err());
        assert_eq!(pace.take("chat.update", true), Ok(()));
        tokio::time::advance(Duration::from_millis(5_200)).await;
        assert_eq!(pace.take("chat.delete", true), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_calls_than_slack_allows() {
        let pace = MethodPace::default();
        let mut taken = Vec::new();
        for _ in 0..1_800 {
            if pace.take("chat.startStream", true).is_ok() {
                taken.push(Instant::now());
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(taken.len() >= 50, "{}", taken.len());
        for (at, start) in taken.iter().enumerate() {
            let minute = taken[at..].iter().filter(|call| call.duration_since(*start) < MINUTE).count();
            assert!(minute <= 20, "{minute} calls in one minute");
        }
    }
}
