//! Any update of Telegram's is read without a panic: `cargo +nightly fuzz run telegram_update`.
#![no_main]

use cervella::chat::telegram::TelegramIdentity;
use cervella::chat::telegram::decode::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|update: &[u8]| {
    let identity = TelegramIdentity {
        id: 7,
        username: "cervella_bot".into(),
        supports_inline_queries: true,
        privacy_mode: true,
    };
    if let Ok(update) = serde_json::from_slice(update) {
        let _ = decode(&update, &identity);
    }
});
