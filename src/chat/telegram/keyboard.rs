//! The buttons below a message.

use teloxide::types::{InlineKeyboardButton, InlineKeyboardMarkup};

use crate::chat::event::Button;
use crate::domain::Language;

/// All buttons in one row; `None` without buttons, which takes away those of a message that is edited.
pub(super) fn keyboard(buttons: &[Button], language: Language) -> Option<InlineKeyboardMarkup> {
    let row: Vec<_> =
        buttons.iter().map(|button| InlineKeyboardButton::callback(label(*button, language), button.code())).collect();
    (!row.is_empty()).then(|| InlineKeyboardMarkup::new([row]))
}

fn label(button: Button, language: Language) -> &'static str {
    match (button, language) {
        (Button::Helpful, _) => "👍",
        (Button::NotHelpful, _) => "👎",
        (Button::Sources, Language::Italian) => "Fonti",
        (Button::Sources, Language::English) => "Sources",
        (Button::Stop, Language::Italian) => "Ferma",
        (Button::Stop, Language::English) => "Stop",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_speak_the_language_of_the_answer_and_carry_their_code() {
        let markup = keyboard(&Button::ALL, Language::Italian).unwrap();
        let row = serde_json::to_value(&markup).unwrap()["inline_keyboard"][0].clone();
        assert_eq!(
            row,
            serde_json::json!([
                {"text": "👍", "callback_data": "helpful"},
                {"text": "👎", "callback_data": "not_helpful"},
                {"text": "Fonti", "callback_data": "sources"},
                {"text": "Ferma", "callback_data": "stop"},
            ])
        );
        assert_eq!(label(Button::Stop, Language::English), "Stop");
        assert_eq!(keyboard(&[], Language::English), None);
    }
}
