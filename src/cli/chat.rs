//! `cervella chat`: questions and answers in the terminal.

use std::io::{IsTerminal, Write};

use clap::Args;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::app::App;
use crate::chat::terminal::print_answer;
use crate::domain::{Question, Reader};

/// Bytes of a question that are read; the rest of a longer line is asked as the next one.
const QUESTION_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Args)]
pub(super) struct ChatArguments {}

impl ChatArguments {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<()> {
        let stop = super::stop_on_signal()?;
        let Some(parts) = app.load(&stop).await? else { return Ok(()) };
        let terminal = std::io::stdin().is_terminal();
        if terminal {
            eprintln!("Domande in italiano o in inglese; Ctrl-D per uscire. / Ask in Italian or English; Ctrl-D ends.");
        }
        let mut lines = BufReader::with_capacity(QUESTION_BYTES_MAX, tokio::io::stdin());
        let mut out = std::io::stdout();
        loop {
            if terminal {
                write!(out, "\n> ")?;
                out.flush()?;
            }
            let Some(line) = stop.run_until_cancelled(read_line(&mut lines)).await.transpose()?.flatten() else {
                return Ok(());
            };
            if line.trim().is_empty() {
                continue;
            }
            let mut events = parts.answerer.ask(Question::new(line, Reader::Operator), stop.clone());
            if let Err(error) = print_answer(&mut events, &mut out).await {
                super::tell(&error.into());
            }
        }
    }
}

/// `None` at the end of the input.
async fn read_line(input: &mut BufReader<tokio::io::Stdin>) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let available = input.fill_buf().await?;
        if available.is_empty() {
            break;
        }
        let (take, ended) = match available.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        line.extend_from_slice(&available[..take]);
        input.consume(take);
        if ended || line.len() >= QUESTION_BYTES_MAX {
            break;
        }
    }
    Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).trim().to_owned()))
}
