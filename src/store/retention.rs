//! Forgetting what is older than the limits, a bounded number of rows at a time.

use std::sync::PoisonError;

use super::confirmed::ConfirmedRow;
use super::engine::{Engine, Range, Row};
use super::inbox::Seen;
use super::keys::{Key, Kind};
use super::outbox::{self, DeliveryRow};
use super::{Conversation, Feedback, Store, StoreError};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// What is swept, in the order of the keys.
const SWEPT: [Kind; 5] = [Kind::Conversation, Kind::Delivery, Kind::Feedback, Kind::Seen, Kind::Confirmed];

/// How long rows are kept, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// After the last thing that happened in the conversation.
    pub conversations: i64,
    /// After the last change of the delivery; also of what people confirmed.
    pub deliveries: i64,
    pub feedback: i64,
    /// Keys of events, after the event was done; at least a day, for so long platforms may tell an event again.
    pub seen_keys: i64,
    /// Rows that one sweep looks at.
    pub rows_max: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            conversations: 90 * DAY_SECONDS,
            deliveries: 90 * DAY_SECONDS,
            feedback: 365 * DAY_SECONDS,
            seen_keys: 2 * DAY_SECONDS,
            rows_max: 1000,
        }
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub removed: usize,
    /// All rows were looked at; `false`: the next sweep goes on where this one stopped.
    pub complete: bool,
}

/// What becomes of a row.
enum Fate {
    Keep,
    Remove,
    Unreadable(StoreError),
    /// It was found done for the first time.
    Mark(Seen),
}

impl Store {
    /// Forgets rows that are older than their limits, and of these kinds those that cannot be read. Looks at
    /// `retention.rows_max` rows and goes on there the next time. On the disk at the next flush.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn sweep(&self, now: i64, retention: &Retention) -> Result<Swept, StoreError> {
        let mut at = self.0.sweep_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = at.clone().unwrap_or_else(|| Key::new(SWEPT[0]));
        let (swept, next) = self.with(|engine| Sweep { engine, now, retention }.run(&start))?;
        *at = next;
        Ok(swept)
    }
}

struct Sweep<'a> {
    engine: &'a Engine,
    now: i64,
    retention: &'a Retention,
}

impl Sweep<'_> {
    /// What was done, and where the next sweep starts.
    fn run(&self, start: &Key) -> Result<(Swept, Option<Key>), StoreError> {
        let mut swept = Swept::default();
        let mut looked_at = 0;
        for kind in SWEPT {
            for row in self.engine.scan(&Range::kind(kind).from(start)) {
                let row = row?;
                if looked_at == self.retention.rows_max.max(1) {
                    return Ok((swept, Some(row.key)));
                }
                looked_at += 1;
                swept.removed += usize::from(self.sweep(kind, &row)?);
            }
        }
        swept.complete = true;
        Ok((swept, None))
    }

    /// `true`: the row was removed.
    fn sweep(&self, kind: Kind, row: &Row) -> Result<bool, StoreError> {
        if let Fate::Keep = self.fate(kind, row)? {
            return Ok(false);
        }
        self.engine.change(|changes| {
            // It may have been written or removed since it was read.
            let Some(row) = changes.row(&row.key)? else { return Ok(false) };
            match self.fate(kind, &row)? {
                Fate::Keep => return Ok(false),
                Fate::Mark(seen) => return changes.put(&row.key, &seen).map(|()| false),
                Fate::Unreadable(error) => tracing::error!(%error, "a row of the store is removed"),
                Fate::Remove => {}
            }
            match (kind, row.value::<DeliveryRow>()) {
                (Kind::Delivery, Ok(row)) => outbox::remove(changes, &row.question)?,
                _ => changes.remove(&row.key)?,
            }
            Ok(true)
        })
    }

    fn fate(&self, kind: Kind, row: &Row) -> Result<Fate, StoreError> {
        let (last, limit) = match kind {
            Kind::Conversation => (row.value::<Conversation>().map(|row| row.last_at), self.retention.conversations),
            Kind::Delivery => {
                (row.value::<DeliveryRow>().map(|row| row.delivery.updated_at), self.retention.deliveries)
            }
            Kind::Confirmed => (row.value::<ConfirmedRow>().map(|row| row.at), self.retention.deliveries),
            Kind::Feedback => (row.value::<Feedback>().map(|row| row.at), self.retention.feedback),
            _ => match row.value::<Seen>() {
                // The row of an event that could not be read is gone without a word.
                Ok(seen) if !seen.done && self.engine.contains(&Key::inbox(seen.id))? => return Ok(Fate::Keep),
                Ok(seen) => match seen.done_since {
                    None => return Ok(Fate::Mark(Seen { done: true, done_since: Some(self.now), ..seen })),
                    Some(since) => (Ok(since), self.retention.seen_keys.max(DAY_SECONDS)),
                },
                Err(error) => (Err(error), 0),
            },
        };
        Ok(match last {
            Ok(last) if self.now.saturating_sub(last) < limit => Fate::Keep,
            Ok(_) => Fate::Remove,
            Err(error) => Fate::Unreadable(error),
        })
    }
}
