//! The memory of a step, taken once: neither prefill nor decode takes more while they run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::STEP_ROWS_MAX;
use crate::inference::attention;
use crate::inference::config::LlamaConfig;
use crate::inference::kernels::Activations;
use crate::inference::threads;

/// Activations of at most [`STEP_ROWS_MAX`] rows, row-major.
pub(super) struct Workspace {
    pub hidden: Vec<f32>,
    pub normed: Vec<f32>,
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
    /// What attention makes of the values, heads side by side.
    pub mixed: Vec<f32>,
    pub projected: Vec<f32>,
    pub gate: Vec<f32>,
    pub up: Vec<f32>,
    /// Cosines and sines of each row's position, half a head each.
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
    pub logits: Vec<f32>,
    pub activations: Activations,
    pub attention: AttentionWorkspaces,
}

impl Workspace {
    pub(super) fn new(config: &LlamaConfig) -> Self {
        let rows = |width: usize| vec![0.0; STEP_ROWS_MAX * width];
        let widest = config.embedding_size.max(config.feed_forward_size).max(config.q_width());
        Workspace {
            hidden: rows(config.embedding_size),
            normed: rows(config.embedding_size),
            q: rows(config.q_width()),
            k: rows(config.kv_width()),
            v: rows(config.kv_width()),
            mixed: rows(config.q_width()),
            projected: rows(config.embedding_size),
            gate: rows(config.feed_forward_size),
            up: rows(config.feed_forward_size),
            cos: Vec::new(),
            sin: Vec::new(),
            logits: Vec::new(),
            activations: Activations::with_capacity(STEP_ROWS_MAX, widest),
            attention: AttentionWorkspaces::new(config.heads()),
        }
    }
}

/// One for each thread.
pub(super) struct AttentionWorkspaces {
    all: Vec<Mutex<attention::Workspace>>,
    next: AtomicUsize,
}

impl AttentionWorkspaces {
    fn new(heads: attention::Heads) -> Self {
        let all = (0..threads()).map(|_| Mutex::new(attention::Workspace::new(heads))).collect();
        AttentionWorkspaces { all, next: AtomicUsize::new(0) }
    }

    /// One that nobody else uses; there are as many as threads, so a free one is found at once.
    pub(super) fn of_this_thread(&self) -> MutexGuard<'_, attention::Workspace> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for turn in 0..self.all.len() {
            if let Ok(workspace) = self.all[(first + turn) % self.all.len()].try_lock() {
                return workspace;
            }
        }
        self.all[first % self.all.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
