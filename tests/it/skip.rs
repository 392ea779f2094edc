//! Tests that need a browser or a model say so when they cannot run.

use std::io::Write;

/// Continuous integration has everything and sets this, so that nothing is skipped there unnoticed.
const SKIP_NOTHING: &str = "CERVELLA_TESTS_SKIP_NOTHING";

/// Says on the real standard error, which the test harness does not capture, why a test did not run.
pub fn skip(test: &str, reason: &str) {
    assert!(std::env::var_os(SKIP_NOTHING).is_none(), "{test} could not run: {reason}");
    writeln!(std::io::stderr(), "SKIPPED {test}: {reason}").expect("standard error is open");
}
