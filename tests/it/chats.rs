//! The daemon as it runs, against the platforms as they are played in `tests/support`.

mod daemon;
mod load;
mod promptness;
mod seldom;
mod slack_day;
mod telegram_day;
mod transcript;
