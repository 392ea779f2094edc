//! The product with AVX512-VNNI: sixteen outputs a register, one `vpdpbusd` for four inputs of each.
//!
//! One tile computes `M` rows x `N` groups. Its weights come from a [`Source`]: for few rows straight from the packed
//! bytes ([`Stream`], bound by memory), for many from a [`Panel`], 256 inputs unpacked once into the first-level cache
//! for all rows (bound by the arithmetic).

// Sums, units and sources are indexed side by side.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::layout::{LINE, Layout, OUTPUTS_PER_GROUP, Stream, UNIT};
use super::{Activations, Product, activations};

/// Up to here the weights are streamed: unpacking them per tile costs less than writing a panel.
const STREAM_ROWS_MAX: usize = 16;
/// Rows of the largest streamed tile.
const STREAM_TILE_ROWS: usize = 8;
/// Rows of a tile over panels. With two groups: 12 sums of a sub-block, 12 of a block, and the operands: 29 registers.
const TILE_ROWS: usize = 6;
/// Rows that share an unpacked panel; their sums stay in the second-level cache.
const PANEL_ROWS: usize = 516;
const PANEL_INPUTS: usize = 256;
/// How far ahead of its use a line of weights is asked for. Measured with an 8B: 7.0 tokens/s with 4 KB, 7.9 with 16,
/// 6.9 with 32.
const PREFETCH_BYTES: usize = 16 << 10;

/// Weights of up to `N` groups, by block, as registers.
trait Source<L: Layout> {
    /// The four quads of a unit: registers, or where to load each just before its use.
    type Unit: Copy;

    /// # Safety
    /// As for all functions here: AVX512-VNNI, and group, block, unit and quad exist.
    unsafe fn unit(&self, group: usize, block: usize, unit: usize) -> Self::Unit;
    unsafe fn quad(unit: Self::Unit, quad: usize) -> __m512i;
    /// What a sub-block's sums are worth, or a block's where there are no sub-blocks.
    unsafe fn scale(&self, group: usize, block: usize, sub: usize) -> __m512;
    /// Two i16 per output, for sub-blocks `2 * pair` and the next.
    unsafe fn min_pair(&self, group: usize, block: usize, pair: usize) -> __m512i;
    unsafe fn min_d(&self, group: usize, block: usize) -> __m512;
}

impl<L: Layout> Source<L> for Stream {
    type Unit = [__m512i; 4];

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn quad(unit: [__m512i; 4], quad: usize) -> __m512i {
        unit[quad]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn unit(&self, _: usize, block: usize, unit: usize) -> [__m512i; 4] {
        let nibble = _mm512_set1_epi8(15);
        // SAFETY: the unit is inside the group's quants; a prefetch may point anywhere.
        let at = unsafe {
            let at = self.quants.add(block * L::QUANT_BYTES + unit * L::UNIT_BYTES);
            for line in 0..L::UNIT_BYTES / LINE {
                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(PREFETCH_BYTES + line * LINE).cast());
            }
            at
        };
        // SAFETY: inside the unit.
        let line = |line: usize| unsafe { _mm512_loadu_si512(at.add(line * LINE).cast()) };
        let split =
            |line: __m512i| [_mm512_and_si512(line, nibble), _mm512_and_si512(_mm512_srli_epi16::<4>(line), nibble)];
        match L::BITS {
            4 => {
                let ([a, b], [c, d]) = (split(line(0)), split(line(1)));
                [a, b, c, d]
            }
            6 => {
                let (high, [a, b], [c, d]) = (line(0), split(line(1)), split(line(2)));
                let mask = _mm512_set1_epi8(0x30);
                // low | (high & mask)
                let join = |low, high| _mm512_ternarylogic_epi32::<0xf8>(low, high, mask);
                [
                    join(a, _mm512_slli_epi16::<4>(high)),
                    join(b, _mm512_slli_epi16::<2>(high)),
                    join(c, high),
                    join(d, _mm512_srli_epi16::<2>(high)),
                ]
            }
            _ => [line(0), line(1), line(2), line(3)],
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn scale(&self, _: usize, block: usize, sub: usize) -> __m512 {
        // SAFETY: sixteen f16 and sixteen bytes of the block's record.
        unsafe {
            let record = self.scales.add(block * L::SCALE_BYTES);
            let d = _mm512_cvtph_ps(_mm256_loadu_si256(record.add(L::D_AT).cast()));
            if L::SUBS == 1 {
                return d;
            }
            let scales = _mm_loadu_si128(record.add(sub * OUTPUTS_PER_GROUP).cast());
            _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales)))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn min_pair(&self, _: usize, block: usize, pair: usize) -> __m512i {
        // SAFETY: 32 bytes of the block's record.
        unsafe {
            let at = self.scales.add(block * L::SCALE_BYTES + L::SUB_SCALE_BYTES + pair * 2 * OUTPUTS_PER_GROUP);
            _mm512_cvtepu8_epi16(_mm256_loadu_si256(at.cast()))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn min_d(&self, _: usize, block: usize) -> __m512 {
        let at = block * L::SCALE_BYTES + L::D_AT + 2 * OUTPUTS_PER_GROUP;
        // SAFETY: sixteen f16 of the block's record.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(self.scales.add(at).cast())) }
    }
}

/// 256 inputs (or the last fewer) of `N` groups, unpacked.
#[repr(C, align(64))]
struct Panel<const N: usize> {
    quads: [[__m512i; PANEL_INPUTS / 4]; N],
    /// By sub-block, or by block where there are no sub-blocks.
    scales: [[__m512; 16]; N],
    min_pairs: [[__m512i; 4]; N],
    min_d: [[__m512; 8]; N],
}

impl<const N: usize> Panel<N> {
    /// # Safety
    /// AVX512-VNNI, and the blocks exist in each stream.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn fill<L: Layout>(&mut self, streams: &[Stream; N], blocks: Range<usize>) {
        for (n, stream) in streams.iter().enumerate() {
            for (to, block) in blocks.clone().enumerate() {
                // SAFETY: the caller's.
                unsafe {
                    for unit in 0..L::BLOCK / UNIT {
                        let quads = <Stream as Source<L>>::unit(stream, 0, block, unit);
                        let at = (to * L::BLOCK + unit * UNIT) / 4;
                        self.quads[n][at..at + 4].copy_from_slice(&quads);
                    }
                    for sub in 0..L::SUBS {
                        self.scales[n][to * L::SUBS + sub] = <Stream as Source<L>>::scale(stream, 0, block, sub);
                    }
                    if L::MINS {
                        for pair in 0..L::SUBS / 2 {
                            self.min_pairs[n][pair] = <Stream as Source<L>>::min_pair(stream, 0, block, pair);
                        }
                        self.min_d[n][to] = <Stream as Source<L>>::min_d(stream, 0, block);
                    }
                }
            }
        }
    }
}

impl<L: Layout, const N: usize> Source<L> for Panel<N> {
    type Unit = *const __m512i;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn unit(&self, group: usize, block: usize, unit: usize) -> *const __m512i {
        // SAFETY: the block and unit exist.
        unsafe { self.quads.get_unchecked(group).as_ptr().add((block * L::BLOCK + unit * UNIT) / 4) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn quad(unit: *const __m512i, quad: usize) -> __m512i {
        // SAFETY: one of the unit's four.
        unsafe { *unit.add(quad) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn scale(&self, group: usize, block: usize, sub: usize) -> __m512 {
        // SAFETY: the sub-block exists.
        unsafe { *self.scales.get_unchecked(group).get_unchecked(block * L::SUBS + sub) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn min_pair(&self, group: usize, _: usize, pair: usize) -> __m512i {
        // SAFETY: the sub-blocks exist.
        unsafe { *self.min_pairs.get_unchecked(group).get_unchecked(pair) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn min_d(&self, group: usize, block: usize) -> __m512 {
        // SAFETY: the block exists.
        unsafe { *self.min_d.get_unchecked(group).get_unchecked(block) }
    }
}

/// The activations from one row on.
#[derive(Clone, Copy)]
struct Rows<'a> {
    activations: &'a Activations,
    first: usize,
}

/// Adds the product of one block to `sums`: `block` of the source, `cell` of the activations. A row's sum is the same to
/// the last bit with every source and every number of rows.
///
/// # Safety
/// AVX512-VNNI; the block exists in `source`, and `M` cells from `cell` on in `activations`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn add_block<L: Layout, S: Source<L>, const M: usize, const N: usize>(
    source: &S,
    block: usize,
    (activations, cell): (&Activations, usize),
    sums: &mut [[__m512; N]; M],
) {
    let mut products = [[_mm512_setzero_ps(); N]; M];
    // SAFETY: everything read belongs to the block and the cells.
    unsafe {
        let values = activations.values().as_ptr().add(cell * L::BLOCK);
        for sub in 0..L::SUBS {
            let mut dots = starts::<L, M, N>(activations, cell, sub);
            for unit in 0..L::SUB / UNIT {
                let unit = sub * (L::SUB / UNIT) + unit;
                let units: [S::Unit; N] = std::array::from_fn(|n| source.unit(n, block, unit));
                for q in 0..4 {
                    let weights: [__m512i; N] = std::array::from_fn(|n| S::quad(units[n], q));
                    for m in 0..M {
                        let quad = values.add(m * L::BLOCK + unit * UNIT + q * 4).cast::<i32>().read_unaligned();
                        let quad = _mm512_set1_epi32(quad);
                        for n in 0..N {
                            dots[m][n] = _mm512_dpbusd_epi32(dots[m][n], weights[n], quad);
                        }
                    }
                }
            }
            for n in 0..N {
                let scale = source.scale(n, block, sub);
                for m in 0..M {
                    products[m][n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[m][n]), scale, products[m][n]);
                }
            }
        }
        if L::MINS && L::SUBS > 1 {
            subtract_mins::<L, S, M, N>(source, block, (activations, cell), &mut products);
        }
        for m in 0..M {
            let scale = _mm512_set1_ps(*activations.scales().as_ptr().add(cell + m));
            for n in 0..N {
                sums[m][n] = _mm512_fmadd_ps(products[m][n], scale, sums[m][n]);
            }
        }
        if L::MINS && L::SUBS == 1 {
            for n in 0..N {
                let min = source.min_d(n, block);
                for m in 0..M {
                    let sum = _mm512_set1_ps(*activations.scaled_sums().as_ptr().add(cell + m));
                    sums[m][n] = _mm512_fmadd_ps(min, sum, sums[m][n]);
                }
            }
        }
    }
}

/// Where the sums of a sub-block start: at what takes the weights' offset off.
///
/// # Safety
/// As [`add_block`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn starts<L: Layout, const M: usize, const N: usize>(
    activations: &Activations,
    cell: usize,
    sub: usize,
) -> [[__m512i; N]; M] {
    let mut starts = [[_mm512_setzero_si512(); N]; M];
    if L::OFFSET != 0 {
        for (m, starts) in starts.iter_mut().enumerate() {
            // SAFETY: a start per cell and sub-block.
            let start = unsafe { *activations.starts().as_ptr().add((cell + m) * L::SUBS + sub) };
            let mut start = _mm512_set1_epi32(start);
            if L::SUBS == 1 && L::OFFSET != activations::START_OFFSET_32 {
                start = _mm512_mullo_epi32(start, _mm512_set1_epi32(L::OFFSET / activations::START_OFFSET_32));
            }
            *starts = [start; N];
        }
    }
    starts
}

/// Takes the mins of a block's sub-blocks, times their values' sums, off the totals.
///
/// # Safety
/// As [`add_block`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn subtract_mins<L: Layout, S: Source<L>, const M: usize, const N: usize>(
    source: &S,
    block: usize,
    (activations, cell): (&Activations, usize),
    totals: &mut [[__m512; N]; M],
) {
    // SAFETY: everything read belongs to the block and the cells.
    unsafe {
        let sums = activations.sums().as_ptr().add(cell * L::SUBS).cast::<i32>();
        for n in 0..N {
            let min_d = source.min_d(n, block);
            let mins: [__m512i; 4] = std::array::from_fn(|pair| source.min_pair(n, block, pair));
            for m in 0..M {
                let mut total = _mm512_setzero_si512();
                for (pair, mins) in mins.iter().enumerate() {
                    let sums = _mm512_set1_epi32(sums.add(m * 4 + pair).read_unaligned());
                    total = _mm512_dpwssd_epi32(total, *mins, sums);
                }
                totals[m][n] = _mm512_fnmadd_ps(min_d, _mm512_cvtepi32_ps(total), totals[m][n]);
            }
        }
    }
}

/// # Safety
/// AVX512-VNNI; shapes match and the groups are claimed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn matmul<L: Layout>(product: &Product) {
    let (groups, rows) = (product.groups.clone(), product.activations.rows());
    if rows > STREAM_ROWS_MAX {
        let pairs = groups.len() / 2;
        for pair in 0..pairs {
            // SAFETY: the caller's.
            unsafe { panels::<L, 2>(product, groups.start + 2 * pair) };
        }
        if groups.len() % 2 == 1 {
            // SAFETY: the caller's.
            unsafe { panels::<L, 1>(product, groups.end - 1) };
        }
        return;
    }
    for group in groups {
        // The second tile finds the group in the cache.
        for first in (0..rows).step_by(STREAM_TILE_ROWS) {
            // SAFETY: the caller's.
            unsafe {
                match rows - first {
                    1 => stream::<L, 1>(product, group, first),
                    2 => stream::<L, 2>(product, group, first),
                    3 => stream::<L, 3>(product, group, first),
                    4 => stream::<L, 4>(product, group, first),
                    5 | 6 => stream::<L, 6>(product, group, first),
                    _ => stream::<L, STREAM_TILE_ROWS>(product, group, first),
                }
            }
        }
    }
}

/// Up to `M` rows of a group at once.
///
/// # Safety
/// As [`matmul`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn stream<L: Layout, const M: usize>(product: &Product, group: usize, first: usize) {
    let activations = product.activations;
    let stream = Stream::of::<L>(product, group);
    let mut sums = [[_mm512_setzero_ps(); 1]; M];
    for block in 0..product.weights.shape.inputs / L::BLOCK {
        let cell = block * activations.rows() + first;
        // SAFETY: the block exists; rows past the last read the padding.
        unsafe { add_block::<L, _, M, 1>(&stream, block, (activations, cell), &mut sums) };
    }
    for (m, sums) in sums.iter().enumerate().take(activations.rows() - first) {
        // SAFETY: the group is claimed by the caller.
        unsafe { _mm512_storeu_ps(product.out.at(first + m, group * OUTPUTS_PER_GROUP), sums[0]) };
    }
}

/// All rows of `N` groups, by panels of weights.
///
/// # Safety
/// As [`matmul`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn panels<L: Layout, const N: usize>(product: &Product, group: usize) {
    let mut panel = MaybeUninit::<Panel<N>>::uninit();
    let mut sums = MaybeUninit::<[[__m512; N]; PANEL_ROWS + TILE_ROWS]>::uninit();
    // SAFETY: vectors of zeros are valid; only what was filled is read.
    let (panel, sums) = unsafe { (&mut *panel.as_mut_ptr(), &mut *sums.as_mut_ptr()) };
    let streams = std::array::from_fn(|n| Stream::of::<L>(product, group + n));
    let rows = product.activations.rows();
    let (blocks, step) = (product.weights.shape.inputs / L::BLOCK, PANEL_INPUTS / L::BLOCK);

    for first in (0..rows).step_by(PANEL_ROWS) {
        let count = PANEL_ROWS.min(rows - first);
        sums[..count.next_multiple_of(TILE_ROWS)].fill([_mm512_setzero_ps(); N]);
        for block in (0..blocks).step_by(step) {
            let blocks = block..(block + step).min(blocks);
            // SAFETY: the blocks exist.
            unsafe { panel.fill::<L>(&streams, blocks.clone()) };
            let mut row = 0;
            while row < count {
                let tile = Rows { activations: product.activations, first: first + row };
                let sums = sums[row..].as_mut_ptr();
                // SAFETY: sums and activations are padded to whole tiles.
                row += unsafe {
                    match count - row {
                        1..=2 => add_panel::<L, 2, N>(panel, blocks.clone(), tile, sums),
                        3..=4 => add_panel::<L, 4, N>(panel, blocks.clone(), tile, sums),
                        _ => add_panel::<L, TILE_ROWS, N>(panel, blocks.clone(), tile, sums),
                    }
                };
            }
        }
        for (row, sums) in sums[..count].iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                // SAFETY: the group is claimed by the caller.
                unsafe { _mm512_storeu_ps(product.out.at(first + row, (group + n) * OUTPUTS_PER_GROUP), *sum) };
            }
        }
    }
}

/// Adds a panel's product to the sums of `M` rows and returns `M`.
///
/// # Safety
/// AVX512-VNNI; `panel` holds `blocks`; `M` rows of sums and (with padding) activations exist.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn add_panel<L: Layout, const M: usize, const N: usize>(
    panel: &Panel<N>,
    blocks: Range<usize>,
    rows: Rows,
    sums: *mut [__m512; N],
) -> usize {
    // SAFETY: the caller's.
    unsafe {
        let sums = &mut *sums.cast::<[[__m512; N]; M]>();
        // Known to be one where blocks are long, so that nothing is kept over a loop.
        let count = if L::BLOCK == PANEL_INPUTS { 1 } else { blocks.len() };
        for from in 0..count {
            let cell = (blocks.start + from) * rows.activations.rows() + rows.first;
            add_block::<L, _, M, N>(panel, from, (rows.activations, cell), sums);
        }
    }
    M
}
