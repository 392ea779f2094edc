//! What a message wants of the bot, if anything. No I/O.

use super::small_talk::{SmallTalk, small_talk};
use crate::chat::event::{Addressed, Message};
use crate::domain::Language;

/// What is to be done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// People talk to each other, or a bot talks.
    Nothing,
    SmallTalk(SmallTalk, Language),
    Command(Command),
    Question(String),
    /// A file or picture without words.
    Attachment,
    /// Called by name without a question.
    Called,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Ask(String),
    Sources,
    Language(String),
    Status,
    Help,
    About,
    Forget,
    Admin(AdminCommand),
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    Reindex(String),
    Pause,
    Resume,
    Allow(String),
    Deny(String),
    Who,
}

impl AdminCommand {
    pub fn name(&self) -> &'static str {
        match self {
            AdminCommand::Reindex(_) => "reindex",
            AdminCommand::Pause => "pause",
            AdminCommand::Resume => "resume",
            AdminCommand::Allow(_) => "allow",
            AdminCommand::Deny(_) => "deny",
            AdminCommand::Who => "who",
        }
    }
}

/// What the chat is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    /// The bot has answered in this thread.
    pub participates: bool,
    /// Only mentions are answered in this chat.
    pub mentions_only: bool,
}

/// Tells what a message wants.
pub fn wish(message: &Message, surroundings: Surroundings) -> Wish {
    if message.by_bot {
        return Wish::Nothing;
    }
    if let Some(name) = &message.command {
        return match (message.addressed, command(name, message.text.trim())) {
            (Addressed::SomebodyElse, _) => Wish::Nothing,
            // In a group it may be another bot's.
            (_, Command::Unknown(_)) if !message.private => Wish::Nothing,
            (_, command) => Wish::Command(command),
        };
    }
    let follows_up = surroundings.participates && !surroundings.mentions_only;
    let for_us = match message.addressed {
        Addressed::Bot => true,
        Addressed::Nobody => message.private || follows_up,
        Addressed::SomebodyElse => message.private,
    };
    if !for_us {
        return Wish::Nothing;
    }
    let text = message.text.trim();
    if !text.chars().any(char::is_alphanumeric) {
        // Only who addresses us expects a word: 👍 in a thread is for the people there.
        return match (message.attachments, message.addressed == Addressed::Bot || message.private) {
            (true, true) => Wish::Attachment,
            (false, true) => Wish::Called,
            (_, false) => Wish::Nothing,
        };
    }
    if message.private && is_call_for_help(text) {
        return Wish::Command(Command::Help);
    }
    match small_talk(text) {
        Some((SmallTalk::Thanks, _)) if message.addressed != Addressed::Bot && !message.private => Wish::Nothing,
        Some((kind, language)) => Wish::SmallTalk(kind, language),
        None => Wish::Question(text.to_owned()),
    }
}

/// Who does not know the commands does not know that they begin with a stroke.
fn is_call_for_help(text: &str) -> bool {
    let word = text.trim_end_matches(['!', '?', '.']).to_lowercase();
    matches!(word.as_str(), "help" | "aiuto")
}

fn command(name: &str, rest: &str) -> Command {
    let rest = rest.to_owned();
    match name {
        "ask" => Command::Ask(rest),
        "sources" => Command::Sources,
        "lang" => Command::Language(rest),
        "status" => Command::Status,
        "help" => Command::Help,
        "about" => Command::About,
        "forget" => Command::Forget,
        "reindex" => Command::Admin(AdminCommand::Reindex(rest)),
        "pause" => Command::Admin(AdminCommand::Pause),
        "resume" => Command::Admin(AdminCommand::Resume),
        "allow" => Command::Admin(AdminCommand::Allow(rest)),
        "deny" => Command::Admin(AdminCommand::Deny(rest)),
        "who" => Command::Admin(AdminCommand::Who),
        other => Command::Unknown(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Chat, MessageId, Platform, Principal, Thread};

    fn message(text: &str, addressed: Addressed, private: bool) -> Message {
        let chat = Chat { platform: Platform::Slack, id: "C1".into() };
        Message {
            thread: Thread { chat, id: Some("1.0".into()) },
            id: MessageId("1.0".into()),
            author: Principal { platform: Platform::Slack, id: "U1".into() },
            by_bot: false,
            external: false,
            text: text.into(),
            private,
            addressed,
            command: None,
            attachments: false,
            language: None,
            sent_at: 0,
        }
    }

    const ALONE: Surroundings = Surroundings { participates: false, mentions_only: false };
    const TAKES_PART: Surroundings = Surroundings { participates: true, mentions_only: false };
    const MENTIONS_ONLY: Surroundings = Surroundings { participates: true, mentions_only: true };

    #[track_caller]
    fn check(text: &str, addressed: Addressed, private: bool, surroundings: Surroundings, expect: &Wish) {
        assert_eq!(&wish(&message(text, addressed, private), surroundings), expect, "{text:?} {addressed:?}");
    }

    fn question(text: &str) -> Wish {
        Wish::Question(text.into())
    }

    #[test]
    fn in_a_channel_only_those_who_address_the_bot_are_answered() {
        check("quante ferie ho?", Addressed::Bot, false, ALONE, &question("quante ferie ho?"));
        check("quante ferie ho?", Addressed::Nobody, false, ALONE, &Wish::Nothing);
        check("quante ferie ho?", Addressed::SomebodyElse, false, ALONE, &Wish::Nothing);
    }

    #[test]
    fn follow_ups_need_no_mention_where_the_bot_takes_part() {
        check("e per i part-time?", Addressed::Nobody, false, TAKES_PART, &question("e per i part-time?"));
        check("e per te, Anna?", Addressed::SomebodyElse, false, TAKES_PART, &Wish::Nothing);
        check("e per i part-time?", Addressed::Nobody, false, MENTIONS_ONLY, &Wish::Nothing);
        check("e per i part-time?", Addressed::Bot, false, MENTIONS_ONLY, &question("e per i part-time?"));
        check("grazie!", Addressed::Nobody, false, TAKES_PART, &Wish::Nothing);
        check("👍", Addressed::Nobody, false, TAKES_PART, &Wish::Nothing);
    }

    #[test]
    fn everything_in_a_private_conversation_is_for_the_bot() {
        check("quante ferie ho?", Addressed::Nobody, true, ALONE, &question("quante ferie ho?"));
        check("👍", Addressed::Nobody, true, ALONE, &Wish::Called);
        check("", Addressed::Bot, false, ALONE, &Wish::Called);
        check("Aiuto!", Addressed::Nobody, true, ALONE, &Wish::Command(Command::Help));
        check("help me with my VPN", Addressed::Nobody, true, ALONE, &question("help me with my VPN"));
        check("ciao", Addressed::Nobody, true, ALONE, &Wish::SmallTalk(SmallTalk::Greeting, Language::Italian));
    }

    #[test]
    fn bots_are_never_answered() {
        let by_bot = Message { by_bot: true, ..message("quante ferie ho?", Addressed::Bot, true) };
        assert_eq!(wish(&by_bot, TAKES_PART), Wish::Nothing);
    }

    #[test]
    fn files_without_words_get_a_word_and_with_words_an_answer() {
        let file = Message { attachments: true, ..message("", Addressed::Nobody, true) };
        assert_eq!(wish(&file, ALONE), Wish::Attachment);
        let with_words = Message { attachments: true, ..message("che cos'è?", Addressed::Nobody, true) };
        assert_eq!(wish(&with_words, ALONE), question("che cos'è?"));
    }

    #[test]
    fn commands_are_told_apart() {
        let with =
            |name: &str, text: &str| Message { command: Some(name.into()), ..message(text, Addressed::Bot, false) };
        assert_eq!(wish(&with("ask", " ferie? "), ALONE), Wish::Command(Command::Ask("ferie?".into())));
        assert_eq!(
            wish(&with("allow", "telegram:42"), ALONE),
            Wish::Command(Command::Admin(AdminCommand::Allow("telegram:42".into())))
        );
        assert_eq!(wish(&with("dance", ""), ALONE), Wish::Nothing);
        let in_private = Message { private: true, ..with("dance", "") };
        assert_eq!(wish(&in_private, ALONE), Wish::Command(Command::Unknown("dance".into())));
        let for_another = Message { addressed: Addressed::SomebodyElse, ..with("ask", "ferie?") };
        assert_eq!(wish(&for_another, ALONE), Wish::Nothing);
    }
}
