//! Every instruction set against attention as the textbook writes it, in f64 over what the store holds.

use half::f16;
use proptest::prelude::*;

use super::dispatch::Isa;
use super::exp::exp2;
use super::simd::{Plain, Simd};
use super::*;
use crate::inference::kv::{BLOCK, KvFormat, KvShape, KvStore};

/// Reproducible values, roughly normal, from a counter.
fn noise(count: usize, seed: u64, size: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (0..4).map(|_| uniform()).sum::<f32>() * size * 1.7).collect()
}

fn element(bytes: &[u8], at: usize, scales: &[u8], position: usize, format: KvFormat) -> f64 {
    match format {
        KvFormat::F16 => f16::from_ne_bytes([bytes[2 * at], bytes[2 * at + 1]]).to_f64(),
        KvFormat::Int8 => {
            let scale: [u8; 4] = scales[4 * position..4 * position + 4].try_into().unwrap();
            f64::from(bytes[at] as i8) * f64::from(f32::from_ne_bytes(scale))
        }
    }
}

fn textbook(segment: &Segment<'_>, heads: Heads, q: &[f32]) -> Vec<f64> {
    let (size, shape) = (heads.head_size, segment.kv.shape());
    let mut out = vec![0.0; q.len()];
    for (chunk, out) in out.chunks_mut(size).enumerate() {
        let (row, head) = (chunk / heads.heads, chunk % heads.heads);
        let q = &q[chunk * size..(chunk + 1) * size];
        let lane = segment.kv.lane(segment.layer, head / heads.group());
        let key = |position: usize, dim: usize| {
            let at = position / BLOCK * BLOCK * size + dim * BLOCK + position % BLOCK;
            element(lane.keys, at, lane.key_scales, position, shape.format)
        };
        let value = |position: usize, dim: usize| {
            let at = position * shape.value_stride() + dim;
            element(lane.values, at, lane.value_scales, position, shape.format)
        };
        let score = |position: usize| {
            let dot: f64 = q.iter().enumerate().map(|(dim, q)| f64::from(*q) * key(position, dim)).sum();
            dot / (size as f64).sqrt()
        };
        let scores: Vec<f64> = (0..=segment.start + row).map(score).collect();
        let max = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
        let total: f64 = weights.iter().sum();
        for (dim, out) in out.iter_mut().enumerate() {
            *out =
                weights.iter().enumerate().map(|(position, weight)| weight * value(position, dim)).sum::<f64>() / total;
        }
    }
    out
}

#[derive(Clone, Copy, Debug)]
struct Case {
    heads: Heads,
    format: KvFormat,
    start: usize,
    rows: usize,
    seed: u64,
    /// Of the queries: large ones make one weight stand out.
    size: f32,
}

fn check(case: Case) {
    let Case { heads, format, start, rows, seed, size } = case;
    let Heads { kv_heads, head_size, .. } = heads;
    let (end, width) = (start + rows, kv_heads * head_size);
    let mut kv = KvStore::new(KvShape { layers: 2, kv_heads, head_size, capacity: end + 5, format }).unwrap();
    // What an earlier conversation left behind the filled positions must not matter.
    let stale = vec![3e4; (end + 5) * width];
    kv.write(1, 0, &stale, &stale);
    kv.write(1, 0, &noise(end * width, seed, 1.0), &noise(end * width, seed + 1, 1.0));
    let segment = Segment { kv: &kv, layer: 1, start, rows };
    let q = noise(rows * heads.width(), seed + 2, size);
    let expected = textbook(&segment, heads, &q);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; q.len()];
        let mut workspace = Workspace::with_isa(heads, isa);
        // Two runs, because the second one finds what the first one left in the workspace.
        for _ in 0..2 {
            Attention::new(segment, heads, &q, &mut out).attend_all(&mut workspace);
        }
        for (at, (found, expected)) in out.iter().zip(&expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(error < 2e-5 * f64::from(size.max(1.0)), "{isa:?} {case:?} at {at}: {found} instead of {expected}");
        }
    }
}

fn heads() -> impl Strategy<Value = Heads> {
    let sizes =
        prop_oneof![Just(256usize), Just(4), Just(8), Just(16), Just(32), Just(64), Just(80), Just(96), Just(128)];
    (1usize..=3, prop_oneof![1usize..=9, Just(13), Just(17)], sizes).prop_map(|(kv_heads, group, head_size)| Heads {
        heads: kv_heads * group,
        kv_heads,
        head_size,
    })
}

fn format() -> impl Strategy<Value = KvFormat> {
    prop_oneof![Just(KvFormat::F16), Just(KvFormat::Int8)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_row_is_what_the_textbook_says(
        heads in heads(), format in format(), start in 0usize..400, seed in 0u64..1000, size in 0.1f32..8.0
    ) {
        check(Case { heads, format, start, rows: 1, seed, size });
    }

    #[test]
    fn many_rows_are_what_the_textbook_says(
        heads in heads(), format in format(), start in 0usize..200, rows in 1usize..90, seed in 0u64..1000
    ) {
        check(Case { heads, format, start, rows, seed, size: 1.0 });
    }
}

#[test]
fn several_tiles_of_queries_are_what_the_textbook_says() {
    for (heads, kv_heads, head_size) in [(4, 1, 128), (9, 3, 64), (3, 1, 128), (4, 1, 64)] {
        for (start, rows) in [(0, 150), (131, 97)] {
            let heads = Heads { heads, kv_heads, head_size };
            check(Case { heads, format: KvFormat::F16, start, rows, seed: 7, size: 2.0 });
        }
    }
}

#[test]
fn items_may_run_on_several_threads() {
    let heads = Heads { heads: 8, kv_heads: 2, head_size: 64 };
    let shape = KvShape { layers: 1, kv_heads: 2, head_size: 64, capacity: 300, format: KvFormat::F16 };
    let mut kv = KvStore::new(shape).unwrap();
    kv.write(0, 0, &noise(300 * 128, 1, 1.0), &noise(300 * 128, 2, 1.0));
    let segment = Segment { kv: &kv, layer: 0, start: 50, rows: 250 };
    let q = noise(250 * 512, 3, 1.0);
    let (mut alone, mut together) = (vec![0.0; q.len()], vec![f32::NAN; q.len()]);
    Attention::new(segment, heads, &q, &mut alone).attend_all(&mut Workspace::new(heads));
    let attention = Attention::new(segment, heads, &q, &mut together);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let attention = &attention;
            scope.spawn(move || {
                let mut workspace = Workspace::new(heads);
                for item in (thread..attention.items()).step_by(2) {
                    // SAFETY: each item has one thread.
                    unsafe { attention.attend(item, &mut workspace) };
                }
            });
        }
    });
    assert!(alone == together);
}

#[test]
fn every_finite_f16_is_widened_exactly() {
    for value in (0..=u16::MAX).map(f16::from_bits).filter(|value| value.is_finite()) {
        // SAFETY: four values are there.
        let found = unsafe { Plain.load_f16([value; 4].as_ptr()) };
        assert_eq!(found.map(f32::to_bits), [value.to_f32().to_bits(); 4]);
    }
}

#[test]
fn powers_of_two_are_exact_to_one_millionth() {
    check_exp2(|x| exp2(Plain, [x; 4])[0]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn powers_of_two_are_exact_to_one_millionth_in_vectors() {
    for found in [avx512::exp2_avx512, avx2::exp2_avx2] {
        if found(0.0).is_some() {
            check_exp2(|x| found(x).unwrap());
        }
    }
}

fn check_exp2(found: impl Fn(f32) -> f32) {
    assert_eq!(found(0.0), 1.0);
    assert_eq!(found(f32::NEG_INFINITY), 0.0);
    assert_eq!(found(-127.0), 0.0);
    for step in 0..=1_260_000 {
        let x = -(step as f32) / 10_000.0;
        let (found, expected) = (f64::from(found(x)), f64::from(x).exp2());
        assert!((found / expected - 1.0).abs() < 1e-6, "2^{x} is {expected}, not {found}");
    }
}
