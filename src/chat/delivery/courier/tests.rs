//! Deliveries to a platform that does what a test tells it to, with a real store and time under control.

use std::collections::VecDeque;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::chat::delivery::{Limits, Receipt};
use crate::domain::{Chat, Language, Platform, Principal, Thread};
use crate::store::Store;

/// What happens to the next call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Wait(u64),
    Spent(u64),
    Unreachable,
    /// The message is taken, and the receipt is lost.
    ReceiptLost,
    Markup,
    Gone,
    Refused,
}

#[derive(Default)]
struct Stage {
    /// Each message with its content and how often it was changed; `None`: removed.
    messages: Vec<Option<(Content, usize)>>,
    faults: VecDeque<Fault>,
    calls: Vec<Instant>,
}

#[derive(Default)]
struct Played(Mutex<Stage>);

impl Played {
    fn with(faults: &[Fault]) -> Arc<Self> {
        let stage = Stage { faults: faults.iter().copied().collect(), ..Stage::default() };
        Arc::new(Played(Mutex::new(stage)))
    }

    fn call(&self) -> Option<Fault> {
        let mut stage = self.0.lock().unwrap();
        stage.calls.push(Instant::now());
        stage.faults.pop_front()
    }

    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().messages.iter().flatten().map(|(content, _)| content.markdown.clone()).collect()
    }

    fn add(&self, content: &Content) -> MessageId {
        let mut stage = self.0.lock().unwrap();
        stage.messages.push(Some((content.clone(), 0)));
        MessageId(stage.messages.len().to_string())
    }
}

fn error(fault: Fault) -> SendError {
    match fault {
        Fault::Wait(seconds) => SendError::Wait(Duration::from_secs(seconds)),
        Fault::Spent(seconds) => SendError::Spent(Duration::from_secs(seconds)),
        Fault::Unreachable | Fault::ReceiptLost => SendError::Unreachable("no answer".into()),
        Fault::Markup => SendError::Markup,
        Fault::Gone => SendError::Gone,
        Fault::Refused => SendError::Refused("blocked".into()),
    }
}

impl Surface for Played {
    fn limits(&self) -> Limits {
        Limits {
            characters_max: 3_500,
            edit_interval_private: Duration::from_millis(1_500),
            edit_interval_shared: Duration::from_millis(3_500),
            chat_interval: Duration::from_millis(100),
            chat_per_minute: 18,
            per_second: 25,
        }
    }

    async fn post(&self, _to: &Address, content: &Content) -> Result<MessageId, SendError> {
        match self.call() {
            None => Ok(self.add(content)),
            Some(fault) => {
                if fault == Fault::ReceiptLost {
                    self.add(content);
                }
                Err(error(fault))
            }
        }
    }

    async fn edit(&self, _to: &Address, message: &MessageId, content: &Content) -> Result<(), SendError> {
        if let Some(fault) = self.call() {
            return Err(error(fault));
        }
        let at: usize = message.0.parse().unwrap();
        let mut stage = self.0.lock().unwrap();
        let Some(shown) = &mut stage.messages[at - 1] else { return Err(SendError::Gone) };
        *shown = (content.clone(), shown.1 + 1);
        Ok(())
    }

    async fn remove(&self, _to: &Address, message: &MessageId) -> Result<(), SendError> {
        if let Some(fault) = self.call() {
            return Err(error(fault));
        }
        let at: usize = message.0.parse().unwrap();
        self.0.lock().unwrap().messages[at - 1] = None;
        Ok(())
    }

    async fn find(&self, _to: &Address, lost: &Lost<'_>) -> Result<Option<MessageId>, SendError> {
        if let Some(fault) = self.call() {
            return Err(error(fault));
        }
        let stage = self.0.lock().unwrap();
        let found = stage.messages.iter().enumerate().find_map(|(at, shown)| {
            let id = MessageId((at + 1).to_string());
            let same = shown.as_ref().is_some_and(|(shown, _)| shown == lost.content) && !lost.known.contains(&id);
            same.then_some(id)
        });
        Ok(found)
    }

    async fn working(&self, _to: &Address, _on: bool) {}

    async fn confirm(&self, _receipt: &Receipt<'_>, _notice: &str) -> Result<(), SendError> {
        Ok(())
    }

    async fn direct(&self, person: &Principal) -> Result<Chat, SendError> {
        Ok(Chat { platform: person.platform, id: person.id.clone() })
    }

    async fn suggest(
        &self,
        _to: &Address,
        _language: Language,
        _greeting: &str,
        _questions: &[String],
    ) -> Result<(), SendError> {
        Ok(())
    }
}

struct Setting {
    platform: Arc<Played>,
    courier: Courier<Played>,
    store: Store,
    _folder: TempDir,
}

fn setting(faults: &[Fault]) -> Setting {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let platform = Played::with(faults);
    let courier = Courier::new(Arc::clone(&platform), Records::new(store.clone()));
    Setting { platform, courier, store, _folder: folder }
}

fn parcel(messages: Vec<DeliveredMessage>) -> Parcel {
    let chat = Chat { platform: Platform::Telegram, id: "7".into() };
    let asker = Principal { platform: Platform::Telegram, id: "7".into() };
    let thread = Thread { chat: chat.clone(), id: None };
    let question = MessageId("q".into());
    Parcel {
        question: (chat, question.clone()),
        to: Address { thread: thread.clone(), question, asker: asker.clone(), private: true },
        record: Delivery {
            thread,
            asker,
            question_text: String::new(),
            language: Some(Language::Italian),
            messages,
            sources: String::new(),
            cited: Vec::new(),
            answer: None,
            answered_at: 0,
            copy_of: None,
            private: true,
            finished: false,
            updated_at: 0,
            trace_id: String::new(),
        },
    }
}

fn growing(text: &str) -> Draft {
    Draft::growing(text.into(), Language::Italian)
}

fn whole(texts: &[&str]) -> Draft {
    let content = |text: &&str| Content { markdown: (*text).into(), last: true, ..Content::default() };
    Draft { contents: texts.iter().map(content).collect(), state: DraftState::Whole, ..Draft::default() }
}

/// Delivers drafts that come 400 ms after each other; what it came to and how long it took.
async fn deliver(setting: &Setting, parcel: Parcel, drafts: Vec<Draft>) -> (Delivered, Duration) {
    let start = Instant::now();
    let (sender, seen) = watch::channel(Draft::default());
    let stop = CancellationToken::new();
    let delivering = setting.courier.deliver(parcel, seen, &stop);
    let writing = async {
        for draft in drafts {
            sender.send_replace(draft);
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        std::future::pending::<()>().await;
    };
    let delivered = tokio::select! {
        delivered = delivering => delivered.unwrap(),
        () = writing => unreachable!(),
    };
    (delivered, start.elapsed())
}

#[track_caller]
fn check(setting: &Setting, delivered: Delivered, texts: &[&str]) {
    assert_eq!(delivered, Delivered::Whole);
    assert_eq!(setting.platform.texts(), texts);
    let record = setting.store.delivery(&parcel(Vec::new()).question).unwrap().unwrap();
    assert!(record.finished);
    assert_eq!(record.messages.len(), texts.len());
}

#[tokio::test(start_paused = true)]
async fn the_first_text_is_there_at_once_and_the_rest_grows_at_the_platforms_pace() {
    let setting = setting(&[]);
    let mut drafts: Vec<Draft> = (1..=10).map(|n| growing(&"parola ".repeat(n))).collect();
    drafts.push(whole(&["la risposta"]));
    let (delivered, _) = deliver(&setting, parcel(Vec::new()), drafts).await;
    check(&setting, delivered, &["la risposta"]);
    let stage = setting.platform.0.lock().unwrap();
    let gaps: Vec<Duration> = stage.calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(stage.calls.len() >= 3 && stage.calls.len() <= 5, "{gaps:?}");
    let (last, growth) = gaps.split_last().unwrap();
    assert!(growth.iter().all(|gap| *gap >= Duration::from_millis(1_500)), "{gaps:?}");
    assert!(*last < Duration::from_millis(1_600), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn the_whole_text_does_not_wait_where_growing_text_has_to() {
    let setting = setting(&[]);
    let (sender, seen) = watch::channel(growing("> citazione"));
    let stop = CancellationToken::new();
    let start = Instant::now();
    let delivering = setting.courier.deliver(parcel(Vec::new()), seen, &stop);
    let writing = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        setting.platform.0.lock().unwrap().faults.push_back(Fault::Spent(50));
        sender.send_replace(growing("> citazione\n\nla"));
        tokio::time::sleep(Duration::from_secs(2)).await;
        sender.send_replace(whole(&["la risposta"]));
    };
    let (delivered, ()) = tokio::join!(delivering, writing);
    check(&setting, delivered.unwrap(), &["la risposta"]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_asks_to_wait_is_given_the_time() {
    let setting = setting(&[Fault::Wait(30), Fault::Wait(5)]);
    let (delivered, took) = deliver(&setting, parcel(Vec::new()), vec![whole(&["la risposta"])]).await;
    check(&setting, delivered, &["la risposta"]);
    assert!(took >= Duration::from_secs(35), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_final_text_arrives_after_minutes_without_network() {
    let setting = setting(&[Fault::Unreachable; 40]);
    let drafts = vec![growing("> citazione"), whole(&["la risposta"])];
    let (delivered, took) = deliver(&setting, parcel(Vec::new()), drafts).await;
    check(&setting, delivered, &["la risposta"]);
    assert!(took >= Duration::from_secs(300), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_receipt_was_lost_is_found_and_not_sent_twice() {
    let setting = setting(&[Fault::ReceiptLost]);
    let drafts = vec![growing("> citazione"), whole(&["la risposta"])];
    let (delivered, _) = deliver(&setting, parcel(Vec::new()), drafts).await;
    check(&setting, delivered, &["la risposta"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_message_without_receipt_is_looked_for() {
    let setting = setting(&[]);
    let sent = Content { markdown: "> citazione".into(), ..Content::default() };
    setting.platform.add(&sent);
    let posting = DeliveredMessage::Posting { at: 0, content: serde_json::to_string(&sent).unwrap(), behind: None };
    let (delivered, _) = deliver(&setting, parcel(vec![posting.clone()]), vec![whole(&["la risposta"])]).await;
    check(&setting, delivered, &["la risposta"]);

    let setting = self::setting(&[]);
    let (delivered, _) = deliver(&setting, parcel(vec![posting]), vec![whole(&["la risposta"])]).await;
    check(&setting, delivered, &["la risposta"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_edited_any_more_is_said_anew() {
    let setting = setting(&[]);
    setting.platform.add(&Content { markdown: "> citazione".into(), ..Content::default() });
    setting.platform.0.lock().unwrap().messages[0] = None;
    let posted = DeliveredMessage::Posted { id: MessageId("1".into()) };
    let (delivered, _) = deliver(&setting, parcel(vec![posted]), vec![whole(&["la risposta"])]).await;
    check(&setting, delivered, &["la risposta"]);
}

#[tokio::test(start_paused = true)]
async fn refused_markup_is_sent_as_plain_text() {
    let setting = setting(&[Fault::Markup]);
    let (delivered, _) = deliver(&setting, parcel(Vec::new()), vec![whole(&["la **risposta**"])]).await;
    check(&setting, delivered, &["la **risposta**"]);
    assert!(setting.platform.0.lock().unwrap().messages[0].as_ref().unwrap().0.plain);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_ends_the_delivery() {
    let setting = setting(&[Fault::Refused]);
    let (delivered, _) = deliver(&setting, parcel(Vec::new()), vec![whole(&["la risposta"])]).await;
    assert_eq!(delivered, Delivered::Refused);
    assert_eq!(setting.platform.texts(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn growing_text_that_is_refused_does_not_stop_the_whole_one() {
    let setting = setting(&[]);
    let (sender, seen) = watch::channel(growing("> citazione"));
    let stop = CancellationToken::new();
    let delivering = setting.courier.deliver(parcel(Vec::new()), seen, &stop);
    let writing = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        setting.platform.0.lock().unwrap().faults.push_back(Fault::Gone);
        sender.send_replace(growing("> citazione\n\nla"));
        tokio::time::sleep(Duration::from_secs(2)).await;
        sender.send_replace(whole(&["la risposta"]));
    };
    let (delivered, ()) = tokio::join!(delivering, writing);
    check(&setting, delivered.unwrap(), &["la risposta"]);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_answer_that_is_shorter_takes_its_surplus_back() {
    let setting = setting(&[]);
    for text in ["uno", "due", "tre"] {
        setting.platform.add(&Content { markdown: text.into(), ..Content::default() });
    }
    let posted = (1..=3).map(|n| DeliveredMessage::Posted { id: MessageId(n.to_string()) }).collect();
    let (delivered, _) = deliver(&setting, parcel(posted), vec![whole(&["solo questo"])]).await;
    check(&setting, delivered, &["solo questo"]);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_answer_leaves_nothing() {
    let setting = setting(&[Fault::Unreachable]);
    setting.platform.add(&Content { markdown: "uno".into(), ..Content::default() });
    let posted = vec![DeliveredMessage::Posted { id: MessageId("1".into()) }];
    let withdrawn = setting.courier.withdraw(parcel(posted), &CancellationToken::new()).await.unwrap();
    check(&setting, withdrawn, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stops_leaves_the_record_open() {
    let setting = setting(&[]);
    let (drafts, seen) = watch::channel(growing("> citazione"));
    let stop = CancellationToken::new();
    let delivering = setting.courier.deliver(parcel(Vec::new()), seen, &stop);
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    };
    let (delivered, ()) = tokio::join!(delivering, stopping);
    drop(drafts);
    assert_eq!(delivered.unwrap(), Delivered::Interrupted);
    let record = setting.store.delivery(&parcel(Vec::new()).question).unwrap().unwrap();
    assert!(!record.finished);
    assert_eq!(record.messages.len(), 1);
}
