//! A chat as text, for snapshots: messages are numbered in their order here, and nothing in it depends on time.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::message::{Attachment, Message, Service};
use super::places::{ChatId, ChatKind, PersonId};
use super::state::State;

impl State {
    pub fn transcript(&self, chat: ChatId) -> String {
        let room = self.room(chat);
        let numbers: BTreeMap<i64, usize> = room.messages.keys().enumerate().map(|(at, id)| (*id, at + 1)).collect();
        let kind = match room.kind {
            ChatKind::Private => "private",
            ChatKind::Group => "group",
            ChatKind::Supergroup => "supergroup",
            ChatKind::Forum => "forum",
        };
        let mut text = format!("== {} ({kind})\n", room.title);
        for message in room.messages.values() {
            self.line(&mut text, chat, message, &numbers);
        }
        text
    }

    fn name(&self, person: PersonId) -> String {
        self.people.get(&person).map_or_else(|| person.0.to_string(), |person| person.first_name.clone())
    }

    fn line(&self, text: &mut String, chat: ChatId, message: &Message, numbers: &BTreeMap<i64, usize>) {
        let room = self.room(chat);
        let mut notes = String::new();
        if let Some(number) = message.reply_to.and_then(|id| numbers.get(&id)) {
            let _ = write!(notes, " -> #{number}");
        }
        if let Some(topic) = message.thread.and_then(|thread| room.topics.get(&thread)) {
            let _ = write!(notes, " [{}]", topic.name);
        }
        if message.edited.is_some() && message.author != self.bot {
            notes.push_str(" (edited)");
        }
        if message.deleted {
            notes.push_str(" (deleted)");
        }
        let _ = write!(text, "#{} {}{notes}:", numbers[&message.id], self.name(message.author));
        if let Some(service) = &message.service {
            let _ = write!(text, " ** {}", self.service_words(service));
        }
        if let Some(attachment) = &message.attachment {
            let _ = match attachment {
                Attachment::Picture => write!(text, " <picture>"),
                Attachment::Voice => write!(text, " <voice>"),
                Attachment::Document { name, .. } => write!(text, " <document {name}>"),
            };
        }
        let now = message.now();
        let html = &now.html;
        match html.contains('\n') {
            true => html.lines().for_each(|line| {
                let _ = write!(text, "\n    {line}");
            }),
            false if html.is_empty() => {}
            false => {
                let _ = write!(text, " {html}");
            }
        }
        text.push('\n');
        if now.preview && message.author == self.bot {
            text.push_str("    (page preview)\n");
        }
        for row in &now.buttons {
            let row: Vec<String> = row.iter().map(|button| format!("[{}]", button.label)).collect();
            let _ = writeln!(text, "    {}", row.join(" "));
        }
        if !message.reactions.is_empty() {
            let _ = writeln!(text, "    reaction {}", message.reactions.join(" "));
        }
        for press in self.presses.iter().filter(|press| press.chat == chat && press.message == message.id) {
            let answer = match &press.answer {
                None => "(no answer)",
                Some(answer) => answer.text.as_deref().unwrap_or("(taken)"),
            };
            let _ = writeln!(text, "    {} pressed [{}]: {answer}", self.name(press.person), press.label);
        }
    }

    fn service_words(&self, service: &Service) -> String {
        match service {
            Service::Joined(people) => {
                let names: Vec<String> = people.iter().map(|person| self.name(*person)).collect();
                format!("{} joined", names.join(", "))
            }
            Service::Left(person) => format!("{} left", self.name(*person)),
            Service::TopicOpened(name) => format!("topic {name} opened"),
            Service::UpgradedTo(_) => "became a supergroup".to_owned(),
            Service::UpgradedFrom(_) => "was a group before".to_owned(),
        }
    }
}
