//! Causal attention of new positions over everything in a slot's [`KvStore`], with grouped queries.
//!
//! The interface is here, the algorithm in [`tile`] and [`kernel`], the instruction sets in [`simd`] (plain), [`avx2`] and [`avx512`].
//! Nothing here starts threads or allocates, but for [`Workspace`]: an [`Attention`] is cut into items, and whoever owns
//! the threads hands them out.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dispatch;
mod exp;
mod kernel;
mod simd;
#[cfg(test)]
mod tests;
mod tile;
mod workspace;

use std::marker::PhantomData;

pub use workspace::Workspace;

use crate::inference::kv::KvStore;
use tile::{Tile, aligned_positions, tile_positions_max};

/// A model's attention heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Heads of queries, a multiple of `kv_heads`.
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
}

impl Heads {
    /// Heads of queries that share one head of keys.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Values in a row of queries.
    pub fn width(&self) -> usize {
        self.heads * self.head_size
    }
}

/// New rows of one sequence: queries at the positions `start..start + rows` of a slot whose keys and values are written
/// up to `start + rows`.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    pub kv: &'a KvStore,
    pub layer: usize,
    pub start: usize,
    pub rows: usize,
}

/// The attention of one segment in one layer, ready to be run item by item on any threads.
#[derive(Debug)]
pub struct Attention<'a> {
    segment: Segment<'a>,
    heads: Heads,
    q: &'a [f32],
    out: *mut f32,
    /// Positions of a query tile; the last one may have fewer.
    tile_positions: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: `out` stands for a `&mut [f32]`, which may be sent.
unsafe impl Send for Attention<'_> {}
// SAFETY: through a shared reference `out` is only written by `attend`, whose callers keep items apart.
unsafe impl Sync for Attention<'_> {}

impl<'a> Attention<'a> {
    /// `q` (after RoPE) and `out` have the shape `(rows, heads * head_size)`.
    ///
    /// # Panics
    /// The shapes do not fit together, or the store has no such layer or positions.
    pub fn new(segment: Segment<'a>, heads: Heads, q: &'a [f32], out: &'a mut [f32]) -> Self {
        let shape = segment.kv.shape();
        assert!(heads.heads.is_multiple_of(heads.kv_heads), "heads come in whole groups");
        assert_eq!((heads.kv_heads, heads.head_size), (shape.kv_heads, shape.head_size), "the model's store");
        assert!(segment.layer < shape.layers && segment.start + segment.rows <= shape.capacity, "the positions exist");
        assert_eq!(q.len(), segment.rows * heads.width(), "queries of all rows");
        assert_eq!(out.len(), q.len(), "room for all rows");
        let group = heads.group();
        let tiles = segment.rows.div_ceil(tile_positions_max(group)).max(1);
        let tile_positions = segment.rows.div_ceil(tiles).next_multiple_of(aligned_positions(group));
        Attention { segment, heads, q, out: out.as_mut_ptr(), tile_positions, borrowed: PhantomData }
    }

    /// Items that have to run, in any order and on any threads: one key head and one tile of queries each. The longest
    /// come first.
    pub fn items(&self) -> usize {
        self.segment.rows.div_ceil(self.tile_positions) * self.heads.kv_heads
    }

    /// Runs one item: computes its part of `out`.
    ///
    /// # Safety
    /// Nobody runs the same item at the same time.
    ///
    /// # Panics
    /// There is no such item, or the workspace is for other heads.
    pub unsafe fn attend(&self, item: usize, workspace: &mut Workspace) {
        assert!(item < self.items(), "item {item} exists");
        assert_eq!(workspace.heads, self.heads, "a workspace for these heads");
        let Segment { kv, layer, start, rows } = self.segment;
        let Heads { kv_heads, head_size, .. } = self.heads;
        let kv_head = item % kv_heads;
        let first = rows.div_ceil(self.tile_positions) - 1 - item / kv_heads;
        let first = first * self.tile_positions;
        let offset = first * self.heads.width() + kv_head * self.heads.group() * head_size;
        let tile = Tile {
            lane: kv.lane(layer, kv_head),
            format: kv.shape().format,
            group: self.heads.group(),
            head_size,
            first: start + first,
            positions: self.tile_positions.min(rows - first),
            q: self.q[offset..].as_ptr(),
            // SAFETY: `out` is as long as `q`.
            out: unsafe { self.out.add(offset) },
            row_stride: self.heads.width(),
        };
        // SAFETY: the shapes were compared in `new`; items write disjoint rows and columns of `out`, and the caller runs
        // each once at a time.
        unsafe { workspace.isa.attend(&tile, workspace) }
    }

    /// Runs all items on this thread.
    #[cfg(test)]
    pub(super) fn attend_all(&mut self, workspace: &mut Workspace) {
        for item in 0..self.items() {
            // SAFETY: no item runs beside another.
            unsafe { self.attend(item, workspace) }
        }
    }
}
