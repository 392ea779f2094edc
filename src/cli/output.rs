//! Printing results on stdout. A reader that closes the pipe ends the printing, not with a panic.

use std::io::Write;

use serde::Serialize;

/// Prints a line.
///
/// # Errors
/// stdout is closed or full.
pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Prints one JSON object on a line.
///
/// # Errors
/// stdout is closed or full.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Seconds for people: `0.4 s`, `3 min 20 s`.
pub(super) fn spoken(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {} s", seconds as u64 / 60, seconds as u64 % 60)
    }
}

/// A time span for people, in its largest unit: `3 min`, `2 h`, `5 days`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
