//! A first, coarse look at many rows: one bit for each value, its sign after centring. The share of signs that two vectors
//! have in common falls with the angle between them (Charikar, "Similarity estimation techniques from rounding
//! algorithms", STOC 2002), so the best rows are among those with the fewest different signs; which they are, their
//! values tell. Made when the file is opened: a pass over the rows, which opening reads anyway.

use std::ops::Range;

use super::stretches::each_stretch;
use super::{Facts, Vectors};
use crate::retrieval::centring::SHARE;

/// Files of more rows have sketches; up to here all rows are compared, and nothing can be missed.
pub(super) const EXACT_ROWS_MAX: usize = 300_000;
/// One row in so many is compared by its values, and at least [`COMPARED_PER_HIT`] for each hit that is wanted.
const COMPARED_SHARE: usize = 128;
const COMPARED_PER_HIT: usize = 48;
const BITS: usize = u64::BITS as usize;

pub(super) struct Sketches {
    /// Words of a row.
    words: usize,
    bits: Vec<u64>,
}

impl Sketches {
    pub(super) fn of(vectors: &Vectors) -> Self {
        let words = vectors.dims.div_ceil(BITS);
        let sketch = |rows: Range<usize>| {
            let mut bits = Vec::with_capacity(rows.len() * words);
            for row in rows {
                let Facts { scale, tag, .. } = vectors.facts(row);
                let mean = vectors.means.of_language(tag.language);
                let centred = vectors.values(row).iter().zip(mean);
                let mut signs = centred.map(|(&value, mean)| f32::from(value) * scale > SHARE * mean);
                bits.extend((0..words).map(|_| word(&mut signs)));
            }
            bits
        };
        Sketches { words, bits: each_stretch(vectors.rows, sketch).concat() }
    }

    /// Those of `rows` that are to be compared with a query of these values for its `limit` best, in their order.
    pub(super) fn nearest(
        &self,
        query: &[i16],
        rows: Range<usize>,
        limit: usize,
        is_admitted: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let mut signs = query.iter().map(|&value| value > 0);
        let query: Vec<u64> = (0..self.words).map(|_| word(&mut signs)).collect();
        let wanted = (rows.len() / COMPARED_SHARE).max(limit * COMPARED_PER_HIT);
        let mut differing = vec![0u16; rows.len()];
        differ(&query, &self.bits[rows.start * self.words..rows.end * self.words], &mut differing);
        let mut with_so_many = vec![0usize; self.words * BITS + 1];
        for (row, differing) in rows.clone().zip(&mut differing) {
            match is_admitted(row) {
                true => with_so_many[usize::from(*differing)] += 1,
                false => *differing = u16::MAX,
            }
        }
        let up_to = with_so_many.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let most = up_to.take_while(|&sum| sum < wanted).count();
        rows.zip(differing).filter(|&(_, differing)| usize::from(differing) <= most).map(|(row, _)| row).collect()
    }
}

fn word(signs: &mut impl Iterator<Item = bool>) -> u64 {
    signs.take(BITS).enumerate().fold(0, |word, (at, sign)| word | u64::from(sign) << at)
}

/// In how many signs each row differs from the query.
fn differ(query: &[u64], rows: &[u64], differing: &mut [u16]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor counts bits.
        return unsafe { differ_popcnt(query, rows, differing) };
    }
    differ_plain(query, rows, differing);
}

#[inline(always)]
fn differ_plain(query: &[u64], rows: &[u64], differing: &mut [u16]) {
    for (row, differing) in rows.chunks_exact(query.len()).zip(differing) {
        *differing = query.iter().zip(row).map(|(query, row)| (query ^ row).count_ones() as u16).sum();
    }
}

/// The same code, with the processor's own instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn differ_popcnt(query: &[u64], rows: &[u64], differing: &mut [u16]) {
    differ_plain(query, rows, differing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_counted_alike_on_every_processor() {
        let bits = |seed: u64| (1..=30u64).map(move |at| seed.wrapping_mul(at).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (query, rows): (Vec<u64>, Vec<u64>) = (bits(3).take(6).collect(), bits(5).collect());
        let (mut one, mut other) = ([0u16; 5], [0u16; 5]);
        differ(&query, &rows, &mut one);
        differ_plain(&query, &rows, &mut other);
        assert_eq!(one, other);
        let exact: u32 = query.iter().zip(&rows).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(u32::from(one[0]), exact);
    }
}
