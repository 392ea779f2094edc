//! Answers in CommonMark as the platforms want them, and cut to their sizes. Whatever stands in an answer, what comes
//! out is valid, links nowhere and calls nobody. Knows no platform's interface, only its text formats.

pub mod check;
mod cut;
mod layout;
mod markdown;
mod slack;
mod source;
mod split;
mod telegram;
mod tree;

#[cfg(test)]
mod any_text;
#[cfg(test)]
mod tests;

use layout::Flavour;

pub use slack::{escape as slack_escape, slack_markdown};
pub use split::split;
pub use telegram::visible_characters;

/// HTML as Telegram's Bot API takes it: `b`, `i`, `s`, `code`, `pre`, `blockquote` and nothing else.
pub fn telegram_html(markdown: &str) -> String {
    layout::render(markdown, Flavour::Telegram)
}

/// Slack's own markup, for section and context blocks. The text is not cut: such a block takes 3,000 characters.
pub fn slack_mrkdwn(markdown: &str) -> String {
    slack::without_calls(&layout::render(markdown, Flavour::Mrkdwn))
}

/// No markup at all, for when a platform refuses it. Slack wants [`slack_plain`].
pub fn plain(markdown: &str) -> String {
    layout::render(markdown, Flavour::Plain)
}

/// [`plain`] for a `text` field of Slack: escaped, and nobody is called.
pub fn slack_plain(markdown: &str) -> String {
    slack_escape(&plain(markdown))
}
