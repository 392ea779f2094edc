//! The methods of the Web API, each with its limit, its scope and the token that it wants.

mod assistant;
mod chat;
mod conversations;
mod streams;
mod workspace;

use serde_json::Value;
use tokio::time::Instant;

use super::blocks;
use super::limits::Tier;
use super::message::Message;
use super::render;
use super::reply::{Answer, Refusal, refuse};
use super::request::Parameters;
use super::world::{BOT_ID, BOT_USER, Ephemeral, Response, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `api.test` can be called by anybody.
    None,
    App,
    Bot,
}

pub struct Method {
    pub name: &'static str,
    pub tier: Tier,
    pub scope: Option<&'static str>,
    pub token: TokenKind,
    pub run: fn(&mut World, &Parameters) -> Answer,
}

const fn bot(
    name: &'static str,
    tier: Tier,
    scope: &'static str,
    run: fn(&mut World, &Parameters) -> Answer,
) -> Method {
    Method { name, tier, scope: Some(scope), token: TokenKind::Bot, run }
}

const fn free(name: &'static str, tier: Tier, token: TokenKind, run: fn(&mut World, &Parameters) -> Answer) -> Method {
    Method { name, tier, scope: None, token, run }
}

const METHODS: &[Method] = &[
    free("api.test", Tier::FOUR, TokenKind::None, workspace::api_test),
    free("auth.test", Tier::MANY, TokenKind::Bot, workspace::auth_test),
    // Published as one a minute and more; clients open several sockets in a row and replace them.
    free("apps.connections.open", Tier::FOUR, TokenKind::App, workspace::connections_open),
    bot("bots.info", Tier::THREE, "users:read", workspace::bots_info),
    bot("users.info", Tier::FOUR, "users:read", workspace::users_info),
    free("views.open", Tier::FOUR, TokenKind::Bot, workspace::views_open),
    bot("reactions.add", Tier::THREE, "reactions:write", workspace::reactions_add),
    bot("reactions.remove", Tier::TWO, "reactions:write", workspace::reactions_remove),
    // Their scope depends on the kind of the channel.
    free("conversations.info", Tier::THREE, TokenKind::Bot, conversations::info),
    bot("conversations.open", Tier::THREE, "im:write", conversations::open),
    free("conversations.history", Tier::THREE, TokenKind::Bot, conversations::history),
    free("conversations.replies", Tier::THREE, TokenKind::Bot, conversations::replies),
    bot("chat.postMessage", Tier::Posts, "chat:write", chat::post_message),
    bot("chat.postEphemeral", Tier::FOUR, "chat:write", chat::post_ephemeral),
    bot("chat.update", Tier::THREE, "chat:write", chat::update),
    bot("chat.delete", Tier::THREE, "chat:write", chat::delete),
    free("chat.getPermalink", Tier::MANY, TokenKind::Bot, chat::permalink),
    bot("chat.startStream", Tier::TWO, "chat:write", streams::start),
    bot("chat.appendStream", Tier::FOUR, "chat:write", streams::append),
    bot("chat.stopStream", Tier::TWO, "chat:write", streams::stop),
    bot("assistant.threads.setStatus", Tier::MANY, "chat:write", assistant::set_status),
    bot("assistant.threads.setSuggestedPrompts", Tier::FOUR, "assistant:write", assistant::set_suggested_prompts),
    bot("assistant.threads.setTitle", Tier::FOUR, "assistant:write", assistant::set_title),
    bot("agents.sessions.setStatus", Tier::THREE, "assistant:write", assistant::set_session_status),
];

pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

/// Characters of `text`, where a call does not say otherwise.
const TEXT_MAX: usize = 40_000;

/// What a call wants to be shown.
struct Content {
    text: String,
    /// `None`: the call says nothing of blocks.
    blocks: Option<Vec<Value>>,
    metadata: Option<Value>,
}

/// Reads text, blocks and metadata of a call, within their limits.
fn content(parameters: &Parameters, text_max: usize) -> Result<Content, Refusal> {
    let text = parameters.text("text").unwrap_or_default();
    if text.chars().count() > text_max {
        return Err(Refusal::broken("msg_too_long", &format!("text has more than {text_max} characters")));
    }
    let mut blocks = match parameters.json("blocks") {
        Ok(None) => None,
        Ok(Some(blocks)) => Some(blocks::checked(&blocks)?),
        Err(()) => return refuse("invalid_blocks_format"),
    };
    if let Some(markdown) = parameters.text("markdown_text") {
        if blocks.as_ref().is_some_and(|blocks| !blocks.is_empty()) || !text.is_empty() {
            return refuse("markdown_text_conflict");
        }
        blocks = Some(blocks::checked(&serde_json::json!([{"type": "markdown", "text": markdown}]))?);
    }
    if text.is_empty() && blocks.as_ref().is_none_or(Vec::is_empty) {
        return refuse("no_text");
    }
    let metadata = metadata(parameters)?;
    Ok(Content { text: text.to_owned(), blocks, metadata })
}

fn metadata(parameters: &Parameters) -> Result<Option<Value>, Refusal> {
    let Ok(metadata) = parameters.json("metadata") else { return refuse("invalid_metadata_format") };
    match &metadata {
        Some(given) if !given["event_type"].is_string() || !given["event_payload"].is_object() => {
            refuse("invalid_metadata_schema")
        }
        _ => Ok(metadata),
    }
}

/// The first message of the thread that a call names.
fn thread_of(world: &World, channel: &str, parameters: &Parameters) -> Result<Option<String>, Refusal> {
    let Some(thread) = parameters.text("thread_ts") else { return Ok(None) };
    if !is_ts(thread) {
        return refuse("invalid_thread_ts");
    }
    match world.channel(channel).root(thread) {
        // Below a deleted message there is a thread for as long as there are answers.
        Some(root) if !root.deleted || world.channel(channel).replies(&root.ts).next().is_some() => {
            Ok(Some(root.ts.clone()))
        }
        _ => refuse("thread_not_found"),
    }
}

fn is_ts(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(seconds, rest)| digits(seconds) && digits(rest))
}

/// A message of the bot.
fn own(ts: String, text: &str) -> Message {
    let mut message = Message::new(ts, BOT_USER, text);
    message.bot_id = Some(BOT_ID.to_owned());
    message
}

/// An answer to a command, press or shortcut, by `response_url` or along with the acknowledgement.
pub fn respond(world: &mut World, trigger: &str, body: &Value) -> Result<(), Refusal> {
    world.deeds.responses.push(Response { trigger: trigger.to_owned(), body: body.clone() });
    let Some(place) = world.triggers.get(trigger).cloned() else { return refuse("used_url") };
    if body.get("delete_original").is_some() || body.get("replace_original").is_some() {
        return Ok(());
    }
    let content = content(&Parameters::of(body), TEXT_MAX)?;
    let blocks = content.blocks.unwrap_or_default();
    if body["response_type"] == "in_channel" {
        let mut message = own(world.ts(), &content.text);
        message.blocks = blocks;
        world.place(&place.channel, message);
    } else {
        world.deeds.ephemerals.push(Ephemeral {
            channel: place.channel,
            user: place.user,
            thread_ts: body["thread_ts"].as_str().map(str::to_owned),
            plain: render::words(&content.text, &blocks),
            at: Instant::now(),
        });
    }
    Ok(())
}
