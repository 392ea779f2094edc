//! One queue for each thread: what was said in a thread is worked on in its order, and threads do not wait for each
//! other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use super::question_key;
use crate::chat::event::ChatEvent;
use crate::domain::Thread;
use crate::store::{InboxId, QuestionKey};

/// An event of the inbox that is to be worked on.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: InboxId,
    pub(super) event: ChatEvent,
}

#[derive(Default)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<Thread, Lane>>,
}

struct Lane {
    /// The message that is worked on.
    current: Option<QuestionKey>,
    waiting: VecDeque<Job>,
}

impl Lanes {
    /// Jobs that wait or are worked on.
    pub(super) fn len(&self) -> usize {
        self.lock().values().map(|lane| lane.waiting.len() + 1).sum()
    }

    /// Puts a job into its thread's queue; `work` is called for each job of the thread, one after the other.
    pub(super) fn push<F, W>(self: &Arc<Self>, thread: Thread, job: Job, tasks: &TaskTracker, work: W)
    where
        W: Fn(Job) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get_mut(&thread) {
            lane.waiting.push_back(job);
            return;
        }
        lanes.insert(thread.clone(), Lane { current: job.question(), waiting: VecDeque::new() });
        drop(lanes);
        let lanes = Arc::clone(self);
        tasks.spawn(async move {
            let mut next = Some(job);
            while let Some(job) = next {
                work(job).await;
                next = lanes.next(&thread);
            }
        });
    }

    /// The thread in which a message waits or is worked on.
    pub(super) fn thread_of(&self, question: &QuestionKey) -> Option<Thread> {
        let lanes = self.lock();
        let found = lanes.iter().find(|(_, lane)| {
            lane.current.as_ref() == Some(question)
                || lane.waiting.iter().any(|job| job.question().as_ref() == Some(question))
        });
        found.map(|(thread, _)| thread.clone())
    }

    /// Takes a message that nobody has begun to work on out of its queue.
    pub(super) fn take_waiting(&self, question: &QuestionKey) -> Option<InboxId> {
        self.lock().values_mut().find_map(|lane| {
            let at = lane.waiting.iter().position(|job| job.question().as_ref() == Some(question))?;
            lane.waiting.remove(at).map(|job| job.id)
        })
    }

    /// The next job of a thread; without one, the thread's queue is gone.
    fn next(&self, thread: &Thread) -> Option<Job> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(thread)?;
        let job = lane.waiting.pop_front();
        match &job {
            Some(job) => lane.current = job.question(),
            None => drop(lanes.remove(thread)),
        }
        job
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Thread, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// The message of the job, if it is one that asks.
    fn question(&self) -> Option<QuestionKey> {
        match &self.event {
            ChatEvent::Message(message) | ChatEvent::Edited(message) => Some(question_key(message)),
            _ => None,
        }
    }
}
