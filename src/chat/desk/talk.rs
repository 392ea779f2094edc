//! What people write: questions, small talk and commands, new, edited and deleted.

use std::sync::Arc;

use super::access::Role;
use super::manners::{Command, Surroundings, Wish, wish};
use super::quota::Exceeded;
use super::small_talk::SmallTalk;
use super::{Desk, Progress, phrases, question_key, unasked};
use crate::chat::clock;
use crate::chat::delivery::{Address, Delivered, Parcel, Surface};
use crate::chat::event::{Addressed, Message, Opened};
use crate::domain::{Chat, Language, MessageId, Principal, Reader, Thread};
use crate::store::{Conversation, Delivery, QuestionKey, Store, StoreError};

/// A message and what is known about it.
pub(super) struct Talk<'a> {
    pub(super) message: &'a Message,
    /// In which the bot speaks.
    pub(super) language: Language,
    /// That of answers in this thread, if somebody set it.
    pub(super) set_language: Option<Language>,
    pub(super) role: Role,
    /// The last question of this conversation that stood by itself.
    pub(super) before: Option<String>,
    /// The message was edited: its answer is renewed.
    pub(super) renewed: bool,
}

impl Talk<'_> {
    pub(super) fn question(&self) -> QuestionKey {
        question_key(self.message)
    }

    pub(super) fn address(&self) -> Address {
        Address {
            thread: self.message.thread.clone(),
            question: self.message.id.clone(),
            asker: self.message.author.clone(),
            private: self.message.private,
        }
    }

    /// Everybody in the chat sees the answer; in a private one that is its person.
    pub(super) fn reader(&self) -> Reader {
        reader(self.message.private, &self.message.author, &self.message.thread.chat)
    }

    /// The record of a delivery that has not begun.
    pub(super) fn record(&self) -> Delivery {
        Delivery {
            thread: self.message.thread.clone(),
            asker: self.message.author.clone(),
            question_text: String::new(),
            language: Some(self.language),
            messages: Vec::new(),
            sources: String::new(),
            cited: Vec::new(),
            answer: None,
            answered_at: 0,
            copy_of: None,
            private: self.message.private,
            finished: false,
            updated_at: clock::now(),
            trace_id: String::new(),
        }
    }
}

fn reader(private: bool, person: &Principal, chat: &Chat) -> Reader {
    if private { Reader::Person(person.clone()) } else { Reader::Chat(chat.clone()) }
}

/// Stands for a message where the bot speaks first.
pub(super) fn unasked_message(thread: Thread, author: Principal, id: MessageId) -> Message {
    Message {
        thread,
        id,
        author,
        by_bot: false,
        external: false,
        text: String::new(),
        private: true,
        addressed: Addressed::Bot,
        command: None,
        attachments: false,
        language: None,
        sent_at: 0,
    }
}

/// Whether what is said in this thread may be for the bot without a mention. A whole group is no thread: there, people
/// talk to each other.
pub(super) fn takes_part(message: &Message, conversation: Option<&Conversation>) -> bool {
    message.thread.id.is_some() && conversation.is_some_and(|conversation| conversation.participates)
}

impl<S: Surface> Desk<S> {
    pub(super) async fn message(&self, message: Message) -> Result<Progress, StoreError> {
        self.respond(&message, false).await
    }

    /// An edited message: its answer is renewed; one that nobody had answered is read like a new one.
    pub(super) async fn edited(&self, message: Message) -> Result<Progress, StoreError> {
        let answered = self.delivery(&question_key(&message)).await?.is_some();
        self.respond(&message, answered).await
    }

    async fn respond(&self, message: &Message, renewed: bool) -> Result<Progress, StoreError> {
        let thread = message.thread.clone();
        let known = self.shared.records.with(move |store| {
            let of_chat = Thread { chat: thread.chat.clone(), id: None };
            Ok((store.conversation(&thread)?, store.conversation(&of_chat)?))
        });
        let (conversation, of_chat) = known.await?;
        let surroundings = Surroundings {
            // Whoever was answered is still meant when the mention falls out of an edited question.
            participates: renewed || takes_part(message, conversation.as_ref()),
            mentions_only: self.access.mentions_only(&message.thread.chat) && !renewed,
        };
        let wish = wish(message, surroundings);
        if wish == Wish::Nothing {
            return Ok(Progress::Finished);
        }
        let before = conversation.as_ref().and_then(|conversation| conversation.last_question.clone());
        // What was set for a whole channel holds in its threads until they have a language of their own.
        let mut known = [conversation, of_chat].into_iter().flatten();
        let set_language =
            known.find(|known| known.language.is_some() || known.any_language).and_then(|known| known.language);
        // The words of a command are names, which tell nothing of their writer.
        let detected = || self.detector.detect(&message.text);
        let spoken = match &wish {
            Wish::Command(command) if !matches!(command, Command::Ask(_)) => message.language.or_else(detected),
            _ => detected().or(message.language),
        };
        let spoken = set_language.or(spoken);
        let role = self.access.role(&message.author, &message.thread.chat, message.external).await?;
        let language = spoken.unwrap_or(Language::English);
        let talk = Talk { message, language, set_language, role, before, renewed };
        match role {
            Role::Excluded => Ok(Progress::Finished),
            Role::Told => self.turn_away_again(&talk).await,
            Role::Stranger => self.turn_away(&talk).await,
            Role::Member | Role::Admin => self.grant(&talk, wish).await,
        }
    }

    async fn turn_away(&self, talk: &Talk<'_>) -> Result<Progress, StoreError> {
        // Before it is noted that they were told: a process that is killed in between finds that they were not.
        let (question, begun) = (talk.question(), talk.record());
        let begin = move |store: &Store| match store.delivery(&question)? {
            Some(_) => Ok(()),
            None => store.set_delivery(&question, &begun, true),
        };
        self.shared.records.with(begin).await?;
        let code = self.access.greet(&talk.message.thread.chat, talk.message.private).await?;
        self.say(talk, phrases::not_a_member(talk.language, code.as_deref())).await
    }

    /// Says the one sentence of [`Self::turn_away`] that an earlier process did not bring to its end.
    async fn turn_away_again(&self, talk: &Talk<'_>) -> Result<Progress, StoreError> {
        let begun = self.delivery(&talk.question()).await?;
        if talk.renewed || begun.is_none_or(|record| record.finished) {
            return Ok(Progress::Finished);
        }
        let code = self.access.code(&talk.message.thread.chat).await?;
        self.say(talk, phrases::not_a_member(talk.language, code.as_deref())).await
    }

    async fn grant(&self, talk: &Talk<'_>, wish: Wish) -> Result<Progress, StoreError> {
        match wish {
            Wish::Nothing => Ok(Progress::Finished),
            Wish::SmallTalk(kind, language) => {
                let language = talk.set_language.unwrap_or(language);
                let text = match kind {
                    SmallTalk::Greeting => phrases::greeting(language),
                    SmallTalk::Thanks => phrases::thanks(language),
                };
                self.say(talk, text).await
            }
            Wish::Called => self.say(talk, phrases::called(talk.language)).await,
            Wish::Attachment => self.say(talk, phrases::attachment(talk.language)).await,
            Wish::Question(text) => self.question(talk, &text).await,
            Wish::Command(command) => self.command(talk, command).await,
        }
    }

    async fn question(&self, talk: &Talk<'_>, text: &str) -> Result<Progress, StoreError> {
        match self.shared.quota.take(&talk.message.author) {
            Ok(()) => {
                let answered = self.answer(talk, text).await;
                if answered.is_err() {
                    // It is tried again, and counts once.
                    self.shared.quota.give_back(&talk.message.author);
                }
                answered
            }
            // The answer that stands there is better than a notice.
            Err(_) if talk.renewed => Ok(Progress::Finished),
            Err(Exceeded::Person { wait }) => self.say(talk, phrases::person_over_quota(talk.language, wait)).await,
            Err(Exceeded::All { wait }) => self.say(talk, phrases::all_over_quota(talk.language, wait)).await,
        }
    }

    async fn command(&self, talk: &Talk<'_>, command: Command) -> Result<Progress, StoreError> {
        let language = talk.language;
        match command {
            Command::Ask(text) if text.is_empty() => self.say(talk, phrases::nothing_asked(language)).await,
            Command::Ask(text) => self.question(talk, &text).await,
            Command::Sources => {
                let text = self.last_sources(talk).await?;
                self.say(talk, text.unwrap_or_else(|| phrases::no_sources(language))).await
            }
            Command::Language(name) => self.set_language(talk, &name).await,
            Command::Status => {
                let condition = self.shared.house.condition();
                // What only admins are told does not belong into a chat of many.
                let admin = talk.role == Role::Admin && talk.message.private;
                let queue = self.lanes.len().saturating_sub(1);
                self.say(talk, phrases::status(language, &condition, queue, self.shared.is_paused(), admin)).await
            }
            Command::Help => self.say(talk, phrases::help(language, talk.role == Role::Admin)).await,
            Command::About => self.say(talk, phrases::about(language, &self.shared.house.condition().model)).await,
            Command::Forget => {
                let thread = talk.message.thread.clone();
                self.shared.records.with(move |store| store.forget(&thread)).await?;
                self.say(talk, phrases::forgotten(language)).await
            }
            Command::Admin(command) => self.administer(talk, command).await,
            Command::Unknown(name) => self.say(talk, phrases::unknown_command(language, &name)).await,
        }
    }

    /// The quotes of the newest answer in this thread.
    async fn last_sources(&self, talk: &Talk<'_>) -> Result<Option<String>, StoreError> {
        let thread = talk.message.thread.clone();
        let newest = self.shared.records.with(move |store| {
            let answered = store.conversation(&thread)?.and_then(|conversation| conversation.last_answered);
            answered.map_or(Ok(None), |message| store.delivery(&(thread.chat, message)))
        });
        let Some(record) = newest.await?.filter(|record| !record.sources.is_empty()) else { return Ok(None) };
        Ok(Some(match self.still_shows(&record).await {
            true => record.sources,
            false => phrases::sources_gone(talk.language),
        }))
    }

    /// Whether the quotes of an answer may be shown again.
    pub(super) async fn still_shows(&self, record: &Delivery) -> bool {
        let (house, cited) = (Arc::clone(&self.shared.house), record.cited.clone());
        let reader = reader(record.private, &record.asker, &record.thread.chat);
        let shows = tokio::task::spawn_blocking(move || !cited.is_empty() && house.still_shows(&cited, &reader));
        shows.await.unwrap_or(false)
    }

    async fn set_language(&self, talk: &Talk<'_>, name: &str) -> Result<Progress, StoreError> {
        let chosen = match name.to_lowercase().as_str() {
            "auto" => None,
            code => match code.parse::<Language>() {
                Ok(language) => Some(language),
                Err(_) => return self.say(talk, phrases::language_unknown(talk.language)).await,
            },
        };
        self.change_conversation(talk, move |conversation| {
            conversation.language = chosen;
            conversation.any_language = chosen.is_none();
        })
        .await?;
        self.say(talk, phrases::language_set(chosen, talk.language)).await
    }

    /// A deleted question: its answer is withdrawn.
    pub(super) async fn deleted(&self, chat: Chat, message: MessageId) -> Result<Progress, StoreError> {
        let question = (chat, message);
        let Some(record) = self.delivery(&question).await? else {
            return Ok(Progress::Finished);
        };
        let to = Address {
            thread: record.thread.clone(),
            question: question.1.clone(),
            asker: record.asker.clone(),
            private: record.private,
        };
        let withdrawn =
            self.courier.withdraw(Parcel { question: question.clone(), to, record }, &self.shared.stop).await?;
        if withdrawn == Delivered::Interrupted {
            return Ok(Progress::Later);
        }
        self.withdraw_quotes(&question).await
    }

    /// An opened conversation: a greeting with questions to try, once for each thread.
    pub(super) async fn opened(&self, opened: Opened) -> Result<Progress, StoreError> {
        let language = opened.language.unwrap_or(Language::English);
        let chat = opened.thread.chat.clone();
        let key = unasked(&chat, &format!("opened {}", opened.thread.id.as_deref().unwrap_or_default()));
        let message = unasked_message(opened.thread.clone(), opened.author.clone(), key.1);
        let role = self.access.role(&opened.author, &chat, false).await?;
        let talk = Talk { message: &message, language, set_language: None, role, before: None, renewed: false };
        match role {
            Role::Excluded => Ok(Progress::Finished),
            Role::Told => self.turn_away_again(&talk).await,
            Role::Stranger => self.turn_away(&talk).await,
            Role::Member | Role::Admin => {
                let (greeting, questions) = (phrases::greeting(language), phrases::suggestions(language));
                let suggested = self.courier.surface().suggest(&talk.address(), language, &greeting, &questions).await;
                if let Err(error) = suggested {
                    tracing::warn!(%error, "an opened conversation was not greeted");
                }
                Ok(Progress::Finished)
            }
        }
    }
}
