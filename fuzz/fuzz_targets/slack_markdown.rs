//! Any text becomes text that calls nobody on Slack and links nowhere: `cargo +nightly fuzz run slack_markdown`.
#![no_main]

use cervella::chat::delivery::markup::{check, slack_markdown, slack_mrkdwn, slack_plain, split};
use libfuzzer_sys::fuzz_target;

/// Of a `markdown` block.
const CHARACTERS_MAX: usize = 12_000;

fuzz_target!(|markdown: &str| {
    assert_eq!(check::slack_markdown(&slack_markdown(markdown)), Ok(()));
    assert_eq!(check::slack_text(&slack_mrkdwn(markdown)), Ok(()));
    assert_eq!(check::slack_text(&slack_plain(markdown)), Ok(()));
    for characters_max in [11_000, 80] {
        for part in split(markdown, characters_max) {
            let text = slack_markdown(&part);
            assert_eq!(check::slack_markdown(&text), Ok(()));
            assert!(text.chars().count() <= CHARACTERS_MAX);
        }
    }
});
