//! How many questions people may ask: each person and all together, in one hour.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Live;
use crate::chat::delivery::Window;
use crate::domain::Principal;

const HOUR: Duration = Duration::from_secs(3600);
/// People whose questions are counted; beyond it, those who did not ask for an hour are forgotten.
const PEOPLE_KEPT: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    pub person_per_hour: usize,
    pub all_per_hour: usize,
}

/// A question too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    Person { wait: Duration },
    All { wait: Duration },
}

pub struct Quota {
    limits: Live<QuotaLimits>,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    people: HashMap<Principal, Window>,
    all: Window,
}

impl Quota {
    pub fn new(limits: Live<QuotaLimits>) -> Self {
        Quota { limits, asked: Mutex::default() }
    }

    /// Counts a question, or says why not.
    ///
    /// # Errors
    /// The person or all together have asked as often as they may.
    pub fn take(&self, person: &Principal) -> Result<(), Exceeded> {
        let now = Instant::now();
        let QuotaLimits { person_per_hour, all_per_hour } = (self.limits)();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let Asked { people, all } = &mut *asked;
        if people.len() > PEOPLE_KEPT {
            people.retain(|_, window| window.wait(now, 1, HOUR) > Duration::ZERO);
        }
        let window = people.entry(person.clone()).or_default();
        let wait = window.wait(now, person_per_hour, HOUR);
        if wait > Duration::ZERO {
            return Err(Exceeded::Person { wait });
        }
        let wait = all.wait(now, all_per_hour, HOUR);
        if wait > Duration::ZERO {
            return Err(Exceeded::All { wait });
        }
        window.note(now);
        all.note(now);
        Ok(())
    }

    /// Takes the count of a question back that was not answered.
    pub fn give_back(&self, person: &Principal) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = asked.people.get_mut(person) {
            window.take_back();
            asked.all.take_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::Platform;

    fn limits(person_per_hour: usize, all_per_hour: usize) -> Live<QuotaLimits> {
        Arc::new(move || QuotaLimits { person_per_hour, all_per_hour })
    }

    fn person(id: &str) -> Principal {
        Principal { platform: Platform::Telegram, id: id.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_is_told_to_wait_and_may_ask_again_after_it() {
        let quota = Quota::new(limits(2, 100));
        assert_eq!(quota.take(&person("1")), Ok(()));
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(quota.take(&person("1")), Ok(()));
        let wait = Duration::from_secs(3000);
        assert_eq!(quota.take(&person("1")), Err(Exceeded::Person { wait }));
        assert_eq!(quota.take(&person("2")), Ok(()));
        quota.give_back(&person("1"));
        assert_eq!(quota.take(&person("1")), Ok(()));
        tokio::time::advance(wait).await;
        assert_eq!(quota.take(&person("1")), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_have_a_limit_too() {
        let quota = Quota::new(limits(2, 3));
        for id in ["1", "2", "3"] {
            assert_eq!(quota.take(&person(id)), Ok(()));
        }
        assert_eq!(quota.take(&person("4")), Err(Exceeded::All { wait: HOUR }));
    }
}
