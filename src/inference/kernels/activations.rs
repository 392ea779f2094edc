//! The left side of a product: rows of f32 quantized to int8, once for all matrices that read the same input.
//! Block-major (all rows of the first block, then all rows of the second), so that a kernel that holds one block of
//! weights streams over the rows. Nothing about weights here.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(target_arch = "x86_64")]
use super::Isa;

/// Kernels work on tiles of rows and read, but never use, up to this many rows past the last.
pub(super) const ROWS_PADDING: usize = 8;
/// What a stored start is of a block's sum: the offset of `Q6_K` (32) where blocks are long, of `Q4_0` where short.
const START_OFFSET_256: i32 = 32;
pub(super) const START_OFFSET_32: i32 = 8;

/// How many inputs share one scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// For the K quants.
    Of256,
    /// For `Q8_0`, `Q4_0` and `Q4_1`.
    Of32,
}

impl Blocks {
    pub fn inputs(self) -> usize {
        match self {
            Self::Of256 => 256,
            Self::Of32 => 32,
        }
    }
}

/// Quantized rows. The buffers are kept: no allocation after the first call of the same or a larger size.
#[derive(Debug)]
pub struct Activations {
    blocks: Blocks,
    rows: usize,
    inputs: usize,
    /// `(block, row, input)`, -127..=127.
    values: Vec<i8>,
    /// `(block, row)`: what one step of a value is worth.
    scales: Vec<f32>,
    /// `(block, row, sub-block)`: where a kernel's sum starts so that the weights' offset is taken off:
    /// -32 times the sum of 16 values, or -8 times the sum of 32.
    starts: Vec<i32>,
    /// `(block, row, 8)`, blocks of 256 only: sums of 32 values, for the mins.
    sums: Vec<i16>,
    /// `(block, row)`, blocks of 32 only: scale times sum, for the mins.
    scaled_sums: Vec<f32>,
    /// A bit per row that a writer has taken.
    claims: Vec<AtomicU64>,
}

impl Activations {
    /// Room for `rows` x `inputs`, so that no later call allocates.
    pub fn with_capacity(rows: usize, inputs: usize) -> Self {
        let mut new = Self {
            blocks: Blocks::Of256,
            rows: 0,
            inputs: 0,
            values: Vec::new(),
            scales: Vec::new(),
            starts: Vec::new(),
            sums: Vec::new(),
            scaled_sums: Vec::new(),
            claims: Vec::new(),
        };
        new.resize(Blocks::Of32, rows, inputs.next_multiple_of(256));
        new.resize(Blocks::Of256, rows, inputs.next_multiple_of(256));
        new
    }

    /// Forgets the rows and makes room for others. `inputs` is a multiple of the block.
    pub fn resize(&mut self, blocks: Blocks, rows: usize, inputs: usize) {
        assert!(inputs.is_multiple_of(blocks.inputs()), "{inputs} inputs are no whole blocks of {}", blocks.inputs());
        (self.blocks, self.rows, self.inputs) = (blocks, rows, inputs);
        let cells = inputs / blocks.inputs() * rows + ROWS_PADDING;
        // Never shrunk: a vector that is cut and grown again would be cleared again.
        fn grow<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) {
            if buffer.len() < len {
                buffer.resize(len, T::default());
            }
        }
        grow(&mut self.values, cells * blocks.inputs());
        grow(&mut self.scales, cells);
        match blocks {
            Blocks::Of256 => {
                grow(&mut self.starts, cells * 16);
                grow(&mut self.sums, cells * 8);
            }
            Blocks::Of32 => {
                grow(&mut self.starts, cells);
                grow(&mut self.scaled_sums, cells);
            }
        }
        self.claims.resize_with(self.claims.len().max(rows.div_ceil(64)), AtomicU64::default);
        self.claims.iter_mut().for_each(|word| *word.get_mut() = 0);
    }

    /// Quantizes all rows of `input` (rows x inputs) on this thread.
    pub fn quantize(&mut self, input: &[f32]) {
        let rows = self.rows;
        self.row_parts().quantize(0..rows, input);
    }

    /// A view through which several threads quantize disjoint rows.
    pub fn row_parts(&mut self) -> RowParts<'_> {
        self.claims.iter_mut().for_each(|word| *word.get_mut() = 0);
        RowParts {
            blocks: self.blocks,
            rows: self.rows,
            inputs: self.inputs,
            values: self.values.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            starts: self.starts.as_mut_ptr(),
            sums: self.sums.as_mut_ptr(),
            scaled_sums: self.scaled_sums.as_mut_ptr(),
            claims: &self.claims,
            owner: PhantomData,
        }
    }

    pub fn blocks(&self) -> Blocks {
        self.blocks
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn values(&self) -> &[i8] {
        &self.values
    }

    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn starts(&self) -> &[i32] {
        &self.starts
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn sums(&self) -> &[i16] {
        &self.sums
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn scaled_sums(&self) -> &[f32] {
        &self.scaled_sums
    }
}

/// Rows being quantized. Each row can be written once per view, which is checked.
pub struct RowParts<'a> {
    blocks: Blocks,
    rows: usize,
    inputs: usize,
    values: *mut i8,
    scales: *mut f32,
    starts: *mut i32,
    sums: *mut i16,
    scaled_sums: *mut f32,
    claims: &'a [AtomicU64],
    owner: PhantomData<&'a mut Activations>,
}

// SAFETY: the pointers are into buffers that the view borrows mutably, and a row is written only by the thread that
// claimed it.
unsafe impl Send for RowParts<'_> {}
// SAFETY: as above; the claims are atomic.
unsafe impl Sync for RowParts<'_> {}

impl RowParts<'_> {
    /// Quantizes `rows`; `input` holds just these, row-major. Panics if one of them was written through this view.
    pub fn quantize(&self, rows: Range<usize>, input: &[f32]) {
        assert!(rows.end <= self.rows, "row {} of {}", rows.end, self.rows);
        assert_eq!(input.len(), rows.len() * self.inputs, "values of {} rows x {} inputs", rows.len(), self.inputs);
        for row in rows.clone() {
            let bit = 1 << (row % 64);
            let before = self.claims[row / 64].fetch_or(bit, Ordering::Relaxed);
            assert!(before & bit == 0, "row {row} is quantized twice");
        }
        for (row, input) in rows.zip(input.chunks_exact(self.inputs.max(1))) {
            match super::isa() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the processor has AVX512, and this thread claimed the row.
                Isa::Avx512Vnni => unsafe { self.row_avx512(row, input) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the processor has AVX2, and this thread claimed the row.
                Isa::Avx2 => unsafe { self.row_avx2(row, input) },
                // SAFETY: this thread claimed the row.
                _ => unsafe { self.row(row, input) },
            }
        }
    }

    /// # Safety
    /// As [`Self::row`], on a processor with AVX512.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn row_avx512(&self, row: usize, input: &[f32]) {
        // SAFETY: the caller's.
        unsafe { self.row(row, input) }
    }

    /// # Safety
    /// As [`Self::row`], on a processor with AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn row_avx2(&self, row: usize, input: &[f32]) {
        // SAFETY: the caller's.
        unsafe { self.row(row, input) }
    }

    /// Inlined into the functions above, so that it is compiled for their instructions too.
    ///
    /// # Safety
    /// No other thread may write or read this row.
    #[inline(always)]
    unsafe fn row(&self, row: usize, input: &[f32]) {
        let size = self.blocks.inputs();
        for (block, input) in input.chunks_exact(size).enumerate() {
            let cell = block * self.rows + row;
            // SAFETY: `resize` made room for a cell per block and row; this one is ours by the caller's word.
            unsafe {
                let values = std::slice::from_raw_parts_mut(self.values.add(cell * size), size);
                let scale = quantize_block(input, values);
                *self.scales.add(cell) = scale;
                match self.blocks {
                    Blocks::Of256 => {
                        let starts = std::slice::from_raw_parts_mut(self.starts.add(cell * 16), 16);
                        let sums = std::slice::from_raw_parts_mut(self.sums.add(cell * 8), 8);
                        for (sub, values) in values.chunks_exact(16).enumerate() {
                            starts[sub] = sum(values);
                        }
                        for (sub, sum) in sums.iter_mut().enumerate() {
                            *sum = (starts[2 * sub] + starts[2 * sub + 1]) as i16;
                        }
                        starts.iter_mut().for_each(|start| *start *= -START_OFFSET_256);
                    }
                    Blocks::Of32 => {
                        let sum = sum(values);
                        *self.starts.add(cell) = -START_OFFSET_32 * sum;
                        *self.scaled_sums.add(cell) = scale * sum as f32;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn sum(values: &[i8]) -> i32 {
    values.iter().map(|&value| i32::from(value)).sum()
}

/// Rounds `input` to steps of its largest magnitude / 127 and returns the step. Not-a-number ends in the step.
#[inline(always)]
fn quantize_block(input: &[f32], values: &mut [i8]) -> f32 {
    // Magnitudes compare as integers, which vectorizes where `f32::max` does not.
    let largest = input.iter().fold(0, |largest: i32, x| largest.max((x.to_bits() & 0x7fff_ffff) as i32));
    let largest = f32::from_bits(largest as u32);
    let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
    // Adding 1.5 * 2^23 leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    for (value, x) in values.iter_mut().zip(input) {
        *value = (x * inverse + ROUND).to_bits() as i8;
    }
    largest / 127.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_within_half_a_step() {
        let input: Vec<f32> = (0..512).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013).collect();
        for blocks in [Blocks::Of32, Blocks::Of256] {
            let mut activations = Activations::with_capacity(2, 256);
            activations.resize(blocks, 2, 256);
            activations.quantize(&input);
            let size = blocks.inputs();
            for row in 0..2 {
                for i in 0..256 {
                    let cell = i / size * 2 + row;
                    let scale = activations.scales()[cell];
                    let value = f32::from(activations.values()[cell * size + i % size]) * scale;
                    assert!((value - input[row * 256 + i]).abs() <= 0.5001 * scale);
                }
            }
        }
    }

    #[test]
    fn zeros_and_tiny_values_stay_finite() {
        let mut activations = Activations::with_capacity(1, 256);
        activations.resize(Blocks::Of256, 1, 256);
        for x in [0.0, f32::MIN_POSITIVE, 1e-41] {
            activations.quantize(&[x; 256]);
            assert!(activations.scales()[0].is_finite());
        }
    }

    #[test]
    #[should_panic(expected = "row 0 is quantized twice")]
    fn a_row_is_written_once() {
        let mut activations = Activations::with_capacity(1, 32);
        activations.resize(Blocks::Of32, 1, 32);
        let parts = activations.row_parts();
        parts.quantize(0..1, &[1.0; 32]);
        parts.quantize(0..1, &[1.0; 32]);
    }
}
