//! A thread that owns a model and serves one request after the other.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::RetrievalError;

/// The handle of such a thread. Dropping it stops and joins the thread.
pub(super) struct ModelThread<Q, A> {
    jobs: Option<mpsc::SyncSender<Job<Q, A>>>,
    thread: Option<JoinHandle<()>>,
    /// When the job began that is being done.
    began: Arc<Mutex<Option<Instant>>>,
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
        let began: Arc<Mutex<Option<Instant>>> = Arc::default();
        let of_thread = Arc::clone(&began);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let note = |began| *of_thread.lock().unwrap_or_else(PoisonError::into_inner) = began;
                for job in queue {
                    note(Some(Instant::now()));
                    let answer = serve(job.request);
                    note(None);
                    // The asker may have gone away; then nobody misses the answer.
                    let _ = job.reply.send(answer);
                }
            })
            .map_err(RetrievalError::file("start the thread of", model))?;
        Ok(ModelThread { jobs: Some(jobs), thread: Some(thread), began })
    }

    /// Whether the thread is gone, or has been at one job for longer than any takes.
    pub fn is_stuck(&self, job_max: Duration) -> bool {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        self.thread.as_ref().is_none_or(JoinHandle::is_finished) || began.is_some_and(|began| began.elapsed() > job_max)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_stuck_in_a_job_that_does_not_end_and_when_it_is_gone() {
        let (go, wait) = mpsc::channel::<()>();
        let (inside, begun) = mpsc::channel();
        let serve = move |request: &str| {
            assert_ne!(request, "panic");
            let _ = inside.send(());
            let _ = wait.recv();
            Ok(())
        };
        let thread = ModelThread::start("test", 1, Path::new("a model"), serve).unwrap();
        let (none, long) = (Duration::ZERO, Duration::from_secs(3600));
        assert!(!thread.is_stuck(none));
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| thread.ask("wait"));
            begun.recv().unwrap();
            assert!(thread.is_stuck(none) && !thread.is_stuck(long));
            go.send(()).unwrap();
            asked.join().unwrap().unwrap();
        });
        assert!(!thread.is_stuck(none));
        assert!(matches!(thread.ask("panic"), Err(RetrievalError::Stopped)));
        while !thread.is_stuck(long) {
            std::thread::yield_now();
        }
    }
}
