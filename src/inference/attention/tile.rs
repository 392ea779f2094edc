//! Attention of one tile of queries over all keys they see: the algorithm, once for every instruction set.
//!
//! It is FlashAttention (Dao et al. 2022, arXiv:2205.14135, and the order of loops of version 2, arXiv:2307.08691) for
//! a CPU. The queries of all heads of a group are rows of one matrix, position by position, so that keys and values are
//! converted to f32 once for the whole group. For each tile of keys and each block of a few rows: scores in registers,
//! online softmax while they are in the first-level cache, and the weighted values added to the running output.
//! What the causal mask hides is never computed, but for the rest of a vector of keys.

use half::f16;

use super::kernel::{Scales, Source, Step, run_step};
use super::simd::{Element, Simd};
use super::workspace::Workspace;
use crate::inference::kv::{BLOCK, KvFormat, Lane};

/// Keys in a tile; also the stride of the rows of scores. Keys and values of a tile, 128 KiB in f32 for heads of 128,
/// stay in the second-level cache beside the queries.
pub(super) const TILE: usize = 128;
/// From one row of queries to the next, and so the largest head: a constant, so that a kernel reaches all its rows from
/// one pointer.
pub(super) const QUERY_STRIDE: usize = 256;
/// Rows of queries that one item should have: they share the conversion of keys and values.
const TILE_ROWS: usize = 288;
/// Most rows of a block: 12 rows by 2 vectors fill the 32 registers of AVX512, 6 by 2 the 16 of AVX2.
pub(super) const BLOCK_ROWS_MAX: usize = 12;
/// Groups larger than this do not have their tiles aligned to whole blocks.
const ALIGNED_GROUP_MAX: usize = 16;

/// Positions after which a whole number of blocks is full, so that no block has rows without a query.
pub(super) fn aligned_positions(group: usize) -> usize {
    let divides = |rows: &usize| group.is_multiple_of(*rows);
    let shared = [12, 6, 4, 3, 2].into_iter().find(divides).unwrap_or(1);
    if group > ALIGNED_GROUP_MAX { 1 } else { BLOCK_ROWS_MAX / shared }
}

/// Most positions of a tile.
pub(super) fn tile_positions_max(group: usize) -> usize {
    let step = aligned_positions(group);
    (TILE_ROWS / group / step * step).max(step)
}

/// Consecutive queries of the heads of one group, and the keys and values they look at.
pub(super) struct Tile<'a> {
    pub(super) lane: Lane<'a>,
    pub(super) format: KvFormat,
    pub(super) group: usize,
    pub(super) head_size: usize,
    /// Position of the first query.
    pub(super) first: usize,
    pub(super) positions: usize,
    /// The first query's first head, and from one position to the next.
    pub(super) q: *const f32,
    pub(super) out: *mut f32,
    pub(super) row_stride: usize,
}

impl Tile<'_> {
    fn rows(&self) -> usize {
        self.positions * self.group
    }

    fn value_stride(&self) -> usize {
        self.head_size.next_multiple_of(BLOCK)
    }

    /// Where a row (position by position, head by head) lies from `q` and `out` on.
    fn offset(&self, row: usize) -> usize {
        row / self.group * self.row_stride + row % self.group * self.head_size
    }

    /// Keys that a row sees; for a row behind the last one, as many as the last.
    fn seen(&self, row: usize) -> usize {
        self.first + row.min(self.rows() - 1) / self.group + 1
    }
}

/// Consecutive rows that a kernel takes together.
#[derive(Clone, Copy)]
struct RowBlock {
    first: usize,
    /// Rows with a query.
    filled: usize,
    /// Rows of the kernel, the further ones zeros.
    rows: usize,
}

impl RowBlock {
    /// The block of a tile of `rows` that begins with the row `first`.
    fn at<S: Simd>(rows: usize, first: usize) -> Self {
        let filled = block_rows::<S>().min(rows - first);
        let rows = [1, 2, 3, 4, 6, 8].into_iter().find(|rows| *rows >= filled).unwrap_or(BLOCK_ROWS_MAX);
        RowBlock { first, filled, rows }
    }
}

const fn block_rows<S: Simd>() -> usize {
    if S::WIDE { BLOCK_ROWS_MAX } else { BLOCK_ROWS_MAX / 2 }
}

/// Computes the tile's attention and writes it to its `out`.
///
/// # Safety
/// The lane holds `first + positions` positions of heads of `head_size` in `format`; every row of the tile can be read
/// from `q` and written to `out`, and nobody else touches the rows of `out`; the workspace is for these heads, and
/// `positions` is at most [`tile_positions_max`].
#[inline(always)]
pub(super) unsafe fn attend_tile<S: Simd>(simd: S, tile: &Tile<'_>, workspace: &mut Workspace) {
    // SAFETY: the caller's promise; the bytes of a lane are elements of its format, aligned to a cache line.
    unsafe {
        start::<S>(tile, workspace);
        match tile.format {
            KvFormat::F16 => sweep::<S, f16>(simd, tile, workspace),
            KvFormat::Int8 => sweep::<S, i8>(simd, tile, workspace),
        }
        finish(simd, tile, workspace);
    }
}

/// Copies the queries, scaled for a softmax of powers of two, and clears the rest.
#[inline(always)]
unsafe fn start<S: Simd>(tile: &Tile<'_>, workspace: &mut Workspace) {
    let scale = std::f32::consts::LOG2_E / (tile.head_size as f32).sqrt();
    let last = RowBlock::at::<S>(tile.rows(), (tile.rows() - 1) / block_rows::<S>() * block_rows::<S>());
    let rows = last.first + last.rows;
    for row in 0..rows {
        let copy = &mut workspace.queries[row * QUERY_STRIDE..][..tile.head_size];
        workspace.seen[row] = tile.seen(row);
        if row < tile.rows() {
            // SAFETY: the row is one of the tile's, whose queries the caller lets us read.
            let q = unsafe { std::slice::from_raw_parts(tile.q.add(tile.offset(row)), tile.head_size) };
            copy.iter_mut().zip(q).for_each(|(to, q)| *to = q * scale);
        } else {
            copy.fill(0.0);
        }
    }
    workspace.maxima[..rows].fill(f32::NEG_INFINITY);
    workspace.sums[..rows * BLOCK].fill(0.0);
    workspace.outputs[..rows * tile.value_stride()].fill(0.0);
}

/// Goes over the keys tile by tile. A single block of rows reads the store directly; more of them read a copy in f32.
#[inline(always)]
unsafe fn sweep<S: Simd, E: Element>(simd: S, tile: &Tile<'_>, workspace: &mut Workspace) {
    let (keys, values) = (tile.lane.keys.as_ptr().cast::<E>(), tile.lane.values.as_ptr().cast::<E>());
    let scaled = tile.format == KvFormat::Int8;
    let (key_scales, value_scales) = (tile.lane.key_scales.as_ptr().cast::<f32>(), tile.lane.value_scales.as_ptr());
    let value_scales = value_scales.cast::<f32>();
    let end = tile.first + tile.positions;
    let direct = tile.rows() <= block_rows::<S>();
    for first_key in (0..end).step_by(TILE) {
        let count = TILE.min(end - first_key);
        // SAFETY: tiles start at whole blocks of keys within the lane, which holds `end` positions and whole blocks.
        unsafe {
            let keys = keys.add(first_key * tile.head_size);
            let values = values.add(first_key * tile.value_stride());
            let scales =
                scaled.then(|| Scales { keys: key_scales.add(first_key), values: value_scales.add(first_key) });
            let source = Source { keys, values, scales, first_key, count };
            if direct {
                let block = RowBlock::at::<S>(tile.rows(), 0);
                block_step(simd, tile, &source, block, workspace);
                continue;
            }
            widen_keys(simd, &source, tile.head_size, workspace.keys.as_mut_ptr());
            widen_values(simd, &source, tile.value_stride(), workspace.values.as_mut_ptr());
            let (keys, values) = (workspace.keys.as_ptr(), workspace.values.as_ptr());
            let source = Source { keys, values, scales: None, first_key, count };
            for first in (0..tile.rows()).step_by(block_rows::<S>()) {
                block_step(simd, tile, &source, RowBlock::at::<S>(tile.rows(), first), workspace);
            }
        }
    }
}

/// Divides by the sums and writes the rows out.
#[inline(always)]
unsafe fn finish<S: Simd>(simd: S, tile: &Tile<'_>, workspace: &Workspace) {
    for row in 0..tile.rows() {
        let found = &workspace.outputs[row * tile.value_stride()..][..tile.head_size];
        // SAFETY: sums have `BLOCK` values a row, and the caller lets us write the rows of `out`.
        unsafe {
            let sums = workspace.sums.as_ptr().add(row * BLOCK);
            let norm = 1.0 / simd.sum_lanes(simd.load(sums));
            let out = std::slice::from_raw_parts_mut(tile.out.add(tile.offset(row)), tile.head_size);
            out.iter_mut().zip(found).for_each(|(out, found)| *out = found * norm);
        }
    }
}

#[inline(always)]
unsafe fn widen_keys<S: Simd, E: Element>(simd: S, source: &Source<E>, head_size: usize, to: *mut f32) {
    for block in 0..source.count.div_ceil(BLOCK) {
        for lane in (0..BLOCK).step_by(S::LANES) {
            // SAFETY: lanes hold whole blocks and as many scales, and the workspace has room for a tile.
            unsafe {
                let at = block * BLOCK * head_size + lane;
                let scale = match &source.scales {
                    Some(scales) => simd.load(scales.keys.add(block * BLOCK + lane)),
                    None => simd.splat(1.0),
                };
                for dim in 0..head_size {
                    let keys = source.keys.add(at + dim * BLOCK);
                    simd.prefetch(keys.wrapping_add(TILE * head_size).cast());
                    let keys = E::load(simd, keys);
                    simd.store(to.add(at + dim * BLOCK), simd.mul(keys, scale));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn widen_values<S: Simd, E: Element>(simd: S, source: &Source<E>, stride: usize, to: *mut f32) {
    for position in 0..source.count {
        // SAFETY: rows of `stride` values are whole vectors, and the workspace has room for a tile.
        unsafe {
            let scale = match &source.scales {
                Some(scales) => simd.splat(*scales.values.add(position)),
                None => simd.splat(1.0),
            };
            for at in (position * stride..(position + 1) * stride).step_by(S::LANES) {
                let values = source.values.add(at);
                simd.prefetch(values.wrapping_add(TILE * stride).cast());
                let values = E::load(simd, values);
                simd.store(to.add(at), simd.mul(values, scale));
            }
        }
    }
}

#[inline(always)]
unsafe fn block_step<S: Simd, E: Element>(
    simd: S,
    tile: &Tile<'_>,
    source: &Source<E>,
    block: RowBlock,
    workspace: &mut Workspace,
) {
    let seen = workspace.seen[block.first + block.filled - 1];
    if seen <= source.first_key {
        return;
    }
    // SAFETY: the workspace has room for the tile's rows, rounded up to a block.
    unsafe {
        let step = Step {
            source,
            head_size: tile.head_size,
            value_stride: tile.value_stride(),
            seen: source.count.min(seen - source.first_key),
            q: workspace.queries.as_ptr().add(block.first * QUERY_STRIDE),
            rows_seen: workspace.seen.as_ptr().add(block.first),
            maxima: workspace.maxima.as_mut_ptr().add(block.first),
            sums: workspace.sums.as_mut_ptr().add(block.first * BLOCK),
            outputs: workspace.outputs.as_mut_ptr().add(block.first * tile.value_stride()),
            scores: workspace.scores.as_mut_ptr(),
        };
        run_step(simd, &step, block.rows);
    }
}
