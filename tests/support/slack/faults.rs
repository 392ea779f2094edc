//! What can go wrong, as a script for each method and, for load runs, by chance.

use std::collections::VecDeque;

use super::request::Parameters;
use crate::fakes::chance::Chance;

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
    /// `{"ok":false,"error":code}`; the call has no effect.
    Error(&'static str),
    /// `invalid_blocks`. Waits for a call that has blocks.
    RefuseBlocks,
    /// The stream ended by itself just before. Waits for a call to a stream.
    DeadStream,
}

#[derive(Debug)]
struct Scripted {
    method: String,
    channel: Option<String>,
    fault: Fault,
}

#[derive(Debug)]
struct ByChance {
    chance: Chance,
    share: f64,
    faults: Vec<Fault>,
}

#[derive(Debug, Default)]
pub struct Faults {
    script: VecDeque<Scripted>,
    by_chance: Option<ByChance>,
}

impl Faults {
    pub fn script(&mut self, method: &str, channel: Option<&str>, fault: Fault) {
        self.script.push_back(Scripted { method: method.to_owned(), channel: channel.map(str::to_owned), fault });
    }

    /// From now on this share of the calls meets one of the faults.
    pub fn by_chance(&mut self, seed: u64, share: f64, faults: &[Fault]) {
        self.by_chance =
            (!faults.is_empty()).then(|| ByChance { chance: Chance::new(seed), share, faults: faults.to_vec() });
    }

    /// Scripted faults that no call has met yet.
    pub fn left(&self) -> usize {
        self.script.len()
    }

    /// The fault that this call meets.
    pub fn meet(&mut self, method: &str, parameters: &Parameters) -> Option<Fault> {
        let channel = parameters.text("channel").or_else(|| parameters.text("channel_id"));
        let fits = |fault: Fault| match fault {
            Fault::RefuseBlocks => {
                matches!(parameters.json("blocks"), Ok(Some(blocks)) if blocks != serde_json::json!([]))
            }
            Fault::DeadStream => matches!(method, "chat.appendStream" | "chat.stopStream"),
            _ => true,
        };
        let index = self.script.iter().position(|scripted| {
            scripted.method == method
                && (scripted.channel.is_none() || scripted.channel.as_deref() == channel)
                && fits(scripted.fault)
        });
        if let Some(index) = index {
            return self.script.remove(index).map(|scripted| scripted.fault);
        }
        let by_chance = self.by_chance.as_mut()?;
        if by_chance.chance.share() >= by_chance.share {
            return None;
        }
        let index = by_chance.chance.below(by_chance.faults.len());
        Some(by_chance.faults[index]).filter(|fault| fits(*fault))
    }
}
