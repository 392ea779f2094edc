//! Answers on a terminal or in a pipe: the best passage first, then the text as it comes, then the sources.

use std::io::{self, Write};

use thiserror::Error;
use tokio::sync::mpsc;

use crate::answer::AnswerEvent;
use crate::domain::{Answer, Citation, Language, Verdict};

#[derive(Debug, Error)]
pub enum TerminalError {
    #[error("cannot write the answer")]
    Output(#[from] io::Error),
    #[error("{message} ({trace_id})")]
    Failed { message: String, trace_id: String },
}

/// Prints an answer while it comes into being. Returns it whole; `None` if it was stopped.
///
/// # Errors
/// The output is closed, or there is no answer: then the error is the sentence for the reader.
pub async fn print_answer(
    events: &mut mpsc::Receiver<AnswerEvent>,
    out: &mut impl Write,
) -> Result<Option<Answer>, TerminalError> {
    let mut language = Language::English;
    let mut streamed = String::new();
    while let Some(event) = events.recv().await {
        match event {
            AnswerEvent::Started { language: of_question, .. } => language = of_question,
            AnswerEvent::Quote(citation) => print_quote(&citation, out)?,
            AnswerEvent::Waiting { ahead, seconds } => print_wait(language, ahead, seconds, out)?,
            AnswerEvent::Text(piece) => {
                out.write_all(piece.as_bytes())?;
                out.flush()?;
                streamed.push_str(&piece);
            }
            AnswerEvent::Failed { message, trace_id } => return Err(TerminalError::Failed { message, trace_id }),
            AnswerEvent::Done(answer) => {
                // The answer may begin with the best quote, which was printed first of all; before it may have come what is
                // no part of it.
                let (text, streamed) = (answer.text.trim(), streamed.trim());
                if streamed.is_empty() || !(text.ends_with(streamed) || streamed.ends_with(text)) {
                    write!(out, "\n\n{}", answer.text)?;
                }
                print_sources(&answer, out)?;
                return Ok(Some(*answer));
            }
        }
    }
    writeln!(out)?;
    let stopped = match language {
        Language::Italian => "(interrotto)",
        Language::English => "(stopped)",
    };
    writeln!(out, "{stopped}")?;
    Ok(None)
}

fn print_quote(citation: &Citation, out: &mut impl Write) -> io::Result<()> {
    for line in citation.quote.lines() {
        writeln!(out, "  │ {line}")?;
    }
    writeln!(out, "  └ {}\n", source(citation))?;
    out.flush()
}

fn print_wait(language: Language, ahead: usize, seconds: f64, out: &mut impl Write) -> io::Result<()> {
    let seconds = seconds.ceil();
    match language {
        Language::Italian => writeln!(out, "(in coda dopo {ahead}: comincio tra circa {seconds} s)\n")?,
        Language::English => writeln!(out, "(behind {ahead} in the queue: about {seconds} s until I begin)\n")?,
    }
    out.flush()
}

fn print_sources(answer: &Answer, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n")?;
    let label = match (answer.language, answer.verdict) {
        (Language::Italian, Verdict::Answered) => "Fonti",
        (Language::Italian, Verdict::Abstained) => "Documenti vicini",
        (Language::English, Verdict::Answered) => "Sources",
        (Language::English, Verdict::Abstained) => "Close documents",
    };
    if !answer.citations.is_empty() {
        writeln!(out, "{label}:")?;
    }
    for citation in &answer.citations {
        writeln!(out, "  [{}] {}", citation.n, source(citation))?;
        if let Some(link) = &citation.link {
            writeln!(out, "      {link}")?;
        }
    }
    out.flush()
}

fn source(citation: &Citation) -> String {
    format!("{} ({})", citation.place(), citation.path)
}
