//! Every kernel against the plain one, and the plain one against f64 arithmetic on candle's dequantized weights.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use proptest::prelude::*;

use super::*;

const FORMATS: [(Format, GgmlDType); 5] = [
    (Format::Q4K, GgmlDType::Q4K),
    (Format::Q6K, GgmlDType::Q6K),
    (Format::Q8_0, GgmlDType::Q8_0),
    (Format::Q4_0, GgmlDType::Q4_0),
    (Format::Q4_1, GgmlDType::Q4_1),
];

#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    shape: Shape,
    seed: u64,
}

fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next() + next() + next()).collect()
}

/// 64-byte aligned bytes.
struct Buffer(Vec<[u64; 8]>, usize);

impl Buffer {
    fn packed(format: Format, shape: Shape, source: &[u8]) -> Self {
        let bytes = format.packed_bytes(shape.outputs, shape.inputs);
        let mut buffer = Self(vec![[0; 8]; bytes / 64 + 1], bytes);
        let groups = shape.outputs / OUTPUTS_PER_GROUP;
        let (first, rest) = (groups / 2, bytes / groups * (groups / 2));
        let (low, high) = buffer.bytes_mut().split_at_mut(rest);
        pack(format, source, shape, 0..first, low);
        pack(format, source, shape, first..groups, high);
        buffer
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes = self.1;
        // SAFETY: any bytes are valid u8 and u64.
        let (_, all, _) = unsafe { self.0.align_to_mut::<u8>() };
        let start = all.as_ptr().align_offset(64);
        &mut all[start..start + bytes]
    }
}

/// Weights and activations of a case.
struct Operands {
    weights: QTensor,
    packed: Buffer,
    rows: Vec<f32>,
}

impl Operands {
    fn of(format: Format, dtype: GgmlDType, case: Case) -> Self {
        let Case { rows, shape: Shape { outputs, inputs }, seed } = case;
        let weights = Tensor::from_vec(random(seed, outputs * inputs), (outputs, inputs), &Device::Cpu).unwrap();
        let weights = QTensor::quantize(&weights, dtype).unwrap();
        let packed = Buffer::packed(format, case.shape, &weights.data().unwrap());
        Operands { weights, packed, rows: random(seed + 1, rows * inputs) }
    }
}

fn quantized(format: Format, inputs: usize, rows: &[f32]) -> Activations {
    let count = rows.len() / inputs;
    let mut activations = Activations::with_capacity(count, inputs);
    activations.resize(format.blocks(), count, inputs);
    activations.quantize(rows);
    activations
}

fn product(isa: Isa, packed: &Packed, activations: &Activations) -> Vec<f32> {
    let (rows, outputs) = (activations.rows(), packed.shape().outputs);
    let mut out = vec![f32::NAN; rows * outputs];
    let view = OutputView::new(&mut out, rows, outputs);
    let (first, groups) = (packed.groups() / 3, packed.groups());
    for groups in [0..first, first..groups] {
        Product { weights: packed, activations, groups, out: &view }.compute(isa);
    }
    out
}

fn isas() -> impl Iterator<Item = Isa> {
    [Isa::Plain, Isa::Avx2, Isa::Avx512Vnni].into_iter().filter(|isa| isa.is_available())
}

/// The product with each of the processor's instructions, and the reference in f64.
fn products(format: Format, dtype: GgmlDType, case: Case) -> (Vec<(Isa, Vec<f32>)>, Vec<f64>) {
    let Case { rows, shape: Shape { outputs, inputs }, .. } = case;
    let Operands { weights, mut packed, rows: values } = Operands::of(format, dtype, case);
    let packed = Packed::new(format, case.shape, packed.bytes_mut()).unwrap();
    let activations = quantized(format, inputs, &values);

    let dequantized = weights.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
    let value = |row: usize, input: usize| {
        let cell = input / format.block_values() * rows + row;
        let value = activations.values()[cell * format.block_values() + input % format.block_values()];
        f64::from(value) * f64::from(activations.scales()[cell])
    };
    let dot = |row: usize, output: usize| -> f64 {
        (0..inputs).map(|input| value(row, input) * f64::from(dequantized[output][input])).sum()
    };
    let reference = (0..rows * outputs).map(|i| dot(i / outputs, i % outputs)).collect();
    (isas().map(|isa| (isa, product(isa, &packed, &activations))).collect(), reference)
}

/// What was read before a question, or together with others, may not change a bit of its answer.
#[test]
fn a_row_is_the_same_among_any_number_of_rows() {
    for (format, dtype) in FORMATS {
        let shape = Shape { outputs: 48, inputs: 512 };
        let mut operands = Operands::of(format, dtype, Case { rows: 70, shape, seed: 9 });
        let packed = Packed::new(format, shape, operands.packed.bytes_mut()).unwrap();
        for isa in isas() {
            let whole = product(isa, &packed, &quantized(format, shape.inputs, &operands.rows));
            for count in [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 23, 69] {
                let rows = &operands.rows[..count * shape.inputs];
                let part = product(isa, &packed, &quantized(format, shape.inputs, rows));
                assert_eq!(part, whole[..part.len()], "{format:?} {isa:?}, {count} rows");
            }
        }
    }
}

fn check(format: Format, dtype: GgmlDType, case: Case) {
    let (products, reference) = products(format, dtype, case);
    let largest = reference.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    for (isa, product) in products {
        for (i, (x, expected)) in product.iter().zip(&reference).enumerate() {
            let error = (f64::from(*x) - expected).abs();
            assert!(error <= 2e-6 * largest, "{format:?} {isa:?} {case:?} at {i}: {x} instead of {expected}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_kernel_computes_the_product(rows in 1_usize..20, groups in 1_usize..6, blocks in 1_usize..4, seed: u32) {
        for (format, dtype) in FORMATS {
            // An odd number of short blocks too, and more than a kernel's chunk of them.
            let inputs = blocks * if format.block_values() == 256 { 256 } else { 32 * (1 + seed as usize % 5) };
            let shape = Shape { outputs: groups * OUTPUTS_PER_GROUP, inputs };
            check(format, dtype, Case { rows, shape, seed: seed.into() });
        }
    }
}

#[test]
fn many_rows_are_computed_in_panels() {
    for (format, dtype) in FORMATS {
        check(format, dtype, Case { rows: 261, shape: Shape { outputs: 48, inputs: 512 }, seed: 3 });
    }
}

#[test]
fn extreme_values_do_not_overflow() {
    // All bits set: the largest quants and (for unsigned ones) scales, with f16 scales of 1; activations at +-127.
    let ones = [0x00, 0x3c];
    for (format, _) in FORMATS {
        let shape = Shape { outputs: 32, inputs: 512 };
        let mut source = vec![0xff; format.source_bytes(shape.outputs, shape.inputs)];
        let block_bytes = format.source_bytes(1, format.block_values());
        for block in source.chunks_exact_mut(block_bytes) {
            match format {
                Format::Q6K => block[208..210].copy_from_slice(&ones),
                Format::Q8_0 | Format::Q4_0 => block[..2].copy_from_slice(&ones),
                Format::Q4K | Format::Q4_1 => block[..4].copy_from_slice(&[ones, ones].concat()),
            }
            if format == Format::Q6K {
                // The lowest values, and the scale furthest from zero.
                block[..192].fill(0);
                block[192..208].fill(0x80);
            }
            if format == Format::Q8_0 {
                block[2..].fill(0x80);
            }
        }
        for rows in [1, 20] {
            let mut buffer = Buffer::packed(format, shape, &source);
            let packed = Packed::new(format, shape, buffer.bytes_mut()).unwrap();
            let mut activations = Activations::with_capacity(rows, shape.inputs);
            activations.resize(format.blocks(), rows, shape.inputs);
            for sign in [1.0, -1.0] {
                activations.quantize(&vec![127.0 * sign; rows * shape.inputs]);
                let mut results = Vec::new();
                for isa in [Isa::Plain, Isa::Avx2, Isa::Avx512Vnni].into_iter().filter(|isa| isa.is_available()) {
                    let mut out = vec![0.0; rows * shape.outputs];
                    let view = OutputView::new(&mut out, rows, shape.outputs);
                    Product { weights: &packed, activations: &activations, groups: 0..2, out: &view }.compute(isa);
                    results.push(out);
                }
                for result in &results {
                    for (x, expected) in result.iter().zip(&results[0]) {
                        assert!((x - expected).abs() <= expected.abs() * 1e-6, "{format:?}: {x} instead of {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn packed_weights_are_little_larger_than_the_file() {
    for (format, _) in FORMATS {
        for inputs in [768, 4096, 14336] {
            let (source, packed) = (format.source_bytes(64, inputs), format.packed_bytes(64, inputs));
            assert!(packed * 10 <= source * 11, "{format:?}: {packed} bytes from {source}");
        }
    }
}

#[test]
#[should_panic(expected = "group 0 is written twice")]
fn a_group_is_written_once() {
    let mut out = [0.0; 16];
    let view = OutputView::new(&mut out, 1, 16);
    view.claim(0..1);
    view.claim(0..1);
}
