//! A thread that owns a model and serves one request after the other.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::RetrievalError;

/// The handle of such a thread. Dropping it stops and joins the thread.
pub(super) struct ModelThread<Q, A> {
    jobs: Option<mpsc::SyncSender<Job<Q, A>>>,
    thread: Option<JoinHandle<()>>,
}

struct Job<Q, A> {
    request: Q,
    reply: mpsc::SyncSender<Result<A, RetrievalError>>,
}

impl<Q: Send + 'static, A: Send + 'static> ModelThread<Q, A> {
    /// `queue_max`: requests that may wait; `model`: where it was loaded from, for the message when no thread can be started.
    pub fn start(
        name: &str,
        queue_max: usize,
        model: &Path,
        mut serve: impl FnMut(Q) -> Result<A, RetrievalError> + Send + 'static,
    ) -> Result<Self, RetrievalError> {
        let (jobs, queue) = mpsc::sync_channel::<Job<Q, A>>(queue_max);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for job in queue {
                    // The asker may have gone away; then nobody misses the answer.
                    let _ = job.reply.send(serve(job.request));
                }
            })
            .map_err(RetrievalError::file("start the thread of", model))?;
        Ok(ModelThread { jobs: Some(jobs), thread: Some(thread) })
    }

    /// # Errors
    /// `Busy` when too many requests wait, `Stopped` when the thread is gone, what serving returns.
    pub fn ask(&self, request: Q) -> Result<A, RetrievalError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or(RetrievalError::Stopped)?;
        jobs.try_send(Job { request, reply }).map_err(|refused| match refused {
            mpsc::TrySendError::Full(_) => RetrievalError::Busy,
            mpsc::TrySendError::Disconnected(_) => RetrievalError::Stopped,
        })?;
        answer.recv().map_err(|_| RetrievalError::Stopped)?
    }
}

impl<Q, A> Drop for ModelThread<Q, A> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
