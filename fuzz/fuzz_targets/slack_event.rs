//! Any frame of Slack's socket is read without a panic: `cargo +nightly fuzz run slack_event`.
#![no_main]

use cervella::chat::slack::SlackIdentity;
use cervella::chat::slack::decode::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let identity = SlackIdentity { team_id: "T1".into(), user_id: "U1".into(), ..SlackIdentity::default() };
    let _ = decode(frame, &identity);
});
