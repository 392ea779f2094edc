//! What is told of a panic. It goes to the log like every other fault: with its priority, and counted.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use tracing::field::display;

/// Errors are counted under the room that a target names, and this one is no room's.
const TARGET: &str = "cervella::panic";
/// The directive with which every filter lets panics through.
pub(super) const ALWAYS: &str = "cervella::panic=error";

/// From now on, for all threads of the process.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let place = panic.location().map(ToString::to_string);
        tell(place.as_deref(), panic.payload());
    }));
}

/// The line begins with the level and `panicked place="…"`, which `ingest` reads where a child of its own dies of it.
fn tell(place: Option<&str>, payload: &(dyn Any + Send)) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(&backtrace));
    let thread = std::thread::current();
    tracing::error!(target: TARGET, place, thread = thread.name(), reason = reason(payload), backtrace, "panicked");
}

/// The message, if it was not put together: one that was may quote the text in which it happened, as that of a slice does which
/// cuts a letter in two. That of `expect` counts among them.
fn reason(payload: &(dyn Any + Send)) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{EnvFilter, Layer};

    use super::*;
    use crate::telemetry::{LogForm, lines};

    /// What the log says of a panic, whose payload it is, under a filter that lets nothing else through.
    fn told(form: LogForm, payload: &(dyn Any + Send)) -> String {
        let log = tempfile::NamedTempFile::new().unwrap();
        let filter = EnvFilter::new("off").add_directive(ALWAYS.parse().unwrap());
        let lines = lines(log.reopen().unwrap(), false, form).with_filter(filter);
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("something else");
            tell(Some("src/x.rs:1:2"), payload);
        });
        std::fs::read_to_string(log.path()).unwrap()
    }

    #[test]
    fn a_panic_is_told_without_what_it_may_quote() {
        let quoting = std::panic::catch_unwind(|| panic!("{} is too long", black_box("perché"))).unwrap_err();
        // Below it stands the backtrace, if one is wanted.
        let told_of_it = told(LogForm::Text, &*quoting);
        let (time, line) = told_of_it.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && line.starts_with(r#"ERROR panicked place="src/x.rs:1:2" thread="#), "{line}");
        assert!(!line.contains("perch") && !line.contains("reason=") && !line.contains("something else"), "{line}");
        let fixed = std::panic::catch_unwind(|| panic!("no index")).unwrap_err();
        let line: serde_json::Value = serde_json::from_str(&told(LogForm::Json, &*fixed)).unwrap();
        assert_eq!(line["fields"]["reason"], "no index");
        assert_eq!(line["level"], "ERROR");
    }
}
