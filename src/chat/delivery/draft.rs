//! What should stand in the chat: the events of an answer become messages, the newest state replaces the one before.

use tokio::sync::{mpsc, watch};

use super::markup::split;
use super::{Content, Source};
use crate::answer::AnswerEvent;
use crate::chat::event::Button;
use crate::domain::{Answer, Citation, GivenAnswer, Language, PassageId, QuestionKey, Verdict};

/// The messages that should stand in the chat.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Draft {
    pub contents: Vec<Content>,
    pub state: DraftState,
    /// The quotes that the text rests on, for those who ask for them.
    pub quotes: String,
    /// The passages that these stand in.
    pub cited: Vec<PassageId>,
    /// The answer, if it may be given again to whoever asks the same.
    pub answer: Option<GivenAnswer>,
    /// The question that it was given to first, if people confirmed it there.
    pub copy_of: Option<QuestionKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DraftState {
    /// More is to come; what is there may be left out when the platform is slow.
    #[default]
    Growing,
    /// This is what must arrive.
    Whole,
    /// Nothing more comes, and this is not the end of it: the process is going down.
    Abandoned,
}

impl Draft {
    /// One message that is whole from the start.
    pub fn said(markdown: String, language: Language) -> Self {
        let content = Content { markdown, language: Some(language), last: true, ..Content::default() };
        Draft { contents: vec![content], state: DraftState::Whole, ..Draft::default() }
    }

    /// A text of any length that is whole from the start.
    pub fn said_in_parts(markdown: &str, language: Language, characters_max: usize) -> Self {
        let form = Form { characters_max, preface: None };
        let mut contents = form.contents(markdown, language);
        for content in &mut contents {
            content.last = true;
        }
        Draft { contents, state: DraftState::Whole, ..Draft::default() }
    }

    /// One message that goes on.
    pub fn growing(markdown: String, language: Language) -> Self {
        let content = Content { markdown, language: Some(language), ..Content::default() };
        Draft { contents: vec![content], state: DraftState::Growing, ..Draft::default() }
    }
}

/// What a delivered answer came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Answered(Box<Answer>),
    Failed {
        trace_id: String,
    },
    /// Stopped before it was whole.
    Stopped,
}

/// How the messages of an answer are made.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// Of one message.
    pub characters_max: usize,
    /// Stands above the answer: the question, where nobody can see it otherwise.
    pub preface: Option<String>,
}

impl Form {
    fn contents(&self, markdown: &str, language: Language) -> Vec<Content> {
        let prefaced = self.preface.as_ref().map(|preface| format!("{preface}\n\n{markdown}"));
        let markdown = prefaced.as_deref().unwrap_or(markdown);
        let part = |markdown| Content { markdown, language: Some(language), ..Content::default() };
        split(markdown, self.characters_max).into_iter().map(part).collect()
    }
}

/// Turns the events of one answer into drafts until the last one.
pub async fn write(mut events: mpsc::Receiver<AnswerEvent>, form: &Form, drafts: &watch::Sender<Draft>) -> Ending {
    let mut growing = Growing::default();
    while let Some(event) = events.recv().await {
        match event {
            AnswerEvent::Started { language, .. } => growing.language = Some(language),
            AnswerEvent::Quote(citation) => growing.quote = Some(citation),
            AnswerEvent::Waiting { ahead, seconds } => growing.waiting = Some((ahead, seconds)),
            AnswerEvent::Text(text) => growing.text.push_str(&text),
            AnswerEvent::Done(answer) => {
                drafts.send_replace(whole(&answer, form));
                return Ending::Answered(answer);
            }
            AnswerEvent::Failed { message, trace_id } => {
                let language = growing.language.unwrap_or(Language::English);
                drafts.send_replace(Draft::said(failure(&message, &trace_id), language));
                return Ending::Failed { trace_id };
            }
        }
        if let Some(draft) = growing.draft(form) {
            drafts.send_replace(draft);
        }
    }
    Ending::Stopped
}

fn failure(message: &str, trace_id: &str) -> String {
    if trace_id.is_empty() { message.to_owned() } else { format!("{message}\n\n`{trace_id}`") }
}

#[derive(Default)]
struct Growing {
    language: Option<Language>,
    quote: Option<Citation>,
    waiting: Option<(usize, f64)>,
    text: String,
}

impl Growing {
    /// `None` while there is nothing to show.
    fn draft(&self, form: &Form) -> Option<Draft> {
        let language = self.language.unwrap_or(Language::English);
        let mut markdown = self.quote.as_ref().map(quoted).unwrap_or_default();
        let addition = match (&self.waiting, self.text.as_str()) {
            (Some((ahead, seconds)), "") => wait(language, *ahead, *seconds),
            (_, text) => text.to_owned(),
        };
        if !addition.is_empty() {
            if !markdown.is_empty() {
                markdown.push_str("\n\n");
            }
            markdown.push_str(&addition);
        }
        if markdown.is_empty() {
            return None;
        }
        let contents = form.contents(&markdown, language);
        let mut draft = Draft { contents, state: DraftState::Growing, ..Draft::default() };
        if let Some(last) = draft.contents.last_mut() {
            last.buttons = vec![Button::Stop];
        }
        Some(draft)
    }
}

/// The best passage, before the answer is written.
fn quoted(citation: &Citation) -> String {
    format!("{}\n\n*{}*", block(&citation.quote), Source::from(citation).title)
}

fn wait(language: Language, ahead: usize, seconds: f64) -> String {
    let seconds = seconds.ceil();
    match language {
        Language::Italian => format!("*In coda dopo {ahead}: comincio tra circa {seconds} s*"),
        Language::English => format!("*Behind {ahead} in the queue: about {seconds} s until I begin*"),
    }
}

fn whole(answer: &Answer, form: &Form) -> Draft {
    let mut contents = form.contents(&answer.text, answer.language);
    for content in &mut contents {
        content.last = true;
    }
    if let Some(last) = contents.last_mut() {
        last.sources = answer.citations.iter().map(Source::from).collect();
        last.buttons = match answer.verdict {
            Verdict::Answered => vec![Button::Helpful, Button::NotHelpful, Button::Sources],
            Verdict::Abstained => vec![Button::Helpful, Button::NotHelpful],
        };
    }
    let quotes = answer.citations.iter().map(shown_quote).collect::<Vec<_>>().join("\n\n");
    let cited = answer.citations.iter().map(|citation| citation.passage_id).collect();
    let (answer, copy_of) = (answer.kept.clone(), answer.copy_of.clone());
    Draft { contents, state: DraftState::Whole, quotes, cited, answer, copy_of }
}

fn shown_quote(citation: &Citation) -> String {
    let date = citation.date.map(|date| format!(", {date}")).unwrap_or_default();
    format!("[{}] **{}** (`{}`{date})\n\n{}", citation.n, citation.title, citation.path, block(&citation.quote))
}

fn block(quote: &str) -> String {
    quote.lines().map(|line| format!("> {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AnswerTimings, PassageId, TokenCounts};

    fn citation() -> Citation {
        Citation {
            n: 1,
            path: "it/ferie.md".into(),
            link: None,
            title: "Ferie".into(),
            heading: "Quante".into(),
            date: None,
            quote: "Le ferie sono\n26 giorni.".into(),
            passage_id: PassageId([1; 16]),
            language: Language::Italian,
        }
    }

    fn answer(text: &str) -> AnswerEvent {
        AnswerEvent::Done(Box::new(Answer {
            text: text.into(),
            question: None,
            language: Language::Italian,
            verdict: Verdict::Answered,
            citations: vec![citation()],
            timings_ms: AnswerTimings::default(),
            tokens: TokenCounts::default(),
            withheld: Vec::new(),
            copy_of: None,
            kept: None,
        }))
    }

    fn started() -> AnswerEvent {
        AnswerEvent::Started { trace_id: "1234abcd".into(), language: Language::Italian }
    }

    /// The draft after all events, and what the answer came to.
    async fn after(events: Vec<AnswerEvent>, form: &Form) -> (Draft, Ending) {
        let (sender, receiver) = mpsc::channel(16);
        for event in events {
            sender.send(event).await.unwrap();
        }
        drop(sender);
        let (drafts, seen) = watch::channel(Draft::default());
        let ending = write(receiver, form, &drafts).await;
        let draft = seen.borrow().clone();
        (draft, ending)
    }

    fn form() -> Form {
        Form { characters_max: 3_500, preface: None }
    }

    #[tokio::test]
    async fn the_best_passage_comes_first_and_the_text_grows_below_it() {
        let (draft, ending) = after(vec![started(), AnswerEvent::Quote(citation())], &form()).await;
        assert_eq!(draft.contents[0].markdown, "> Le ferie sono\n> 26 giorni.\n\n*Ferie › Quante*");
        assert_eq!((draft.contents[0].buttons.as_slice(), draft.state), (&[Button::Stop][..], DraftState::Growing));
        assert_eq!(ending, Ending::Stopped);
        let text = AnswerEvent::Text("Sono 26 [1].".into());
        let (draft, _) = after(vec![started(), AnswerEvent::Quote(citation()), text], &form()).await;
        assert!(draft.contents[0].markdown.ends_with("*Ferie › Quante*\n\nSono 26 [1]."));
    }

    #[tokio::test]
    async fn the_whole_answer_names_its_sources_and_asks_for_a_verdict() {
        let (draft, _) = after(vec![started(), AnswerEvent::Quote(citation()), answer("Sono 26 [1].")], &form()).await;
        let content = &draft.contents[0];
        assert_eq!((content.markdown.as_str(), content.last, draft.state), ("Sono 26 [1].", true, DraftState::Whole));
        assert_eq!(content.sources[0].title, "Ferie › Quante");
        assert_eq!(content.buttons, [Button::Helpful, Button::NotHelpful, Button::Sources]);
    }

    #[tokio::test]
    async fn a_long_answer_has_its_sources_below_the_last_part() {
        let form = Form { characters_max: 50, preface: None };
        let (draft, _) =
            after(vec![started(), answer("Un paragrafo di parole. [1]\n\nE un altro di parole. [1]")], &form).await;
        assert_eq!(draft.contents.len(), 2);
        assert!(draft.contents[0].sources.is_empty() && draft.contents[0].last);
        assert_eq!(draft.contents[1].sources.len(), 1);
    }

    #[tokio::test]
    async fn a_question_that_nobody_sees_stands_above_its_answer() {
        let form = Form { preface: Some("> quante ferie?".into()), ..form() };
        let (draft, _) = after(vec![started(), answer("Sono 26 [1].")], &form).await;
        assert_eq!(draft.contents[0].markdown, "> quante ferie?\n\nSono 26 [1].");
    }

    #[tokio::test]
    async fn a_failure_is_a_sentence_with_a_trace_id() {
        let failed = AnswerEvent::Failed { message: "Non è andata.".into(), trace_id: "1234abcd".into() };
        let (draft, ending) = after(vec![started(), failed], &form()).await;
        assert_eq!(draft.contents[0].markdown, "Non è andata.\n\n`1234abcd`");
        assert_eq!(ending, Ending::Failed { trace_id: "1234abcd".into() });
    }
}
