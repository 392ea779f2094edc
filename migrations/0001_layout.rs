//! Layout 1: every row lies in one tree, under the keys of `src/store/keys.rs`, in the frame of `src/store/frame.rs`.
//!
//! A step is code, not a description of data, because the rows have no schema that a description could be applied to:
//! later steps read rows and write others. Each is a function of the opened database that may be cut off and run again,
//! compiled into `src/store/migrations.rs`. A step never uses today's types of rows; it spells out those of its time.

use crate::store::StoreError;
use crate::store::engine::Engine;

/// Makes the tree of the rows last; opening the database has created it.
pub(super) fn run(engine: &Engine) -> Result<(), StoreError> {
    engine.flush()
}
