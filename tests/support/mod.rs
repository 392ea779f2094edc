//! The platforms, played: servers that speak as Slack and Telegram do, keep their limits and fail on demand. The official
//! clients are run against them in `tests/it/contract_*.rs`.

pub mod chance;
pub mod slack;
pub mod telegram;
mod waiting;
