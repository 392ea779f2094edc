//! Inline mode: somebody types `@bot words` in any chat and is offered passages to send. Queries come with every few
//! letters, so each person has one search at a time, and of what was typed meanwhile only the newest is searched next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::IgnoredAny;
use teloxide::payloads::{AnswerInlineQuery, AnswerInlineQuerySetters};
use teloxide::types::{
    InlineQueryId, InlineQueryResult, InlineQueryResultArticle, InputMessageContent, InputMessageContentText, ParseMode,
};
use tokio_util::sync::CancellationToken;

use super::calls::{Calls, Failure};
use super::decode::InlineQuery;
use super::render::{cut, escape};
use crate::domain::Principal;

const RESULTS_MAX: usize = 5;
/// Seconds for which Telegram may give the same answer to the same person: documents change.
const CACHE_SECONDS: u32 = 5;
/// Telegram takes no answer later than about this.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(10);
/// People who are searched for at the same time; others get nothing until they type on.
const PEOPLE_MAX: usize = 16;
const QUOTE_UNITS_MAX: usize = 3000;
const HEAD_UNITS_MAX: usize = 200;
const DESCRIPTION_UNITS_MAX: usize = 120;

/// Finds what inline mode offers.
pub trait Quotes: Send + Sync + 'static {
    /// The best passages that this person may see, best first. Nothing when the person may see nothing.
    fn quotes(&self, person: Principal, text: String) -> impl Future<Output = Vec<QuotedPassage>> + Send;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotedPassage {
    pub title: String,
    pub heading: String,
    /// Word for word from the document.
    pub quote: String,
    pub path: String,
}

pub(super) struct InlineDesk<Q> {
    calls: Calls,
    quotes: Arc<Q>,
    /// Who is searched for, and what they typed since.
    people: Mutex<HashMap<Principal, Option<InlineQuery>>>,
    stop: CancellationToken,
}

impl<Q: Quotes> InlineDesk<Q> {
    pub fn new(calls: Calls, quotes: Arc<Q>, stop: CancellationToken) -> Self {
        InlineDesk { calls, quotes, people: Mutex::default(), stop }
    }

    /// Takes a query; its answer goes to Telegram by itself.
    pub fn take(self: &Arc<Self>, query: InlineQuery) {
        let mut people = self.people();
        if let Some(waiting) = people.get_mut(&query.person) {
            *waiting = Some(query);
        } else if people.len() < PEOPLE_MAX {
            people.insert(query.person.clone(), None);
            tokio::spawn(Arc::clone(self).serve(query));
        }
    }

    /// Searches for one person until nothing newer was typed.
    async fn serve(self: Arc<Self>, first: InlineQuery) {
        let person = first.person.clone();
        let mut next = Some(first);
        while let Some(query) = next {
            let id = query.id.clone();
            let passages = self.search(query).await;
            // What was typed meanwhile makes this answer useless.
            if self.people().get(&person).is_some_and(Option::is_none) && !self.stop.is_cancelled() {
                self.answer(id, &passages).await;
            }
            let mut people = self.people();
            next = people.get_mut(&person).and_then(Option::take).filter(|_| !self.stop.is_cancelled());
            if next.is_none() {
                people.remove(&person);
            }
        }
    }

    async fn search(self: &Arc<Self>, query: InlineQuery) -> Vec<QuotedPassage> {
        if query.text.is_empty() {
            return Vec::new();
        }
        // A task of its own, so that a search that panics takes only itself down.
        let quotes = Arc::clone(&self.quotes);
        let mut search = tokio::spawn(async move { quotes.quotes(query.person, query.text).await });
        tokio::select! {
            outcome = tokio::time::timeout(SEARCH_TIMEOUT, &mut search) => match outcome {
                Ok(passages) => passages.unwrap_or_default(),
                Err(_) => {
                    search.abort();
                    Vec::new()
                }
            },
            () = self.stop.cancelled() => {
                search.abort();
                Vec::new()
            }
        }
    }

    async fn answer(&self, id: String, passages: &[QuotedPassage]) {
        let results = passages.iter().take(RESULTS_MAX).enumerate().map(|(at, passage)| article(at, passage));
        let answer = AnswerInlineQuery::new(InlineQueryId(id), results).cache_time(CACHE_SECONDS).is_personal(true);
        let outcome: Result<IgnoredAny, Failure> = self.calls.call(&answer).await;
        if let Err(failure) = outcome {
            // The person types on or has gone: nothing is tried again.
            tracing::debug!(reason = %super::start::told(failure), "an inline query was not answered");
        }
    }

    fn people(&self) -> MutexGuard<'_, HashMap<Principal, Option<InlineQuery>>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn article(at: usize, passage: &QuotedPassage) -> InlineQueryResult {
    let head = match (passage.title.trim(), passage.heading.trim()) {
        ("", "") => passage.path.clone(),
        (title, "") => title.to_owned(),
        ("", heading) => heading.to_owned(),
        (title, heading) => format!("{title} › {heading}"),
    };
    let head = cut(&head, HEAD_UNITS_MAX);
    let quote = escape(&cut(passage.quote.trim(), QUOTE_UNITS_MAX));
    let message = InputMessageContentText::new(format!("<blockquote>{quote}</blockquote>\n<i>{}</i>", escape(&head)))
        .parse_mode(ParseMode::Html)
        .link_preview_options(super::surface::no_preview());
    InlineQueryResultArticle::new(at.to_string(), head, InputMessageContent::Text(message))
        .description(cut(&passage.quote.split_whitespace().collect::<Vec<_>>().join(" "), DESCRIPTION_UNITS_MAX))
        .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::{Semaphore, mpsc};

    use super::super::fake::Fake;
    use super::*;
    use crate::domain::Platform;

    /// Tells what is searched and answers when it is let.
    struct Library {
        asked: mpsc::UnboundedSender<String>,
        gate: Semaphore,
    }

    impl Quotes for Library {
        async fn quotes(&self, _person: Principal, text: String) -> Vec<QuotedPassage> {
            self.asked.send(text.clone()).unwrap();
            self.gate.acquire().await.unwrap().forget();
            assert_ne!(text, "panic", "a search that panics");
            let passage = |n: usize| QuotedPassage {
                title: "Ferie".to_owned(),
                heading: format!("§ {n}"),
                quote: format!("{text} <{n}>"),
                path: "ferie.md".to_owned(),
            };
            (0..9).map(passage).collect()
        }
    }

    fn query(id: &str, person: &str, text: &str) -> InlineQuery {
        let person = Principal { platform: Platform::Telegram, id: person.to_owned() };
        InlineQuery { id: id.to_owned(), person, text: text.to_owned() }
    }

    struct Scene {
        fake: Fake,
        desk: Arc<InlineDesk<Library>>,
        library: Arc<Library>,
        asked: mpsc::UnboundedReceiver<String>,
    }

    async fn scene(permits: usize) -> Scene {
        let fake = Fake::start().await;
        let (sender, asked) = mpsc::unbounded_channel();
        let library = Arc::new(Library { asked: sender, gate: Semaphore::new(permits) });
        let calls = Calls::new(&fake.options()).unwrap();
        let desk = Arc::new(InlineDesk::new(calls, Arc::clone(&library), CancellationToken::new()));
        Scene { fake, desk, library, asked }
    }

    #[tokio::test]
    async fn five_passages_at_most_are_offered() {
        let scene = scene(1).await;
        scene.desk.take(query("1", "42", "ferie"));
        let answer = scene.fake.heard("AnswerInlineQuery", 1).await.remove(0);
        assert_eq!(
            (&answer["inline_query_id"], &answer["cache_time"], &answer["is_personal"]),
            (&json!("1"), &json!(5), &json!(true))
        );
        assert_eq!(answer["results"].as_array().unwrap().len(), 5);
        assert_eq!(
            answer["results"][1],
            json!({
                "type": "article", "id": "1", "title": "Ferie › § 1", "description": "ferie <1>",
                "input_message_content": {
                    "message_text": "<blockquote>ferie &lt;1&gt;</blockquote>\n<i>Ferie › § 1</i>",
                    "parse_mode": "HTML", "link_preview_options": {"is_disabled": true},
                },
            })
        );
    }

    #[tokio::test]
    async fn nothing_is_searched_for_nothing() {
        let mut scene = scene(1).await;
        scene.desk.take(query("1", "42", ""));
        let answer = scene.fake.heard("AnswerInlineQuery", 1).await.remove(0);
        assert_eq!(answer["results"], json!([]));
        assert!(scene.asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn while_one_search_runs_only_the_newest_query_waits() {
        let mut scene = scene(0).await;
        scene.desk.take(query("1", "42", "f"));
        assert_eq!(scene.asked.recv().await.unwrap(), "f");
        scene.desk.take(query("2", "42", "fe"));
        scene.desk.take(query("3", "42", "ferie"));
        // Somebody else does not wait for them.
        scene.desk.take(query("4", "43", "orari"));
        assert_eq!(scene.asked.recv().await.unwrap(), "orari");
        scene.library.gate.add_permits(3);
        assert_eq!(scene.asked.recv().await.unwrap(), "ferie");
        let answers = scene.fake.heard("AnswerInlineQuery", 2).await;
        let mut answered: Vec<_> = answers.iter().map(|answer| answer["inline_query_id"].as_str().unwrap()).collect();
        answered.sort_unstable();
        assert_eq!(answered, ["3", "4"]);
    }

    #[tokio::test]
    async fn a_search_that_panics_does_not_shut_its_person_out() {
        let scene = scene(2).await;
        scene.desk.take(query("1", "42", "panic"));
        assert_eq!(scene.fake.heard("AnswerInlineQuery", 1).await[0]["results"], json!([]));
        scene.desk.take(query("2", "42", "ferie"));
        assert_eq!(scene.fake.heard("AnswerInlineQuery", 2).await[1]["results"].as_array().unwrap().len(), 5);
    }
}
