//! `cervella ask "…"`: one answer.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::output;
use crate::answer::AnswerEvent;
use crate::app::App;
use crate::chat::terminal::print_answer;
use crate::domain::{Question, Reader};

#[derive(Debug, Args)]
pub(super) struct AskArguments {
    question: String,
    /// What was asked before, if the question refers to it
    #[arg(long, value_name = "QUESTION")]
    after: Option<String>,
    /// How many passages the model reads at most
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=20))]
    top: Option<u16>,
    /// Print the answer as JSON when it is complete
    #[arg(long)]
    json: bool,
}

impl AskArguments {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<()> {
        let stop = super::stop_on_signal()?;
        let Some(parts) = app.load(&stop).await? else { return Ok(()) };
        let mut question = Question::new(self.question, Reader::Operator);
        question.after = self.after;
        question.passages_max = self.top.map(usize::from);
        let mut events = parts.answerer.ask(question, stop.clone());
        if self.json {
            return print_json(&mut events, &stop).await;
        }
        print_answer(&mut events, &mut std::io::stdout()).await?;
        Ok(())
    }
}

async fn print_json(
    events: &mut tokio::sync::mpsc::Receiver<AnswerEvent>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    while let Some(event) = events.recv().await {
        match event {
            AnswerEvent::Done(answer) => return output::json(&answer),
            AnswerEvent::Failed { message, trace_id } => anyhow::bail!("{message} ({trace_id})"),
            AnswerEvent::Started { .. }
            | AnswerEvent::Quote(_)
            | AnswerEvent::Waiting { .. }
            | AnswerEvent::Text(_) => {}
        }
    }
    anyhow::ensure!(stop.is_cancelled(), "the answer ended without a result");
    Ok(())
}
