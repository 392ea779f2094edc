//! Whoever wants to know how questions ended; `app` connects them.

use crate::domain::{Answer, Reader};

pub trait Observer: Send + Sync {
    /// Called once for each question, before its last event is sent. Must not block.
    fn ended(&self, reader: &Reader, ending: Ending<'_>);
}

#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    Answered(&'a Answer),
    Failed,
    /// The reader went away or stopped it.
    Cancelled,
}
