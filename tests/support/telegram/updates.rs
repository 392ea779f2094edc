//! What waits for the bot: updates in their order until they are confirmed.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// Kinds that a bot gets only if it asks for them.
const ON_REQUEST: &[&str] = &["chat_member", "message_reaction", "message_reaction_count"];

/// The platform forgets what was confirmed; redelivery needs the last of it.
const CONFIRMED_MAX: usize = 100;

#[derive(Clone, Debug)]
pub struct Update {
    pub id: i64,
    pub kind: &'static str,
    pub content: Value,
}

impl Update {
    pub fn json(&self) -> Value {
        let mut update = json!({ "update_id": self.id });
        update[self.kind] = self.content.clone();
        update
    }
}

#[derive(Debug)]
pub struct Updates {
    next: i64,
    pending: VecDeque<Update>,
    /// What the last confirmation confirmed.
    confirmed: Vec<Update>,
    /// Kinds that the bot asked for; empty: all but those on request.
    pub allowed: Vec<String>,
    /// Counts the calls of `getUpdates`: a newer one ends those that wait.
    pub poll: u64,
    /// How many ended that way.
    pub conflicts: u64,
}

impl Updates {
    pub fn new(first: i64) -> Self {
        Updates {
            next: first,
            pending: VecDeque::new(),
            confirmed: Vec::new(),
            allowed: Vec::new(),
            poll: 0,
            conflicts: 0,
        }
    }

    /// An update, if the bot wants its kind.
    pub fn add(&mut self, kind: &'static str, content: Value) {
        let wanted = match self.allowed.is_empty() {
            true => !ON_REQUEST.contains(&kind),
            false => self.allowed.iter().any(|allowed| allowed == kind),
        };
        if wanted {
            self.pending.push_back(Update { id: self.next, kind, content });
            self.next += 1;
        }
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether something is confirmed, after a call with this offset too.
    pub fn confirmed_some(&self, offset: i64) -> bool {
        !self.confirmed.is_empty() || self.pending.front().is_some_and(|update| update.id < offset)
    }

    /// Forgets everything before `offset`; a negative one keeps that many from the end.
    pub fn confirm(&mut self, offset: i64) {
        let first = match offset {
            0 => return,
            1.. => offset,
            _ => self.next.saturating_add(offset),
        };
        let done = self.pending.iter().take_while(|update| update.id < first).count();
        if done > 0 {
            self.confirmed = self.pending.drain(..done).collect();
            self.confirmed.drain(..done.saturating_sub(CONFIRMED_MAX));
        }
    }

    pub fn first(&self, limit: usize) -> Vec<Update> {
        self.pending.iter().take(limit).cloned().collect()
    }

    pub fn drop_pending(&mut self) {
        self.pending.clear();
    }

    /// What was confirmed last is pending again.
    pub fn redeliver(&mut self) {
        for update in self.confirmed.drain(..).rev() {
            self.pending.push_front(update);
        }
    }

    /// Turns the order of what is pending; the numbers stay ascending, as a client expects them.
    pub fn disorder(&mut self) {
        let ids: Vec<i64> = self.pending.iter().map(|update| update.id).collect();
        self.pending.make_contiguous().reverse();
        for (update, id) in self.pending.iter_mut().zip(ids) {
            update.id = id;
        }
    }
}
