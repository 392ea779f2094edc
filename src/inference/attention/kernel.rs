//! What happens to one block of rows at one tile of keys: scores, weights, weighted values.
//!
//! Sizes in registers are constants, and everything is inlined into the function of an instruction set.

use super::exp::exp2;
use super::simd::{Element, Simd};
use super::tile::{QUERY_STRIDE, TILE};
use crate::inference::kv::BLOCK;

/// Positions between what is read from the store and what is asked for. A whole tile ahead keeps the memory busy while
/// the other of keys and values is read; a quarter of it was 15 % slower at 4,096 positions.
const AHEAD: usize = TILE;

pub(super) struct Scales {
    pub(super) keys: *const f32,
    pub(super) values: *const f32,
}

/// A tile of keys and values in one of the element types, as they lie in a lane.
pub(super) struct Source<E> {
    pub(super) keys: *const E,
    pub(super) values: *const E,
    /// What elements have to be multiplied with, by position.
    pub(super) scales: Option<Scales>,
    pub(super) first_key: usize,
    /// At most `TILE`.
    pub(super) count: usize,
}

/// What one block of rows reads and updates at one tile of keys.
pub(super) struct Step<'a, E> {
    pub(super) source: &'a Source<E>,
    pub(super) head_size: usize,
    pub(super) value_stride: usize,
    /// Keys of the tile that the block's last row sees.
    pub(super) seen: usize,
    /// Scaled queries of the block, `(rows, QUERY_STRIDE)`.
    pub(super) q: *const f32,
    /// Keys that each row sees, from position 0 on.
    pub(super) rows_seen: *const usize,
    pub(super) maxima: *mut f32,
    pub(super) sums: *mut f32,
    pub(super) outputs: *mut f32,
    /// `(rows, TILE)`
    pub(super) scores: *mut f32,
}

/// Runs a step with a kernel of as many rows.
///
/// # Safety
/// The step's pointers are what it says they are, `rows` rows each; `rows` is one of 1, 2, 3, 4, 6 and, with 32
/// registers, 8 and 12.
#[inline(always)]
pub(super) unsafe fn run_step<S: Simd, E: Element>(simd: S, step: &Step<'_, E>, rows: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        // Rows by vectors of accumulators: as many as there are registers beside the operands.
        match (rows, S::WIDE) {
            (1, _) => run::<S, E, 1, 8>(simd, step),
            (2, true) => run::<S, E, 2, 8>(simd, step),
            (2, false) => run::<S, E, 2, 4>(simd, step),
            (3, true) => run::<S, E, 3, 8>(simd, step),
            (3, false) => run::<S, E, 3, 4>(simd, step),
            (4, true) => run::<S, E, 4, 4>(simd, step),
            (4, false) => run::<S, E, 4, 2>(simd, step),
            (6, true) => run::<S, E, 6, 4>(simd, step),
            (6, false) => run::<S, E, 6, 2>(simd, step),
            (8, true) => run::<S, E, 8, 2>(simd, step),
            (12, true) => run::<S, E, 12, 2>(simd, step),
            (rows, _) => unreachable!("no block has {rows} rows"),
        }
    }
}

#[inline(always)]
unsafe fn run<S: Simd, E: Element, const R: usize, const C: usize>(simd: S, step: &Step<'_, E>) {
    let vectors = step.seen.div_ceil(S::LANES);
    let columns = step.value_stride / S::LANES;
    // SAFETY: the caller's promise; `R` is the block's rows, and the vectors are within the tile and the row.
    unsafe {
        let mut at = 0;
        while at + C <= vectors {
            scores::<S, E, R, C>(simd, step, at);
            at += C;
        }
        if C > 4 && at + 4 <= vectors {
            scores::<S, E, R, 4>(simd, step, at);
            at += 4;
        }
        if C > 2 && at + 2 <= vectors {
            scores::<S, E, R, 2>(simd, step, at);
            at += 2;
        }
        if at < vectors {
            scores::<S, E, R, 1>(simd, step, at);
        }

        let rescale = softmax::<S, E, R>(simd, step, vectors);

        let mut at = 0;
        while at + C <= columns {
            mix::<S, E, R, C>(simd, step, &rescale, at);
            at += C;
        }
        if C > 4 && at + 4 <= columns {
            mix::<S, E, R, 4>(simd, step, &rescale, at);
            at += 4;
        }
        if C > 2 && at + 2 <= columns {
            mix::<S, E, R, 2>(simd, step, &rescale, at);
            at += 2;
        }
        if at < columns {
            mix::<S, E, R, 1>(simd, step, &rescale, at);
        }
    }
}

/// Scores of `R` rows and `C` vectors of keys, from the vector `first` on.
#[expect(clippy::needless_range_loop, reason = "rows and columns of registers")]
#[inline(always)]
unsafe fn scores<S: Simd, E: Element, const R: usize, const C: usize>(simd: S, step: &Step<'_, E>, first: usize) {
    let zero = simd.splat(0.0);
    let mut sums = [[zero; C]; R];
    let mut keys = [step.source.keys; C];
    // SAFETY: vectors of keys are within the tile's whole blocks, `q` has `R` rows, and the rows
    // of scores have room for a whole tile.
    unsafe {
        for (column, keys) in keys.iter_mut().enumerate() {
            let key = (first + column) * S::LANES;
            *keys = keys.add(key / BLOCK * BLOCK * step.head_size + key % BLOCK);
        }
        for dim in 0..step.head_size {
            let mut loaded = [zero; C];
            for column in 0..C {
                loaded[column] = E::load(simd, keys[column].add(dim * BLOCK));
                if E::STREAMED {
                    simd.prefetch(keys[column].wrapping_add(dim * BLOCK + AHEAD * step.head_size).cast());
                }
            }
            for row in 0..R {
                let q = simd.splat(*step.q.add(row * QUERY_STRIDE + dim));
                for column in 0..C {
                    sums[row][column] = simd.mul_add(q, loaded[column], sums[row][column]);
                }
            }
        }
        for row in 0..R {
            for column in 0..C {
                simd.store(step.scores.add(row * TILE + (first + column) * S::LANES), sums[row][column]);
            }
        }
    }
}

/// Turns the scores into weights against the largest score so far, updates maxima and sums, and returns by how much
/// what was summed up to now has to be scaled, for each row.
#[inline(always)]
unsafe fn softmax<S: Simd, E: Element, const R: usize>(simd: S, step: &Step<'_, E>, vectors: usize) -> [f32; BLOCK] {
    let mut rescale = [0f32; BLOCK];
    // SAFETY: rows of scores have whole vectors, and there are `R` rows of everything.
    unsafe {
        for (row, rescale) in rescale.iter_mut().enumerate().take(R) {
            let scores = step.scores.add(row * TILE);
            if let Some(scales) = &step.source.scales {
                for at in (0..vectors * S::LANES).step_by(S::LANES) {
                    simd.store(scores.add(at), simd.mul(simd.load(scores.add(at)), simd.load(scales.keys.add(at))));
                }
            }
            let seen = (*step.rows_seen.add(row)).saturating_sub(step.source.first_key).min(step.seen);
            let mut largest = simd.splat(f32::NEG_INFINITY);
            for at in 0..seen / S::LANES {
                largest = simd.max(largest, simd.load(scores.add(at * S::LANES)));
            }
            for at in seen / S::LANES..vectors {
                let at = at * S::LANES;
                let visible = simd.first(simd.load(scores.add(at)), seen.saturating_sub(at));
                simd.store(scores.add(at), visible);
                largest = simd.max(largest, visible);
            }
            let max = &mut *step.maxima.add(row);
            let new = max.max(simd.max_lane(largest));
            *rescale = *max - new;
            *max = new;
        }
        for at in (0..BLOCK).step_by(S::LANES) {
            let at = rescale.as_mut_ptr().add(at);
            simd.store(at, exp2(simd, simd.load(at)));
        }
        for (row, rescale) in rescale.iter().enumerate().take(R) {
            let scores = step.scores.add(row * TILE);
            let max = simd.splat(*step.maxima.add(row));
            let sums = step.sums.add(row * BLOCK);
            let mut sum = simd.mul(simd.load(sums), simd.splat(*rescale));
            for at in (0..vectors * S::LANES).step_by(S::LANES) {
                let weights = exp2(simd, simd.sub(simd.load(scores.add(at)), max));
                sum = simd.add(sum, weights);
                let scaled = match &step.source.scales {
                    Some(scales) => simd.mul(weights, simd.load(scales.values.add(at))),
                    None => weights,
                };
                simd.store(scores.add(at), scaled);
            }
            simd.store(sums, sum);
        }
    }
    rescale
}

/// Adds the weighted values to `R` rows of the output, `C` vectors from the vector `first` on.
#[expect(clippy::needless_range_loop, reason = "rows and columns of registers")]
#[inline(always)]
unsafe fn mix<S: Simd, E: Element, const R: usize, const C: usize>(
    simd: S,
    step: &Step<'_, E>,
    rescale: &[f32; BLOCK],
    first: usize,
) {
    let zero = simd.splat(0.0);
    let mut sums = [[zero; C]; R];
    // SAFETY: vectors are within the rows of values and outputs, and every seen key has a weight.
    unsafe {
        let outputs = step.outputs.add(first * S::LANES);
        let mut values = step.source.values.add(first * S::LANES);
        for row in 0..R {
            let rescale = simd.splat(rescale[row]);
            for column in 0..C {
                let old = simd.load(outputs.add(row * step.value_stride + column * S::LANES));
                sums[row][column] = simd.mul(old, rescale);
            }
        }
        for key in 0..step.seen {
            let mut loaded = [zero; C];
            for column in 0..C {
                loaded[column] = E::load(simd, values.add(column * S::LANES));
                if E::STREAMED {
                    simd.prefetch(values.wrapping_add(column * S::LANES + AHEAD * step.value_stride).cast());
                }
            }
            for row in 0..R {
                let weight = simd.splat(*step.scores.add(row * TILE + key));
                for column in 0..C {
                    sums[row][column] = simd.mul_add(weight, loaded[column], sums[row][column]);
                }
            }
            values = values.add(step.value_stride);
        }
        for row in 0..R {
            for column in 0..C {
                simd.store(outputs.add(row * step.value_stride + column * S::LANES), sums[row][column]);
            }
        }
    }
}
