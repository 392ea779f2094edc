//! The client that the daemon is built on: its requests are understood and its types fit the answers.

use std::time::Duration;

use teloxide::payloads::{
    EditMessageTextSetters, GetUpdatesSetters, SendMessageSetters, SetMessageReactionSetters, SetWebhookSetters,
};
use teloxide::requests::Requester;
use teloxide::types::{
    BotCommand, ChatAction, ChatId, InlineKeyboardButton, InlineKeyboardMarkup, InlineQueryResult,
    InlineQueryResultArticle, InputMessageContent, InputMessageContentText, MessageId, ParseMode, ReactionType,
    ReplyParameters, ThreadId, UpdateKind, UserId,
};
use teloxide::{ApiError, Bot, RequestError};

use super::super::{ChatKind, FakeTelegram, Fault, Said, Standing};
use super::with_anna;

fn bot(fake: &FakeTelegram) -> Bot {
    Bot::new(fake.token()).set_api_url(fake.api_url().parse().expect("it is an address"))
}

#[tokio::test]
async fn a_conversation() {
    let (fake, anna) = with_anna().await;
    let forum = fake.add_chat(ChatKind::Forum, "Forum", &[anna]);
    let topic = fake.open_topic(forum, anna, "Ufficio");
    let asked = fake.say(forum, anna, "@cervella_bot ferie?", Said::in_topic(topic));
    let bot = bot(&fake);
    assert_eq!(bot.get_me().await.unwrap().username(), fake.username());
    bot.set_my_commands([BotCommand::new("ask", "Ask")]).await.unwrap();
    assert_eq!(fake.commands("").len(), 1);

    let updates = bot.get_updates().timeout(0).await.unwrap();
    let UpdateKind::Message(message) = &updates[1].kind else { panic!("{:?}", updates[1].kind) };
    assert_eq!((message.text(), message.is_topic_message), (Some("@cervella_bot ferie?"), true));
    let thread = message.thread_id.expect("it is in a topic");
    assert_eq!(thread, ThreadId(MessageId(i32::try_from(topic).unwrap())));
    bot.send_chat_action(message.chat.id, ChatAction::Typing).await.unwrap();

    let keyboard = InlineKeyboardMarkup::new([[InlineKeyboardButton::callback("Utile", "helpful")]]);
    let sent = bot
        .send_message(message.chat.id, "<b>22</b>")
        .parse_mode(ParseMode::Html)
        .message_thread_id(thread)
        .reply_parameters(ReplyParameters::new(message.id))
        .reply_markup(keyboard)
        .await
        .unwrap();
    assert_eq!(sent.reply_to_message().map(|message| i64::from(message.id.0)), Some(asked));
    assert_eq!(fake.answers(forum)[0].html, "<b>22</b>");
    bot.edit_message_text(sent.chat.id, sent.id, "<i>22</i>").parse_mode(ParseMode::Html).await.unwrap();
    let reaction = ReactionType::Emoji { emoji: "👍".to_owned() };
    bot.set_message_reaction(sent.chat.id, sent.id).reaction([reaction]).await.unwrap();
    assert_eq!(bot.get_chat(sent.chat.id).await.unwrap().title(), Some("Forum"));
    fake.add_admin(forum, anna);
    assert!(bot.get_chat_member(sent.chat.id, UserId(anna.0 as u64)).await.unwrap().is_administrator());
    bot.delete_message(sent.chat.id, sent.id).await.unwrap();
    assert!(fake.answers(forum).is_empty());
    assert_eq!(fake.violations(), []);
}

#[tokio::test]
async fn presses_inline_queries_and_comings() {
    let (fake, anna) = with_anna().await;
    let bot = bot(&fake);
    let keyboard = InlineKeyboardMarkup::new([[InlineKeyboardButton::callback("Utile", "helpful")]]);
    let sent = bot.send_message(ChatId(anna.0), "ecco").reply_markup(keyboard).await.unwrap();
    fake.press(anna, anna, i64::from(sent.id.0), "Utile");
    fake.ask_inline(anna, "ferie");
    fake.place_bot(anna, anna, Standing::Kicked);
    for update in bot.get_updates().await.unwrap() {
        match update.kind {
            UpdateKind::CallbackQuery(query) => {
                assert_eq!(query.data.as_deref(), Some("helpful"));
                bot.answer_callback_query(query.id).await.unwrap();
            }
            UpdateKind::InlineQuery(query) => {
                let text = InputMessageContent::Text(InputMessageContentText::new("22"));
                let article = InlineQueryResult::Article(InlineQueryResultArticle::new("1", "Ferie", text));
                bot.answer_inline_query(query.id, [article]).await.unwrap();
            }
            UpdateKind::MyChatMember(change) => assert!(change.new_chat_member.is_banned()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((fake.callback_answers().len(), fake.inline_answers()[0].results.len()), (1, 1));
    let blocked = bot.send_message(ChatId(anna.0), "x").await.unwrap_err();
    assert!(matches!(blocked, RequestError::Api(ApiError::BotBlocked)), "{blocked}");
}

#[tokio::test]
async fn errors_are_told_apart() {
    let (fake, anna) = with_anna().await;
    let bot = bot(&fake);
    let chat = ChatId(anna.0);
    let sent = bot.send_message(chat, "ciao").await.unwrap();
    let same = bot.edit_message_text(chat, sent.id, "ciao").await.unwrap_err();
    assert!(matches!(same, RequestError::Api(ApiError::MessageNotModified)), "{same}");
    let broken = bot.send_message(chat, "<b>").parse_mode(ParseMode::Html).await.unwrap_err();
    assert!(matches!(broken, RequestError::Api(ApiError::CantParseEntities(_))), "{broken}");
    let long = bot.send_message(chat, "x".repeat(4097)).await.unwrap_err();
    assert!(matches!(long, RequestError::Api(ApiError::MessageIsTooLong)), "{long}");
    let nowhere = bot.send_message(ChatId(7), "x").await.unwrap_err();
    assert!(matches!(nowhere, RequestError::Api(ApiError::ChatNotFound)), "{nowhere}");
    fake.fault("SendMessage", Fault::RetryAfter(3));
    let wait = bot.send_message(chat, "x").await.unwrap_err();
    assert!(matches!(wait, RequestError::RetryAfter(wait) if wait.duration() == Duration::from_secs(3)), "{wait}");
    fake.fault("getMe", Fault::LostReceipt);
    let lost = bot.get_me().await.unwrap_err();
    assert!(matches!(lost, RequestError::Network(_)), "{lost}");
    let stranger = Bot::new("1:x").set_api_url(fake.api_url().parse().unwrap());
    let unknown = stranger.get_me().await.unwrap_err();
    assert!(matches!(unknown, RequestError::Api(ApiError::InvalidToken)), "{unknown}");
}

#[tokio::test]
async fn a_webhook_is_set_in_parts() {
    let (fake, _) = with_anna().await;
    let bot = bot(&fake);
    bot.set_webhook("http://127.0.0.1:9/hook".parse().unwrap()).secret_token("sesamo").await.unwrap();
    let info = bot.get_webhook_info().await.unwrap();
    assert_eq!(info.url.map(String::from).as_deref(), Some("http://127.0.0.1:9/hook"));
    bot.delete_webhook().await.unwrap();
    assert_eq!(bot.get_webhook_info().await.unwrap().url, None);
}
