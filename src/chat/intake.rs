//! Where the platforms hand in what they were told.

use thiserror::Error;

use super::event::{ChatEvent, Incoming};

/// Takes events; the desk is the one that runs.
pub trait Intake: Send + Sync + 'static {
    /// An event that will be handed in, of a batch that is taken one by one: so it is known how far the batch goes.
    fn announce(&self, _event: &ChatEvent) {}

    /// Writes the event down; when it returns `Ok` the platform may be told.
    fn accept(&self, incoming: Incoming) -> impl Future<Output = Result<(), NotTaken>> + Send;
}

#[derive(Debug, Error)]
#[error("the event could not be written down")]
pub struct NotTaken;
