//! What others write, decoded: files of all formats, messages of both platforms, models, exports. Coverage-guided, by libFuzzer;
//! `scripts/fuzz.sh` builds and runs it. A panic, an overflow, a decoder that takes seconds or gigabytes ends the run with
//! the input that did it.
//!
//! `CERVELLA_FUZZ` names the decoder: one binary for all, since linking it takes longer than a minute of some of them.

#![no_main]

mod targets;
mod zipped;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("CERVELLA_FUZZ").unwrap_or_default();
    targets::named(&name).unwrap_or_else(|| panic!("CERVELLA_FUZZ is none of {}", targets::names().join(", ")))
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
