//! A vector in 8 bits, and its product with a query in 16.

/// `values` times `scale` is the vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::retrieval) struct Row<'a> {
    pub values: &'a [i8],
    pub scale: f32,
}

/// A [`Row`] on its own.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::retrieval) struct OwnedRow {
    pub values: Vec<i8>,
    pub scale: f32,
}

impl OwnedRow {
    pub(in crate::retrieval) fn of(vector: &[f32]) -> Self {
        let scale = largest(vector) / ROW_MAX;
        OwnedRow { values: vector.iter().map(|value| (value / scale).round() as i8).collect(), scale }
    }

    /// From its scale, little endian, and its values.
    pub(in crate::retrieval) fn from_bytes(bytes: &[u8]) -> Self {
        let (scale, values) = bytes.split_at(4);
        OwnedRow { values: as_i8(values).to_vec(), scale: f32::from_le_bytes(scale.try_into().expect("four bytes")) }
    }

    pub(in crate::retrieval) fn as_row(&self) -> Row<'_> {
        Row { values: &self.values, scale: self.scale }
    }
}

/// A query in 16 bits, so that all that is lost is lost in the rows.
pub(super) struct QueryRow {
    values: Vec<i16>,
    scale: f32,
}

/// Largest value of a row, either sign.
const ROW_MAX: f32 = 127.0;
/// Largest value of a query: with as many dimensions as any model has, the sum of products stays below 2^31.
const QUERY_MAX: f32 = 4095.0;
const _: () = assert!(ROW_MAX as i64 * QUERY_MAX as i64 * 4096 < i32::MAX as i64);

impl QueryRow {
    pub(super) fn of(vector: &[f32]) -> Self {
        let scale = largest(vector) / QUERY_MAX;
        let values = vector.iter().map(|value| (value / scale).round() as i16).collect();
        QueryRow { values, scale }
    }

    /// In parts of its scale.
    pub(super) fn values(&self) -> &[i16] {
        &self.values
    }
}

fn largest(vector: &[f32]) -> f32 {
    vector.iter().fold(f32::EPSILON, |largest, value| largest.max(value.abs()))
}

/// The way in which this processor multiplies.
#[derive(Clone, Copy)]
pub(super) enum Scan {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Scan {
    pub(super) fn of_this_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Scan::Avx2;
        }
        Scan::Plain
    }

    /// Inner product of a query and a row, in parts of the row's scale.
    #[inline]
    pub(super) fn product(self, query: &QueryRow, row: &[i8]) -> f32 {
        let sum = match self {
            Scan::Plain => sum(&query.values, row),
            // SAFETY: the variant is only made where the processor has AVX2.
            #[cfg(target_arch = "x86_64")]
            Scan::Avx2 => unsafe { sum_avx2(&query.values, row) },
        };
        sum as f32 * query.scale
    }
}

#[inline(always)]
fn sum(query: &[i16], row: &[i8]) -> i32 {
    query.iter().zip(row).map(|(&query, &row)| i32::from(query) * i32::from(i16::from(row))).sum()
}

/// The same code, for which the compiler may use wider registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(query: &[i16], row: &[i8]) -> i32 {
    sum(query, row)
}

pub(super) fn as_i8(bytes: &[u8]) -> &[i8] {
    // SAFETY: the types have the same size and every bit pattern is valid for both.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

pub(super) fn as_u8(values: &[i8]) -> &[u8] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    }

    #[test]
    fn the_largest_sums_fit() {
        let vector = vec![1.0; 4096];
        let row = OwnedRow::of(&vector);
        let product = Scan::of_this_processor().product(&QueryRow::of(&vector), &row.values) * row.scale;
        assert!((product - 4096.0).abs() < 1.0, "{product}");
    }

    #[test]
    fn a_vector_of_zeros_stays_one() {
        let row = OwnedRow::of(&[0.0; 4]);
        assert_eq!(row.values, [0; 4]);
        assert_eq!(Scan::Plain.product(&QueryRow::of(&[0.0; 4]), &row.values), 0.0);
    }

    proptest! {
        #[test]
        fn products_are_close_and_the_same_on_every_processor(
            pair in proptest::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 1..400),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pair.into_iter().unzip();
            let OwnedRow { values: row, scale } = OwnedRow::of(&b);
            let query = QueryRow::of(&a);
            let product = Scan::of_this_processor().product(&query, &row);
            prop_assert_eq!(product, Scan::Plain.product(&query, &row));
            let bound = 0.005 * exact(&a, &a).sqrt() * exact(&b, &b).sqrt().max(1.0) * (a.len() as f64).sqrt();
            prop_assert!((f64::from(product * scale) - exact(&a, &b)).abs() <= bound.max(1e-3));
        }
    }
}
