//! The keys of the rows. All rows lie in one tree, so that what belongs together changes together; a key starts with a
//! byte for the kind of row. A component ends itself, so no key is the beginning of another. Keys hold ids, never text
//! that people wrote.

use crate::domain::{Chat, MessageId, Principal, Thread};

/// Kinds of rows. The bytes are on disks: never change them, never use one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Access = b'a',
    Conversation = b'c',
    Delivery = b'd',
    Feedback = b'f',
    Flag = b'g',
    Inbox = b'i',
    /// From a message of the bot to its question.
    Message = b'm',
    /// Keys of events that were taken.
    Seen = b's',
    Audit = b'u',
    /// Answers that people confirmed.
    Confirmed = b'v',
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Access,
        Kind::Conversation,
        Kind::Delivery,
        Kind::Feedback,
        Kind::Flag,
        Kind::Inbox,
        Kind::Message,
        Kind::Seen,
        Kind::Audit,
        Kind::Confirmed,
    ];

    pub(super) fn of(key: &[u8]) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| key.first() == Some(&(*kind as u8)))
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Access => "access entry",
            Kind::Conversation => "conversation",
            Kind::Delivery => "delivery",
            Kind::Feedback => "feedback",
            Kind::Flag => "flag",
            Kind::Inbox => "inbox row",
            Kind::Message => "message",
            Kind::Seen => "seen event",
            Kind::Audit => "audit entry",
            Kind::Confirmed => "confirmed answer",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn new(kind: Kind) -> Self {
        Key(vec![kind as u8])
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Key(bytes.to_vec())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Ends with `00 01`; a zero byte inside becomes `00 FF`.
    pub(super) fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xFF);
            }
        }
        self.0.extend([0, 1]);
        self
    }

    pub(super) fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// Seconds, ordered also below zero.
    pub(super) fn time(self, seconds: i64) -> Self {
        self.number((seconds as u64) ^ (1 << 63))
    }

    pub(super) fn chat(self, chat: &Chat) -> Self {
        self.text(&chat.to_string())
    }

    pub(super) fn person(self, person: &Principal) -> Self {
        self.text(&person.to_string())
    }

    pub(super) fn thread(self, thread: &Thread) -> Self {
        let mut key = self.chat(&thread.chat);
        key.0.push(u8::from(thread.id.is_some()));
        match &thread.id {
            Some(id) => key.text(id),
            None => key,
        }
    }

    /// In the order in which the platforms number their messages: by length, then by digits. That is right for Telegram's
    /// numbers and for Slack's `ts`, whose length is always the same.
    pub(super) fn message(mut self, message: &MessageId) -> Self {
        let length = u16::try_from(message.0.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_be_bytes());
        self.text(&message.0)
    }

    pub(super) fn inbox(id: u64) -> Self {
        Key::new(Kind::Inbox).number(id)
    }

    pub(super) fn question((chat, message): &(Chat, MessageId), kind: Kind) -> Self {
        Key::new(kind).chat(chat).message(message)
    }

    /// The last eight bytes as a number, where the key ends with one.
    pub(super) fn last_number(&self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.0.get(1..)?.last_chunk()?))
    }

    /// For people: the kind and the ids.
    pub(super) fn describe(&self) -> String {
        match (Kind::of(&self.0), self.last_number()) {
            (Some(Kind::Inbox), Some(id)) => format!("{} {id}", Kind::Inbox.name()),
            (Some(kind @ Kind::Audit), Some(number)) => format!("{} {number}", kind.name()),
            (Some(kind), _) => {
                let ids = String::from_utf8_lossy(&self.0[1..]);
                let words: Vec<&str> = ids.split(char::is_control).filter(|word| !word.is_empty()).collect();
                format!("{} {}", kind.name(), words.join(" "))
            }
            (None, _) => "row of an unknown kind".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Platform;

    fn chat(id: &str) -> Chat {
        Chat { platform: Platform::Telegram, id: id.to_owned() }
    }

    fn message(id: &str) -> Key {
        Key::question(&(chat("1"), MessageId(id.to_owned())), Kind::Message)
    }

    #[test]
    fn messages_lie_in_the_order_of_their_numbers() {
        assert!(message("9") < message("10"));
        assert!(message("99") < message("100"));
        assert!(message("1700000000.000100") < message("1700000000.000200"));
    }

    #[test]
    fn times_lie_in_their_order() {
        let times = [i64::MIN, -5, 0, 7, 1_700_000_000, i64::MAX].map(|at| Key::new(Kind::Audit).time(at));
        assert!(times.is_sorted());
    }

    #[test]
    fn no_key_is_the_beginning_of_another() {
        let keys = [
            Key::new(Kind::Flag).text("a"),
            Key::new(Kind::Flag).text("ab"),
            Key::new(Kind::Flag).text("a\0"),
            Key::new(Kind::Flag).text("a\0\u{1}"),
            Key::new(Kind::Flag).text("a\0\u{1}b"),
            Key::new(Kind::Flag).text(""),
            Key::new(Kind::Conversation).thread(&Thread { chat: chat("1"), id: None }),
            Key::new(Kind::Conversation).thread(&Thread { chat: chat("1"), id: Some(String::new()) }),
            Key::new(Kind::Conversation).thread(&Thread { chat: chat("1"), id: Some("5".to_owned()) }),
        ];
        for (n, one) in keys.iter().enumerate() {
            for (m, other) in keys.iter().enumerate() {
                assert!(n == m || !other.as_bytes().starts_with(one.as_bytes()), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn keys_are_told_to_people_by_their_ids() {
        assert_eq!(Key::inbox(7).describe(), "inbox row 7");
        let topic = Thread { chat: chat("-100"), id: Some("5".to_owned()) };
        assert_eq!(Key::new(Kind::Conversation).thread(&topic).describe(), "conversation telegram:-100 5");
        assert_eq!(Key::from_bytes(b"?").describe(), "row of an unknown kind");
    }
}
