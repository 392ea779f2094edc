//! A row in two bits a value: enough to tell in a quarter of the time which rows are worth comparing in full.
//!
//! Of each value of a centred row it is kept whether it is positive and whether it is larger than usual: one of four levels.
//! How the product of a query with the levels stands to its product with the row itself is one factor for each row (as in
//! Gao and Long, "RaBitQ", SIGMOD 2024, who do it with one bit). Products are counts of common bits.

use super::row::Scan;

/// Bits of a row's value.
const ROW_PLANES: usize = 2;
/// Bits of a query's value, the highest of which is its sign.
const QUERY_PLANES: usize = 5;
/// Largest value of a query, either sign.
const QUERY_MAX: f32 = 15.0;
const WORD_BITS: usize = u64::BITS as usize;

type RowWord = [u64; ROW_PLANES];
type QueryWord = [u64; QUERY_PLANES];

/// The sketches of all rows of a file, in memory: 100 bytes a row of 384 dimensions.
pub(super) struct Sketches {
    /// Words that a row takes.
    words: usize,
    bits: Vec<RowWord>,
    factors: Vec<f32>,
}

/// A query as sketches meet it.
pub(super) struct QuerySketch {
    bits: Vec<QueryWord>,
    /// Of all its values.
    sum: i32,
    scale: f32,
}

impl QuerySketch {
    pub(super) fn of(vector: &[f32]) -> Self {
        let scale = vector.iter().fold(f32::EPSILON, |largest, value| largest.max(value.abs())) / QUERY_MAX;
        let mut bits = vec![[0; QUERY_PLANES]; vector.len().div_ceil(WORD_BITS)];
        let mut sum = 0;
        for (at, value) in vector.iter().enumerate() {
            let value = (value / scale).round() as i32;
            sum += value;
            for (plane, word) in bits[at / WORD_BITS].iter_mut().enumerate() {
                *word |= ((value >> plane) as u64 & 1) << (at % WORD_BITS);
            }
        }
        QuerySketch { bits, sum, scale }
    }
}

impl Sketches {
    pub(super) fn new(dims: usize, rows: usize) -> Self {
        let words = dims.div_ceil(WORD_BITS);
        Sketches { words, bits: Vec::with_capacity(rows * words), factors: Vec::with_capacity(rows) }
    }

    /// `row`: centred, unit length, as many values each time.
    pub(super) fn push(&mut self, row: &[f32]) {
        let usual = 1.0 / (row.len() as f32).sqrt();
        let mut product = 0.0;
        for values in row.chunks(WORD_BITS) {
            let mut word = [0; ROW_PLANES];
            for (at, value) in values.iter().enumerate() {
                // -2, -1, 0 or 1: the middle of each level is half a step higher.
                let level = (value / usual).floor().clamp(-2.0, 1.0);
                product += (level + 0.5) * value;
                let level = (level + 2.0) as u64;
                for (plane, word) in word.iter_mut().enumerate() {
                    *word |= (level >> plane & 1) << at;
                }
            }
            self.bits.push(word);
        }
        self.factors.push(if product > 0.0 { 1.0 / product } else { 0.0 });
    }

    /// About the cosine of a query and a row.
    #[inline]
    pub(super) fn cosine(&self, scan: Scan, query: &QuerySketch, row: usize) -> f32 {
        let bits = &self.bits[row * self.words..(row + 1) * self.words];
        let sum = match scan {
            Scan::Plain => sum(&query.bits, bits),
            // SAFETY: the variant is only made where the processor has AVX2 and POPCNT.
            #[cfg(target_arch = "x86_64")]
            Scan::Avx2 => unsafe { sum_avx2(&query.bits, bits) },
        };
        // The bits count from the lowest level up, whose middle is -1.5.
        (sum as f32 - 1.5 * query.sum as f32) * query.scale * self.factors[row]
    }
}

#[inline(always)]
fn sum(query: &[QueryWord], row: &[RowWord]) -> i32 {
    let mut sum = 0;
    for (query, row) in query.iter().zip(row) {
        for (query_plane, query) in query.iter().enumerate() {
            let [low, high] = row.map(|plane| (plane & query).count_ones() as i32);
            let product = (low + 2 * high) << query_plane;
            sum += if query_plane == QUERY_PLANES - 1 { -product } else { product };
        }
    }
    sum
}

/// The same code, for which the compiler may count bits in one step.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn sum_avx2(query: &[QueryWord], row: &[RowWord]) -> i32 {
    sum(query, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(mut vector: Vec<f32>) -> Vec<f32> {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::EPSILON);
        vector.iter_mut().for_each(|value| *value /= length);
        vector
    }

    fn levels(row: &[f32]) -> Vec<f32> {
        let usual = 1.0 / (row.len() as f32).sqrt();
        row.iter().map(|value| (value / usual).floor().clamp(-2.0, 1.0) + 0.5).collect()
    }

    proptest! {
        #[test]
        fn bits_count_what_the_levels_multiply(
            pair in proptest::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 1..400),
        ) {
            let (query, row): (Vec<f32>, Vec<f32>) = pair.into_iter().unzip();
            let (query, row) = (unit(query), unit(row));
            let mut sketches = Sketches::new(row.len(), 2);
            sketches.push(&vec![0.0; row.len()]);
            sketches.push(&row);
            let levels = levels(&row);
            let rounded = QuerySketch::of(&query);
            let rounded_values = query.iter().map(|value| (value / rounded.scale).round() * rounded.scale);
            let product: f32 = rounded_values.zip(&levels).map(|(value, level)| value * level).sum();
            let own: f32 = row.iter().zip(&levels).map(|(value, level)| value * level).sum();
            let cosine = sketches.cosine(Scan::of_this_processor(), &rounded, 1);
            prop_assert!((cosine - product / own).abs() < 1e-3);
            prop_assert_eq!(cosine, sketches.cosine(Scan::Plain, &rounded, 1));
            prop_assert_eq!(sketches.cosine(Scan::Plain, &rounded, 0), 0.0);
        }
    }

    #[test]
    fn a_row_is_nearly_itself() {
        let row = unit((0..384).map(|at| (at as f32 * 0.7).sin() + (at as f32 * 0.013).cos()).collect());
        let mut sketches = Sketches::new(row.len(), 1);
        sketches.push(&row);
        let cosine = sketches.cosine(Scan::of_this_processor(), &QuerySketch::of(&row), 0);
        assert!((cosine - 1.0).abs() < 0.02, "{cosine}");
    }
}
