//! The golden questions that a new index must answer as well as the live one.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::cli::eval::{EvalQuestion, mean, ndcg};
use crate::cli::output;
use crate::ingest::Admission;
use crate::retrieval::{Embedder, Generation, RetrievalError, Weights, search};

/// Hits among which a right document counts as found.
const FOUND_AT: usize = 5;

pub(super) struct Golden {
    questions: Vec<EvalQuestion>,
    embedder: Arc<Embedder>,
    difference: Mutex<Option<Difference>>,
}

/// What the live index and the next one make of the questions.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Difference {
    questions: usize,
    live: Figures,
    next: Figures,
    /// Questions whose ranking of the right documents got better, or worse.
    better: Vec<Moved>,
    worse: Vec<Moved>,
    admitted: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    recall_at_5: f64,
    ndcg_at_10: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Moved {
    id: String,
    /// Place of the first right document, from 1.
    live: Option<usize>,
    next: Option<usize>,
}

/// Of one question.
struct Outcome {
    first: Option<usize>,
    ndcg: f64,
}

impl Golden {
    /// # Errors
    /// The file is not one of questions, or none of them can be answered.
    pub fn read(file: &Path, embedder: Arc<Embedder>) -> anyhow::Result<Self> {
        let mut questions = EvalQuestion::read(file)?;
        questions.retain(|question| question.answerable);
        anyhow::ensure!(!questions.is_empty(), "{} holds no question that can be answered", file.display());
        Ok(Golden { questions, embedder, difference: Mutex::default() })
    }

    /// `None`: nothing was compared, because nothing has changed or there was nothing to compare with.
    pub fn into_difference(self) -> Option<Difference> {
        self.difference.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcomes(&self, generation: &Generation) -> Result<Vec<Outcome>, RetrievalError> {
        let outcome = |question: &EvalQuestion| {
            let hits = search(generation, &self.embedder, &question.query(Weights::default()))?.hits;
            let ranks = question.right_ranks(&hits);
            Ok(Outcome { first: ranks.first().copied(), ndcg: ndcg(&ranks, question.right_documents()) })
        };
        self.questions.iter().map(outcome).collect()
    }
}

impl Figures {
    fn of(outcomes: &[Outcome]) -> Self {
        let found = |outcome: &Outcome| f64::from(outcome.first.is_some_and(|place| place <= FOUND_AT));
        Figures {
            recall_at_5: mean(outcomes.iter().map(found)),
            ndcg_at_10: mean(outcomes.iter().map(|outcome| outcome.ndcg)),
        }
    }
}

impl Admission for Golden {
    fn admits(&self, next: &Generation, live: Option<&Generation>) -> Result<bool, RetrievalError> {
        let Some(live) = live else { return Ok(true) };
        let (of_live, of_next) = (self.outcomes(live)?, self.outcomes(next)?);
        let (live, next) = (Figures::of(&of_live), Figures::of(&of_next));
        let moved = |is_meant: &dyn Fn(f64, f64) -> bool| {
            let pairs = self.questions.iter().zip(of_live.iter().zip(&of_next));
            let meant = pairs.filter(|(_, (live, next))| is_meant(live.ndcg, next.ndcg));
            let moved = meant.map(|(question, (live, next))| Moved {
                id: question.id.clone(),
                live: live.first,
                next: next.first,
            });
            moved.collect::<Vec<_>>()
        };
        let difference = Difference {
            questions: self.questions.len(),
            live,
            next,
            better: moved(&|live, next| next > live),
            worse: moved(&|live, next| next < live),
            admitted: next.recall_at_5 >= live.recall_at_5 && next.ndcg_at_10 >= live.ndcg_at_10,
        };
        let admitted = difference.admitted;
        *self.difference.lock().unwrap_or_else(PoisonError::into_inner) = Some(difference);
        Ok(admitted)
    }
}

impl Difference {
    pub fn print(&self) -> anyhow::Result<()> {
        let Difference { questions, live, next, better, worse, .. } = self;
        output::line(format!(
            "{questions} golden questions: R@5 {:.3} -> {:.3}, nDCG@10 {:.3} -> {:.3}, {} better, {} worse",
            live.recall_at_5,
            next.recall_at_5,
            live.ndcg_at_10,
            next.ndcg_at_10,
            better.len(),
            worse.len()
        ))?;
        let place =
            |place: Option<usize>| place.map_or_else(|| "not found".to_owned(), |place| format!("place {place}"));
        for (what, moved) in [("better", better), ("worse", worse)] {
            for Moved { id, live, next } in moved {
                output::line(format!("  {what} {id}: {} -> {}", place(*live), place(*next)))?;
            }
        }
        Ok(())
    }
}
