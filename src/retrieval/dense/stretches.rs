//! Rows, divided among the cores.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::LazyLock;

/// From so many rows on they are worked on by all cores; below, starting threads costs more than it saves.
pub(super) const ROWS_PER_THREAD: usize = 1 << 14;

/// What `work` makes of each stretch of `0..rows`, in their order, all at the same time.
pub(super) fn each_stretch<T: Send>(rows: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let count = (rows / ROWS_PER_THREAD).clamp(1, *CORES);
    let length = rows.div_ceil(count);
    let stretch = |at: usize| (at * length).min(rows)..((at + 1) * length).min(rows);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..count)
            .map(|at| {
                scope.spawn({
                    let work = &work;
                    move || work(stretch(at))
                })
            })
            .collect();
        let first = work(stretch(0));
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        std::iter::once(first).chain(others).collect()
    })
}
