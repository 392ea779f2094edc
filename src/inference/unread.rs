//! What is to be read of a prompt: runs of its positions.

use std::collections::VecDeque;
use std::ops::Range;

/// Runs of positions in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unread(VecDeque<Range<usize>>);

impl Unread {
    pub(super) fn new(runs: Vec<Range<usize>>) -> Self {
        Unread(runs.into_iter().filter(|run| !run.is_empty()).collect())
    }

    /// Positions together.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    /// The runs of the next positions, at most `rows`.
    pub(super) fn next(&self, rows: usize) -> Vec<Range<usize>> {
        let mut left = rows;
        let runs = self.0.iter().map(|run| {
            let rows = run.len().min(left);
            left -= rows;
            run.start..run.start + rows
        });
        runs.filter(|run| !run.is_empty()).collect()
    }

    /// The next `rows` positions were read.
    pub(super) fn read(&mut self, mut rows: usize) {
        while let Some(run) = self.0.front_mut().filter(|_| rows > 0) {
            let read = run.len().min(rows);
            run.start += read;
            rows -= read;
            if Range::is_empty(run) {
                self.0.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_read_in_their_order_and_cut_where_a_step_ends() {
        let mut unread = Unread::new(vec![2..5, 5..5, 9..12]);
        assert_eq!((unread.len(), unread.next(4)), (6, vec![2..5, 9..10]));
        unread.read(4);
        assert_eq!((unread.len(), unread.next(9).as_slice()), (2, std::slice::from_ref(&(10..12))));
        unread.read(2);
        assert_eq!((unread.len(), unread.next(9)), (0, Vec::new()));
    }
}
