//! The way of one question: each step hands its result to the reader as soon as it is known.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::ahead::{affordable, ahead_passages, messages};
use super::check::{Checker, Support};
use super::citing::{citation, found_passage, reference};
use super::confirmed::{asked_key, renewed};
use super::disagreement::{Otherwise, disagreement};
use super::draft::{Draft, DraftSentence, does_not_know};
use super::finding::{Finder, Found};
use super::follow_up::self_contained;
use super::message::{Message, Place};
use super::quote::Quote;
use super::{AnswerError, AnswerEvent, AnswerOptions, Answerer, Writer};
use crate::domain::{
    Answer, AnswerTimings, Citation, GivenAnswer, Language, Passage, PassageId, Question, QuestionKey, Reader,
    TokenCounts, Verdict,
};
use crate::inference::{AheadPrompt, FinishReason, GenerateRequest, GenerationEvent, InferenceError, SamplingOptions};
use crate::prompt::{self, Candidate, Disagreement, Joined, Reference};
use crate::retrieval::{AskedWords, Hit, SearchQuery, terms};

/// Documents that are named when the answer is that the documents do not say.
const CLOSEST: usize = 3;
/// Passages that an answer made of quotes may draw on.
const QUOTES: usize = 3;
/// How much worse than the best quote another one may fit and still be shown.
const QUOTE_FIT_GAP: f32 = 0.2;

struct Run<'a> {
    message: &'a Message<'a>,
    answerer: &'a Answerer,
    options: Arc<AnswerOptions>,
    place: Place,
    /// What is looked for.
    text: String,
    /// The words of that.
    asked: AskedWords,
    language: Language,
    /// Whether the hits are likely to hold the answer; otherwise nothing is made of them.
    is_sure: bool,
    /// The passages that are cited, in the order of their numbers.
    cited: Vec<PassageId>,
    start: Instant,
    timings: AnswerTimings,
    tokens: TokenCounts,
    withheld: Vec<String>,
}

/// What the model's part of an answer came to.
#[derive(Default)]
struct Written {
    text: String,
    /// The sentences shown; small models repeat themselves.
    said: Vec<String>,
    citations: Vec<Citation>,
    /// Whether anything was said that the question did not say already.
    informs: bool,
    does_not_know: bool,
}

/// Answers one question of a message; `told` is the reader's language, `None` if it cannot be told from the question.
pub(super) fn answer(
    message: &Message<'_>,
    question: &Question,
    told: Option<Language>,
    place: Place,
) -> Result<Answer, AnswerError> {
    let start = Instant::now();
    let answerer = message.answerer;
    let options = answerer.options();
    let finder = Finder { message, question, options: &options };
    let passages_max = finder.passages_max();
    let found = finder.find(self_contained(question), told)?;
    let language = found.language;
    if place.is_first {
        message.send(AnswerEvent::Started { trace_id: message.trace_id.to_owned(), language })?;
    }
    // What a message asks by itself may have been asked before.
    let key = if place.is_only && found.text == question.text { asked_key(&question.text) } else { None };
    let shown = &found.hits[..found.hits.len().min(passages_max)];
    let known = key.as_ref().and_then(|key| answerer.confirmed(key, told, shown));
    let (found, rewrite) = match known {
        None if found.probability < options.evidence_min => finder.find_rewritten(found)?,
        _ => (found, None),
    };
    let Found { text, asked, hits, probability, retrieve, gate, .. } = found;
    let mut run = Run {
        message,
        answerer,
        place,
        text,
        asked,
        language,
        is_sure: probability >= options.evidence_sure,
        options: Arc::clone(&options),
        cited: Vec::new(),
        start,
        timings: AnswerTimings { retrieve, gate, rewrite, added: gate, ..AnswerTimings::default() },
        tokens: TokenCounts::default(),
        withheld: Vec::new(),
    };
    let found = &hits[..hits.len().min(passages_max)];
    if let Some((first, given)) = known {
        return run.give(first, given, found);
    }
    let mut answer =
        if hits.is_empty() || probability < options.evidence_min { run.abstain(&hits)? } else { run.answer(found)? };
    answer.question = (run.text != question.text).then_some(run.text);
    let may_be_kept = answer.verdict == Verdict::Answered && answer.question.is_none();
    answer.kept = key.filter(|_| may_be_kept).map(|asked| GivenAnswer {
        asked,
        text: answer.text.clone(),
        language,
        citations: answer.citations.clone(),
        found: found.iter().flat_map(Hit::joined).map(|hit| hit.passage.id).collect(),
    });
    tracing::info!(
        verdict = ?answer.verdict,
        language = %answer.language,
        evidence = probability,
        retrieve_ms = answer.timings_ms.retrieve,
        total_ms = answer.timings_ms.total,
        generated = answer.tokens.generated,
        "answered"
    );
    Ok(answer)
}

impl Run<'_> {
    fn send(&self, event: AnswerEvent) -> Result<(), AnswerError> {
        self.message.send(event)
    }

    /// Text of the answer, where it is told while it grows.
    fn say(&self, piece: &str) -> Result<(), AnswerError> {
        if self.place.is_only { self.send(AnswerEvent::Text(piece.to_owned())) } else { Ok(()) }
    }

    /// Gives an answer again that people confirmed, and says so.
    fn give(&mut self, first: QuestionKey, given: GivenAnswer, found: &[Hit]) -> Result<Answer, AnswerError> {
        let text = format!("{}\n\n*{}*", given.text, prompt::confirmed(given.language)?);
        self.language = given.language;
        self.first_text();
        self.say(&text)?;
        let answer = self.done(text, Verdict::Answered, renewed(given.citations, found));
        tracing::info!(language = %answer.language, total_ms = answer.timings_ms.total, "answered as confirmed before");
        Ok(Answer { copy_of: Some(first), ..answer })
    }

    /// A citation under the passage's number: the next one when it is cited for the first time.
    fn citation(&mut self, passage: &Passage, quote: &str) -> Citation {
        let known = self.cited.iter().position(|cited| *cited == passage.id);
        let at = known.unwrap_or_else(|| {
            self.cited.push(passage.id);
            self.cited.len() - 1
        });
        citation(self.place.cited + at + 1, passage, quote)
    }

    fn first_text(&mut self) {
        if self.timings.first_text == 0.0 {
            self.timings.first_text = milliseconds(self.start);
        }
    }

    fn done(&mut self, text: String, verdict: Verdict, mut citations: Vec<Citation>) -> Answer {
        citations.sort_by_key(|citation| citation.n);
        self.timings.total = milliseconds(self.start);
        Answer {
            text,
            question: None,
            language: self.language,
            verdict,
            citations,
            timings_ms: self.timings,
            tokens: self.tokens,
            withheld: mem::take(&mut self.withheld),
            copy_of: None,
            kept: None,
        }
    }

    /// The documents do not say: the closest ones are named.
    fn abstain(&mut self, hits: &[Hit]) -> Result<Answer, AnswerError> {
        let mut closest: Vec<&Hit> = Vec::new();
        for hit in hits {
            if closest.len() < CLOSEST && closest.iter().all(|other| !other.passage.is_of_document_of(&hit.passage)) {
                closest.push(hit);
            }
        }
        let citations: Vec<Citation> = closest
            .into_iter()
            .map(|hit| {
                let quote = Quote::of(hit, &self.asked);
                self.citation(quote.passage, quote.text)
            })
            .collect();
        let references: Vec<Reference> = citations.iter().map(reference).collect();
        let text = prompt::abstained(self.language, &references, self.options.contact.as_deref())?;
        self.first_text();
        self.say(&text)?;
        Ok(self.done(text, Verdict::Abstained, citations))
    }

    fn answer(&mut self, hits: &[Hit]) -> Result<Answer, AnswerError> {
        let quotes: Vec<Quote> = hits.iter().take(QUOTES).map(|hit| Quote::of(hit, &self.asked)).collect();
        self.first_text();
        if let (true, Some(best)) = (self.place.is_first, quotes.first()) {
            let quoted = self.citation(best.passage, best.text);
            self.send(AnswerEvent::Quote(quoted))?;
        }
        let writer = self.answerer.writer.as_deref().filter(|_| self.is_sure);
        let written = match writer {
            Some(writer) => self.write(writer, hits, &quotes)?,
            None => Written::default(),
        };
        if written.does_not_know {
            return self.abstain(hits);
        }
        let (text, citations) = match (hits.first(), quotes.first()) {
            (Some(hit), Some(best)) if self.is_about_it(&written, hit) => self.with_best_quote(written, best)?,
            _ => {
                if !written.text.is_empty() {
                    self.say("\n\n")?;
                }
                self.quote(&quotes)?
            }
        };
        self.answered(text, citations, hits)
    }

    /// The answer, and below it what another document says otherwise.
    fn answered(
        &mut self,
        mut text: String,
        mut citations: Vec<Citation>,
        hits: &[Hit],
    ) -> Result<Answer, AnswerError> {
        let otherwise = citations.iter().find_map(|citation| {
            let quoted = found_passage(hits, citation.passage_id)?;
            Some((citation.n, quoted, disagreement(&citation.quote, quoted, hits)?))
        });
        if let Some((n, quoted, Otherwise { passage, quote })) = otherwise {
            let known = citations.iter().any(|citation| citation.passage_id == passage.id);
            let other = self.citation(passage, quote);
            let dates = quoted.date.zip(passage.date).filter(|(own, other)| own != other);
            let newer = dates.map(|(own, of_other)| if own > of_other { (n, own) } else { (other.n, of_other) });
            let is_shown = known && text.contains(&reference(&other).block);
            let said = Disagreement { n, other: other.n, quote: (!is_shown).then(|| reference(&other)), newer };
            let piece = format!("\n\n{}", prompt::disagreement(self.language, &said)?);
            text.push_str(&piece);
            self.say(&piece)?;
            if !known {
                citations.push(other);
            }
        }
        Ok(self.done(text, Verdict::Answered, citations))
    }

    /// Whether what the model wrote tells something of what was asked: it has a word of it, or comes from the best hit.
    fn is_about_it(&self, written: &Written, best: &Hit) -> bool {
        let of_the_best = |citation: &Citation| best.joined().any(|hit| hit.passage.id == citation.passage_id);
        let is_of_the_best = written.citations.iter().any(of_the_best);
        written.informs && (is_of_the_best || self.asked.share_in(&written.text, self.language) > 0.0)
    }

    /// What the model wrote, below the best quote unless it has as much of what was asked: small models write true
    /// sentences beside the point.
    fn with_best_quote(&mut self, written: Written, best: &Quote<'_>) -> Result<(String, Vec<Citation>), AnswerError> {
        let Written { mut text, mut citations, .. } = written;
        let asked_in_quote = self.asked.share_in(best.text, best.passage.language);
        if self.asked.share_in(&text, self.language) < asked_in_quote {
            let best = self.citation(best.passage, best.text);
            text = format!("{}\n\n{text}", prompt::quotes(self.language, true, &[reference(&best)])?);
            // What is cited is what is shown.
            citations.retain(|citation| citation.n != best.n);
            citations.insert(0, best);
        }
        Ok((text, citations))
    }

    /// An answer made of the passages' own words.
    fn quote(&mut self, quotes: &[Quote<'_>]) -> Result<(String, Vec<Citation>), AnswerError> {
        let best = quotes.iter().map(|quote| quote.fit).fold(f32::MIN, f32::max);
        let citations: Vec<Citation> = quotes
            .iter()
            .enumerate()
            .filter(|(at, quote)| *at == 0 || quote.fit >= best - QUOTE_FIT_GAP)
            .map(|(_, quote)| self.citation(quote.passage, quote.text))
            .collect();
        let references: Vec<Reference> = citations.iter().map(reference).collect();
        let text = prompt::quotes(self.language, self.is_sure, &references)?;
        self.say(&text)?;
        Ok((text, citations))
    }

    /// Lets the model write and passes on what the passages support.
    fn write(&mut self, writer: &dyn Writer, hits: &[Hit], quotes: &[Quote<'_>]) -> Result<Written, AnswerError> {
        let mut written = Written::default();
        let Some((request, shown)) = self.request(writer, hits, quotes)? else { return Ok(written) };
        let submitted = Instant::now();
        let mut stream = match writer.submit(request) {
            Ok(stream) => stream,
            Err(InferenceError::QueueFull { .. }) => {
                tracing::warn!("the model's queue is full: answering with quotes");
                return Ok(written);
            }
            Err(other) => return Err(other.into()),
        };
        let shown: Vec<&Hit> = shown.iter().flat_map(|&index| hits[index].joined()).collect();
        let begun = Instant::now();
        let mut checker = Checker::new(shown.iter().map(|hit| (&hit.passage, hit.context.as_deref())), self.language);
        self.timings.check += milliseconds(begun);
        let mut draft = Draft::default();
        let mut raw = String::new();
        let mut whole = true;
        while let Some(event) = stream.blocking_recv() {
            match event {
                GenerationEvent::Queued { ahead, wait } => {
                    self.send(AnswerEvent::Waiting { ahead, seconds: wait.as_secs_f64() })?;
                }
                GenerationEvent::Started { prompt_tokens, cached_tokens } => {
                    self.timings.wait = Some(milliseconds(submitted));
                    self.tokens.prompt = prompt_tokens;
                    self.tokens.cached = cached_tokens;
                }
                GenerationEvent::Text(piece) => {
                    self.timings.first_token.get_or_insert(milliseconds(self.start));
                    raw.push_str(&piece);
                    for sentence in draft.push(&piece) {
                        self.pass_on(&sentence, &shown, &mut checker, &mut written)?;
                    }
                }
                GenerationEvent::Finished { reason, generated_tokens, .. } => {
                    self.tokens.generated = generated_tokens;
                    whole = reason == FinishReason::Stop;
                    if reason == FinishReason::Cancelled {
                        return Err(AnswerError::Cancelled);
                    }
                }
                GenerationEvent::Failed(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the model failed: answering with quotes"
                    );
                    whole = false;
                }
            }
        }
        let ended = Instant::now();
        for sentence in draft.finish(whole) {
            self.pass_on(&sentence, &shown, &mut checker, &mut written)?;
        }
        self.timings.added += milliseconds(ended);
        written.does_not_know = written.text.is_empty() && does_not_know(&raw);
        tracing::info!(withheld = self.withheld.len(), cited = written.citations.len(), "checked");
        Ok(written)
    }

    /// The request, and which hits are in its prompt; `None` when not even one passage fits.
    fn request(
        &mut self,
        writer: &dyn Writer,
        hits: &[Hit],
        quotes: &[Quote<'_>],
    ) -> Result<Option<(GenerateRequest, Vec<usize>)>, AnswerError> {
        let options = Arc::clone(&self.options);
        let texts: Vec<String> = hits.iter().map(Hit::joined_text).collect();
        let candidates: Vec<Candidate<'_>> = hits
            .iter()
            .zip(&texts)
            .enumerate()
            .map(|(at, (hit, text))| {
                let Hit { passage, context, .. } = hit;
                let first = hit.joined().next().filter(|_| !hit.neighbours.is_empty());
                let joined = first.map(|first| Joined { context: first.context.as_deref(), text });
                let excerpt = quotes.get(at).map(|quote| quote.text);
                Candidate { passage, context: context.as_deref(), excerpt, joined }
            })
            .collect();
        let room = writer.context_tokens().saturating_sub(options.new_tokens_max);
        let mut tokens_max = options.prompt_tokens_max.min(room);
        if let Some(target) = options.first_token_target {
            let left = target.saturating_sub(self.start.elapsed());
            tokens_max = tokens_max.min(writer.prompt_tokens_within(&prompt::system(self.language)?, left)?);
        }
        self.tokens.budget = tokens_max;
        let count = |system: &str, user: &str| writer.prompt_tokens(&messages(system, user)).unwrap_or(usize::MAX);
        let mut prompt = prompt::prompt(self.language, &self.text, &candidates, tokens_max, count)?;
        if count(&prompt.system, &prompt.user) > room {
            return Ok(None);
        }
        let mut ahead = AheadPrompt::default();
        let roomy = options.prompt_tokens_max.min(room);
        if writer.reads_ahead() && tokens_max < roomy && prompt.passages.len() < candidates.len() {
            let with = |candidates: &[Candidate<'_>]| {
                prompt::prompt(self.language, &self.text, candidates, roomy, count).map_err(AnswerError::from)
            };
            let wholes: Vec<Candidate<'_>> =
                candidates.iter().map(|whole| Candidate { excerpt: None, joined: None, ..*whole }).collect();
            if let Some(more) = affordable(writer, &wholes, hits, tokens_max, with)?
                && prompt.passages.iter().all(|known| more.passages.contains(known))
                && more.passages.len() > prompt.passages.len()
            {
                ahead = AheadPrompt { passages: ahead_passages(&more, |index| hits[index].passage.id), tokens_max };
                prompt = more;
            }
        }
        let request = GenerateRequest {
            messages: messages(&prompt.system, &prompt.user),
            ahead,
            new_tokens_max: options.new_tokens_max,
            sampling: SamplingOptions::default(),
            stop: Vec::new(),
            deadline: self.message.start + options.deadline,
            cancel: self.message.cancel.clone(),
            speculate: options.speculate,
        };
        Ok(Some((request, prompt.passages)))
    }

    /// Shows a sentence under the passage that says it, or withholds it.
    fn pass_on(
        &mut self,
        sentence: &DraftSentence,
        shown: &[&Hit],
        checker: &mut Checker<'_>,
        written: &mut Written,
    ) -> Result<(), AnswerError> {
        if written.said.contains(&sentence.text) {
            return Ok(());
        }
        let begun = Instant::now();
        let support = checker.support(&sentence.text, self.answerer.searcher.as_ref())?;
        self.timings.check += milliseconds(begun);
        let Some(Support { at, quote }) = support else {
            self.withheld.push(sentence.text.clone());
            return Ok(());
        };
        let lead = if written.text.is_empty() { sentence.lead.trim_start_matches(['\n', ' ']) } else { &sentence.lead };
        let gap = if written.text.is_empty() || lead.starts_with(char::is_whitespace) { "" } else { " " };
        let cited = self.citation(&shown[at].passage, &quote);
        let piece = format!("{gap}{lead}{} [{}]", sentence.text, cited.n);
        written.text.push_str(&piece);
        written.said.push(sentence.text.clone());
        if written.citations.iter().all(|citation| citation.n != cited.n) {
            written.citations.push(cited);
        }
        let asked = terms(&self.text, self.language);
        written.informs |= terms(&sentence.text, self.language).iter().any(|term| !asked.contains(term));
        self.say(&piece)
    }
}

/// The passages that fit a question best, each with the sentence that does.
pub(super) fn quotes(
    answerer: &Answerer,
    text: &str,
    reader: &Reader,
    quotes_max: usize,
) -> Result<Vec<Citation>, AnswerError> {
    let query = SearchQuery { scope: answerer.readership.scope(reader), ..SearchQuery::new(text, quotes_max) };
    let hits = answerer.searcher.search(&query)?.hits;
    let asked = answerer.searcher.asked_words(text, &hits)?;
    let quotes = hits.iter().map(|hit| Quote::of(hit, &asked)).enumerate();
    Ok(quotes.map(|(at, quote)| citation(at + 1, quote.passage, quote.text)).collect())
}

pub(super) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
