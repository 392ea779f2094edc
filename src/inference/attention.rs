//! Causal attention of new positions over everything in the cache, grouped queries without repeated keys or values.

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};

use super::rows::for_rows;

/// Attention of `count` new queries over `len` positions, of which the last `count` are the queries' own.
///
/// Shapes: `q` is `(heads, count, head_size)`, contiguous; `keys` and `values` are `(len, kv_heads, head_size)` with
/// unit stride in the head. Returns `(count, heads * head_size)`.
///
/// One row goes through candle-nn's flash attention, which reads keys and values once without writing scores; for
/// more rows two matrix products per key head are several times faster than it.
pub(crate) fn attend(q: &Tensor, keys: &Tensor, values: &Tensor) -> candle_core::Result<Tensor> {
    let (heads, count, head_size) = q.dims3()?;
    let (len, kv_heads, _) = keys.dims3()?;
    let scale = 1.0 / (head_size as f32).sqrt();
    if count == 1 {
        let q = q.reshape((1, 1, heads, head_size))?;
        let (keys, values) = (keys.unsqueeze(0)?, values.unsqueeze(0)?);
        let mask = AttnMask::causal_with_offset(len - 1);
        let out = flash_attn::<f32>(&q, &keys, &values, scale, mask, None, None)?;
        return out.reshape((1, heads * head_size));
    }
    let group = heads / kv_heads;
    let q = q.reshape((kv_heads, group * count, head_size))?;
    let softmax = CausalSoftmax { scale, queries: count };
    let mut outs = Vec::with_capacity(kv_heads);
    for head in 0..kv_heads {
        let keys = keys.narrow(1, head, 1)?.squeeze(1)?;
        let values = values.narrow(1, head, 1)?.squeeze(1)?;
        let scores = q.get(head)?.matmul(&keys.t()?)?;
        scores.inplace_op1(&softmax)?;
        outs.push(scores.matmul(&values)?.reshape((group, count, head_size))?);
    }
    Tensor::cat(&outs, 0)?.transpose(0, 1)?.contiguous()?.reshape((count, heads * head_size))
}

/// Scale, causal mask and softmax in one pass over scores of shape `(groups * queries, len)`, in place: row `r` is
/// query `r % queries`, and the last query sees all `len` positions.
struct CausalSoftmax {
    scale: f32,
    queries: usize,
}

impl InplaceOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal-softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (_, len) = layout.shape().dims2()?;
        let (CpuStorage::F32(scores), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("scores have to be contiguous f32");
        };
        for_rows(&mut scores[start..end], len, |row, scores| {
            let seen = len - self.queries + row % self.queries + 1;
            let (seen, hidden) = scores.split_at_mut(seen);
            softmax(seen, self.scale);
            hidden.fill(0.0);
        });
        Ok(())
    }
}

fn softmax(scores: &mut [f32], scale: f32) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = ((*score - max) * scale).exp();
        sum += *score;
    }
    let norm = 1.0 / sum;
    scores.iter_mut().for_each(|score| *score *= norm);
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, IndexOp};

    use super::*;

    /// Attention as the textbook writes it, one head and one query at a time.
    fn plain(q: &Tensor, keys: &Tensor, values: &Tensor) -> Vec<f32> {
        let (heads, count, head_size) = q.dims3().unwrap();
        let (len, kv_heads, _) = keys.dims3().unwrap();
        let mut out = Vec::new();
        for query in 0..count {
            for head in 0..heads {
                let row = |tensor: &Tensor, at: usize| -> Vec<f32> {
                    tensor.i((at, head / (heads / kv_heads))).unwrap().to_vec1().unwrap()
                };
                let q: Vec<f32> = q.i((head, query)).unwrap().to_vec1().unwrap();
                let seen = len - count + query + 1;
                let dot = |key: Vec<f32>| q.iter().zip(key).map(|(q, k)| f64::from(q * k)).sum::<f64>();
                let scores: Vec<f64> = (0..seen).map(|at| dot(row(keys, at)) / (head_size as f64).sqrt()).collect();
                let weights: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
                let total: f64 = weights.iter().sum();
                for dim in 0..head_size {
                    let sum: f64 = (0..seen).map(|at| weights[at] * f64::from(row(values, at)[dim])).sum();
                    out.push((sum / total) as f32);
                }
            }
        }
        out
    }

    fn check(heads: usize, kv_heads: usize, count: usize, len: usize) {
        let random = |shape: (usize, usize, usize)| Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap();
        let q = random((heads, count, 16));
        let (keys, values) = (random((len, kv_heads, 16)), random((len, kv_heads, 16)));
        let expected = plain(&q, &keys, &values);
        let found = attend(&q, &keys, &values).unwrap();
        assert_eq!(found.dims(), [count, heads * 16]);
        let found: Vec<f32> = found.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
    }

    #[test]
    fn one_row_is_what_the_textbook_says() {
        check(4, 4, 1, 1);
        check(6, 2, 1, 37);
    }

    #[test]
    fn many_rows_are_what_the_textbook_says() {
        check(4, 4, 5, 5);
        check(6, 2, 7, 40);
        check(9, 3, 33, 64);
    }
}
