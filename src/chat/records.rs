//! The store, from async code: its calls wait for the disk, so they run on threads that may.

use crate::store::{Store, StoreError};

#[derive(Clone)]
pub struct Records(Store);

impl Records {
    pub fn new(store: Store) -> Self {
        Records(store)
    }

    /// Runs `work` on a thread that may wait.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.0.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(outcome) => outcome,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}
