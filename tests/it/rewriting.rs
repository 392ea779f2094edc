//! A short message in a thread that finds nothing is looked for as the model says it, with the question before it.

use std::sync::Arc;

use cervella::answer::{AnswerEvent, Answerer};
use cervella::domain::{Answer, Question, Reader, Verdict};
use cervella::inference::ChatMessage;
use cervella::retrieval::{IndexStore, Precision, Searcher};
use tokio_util::sync::CancellationToken;

use crate::scripted_model;
use crate::support::{embedder, handbook};

const BEFORE: &str = "Who approves travel?";
const SHORT: &str = "Switzerland?";
const WHOLE: &str = "Who approves travel to Switzerland?";

/// Answers of a model that writes a question anew like this, and else that it does not know.
fn answerer(searcher: &Arc<Searcher>, rewritten: &'static str) -> Arc<Answerer> {
    let is_to_rewrite = |messages: &[ChatMessage]| messages.iter().any(|message| message.content.contains(BEFORE));
    let writes =
        move |messages: &[ChatMessage]| if is_to_rewrite(messages) { rewritten } else { "It is so." }.to_owned();
    scripted_model::answerer(searcher, writes)
}

async fn answer(answerer: &Arc<Answerer>) -> Answer {
    let question = Question { after: Some(BEFORE.to_owned()), ..Question::new(SHORT, Reader::Operator) };
    let mut events = answerer.ask(question, CancellationToken::new());
    while let Some(event) = events.recv().await {
        match event {
            AnswerEvent::Done(answer) => return *answer,
            AnswerEvent::Failed { message, .. } => panic!("{message}"),
            _ => {}
        }
    }
    panic!("no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_nothing_is_looked_for_in_the_words_of_the_thread_and_in_no_others() {
    let (Some(data), Some(embedder)) = (handbook(), embedder(Precision::Int8)) else { return };
    let searcher = Searcher::open(IndexStore::new(data.join("index")), Arc::new(embedder)).expect("the index opens");
    let searcher = Arc::new(searcher);
    let found = answer(&answerer(&searcher, WHOLE)).await;
    assert_eq!(found.verdict, Verdict::Answered, "{}", found.text);
    assert_eq!(found.question.as_deref(), Some(WHOLE));
    assert!(found.timings_ms.rewrite.is_some());
    assert!(found.citations.iter().any(|citation| citation.path.contains("travel")), "{}", found.text);
    // It leaves the question out, brings a word of its own, answers, or says the same again.
    for wrong in [BEFORE, "Who approves travel to Switzerland by train?", "The CFO approves it.", SHORT, ""] {
        let answer = answer(&answerer(&searcher, wrong)).await;
        assert_eq!((answer.verdict, answer.question), (Verdict::Abstained, None), "{wrong}");
    }
}
