//! The memory that one thread needs for attention, allocated once.

use super::Heads;
use super::dispatch::Isa;
use super::tile::{BLOCK_ROWS_MAX, QUERY_STRIDE, TILE, tile_positions_max};
use crate::inference::kv::BLOCK;

/// Buffers of one thread, and the instruction set its items run with.
#[derive(Debug)]
pub struct Workspace {
    pub(super) heads: Heads,
    pub(super) isa: Isa,
    /// Scaled queries, `(rows, QUERY_STRIDE)`.
    pub(super) queries: Vec<f32>,
    /// Sums of weighted values, `(rows, value_stride)`.
    pub(super) outputs: Vec<f32>,
    /// Keys that each row sees.
    pub(super) seen: Vec<usize>,
    /// Largest score of each row so far.
    pub(super) maxima: Vec<f32>,
    /// Sums of weights, one vector for each row.
    pub(super) sums: Vec<f32>,
    /// Scores, then weights, of one block of rows, `(rows, TILE)`.
    pub(super) scores: Vec<f32>,
    /// A tile of keys in f32, in blocks as in the store.
    pub(super) keys: Vec<f32>,
    /// A tile of values in f32, `(TILE, value_stride)`.
    pub(super) values: Vec<f32>,
}

impl Workspace {
    /// For a model's heads, with the best instructions this processor has. About 0.5 MB for the 8B.
    ///
    /// # Panics
    /// The heads are larger than 256.
    pub fn new(heads: Heads) -> Self {
        Self::with_isa(heads, Isa::detect())
    }

    /// As [`new`](Self::new), with an instruction set of the caller's choice.
    pub fn with_isa(heads: Heads, isa: Isa) -> Self {
        assert!(heads.head_size <= QUERY_STRIDE, "heads of at most {QUERY_STRIDE} values");
        let group = heads.group();
        let rows = (tile_positions_max(group) * group).next_multiple_of(BLOCK_ROWS_MAX);
        let value_stride = heads.head_size.next_multiple_of(BLOCK);
        Workspace {
            heads,
            isa,
            queries: vec![0.0; rows * QUERY_STRIDE],
            outputs: vec![0.0; rows * value_stride],
            seen: vec![0; rows],
            maxima: vec![0.0; rows],
            sums: vec![0.0; rows * BLOCK],
            scores: vec![0.0; BLOCK_ROWS_MAX * TILE],
            keys: vec![0.0; TILE * heads.head_size],
            values: vec![0.0; TILE * value_stride],
        }
    }
}
