//! `cervella demo`: the daemon on the sample handbook with the small demo models.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::output;
use super::serve::{Page, bring_up_to_date};
use crate::app::App;
use crate::chat::terminal::print_answer;
use crate::chat::web::SampleQuestion;
use crate::domain::{Language, Question, Reader};

/// The sample handbook, from the folder that holds the README.
const HANDBOOK: &str = "knowledge";
const DEMO_MODEL: &str = "demo-smollm2-135m";

const PROMPT_TOKENS_MAX: usize = 800;
const NEW_TOKENS_MAX: usize = 96;

/// One in Italian, one in English, one that the handbook cannot answer.
const SAMPLES: [(&str, Language); 3] = [
    ("Quanti giorni di ferie ho all'anno?", Language::Italian),
    ("How quickly must on-call acknowledge a page?", Language::English),
    ("Posso portare il mio cane in ufficio?", Language::Italian),
];

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// End after the three sample questions
    #[arg(long)]
    once: bool,
}

impl DemoArguments {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<()> {
        let stop = super::stop_on_signal()?;
        let app = demo(app)?;
        let page = if self.once { None } else { Some(Page::open(&app, samples(), &stop).await?) };
        bring_up_to_date(&app, &stop).await?;
        let Some(loaded) = app.load(&stop).await? else { return Ok(()) };
        if let Some(page) = &page {
            page.ready(&loaded, None, &stop);
        }
        for (text, language) in SAMPLES {
            output::line(format!("\n> {text}\n"))?;
            let question = Question { language: Some(language), ..Question::new(text, Reader::Operator) };
            let mut events = loaded.answerer.ask(question, stop.clone());
            if print_answer(&mut events, &mut std::io::stdout()).await?.is_none() {
                break;
            }
        }
        let Some(page) = page else { return Ok(()) };
        if !stop.is_cancelled() {
            eprintln!("\nThe chat page is open at the address above; Ctrl-C ends.");
        }
        page.close_after(&stop).await
    }
}

/// The settings of the demo: the handbook and the demo model, unless others are set; state of its own.
fn demo(app: &App) -> anyhow::Result<App> {
    let mut settings = app.settings().clone();
    if app.collections().is_empty() {
        let handbook = PathBuf::from(HANDBOOK);
        anyhow::ensure!(
            handbook.is_dir(),
            "the sample handbook is not here: run the demo in the folder that holds README.md, or set `knowledge.folders`"
        );
        settings.knowledge.folders = vec![handbook];
    }
    if settings.models.answer == "auto" {
        settings.models.answer = DEMO_MODEL.to_owned();
    }
    // The demo model gains nothing from a long prompt, and the reader waits for it.
    settings.answer.prompt_tokens_max = settings.answer.prompt_tokens_max.min(PROMPT_TOKENS_MAX);
    settings.answer.new_tokens_max = settings.answer.new_tokens_max.min(NEW_TOKENS_MAX);
    if settings.data.folder.as_os_str().is_empty() {
        settings.data.folder = app.data().join("demo");
    }
    App::new(settings).context("the demo cannot be set up")
}

fn samples() -> Vec<SampleQuestion> {
    SAMPLES.iter().map(|(text, language)| SampleQuestion { text: (*text).to_owned(), language: *language }).collect()
}
