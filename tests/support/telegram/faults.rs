//! What can go wrong, as a script for each method and, for load runs, by chance.

use std::collections::VecDeque;

use super::places::ChatId;
use super::request::Parameters;
use super::updates::Updates;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429 with this many seconds to wait.
    RetryAfter(u64),
    /// 500, 502, 503.
    ServerError(u16),
    /// No answer until the client gives up; the call has no effect.
    Hang,
    /// The connection is closed without an answer; the call has no effect.
    Drop,
    /// The connection is closed without an answer, but the call took effect.
    LostReceipt,
    /// 400: can't parse entities. Waits for a call that has markup.
    RefuseMarkup,
    /// The message was deleted just before it is edited. Waits for an edit.
    Gone,
    /// `getUpdates` hands out again what was confirmed last. Waits until something was.
    Redeliver,
    /// `getUpdates` hands out what is pending in another order. Waits until there are two.
    OutOfOrder,
}

#[derive(Debug)]
struct Scripted {
    /// In lower case.
    method: String,
    chat: Option<ChatId>,
    fault: Fault,
}

#[derive(Debug)]
struct Chance {
    /// State of an xorshift generator; never zero.
    state: u64,
    share: f64,
    faults: Vec<Fault>,
}

impl Chance {
    fn draw(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1u64 << 53) as f64
    }

    fn fault(&mut self) -> Option<Fault> {
        if self.faults.is_empty() || self.draw() >= self.share {
            return None;
        }
        let index = (self.draw() * self.faults.len() as f64) as usize;
        self.faults.get(index).copied()
    }
}

#[derive(Debug, Default)]
pub struct Faults {
    script: VecDeque<Scripted>,
    chance: Option<Chance>,
}

impl Faults {
    pub fn script(&mut self, method: &str, chat: Option<ChatId>, fault: Fault) {
        self.script.push_back(Scripted { method: method.to_ascii_lowercase(), chat, fault });
    }

    /// From now on this share of the calls meets one of the faults.
    pub fn by_chance(&mut self, seed: u64, share: f64, faults: &[Fault]) {
        // A xorshift generator stays at zero for ever.
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        self.chance = Some(Chance { state, share, faults: faults.to_vec() });
    }

    pub fn none_by_chance(&mut self) {
        self.chance = None;
    }

    /// Scripted faults that no call has met yet.
    pub fn left(&self) -> usize {
        self.script.len()
    }

    /// The fault that this call meets.
    pub fn meet(
        &mut self,
        method: &str,
        chat: Option<ChatId>,
        parameters: &Parameters,
        updates: &Updates,
    ) -> Option<Fault> {
        let fits = |fault: Fault| match fault {
            Fault::RefuseMarkup => parameters.has("parse_mode") || parameters.has("entities"),
            Fault::Gone => method.starts_with("editmessage"),
            Fault::Redeliver => {
                method == "getupdates" && updates.confirmed_some(parameters.integer("offset").unwrap_or(0))
            }
            Fault::OutOfOrder => method == "getupdates" && updates.pending() > 1,
            _ => true,
        };
        let index = self.script.iter().position(|scripted| {
            scripted.method == method && (scripted.chat.is_none() || scripted.chat == chat) && fits(scripted.fault)
        });
        if let Some(index) = index {
            return self.script.remove(index).map(|scripted| scripted.fault);
        }
        self.chance.as_mut()?.fault().filter(|fault| fits(*fault))
    }
}
