//! A fault of the program in the middle of an answer.

use std::sync::Arc;

use cervella::answer::AnswerEvent;
use cervella::domain::{Question, Reader};
use cervella::retrieval::{IndexStore, Precision, Searcher};
use tokio_util::sync::CancellationToken;

use crate::scripted_model::answerer;
use crate::support::{embedder, handbook};

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_is_told_and_the_next_question_is_answered() {
    let (Some(data), Some(embedder)) = (handbook(), embedder(Precision::Int8)) else { return };
    let searcher = Searcher::open(IndexStore::new(data.join("index")), Arc::new(embedder)).expect("the index opens");
    // As many as may be asked at a time, and one more: none keeps its place.
    let answerer = answerer(&Arc::new(searcher), |_| panic!("the model is broken"));
    for _ in 0..5 {
        let question = Question::new("Quanti giorni di ferie ho all'anno?", Reader::Operator);
        let mut events = answerer.ask(question, CancellationToken::new());
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        let Some(AnswerEvent::Failed { message, trace_id }) = last else { panic!("the answer ended with {last:?}") };
        assert!(message.starts_with("Non sono riuscito a rispondere") && trace_id.len() == 8, "{message} {trace_id}");
    }
}
