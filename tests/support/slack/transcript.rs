//! A channel as text, for snapshots: messages are numbered in their order here, and nothing in it depends on time.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::message::{Message, Shown};
use super::world::{BOT_USER, Channel, ChannelKind, World};

impl World {
    pub fn transcript(&self, channel: &str) -> String {
        let place = self.channel(channel);
        let kind = match place.kind {
            ChannelKind::Public => "channel",
            ChannelKind::Private => "private channel",
            ChannelKind::Im => "direct messages",
            ChannelKind::Mpim => "group messages",
        };
        let numbers: BTreeMap<&str, usize> =
            place.messages.keys().enumerate().map(|(at, ts)| (ts.as_str(), at + 1)).collect();
        let number = |ts: &str| numbers.get(ts).map_or_else(|| ts.to_owned(), |number| format!("#{number}"));
        let mut entries = Vec::new();
        for message in place.messages.values() {
            let shown = Shown::of(message, BOT_USER);
            entries.push((shown.shown_at, self.lines(message, &shown, &number)));
        }
        for ephemeral in self.deeds.ephemerals.iter().filter(|ephemeral| ephemeral.channel == channel) {
            let mut text = format!("(for {} alone)", self.name(&ephemeral.user));
            if let Some(thread) = &ephemeral.thread_ts {
                let _ = write!(text, " -> {}", number(thread));
            }
            text.push(':');
            words(&mut text, &ephemeral.plain);
            entries.push((ephemeral.at, text));
        }
        entries.sort_by_key(|(at, _)| *at);
        let mut text = format!("== {} ({kind})\n", place.name);
        entries.iter().for_each(|(_, entry)| text.push_str(entry));
        self.panel(&mut text, place, &number);
        self.with_names(&text)
    }

    fn lines(&self, message: &Message, shown: &Shown, number: &dyn Fn(&str) -> String) -> String {
        let mut text = format!("{} {}", number(&message.ts), self.name(&message.user));
        if let Some(thread) = message.thread_ts.as_ref().filter(|root| **root != message.ts) {
            let _ = write!(text, " -> {}", number(thread));
        }
        let edited = shown.edits > 0 && !shown.ours;
        for (note, there) in [
            ("in the channel as well", message.broadcast),
            ("edited", edited),
            ("still writing", shown.streaming),
            ("deleted", shown.deleted),
        ] {
            if there {
                let _ = write!(text, " ({note})");
            }
        }
        text.push(':');
        for file in &shown.files {
            let _ = write!(text, " <file {file}>");
        }
        words(&mut text, &shown.plain);
        let labels: Vec<String> = shown.buttons.iter().map(|button| format!("[{}]", button.label)).collect();
        if !labels.is_empty() {
            let _ = writeln!(text, "    {}", labels.join(" "));
        }
        if shown.ours && !shown.calls.is_empty() {
            let _ = writeln!(text, "    calls {}", shown.calls.join(" "));
        }
        if !shown.reactions.is_empty() {
            let _ = writeln!(text, "    reactions {}", shown.reactions.join(" "));
        }
        text
    }

    /// What the assistant panel of these messages shows.
    fn panel(&self, text: &mut String, place: &Channel, number: &dyn Fn(&str) -> String) {
        for prompts in self.deeds.prompts.iter().filter(|prompts| prompts.channel == place.id) {
            let _ = writeln!(
                text,
                "{} offers, below \"{}\":",
                number(&prompts.thread_ts),
                prompts.title.as_deref().unwrap_or_default()
            );
            for (title, message) in &prompts.prompts {
                match title == message {
                    true => writeln!(text, "    [{title}]"),
                    false => writeln!(text, "    [{title}] {message}"),
                }
                .expect("a text takes every line");
            }
        }
        for (_, thread, title) in self.deeds.titles.iter().filter(|(channel, ..)| *channel == place.id) {
            let _ = writeln!(text, "{} is called \"{title}\"", number(thread));
        }
    }

    fn name(&self, user: &str) -> String {
        match self.users.get(user) {
            Some(user) => user.name.clone(),
            None if user == BOT_USER => "Cervella".to_owned(),
            None => user.to_owned(),
        }
    }

    /// People by their names wherever a message names them.
    fn with_names(&self, text: &str) -> String {
        let all = self.users.values().map(|user| (user.id.as_str(), user.name.as_str()));
        let all = all.chain([(BOT_USER, "Cervella")]);
        all.fold(text.to_owned(), |text, (id, name)| text.replace(&format!("@{id}"), &format!("@{name}")))
    }
}

/// Behind the author where it is one line, else below.
fn words(text: &mut String, plain: &str) {
    match plain.contains('\n') {
        true => {
            for line in plain.lines() {
                let _ = write!(text, "\n    {line}");
            }
        }
        false if plain.is_empty() => {}
        false => {
            let _ = write!(text, " {plain}");
        }
    }
    // Blank lines of a message have no blanks behind them.
    let trimmed = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    *text = trimmed;
    text.push('\n');
}
