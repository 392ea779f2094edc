//! The product as it is defined, value by value. Every faster kernel is tested against it.

use half::f16;

use super::Product;
use super::layout::{Group, Layout, OUTPUTS_PER_GROUP, min_at, quant};

pub(super) fn matmul<L: Layout>(product: &Product) {
    let inputs = product.weights.shape.inputs;
    for group in product.groups.clone() {
        let weights = Group::of::<L>(product.weights.bytes, inputs, group);
        for row in 0..product.activations.rows() {
            for output in 0..OUTPUTS_PER_GROUP {
                let sum: f32 = (0..inputs / L::BLOCK)
                    .map(|block| block_product::<L>(product, &weights, [row, output, block]))
                    .sum();
                // SAFETY: `compute` claimed the group and checked the shapes.
                unsafe { *product.out.at(row, group * OUTPUTS_PER_GROUP).add(output) = sum };
            }
        }
    }
}

fn block_product<L: Layout>(product: &Product, weights: &Group, [row, output, block]: [usize; 3]) -> f32 {
    let record = &weights.scales[block * L::SCALE_BYTES..][..L::SCALE_BYTES];
    let quants = &weights.quants[block * L::QUANT_BYTES..][..L::QUANT_BYTES];
    let half = |at: usize| f16::from_le_bytes([record[at], record[at + 1]]).to_f32();
    let cell = block * product.activations.rows() + row;
    let values = &product.activations.values()[cell * L::BLOCK..][..L::BLOCK];

    let (mut total, mut min_total) = (0, 0);
    for (sub, values) in values.chunks_exact(L::SUB).enumerate() {
        let (scale, min) = if L::SUBS > 1 {
            let scale = i32::from(record[sub * OUTPUTS_PER_GROUP + output] as i8);
            (scale, if L::MINS { -i32::from(record[min_at::<L>(sub, output)]) } else { 0 })
        } else {
            (1, 1)
        };
        let dot = |value: (usize, &i8)| {
            (i32::from(quant::<L>(quants, output, sub * L::SUB + value.0)) - L::OFFSET) * i32::from(*value.1)
        };
        total += scale * values.iter().enumerate().map(dot).sum::<i32>();
        min_total += min * values.iter().map(|&value| i32::from(value)).sum::<i32>();
    }
    let d_at = L::D_AT + output * 2;
    let mut sum = half(d_at) * total as f32;
    if L::MINS {
        sum += half(d_at + 2 * OUTPUTS_PER_GROUP) * min_total as f32;
    }
    sum * product.activations.scales()[cell]
}
