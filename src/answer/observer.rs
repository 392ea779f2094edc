//! Whoever wants to know how questions ended; `app` connects them.

use crate::domain::{Answer, Question};

pub trait Observer: Send + Sync {
    /// Called once for each question, before its last event is sent. Must not block.
    fn ended(&self, question: &Question, trace_id: &str, ending: Ending<'_>);
}

#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    Answered(&'a Answer),
    Failed,
    /// The reader went away or stopped it.
    Cancelled,
}
