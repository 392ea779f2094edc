//! The time of day, for what is written down.

use std::time::SystemTime;

/// Unix time in seconds.
pub fn now() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() as i64)
}
