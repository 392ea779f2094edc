//! Products of activations with weight matrices, spread over the threads: packed matrices go through our kernels, all
//! others through candle.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::utils::barrier_pool;
use candle_core::{Device, Module, Tensor};

use super::error::Result;
use super::kernels::{self, Activations, Blocks, OutputView};
use super::packed::PackedMatrix;

/// Rows from which on they are quantized on all threads.
const PARALLEL_ROWS_MIN: usize = 4;

/// Weights of shape `(outputs, inputs)`.
pub(super) enum Matrix {
    Packed(PackedMatrix),
    /// A storage type, or a processor, that the kernels are not made for.
    Candle(QMatMul),
}

impl Matrix {
    pub(super) fn candle(weights: Arc<QTensor>) -> Self {
        Matrix::Candle(QMatMul::QTensor(weights))
    }
}

/// One product: `out = input x weights^T`, `(rows, outputs)`.
pub(super) struct Product<'a> {
    pub weights: &'a Matrix,
    pub out: &'a mut [f32],
}

/// Computes products that share their `input` of shape `(rows, inputs)`, which is rounded once for all of them.
pub(super) fn multiply(
    input: &[f32],
    rows: usize,
    activations: &mut Activations,
    products: &mut [Product<'_>],
) -> Result<()> {
    for blocks in [Blocks::Of256, Blocks::Of32] {
        let packed = products.iter_mut().filter_map(|product| match product.weights {
            Matrix::Packed(weights) => {
                Some((weights.view(), &mut *product.out)).filter(|(w, _)| w.format().blocks() == blocks)
            }
            Matrix::Candle(_) => None,
        });
        let work: Vec<(kernels::Packed<'_>, OutputView<'_>)> =
            packed.map(|(weights, out)| (weights, OutputView::new(out, rows, weights.shape().outputs))).collect();
        if !work.is_empty() {
            quantize(input, rows, blocks, activations);
            multiply_packed(activations, &work);
        }
    }
    for Product { weights, out } in products {
        if let Matrix::Candle(weights) = weights {
            let input = Tensor::from_slice(input, (rows, input.len() / rows), &Device::Cpu)?;
            let product: Vec<f32> = weights.forward(&input)?.flatten_all()?.to_vec1()?;
            out.copy_from_slice(&product);
        }
    }
    Ok(())
}

fn quantize(input: &[f32], rows: usize, blocks: Blocks, activations: &mut Activations) {
    let inputs = input.len() / rows;
    activations.resize(blocks, rows, inputs);
    if rows < PARALLEL_ROWS_MIN {
        return activations.quantize(input);
    }
    let parts = activations.row_parts();
    barrier_pool().execute_chunked(rows, |range| {
        parts.quantize(range.clone(), &input[range.start * inputs..range.end * inputs]);
    });
}

/// The groups of all products one after the other, so that small matrices share a round of the threads.
fn multiply_packed(activations: &Activations, work: &[(kernels::Packed<'_>, OutputView<'_>)]) {
    let groups: usize = work.iter().map(|(weights, _)| weights.groups()).sum();
    barrier_pool().execute_chunked(groups, |range| {
        let mut before = 0;
        for (weights, out) in work {
            let (start, end) = (before, before + weights.groups());
            before = end;
            let mine = range.start.max(start)..range.end.min(end);
            if !mine.is_empty() {
                kernels::matmul(weights, activations, mine.start - start..mine.end - start, out);
            }
        }
    });
}
