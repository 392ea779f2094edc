//! What the bot hears of what people do, and what they see of what it does.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Attachment, ChatKind, FakeTelegram, InlineResult, Said, Service, Standing, Version};
use super::{PATIENCE, call, refusal, result, send, updates, with_anna};

#[tokio::test]
async fn in_private_everything_is_heard() {
    let (fake, anna) = with_anna().await;
    let asked = fake.say(anna, anna, "Quanti giorni di ferie?", Said::default());
    let document = Attachment::Document { name: "a.pdf".to_owned(), media_type: "application/pdf".to_owned() };
    fake.say(anna, anna, "che ne dici?", Said::with(document));
    fake.say(anna, anna, "", Said::with(Attachment::Picture));
    fake.say(anna, anna, "", Said::with(Attachment::Voice));
    fake.edit(anna, asked, "Quanti giorni di permesso?");
    let heard = updates(&fake).await;
    let message = &heard[0]["message"];
    assert_eq!(message["text"], "Quanti giorni di ferie?");
    assert_eq!(message["from"]["language_code"], "it");
    assert_eq!((&message["chat"]["id"], &message["chat"]["type"]), (&json!(anna.0), &json!("private")));
    let document = &heard[1]["message"];
    assert_eq!((&document["document"]["file_name"], &document["caption"]), (&json!("a.pdf"), &json!("che ne dici?")));
    assert!(document.get("text").is_none());
    assert!(heard[2]["message"]["photo"].is_array() && heard[3]["message"]["voice"].is_object());
    let edited = &heard[4]["edited_message"];
    assert_eq!((&edited["message_id"], &edited["text"]), (&json!(asked), &json!("Quanti giorni di permesso?")));
    assert!(edited["edit_date"].is_i64());
    let shown = fake.messages(anna);
    assert_eq!((shown[0].author, shown[0].edits, shown[2].attachment.clone()), (anna, 1, Some(Attachment::Picture)));
}

/// The texts of the messages that reached the bot.
async fn heard(fake: &FakeTelegram) -> Vec<String> {
    let messages = updates(fake).await.into_iter().map(|update| update["message"].clone());
    messages.filter_map(|message| message["text"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn in_groups_privacy_mode_decides() {
    let (fake, anna) = with_anna().await;
    let bruno = fake.add_person("Bruno", None);
    let other = fake.add_bot("Other");
    let team = fake.add_chat(ChatKind::Supergroup, "Team", &[anna, bruno, other]);
    let ours = send(&fake, team, "Eccomi").await;
    let talk = || {
        let question = fake.say(team, anna, "come va?", Said::default());
        fake.say(team, bruno, "bene", Said::reply_to(question));
        fake.say(team, anna, "/status", Said::default());
        fake.say(team, anna, "/status@other_bot", Said::default());
        fake.say(team, anna, "@cervella_bot ferie?", Said::default());
        fake.say(team, anna, "e i permessi?", Said::reply_to(ours));
        fake.say(team, other, "bip", Said::default());
    };
    talk();
    assert_eq!(heard(&fake).await, ["/status", "@cervella_bot ferie?", "e i permessi?"]);
    let all = ["come va?", "bene", "/status", "/status@other_bot", "@cervella_bot ferie?", "e i permessi?", "bip"];
    fake.set_privacy(false);
    talk();
    assert_eq!(heard(&fake).await, all);
    fake.set_privacy(true);
    fake.place_bot(team, anna, Standing::Admin);
    updates(&fake).await;
    talk();
    assert_eq!(heard(&fake).await, all);
}

#[tokio::test]
async fn numbers_are_shared_but_for_supergroups() {
    let (fake, anna) = with_anna().await;
    let bruno = fake.add_person("Bruno", None);
    let group = fake.add_chat(ChatKind::Group, "Gruppo", &[anna]);
    let team = fake.add_chat(ChatKind::Supergroup, "Team", &[anna]);
    let mut numbers = Vec::new();
    for chat in [anna.into(), group, bruno.into(), team, team, anna.into()] {
        numbers.push(fake.say(chat, anna, "ciao", Said::default()));
    }
    assert_eq!(numbers, [1, 2, 3, 1, 2, 4]);
}

#[tokio::test]
async fn topics_and_replies_have_threads() {
    let (fake, anna) = with_anna().await;
    fake.set_privacy(false);
    let forum = fake.add_chat(ChatKind::Forum, "Forum", &[anna]);
    let team = fake.add_chat(ChatKind::Supergroup, "Team", &[anna]);
    let topic = fake.open_topic(forum, anna, "Ufficio");
    let asked = fake.say(forum, anna, "ferie?", Said::in_topic(topic));
    let heard = updates(&fake).await;
    assert_eq!(heard[0]["message"]["forum_topic_created"]["name"], "Ufficio");
    let message = &heard[1]["message"];
    assert_eq!((&message["message_thread_id"], &message["is_topic_message"]), (&json!(topic), &json!(true)));
    assert_eq!(message["reply_to_message"]["forum_topic_created"]["name"], "Ufficio");

    let answer = json!({ "chat_id": forum.0, "text": "22", "message_thread_id": topic,
        "reply_parameters": { "message_id": asked } });
    result(call(&fake, "sendMessage", answer).await);
    let shown = fake.answers(forum);
    assert_eq!((shown[0].topic, shown[0].reply_to), (Some(topic), Some(asked)));
    let astray = json!({ "chat_id": forum.0, "text": "22", "message_thread_id": 99 });
    assert_eq!(refusal(call(&fake, "sendMessage", astray).await), "400 Bad Request: message thread not found");
    fake.close_topic(forum, topic);
    let closed = json!({ "chat_id": forum.0, "text": "22", "message_thread_id": topic });
    assert_eq!(refusal(call(&fake, "sendMessage", closed).await), "400 Bad Request: TOPIC_CLOSED");

    let root = fake.say(team, anna, "domanda", Said::default());
    fake.say(team, anna, "ancora", Said::reply_to(root));
    let reply = updates(&fake).await[1]["message"].clone();
    assert_eq!((&reply["message_thread_id"], reply.get("is_topic_message")), (&json!(root), None));
    assert_eq!(reply["reply_to_message"]["message_id"], root);
    let thread = json!({ "chat_id": team.0, "text": "22", "message_thread_id": root });
    assert_eq!(refusal(call(&fake, "sendMessage", thread).await), "400 Bad Request: message thread not found");
}

#[tokio::test]
async fn buttons_are_pressed_and_answered_once() {
    let (fake, anna) = with_anna().await;
    let keyboard = json!({ "inline_keyboard": [[{ "text": "Utile", "callback_data": "helpful" }]] });
    let sent = json!({ "chat_id": anna.0, "text": "ecco", "reply_markup": keyboard });
    let id = result(call(&fake, "sendMessage", sent).await)["message_id"].as_i64().unwrap();
    let query = fake.press(anna, anna, id, "Utile");
    let update = updates(&fake).await[0]["callback_query"].clone();
    assert_eq!((&update["id"], &update["data"]), (&json!(query), &json!("helpful")));
    assert_eq!(update["message"]["message_id"], id);
    let answer = json!({ "callback_query_id": query, "text": "Grazie!" });
    result(call(&fake, "answerCallbackQuery", answer.clone()).await);
    let again = refusal(call(&fake, "answerCallbackQuery", answer).await);
    assert_eq!(again, "400 Bad Request: query is too old and response timeout expired or query ID is invalid");
    let answers = fake.callback_answers();
    assert_eq!((answers.len(), answers[0].text.as_deref(), answers[0].alert), (1, Some("Grazie!"), false));
    let press = fake.presses().remove(0);
    assert_eq!((press.data.as_str(), press.at <= answers[0].at), ("helpful", true));
    fake.delete(anna, id);
    fake.press(anna, anna, id, "helpful");
    assert_eq!(updates(&fake).await[0]["callback_query"]["message"]["date"], 0);
}

#[tokio::test]
async fn inline_queries_get_articles() {
    let (fake, anna) = with_anna().await;
    let query = fake.ask_inline(anna, "ferie");
    assert_eq!(updates(&fake).await[0]["inline_query"]["query"], "ferie");
    let article = |id: &str| {
        let content = json!({ "message_text": "<b>22</b> giorni", "parse_mode": "HTML" });
        json!({ "type": "article", "id": id, "title": "Ferie", "input_message_content": content })
    };
    let answer = |results: Value| json!({ "inline_query_id": query, "results": results, "cache_time": 0 });
    let twice = call(&fake, "answerInlineQuery", answer(json!([article("a"), article("a")]))).await;
    assert_eq!(refusal(twice), "400 Bad Request: RESULT_ID_DUPLICATE");
    let broken = json!({ "type": "article", "id": "a", "title": "x",
        "input_message_content": { "message_text": "<b>", "parse_mode": "HTML" } });
    assert!(refusal(call(&fake, "answerInlineQuery", answer(json!([broken]))).await).contains("can't parse entities"));
    result(call(&fake, "answerInlineQuery", answer(json!([article("a"), article("b")]))).await);
    let answers = fake.inline_answers();
    assert_eq!((answers[0].results.len(), answers[0].cache_time), (2, 0));
    let shown = InlineResult {
        id: "a".to_owned(),
        title: "Ferie".to_owned(),
        description: None,
        text: "22 giorni".to_owned(),
        html: "<b>22</b> giorni".to_owned(),
    };
    assert_eq!(answers[0].results[0], shown);
    let asked = &fake.inline_queries()[0];
    assert_eq!((asked.text.as_str(), asked.person, asked.query == query), ("ferie", anna, true));
    assert!(asked.at <= answers[0].at);
}

#[tokio::test]
async fn people_and_the_bot_come_and_go() {
    let (fake, anna) = with_anna().await;
    let bruno = fake.add_person("Bruno", None);
    let group = fake.add_chat(ChatKind::Group, "Gruppo", &[anna]);
    fake.join(group, bruno);
    fake.leave(group, bruno);
    let heard = updates(&fake).await;
    assert_eq!(heard[0]["message"]["new_chat_members"][0]["first_name"], "Bruno");
    assert_eq!(heard[1]["message"]["left_chat_member"]["first_name"], "Bruno");
    assert_eq!(fake.messages(group)[1].service, Some(Service::Left(bruno)));

    fake.place_bot(anna, anna, Standing::Kicked);
    let blocked = call(&fake, "sendMessage", json!({ "chat_id": anna.0, "text": "x" })).await;
    assert_eq!(refusal(blocked), "403 Forbidden: bot was blocked by the user");
    fake.place_bot(group, anna, Standing::Kicked);
    let kicked = call(&fake, "sendMessage", json!({ "chat_id": group.0, "text": "x" })).await;
    assert_eq!(refusal(kicked), "403 Forbidden: bot was kicked from the group chat");
    fake.place_bot(group, anna, Standing::Left);
    let left = call(&fake, "sendMessage", json!({ "chat_id": group.0, "text": "x" })).await;
    assert_eq!(refusal(left), "403 Forbidden: bot is not a member of the group chat");
    fake.place_bot(group, anna, Standing::Member);
    let heard = updates(&fake).await;
    assert_eq!(heard[0]["my_chat_member"]["new_chat_member"]["status"], "kicked");
    assert_eq!(heard.last().unwrap()["message"]["new_chat_members"][0]["username"], fake.username());

    let new = fake.upgrade(group, anna);
    let (status, body) = call(&fake, "sendMessage", json!({ "chat_id": group.0, "text": "x" })).await.unwrap();
    assert_eq!((status, &body["parameters"]["migrate_to_chat_id"]), (400, &json!(new.0)));
    send(&fake, new, "eccomi").await;
}

#[tokio::test]
async fn who_is_who_in_a_chat() {
    let (fake, anna) = with_anna().await;
    let bruno = fake.add_person("Bruno", None);
    let team = fake.add_chat(ChatKind::Supergroup, "Team", &[anna]);
    fake.add_admin(team, bruno);
    for (person, status) in [(anna, "member"), (bruno, "administrator"), (fake.bot(), "member")] {
        let member = call(&fake, "getChatMember", json!({ "chat_id": team.0, "user_id": person.0 })).await;
        assert_eq!(result(member)["status"], status);
    }
    let admins = result(call(&fake, "getChatAdministrators", json!({ "chat_id": team.0 })).await);
    assert_eq!(admins[0]["user"]["first_name"], fake.person(bruno).first_name);
    assert_eq!(result(call(&fake, "getChat", json!({ "chat_id": team.0 })).await)["title"], "Team");
    assert_eq!(refusal(call(&fake, "getChat", json!({ "chat_id": 7 })).await), "400 Bad Request: chat not found");
}

#[tokio::test]
async fn edits_and_deletions_are_as_on_the_platform() {
    let (fake, anna) = with_anna().await;
    let theirs = fake.say(anna, anna, "domanda", Said::default());
    let keyboard = json!({ "inline_keyboard": [[{ "text": "Stop", "callback_data": "stop" }]] });
    let sent = json!({ "chat_id": anna.0, "text": "Sto cercando", "reply_markup": keyboard });
    let id = result(call(&fake, "sendMessage", sent).await)["message_id"].as_i64().unwrap();
    let edit = async |id: i64, text: &str| {
        fake.set_limits(None);
        call(&fake, "editMessageText", json!({ "chat_id": anna.0, "message_id": id, "text": text })).await
    };
    result(edit(id, "22 giorni").await);
    let same = "400 Bad Request: message is not modified: specified new message content and reply markup are exactly \
                the same as a current content and reply markup of the message";
    assert_eq!(refusal(edit(id, "22 giorni").await), same);
    assert_eq!(refusal(edit(theirs, "x").await), "400 Bad Request: message can't be edited");
    assert_eq!(refusal(edit(99, "x").await), "400 Bad Request: message to edit not found");
    assert_eq!(refusal(edit(id, &"x".repeat(4097)).await), "400 Bad Request: MESSAGE_TOO_LONG");
    let shown = fake.message(anna, id).unwrap();
    assert_eq!((shown.edits, shown.text.as_str(), shown.buttons.len()), (1, "22 giorni", 0));
    let texts = shown.versions.iter().map(|version: &Arc<Version>| version.rich.text.as_str());
    assert_eq!(texts.collect::<Vec<_>>(), ["Sto cercando", "22 giorni"]);
    assert!(shown.shown_at <= shown.changed_at);

    let named = json!({ "chat_id": anna.0, "message_id": id });
    let mut marked = named.clone();
    marked["reply_markup"] = keyboard;
    result(call(&fake, "editMessageReplyMarkup", marked).await);
    let mut liked = named.clone();
    liked["reaction"] = json!([{ "type": "emoji", "emoji": "👍" }]);
    result(call(&fake, "setMessageReaction", liked).await);
    assert_eq!(fake.message(anna, id).unwrap().reactions, ["👍"]);
    result(call(&fake, "deleteMessage", named.clone()).await);
    assert_eq!(refusal(call(&fake, "deleteMessage", named).await), "400 Bad Request: message to delete not found");
    assert_eq!(refusal(edit(id, "x").await), "400 Bad Request: message to edit not found");
    assert!(fake.answers(anna).is_empty() && fake.messages(anna).iter().any(|message| message.deleted));
    let lost = json!({ "chat_id": anna.0, "text": "x", "reply_parameters": { "message_id": id } });
    assert_eq!(refusal(call(&fake, "sendMessage", lost).await), "400 Bad Request: message to be replied not found");
}

#[tokio::test]
async fn a_transcript_is_the_same_in_every_run() {
    let (fake, anna) = with_anna().await;
    let forum = fake.add_chat(ChatKind::Forum, "Forum", &[anna]);
    let topic = fake.open_topic(forum, anna, "Ufficio");
    let asked = fake.say(forum, anna, "@cervella_bot ferie?", Said::in_topic(topic));
    let keyboard = json!({ "inline_keyboard": [[{ "text": "Utile", "callback_data": "helpful" }]] });
    let answer = json!({ "chat_id": forum.0, "text": "<b>22</b>\ngiorni", "parse_mode": "HTML",
        "message_thread_id": topic, "reply_markup": keyboard, "reply_parameters": { "message_id": asked } });
    let id = result(call(&fake, "sendMessage", answer).await)["message_id"].as_i64().unwrap();
    let query = fake.press(forum, anna, id, "Utile");
    result(call(&fake, "answerCallbackQuery", json!({ "callback_query_id": query, "text": "Grazie!" })).await);
    let voice = fake.say(forum, anna, "", Said { topic: Some(topic), ..Said::with(Attachment::Voice) });
    fake.delete(forum, voice);
    fake.edit(forum, asked, "@cervella_bot permessi?");
    assert_eq!(
        fake.transcript(forum),
        "== Forum (forum)\n\
         #1 Anna [Ufficio]: ** topic Ufficio opened\n\
         #2 Anna [Ufficio] (edited): @cervella_bot permessi?\n\
         #3 Cervella -> #2 [Ufficio]:\n    \
             <b>22</b>\n    \
             giorni\n    \
             [Utile]\n    \
             Anna pressed [Utile]: Grazie!\n\
         #4 Anna [Ufficio] (deleted): <voice>\n"
    );
}

#[tokio::test]
async fn a_person_without_a_user_name_is_mentioned_all_the_same() {
    let (fake, anna) = with_anna().await;
    let zoe = fake.add_person("Zoë", None);
    fake.say(anna, anna, "chiedi a Zoë", Said::mentioning(zoe));
    let entity = updates(&fake).await[0]["message"]["entities"][0].clone();
    assert_eq!((&entity["type"], &entity["user"]["id"]), (&json!("text_mention"), &json!(zoe.0)));
}

#[tokio::test]
async fn a_test_waits_for_what_the_bot_does() {
    let (fake, anna) = with_anna().await;
    let waiting = fake.wait_until(|fake| fake.actions().len() == 1 && fake.calls("sendchataction") == 1, PATIENCE);
    let acting = call(&fake, "sendChatAction", json!({ "chat_id": anna.0, "action": "typing" }));
    let (came, _) = tokio::join!(waiting, acting);
    assert!(came && fake.actions()[0].topic.is_none());
    assert!(!fake.wait_until(|_| false, std::time::Duration::ZERO).await);
}
