//! `cervella index --read-ahead`: the answer model reads passages before anybody asks.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::cli::output;
use crate::inference::AheadStanding;

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Blocks until there is no more room, no more passages, or `stop` is cancelled.
pub(super) fn read(app: &App, stop: &CancellationToken) -> anyhow::Result<()> {
    let generation = app.index_store().open_current()?;
    app.forget_pieces(&generation);
    let start = Instant::now();
    let engine = app.engine()?;
    ensure!(
        engine.reads_ahead(),
        "passages read ahead harm this model's answers, as its first prompts showed: none are read"
    );
    app.keep_only_current(&engine)?;
    let waiting = app.want_passages(&engine, &generation, stop)?;
    let is_seen = std::io::stderr().is_terminal();
    let bar = if is_seen { ProgressBar::new(waiting as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} passages, {eta} left") {
        bar.set_style(style);
    }
    while engine.unread_ahead() > 0 && !stop.is_cancelled() {
        std::thread::park_timeout(LOOK_EVERY);
        bar.set_position(waiting.saturating_sub(engine.unread_ahead()) as u64);
    }
    bar.finish_and_clear();
    app.forget_pieces(&app.index_store().open_current()?);
    let AheadStanding { kept, kept_bytes, waiting, is_failing } = engine.ahead().unwrap_or_default();
    ensure!(!is_failing, "{kept} passages are read ahead, and the disk takes no more");
    let left = if waiting > 0 { format!(", {waiting} were left") } else { String::new() };
    let (seconds, gigabytes) = (output::spoken(start.elapsed().as_secs_f64()), kept_bytes as f64 / 1e9);
    eprintln!("{kept} passages are read ahead, in {gigabytes:.1} GB, after {seconds}{left}");
    Ok(())
}
