//! Any text becomes HTML that Telegram takes, whole and in parts: `cargo +nightly fuzz run telegram_html`.
#![no_main]

use cervella::chat::delivery::markup::{check, split, telegram_html, visible_characters};
use libfuzzer_sys::fuzz_target;

/// Of Telegram.
const CHARACTERS_MAX: usize = 4096;

fuzz_target!(|markdown: &str| {
    assert_eq!(check::telegram_html(&telegram_html(markdown)), Ok(()));
    for part in split(markdown, 3500) {
        let html = telegram_html(&part);
        assert_eq!(check::telegram_html(&html), Ok(()));
        assert!(visible_characters(&html) <= CHARACTERS_MAX);
    }
    for part in split(markdown, 80) {
        assert!(part.chars().count() <= 80);
        assert_eq!(check::telegram_html(&telegram_html(&part)), Ok(()));
    }
});
