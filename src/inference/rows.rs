//! Work over the rows of a matrix in place, spread over candle's own threads.

use std::sync::{Mutex, PoisonError};

use candle_core::utils::barrier_pool;

/// Below this many values the work is done sooner than a second thread is awake.
const SERIAL_VALUES_MAX: usize = 16 * 1024;
/// Parts for each thread, so that one that was held up does not hold up the others.
const PARTS_PER_THREAD: usize = 4;

/// Calls `work(row, values)` for every row of `width` values in `data`, in no particular order.
pub(crate) fn for_rows(data: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let pool = barrier_pool();
    let threads = pool.n_workers() + 1;
    if data.len() < SERIAL_VALUES_MAX || threads == 1 {
        data.chunks_exact_mut(width).enumerate().for_each(|(row, values)| work(row, values));
        return;
    }
    let part_rows = (data.len() / width).div_ceil(threads * PARTS_PER_THREAD).max(1);
    let parts: Vec<_> = data.chunks_mut(part_rows * width).map(Mutex::new).collect();
    pool.execute_chunked(parts.len(), |range| {
        for part in range {
            // No two calls get the same part: the lock only hands the borrow over to the thread.
            let mut rows = parts[part].lock().unwrap_or_else(PoisonError::into_inner);
            rows.chunks_exact_mut(width).enumerate().for_each(|(row, values)| work(part * part_rows + row, values));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_with_its_number() {
        for (rows, width) in [(1, 3), (7, 5), (1000, 64), (4099, 17)] {
            let mut data = vec![0f32; rows * width];
            for_rows(&mut data, width, |row, values| values.iter_mut().for_each(|value| *value += row as f32 + 1.0));
            for (row, values) in data.chunks(width).enumerate() {
                assert!(values.iter().all(|&value| value == row as f32 + 1.0), "row {row} of {rows}x{width}");
            }
        }
    }
}
