//! Channels and what was said in them.

use serde_json::{Value, json};

use crate::fakes::slack::message::Message;
use crate::fakes::slack::reply::{Answer, Refusal, refuse};
use crate::fakes::slack::request::Parameters;
use crate::fakes::slack::world::{Channel, ChannelKind, TEAM, World};

const LIMIT_MAX: usize = 999;

pub fn info(world: &mut World, parameters: &Parameters) -> Answer {
    let channel = world.named(parameters, "channel")?;
    needs(world, &channel, "read")?;
    Ok(json!({"channel": shown(world.channel(&channel), parameters.flag("include_num_members"))}))
}

pub fn open(world: &mut World, parameters: &Parameters) -> Answer {
    let known = parameters.text("channel").and_then(|id| world.channels.get(id));
    let users: Vec<&str> = parameters.text("users").unwrap_or_default().split(',').collect();
    let channel = match (known, users.as_slice()) {
        (Some(channel), _) if channel.kind == ChannelKind::Im => channel,
        (None, [user]) => match world.im_of(user.trim()) {
            Some(channel) => channel,
            None => return refuse("user_not_found"),
        },
        _ => return refuse("channel_not_found"),
    };
    let mut found = json!({"id": channel.id});
    if parameters.flag("return_im") {
        found = shown(channel, false);
    }
    Ok(json!({"no_op": true, "already_open": true, "channel": found}))
}

pub fn history(world: &mut World, parameters: &Parameters) -> Answer {
    let id = readable(world, parameters)?;
    world.end_old_streams();
    let channel = world.channel(&id);
    let top =
        |message: &&Message| message.thread_ts.as_ref().is_none_or(|root| *root == message.ts) || message.broadcast;
    let messages = channel.messages.values().filter(top);
    Ok(page(messages.rev().collect(), 100, parameters))
}

pub fn replies(world: &mut World, parameters: &Parameters) -> Answer {
    let id = readable(world, parameters)?;
    world.end_old_streams();
    let channel = world.channel(&id);
    let ts = parameters.text("ts").unwrap_or_default();
    let root = match channel.root(ts) {
        Some(root) if !root.deleted || channel.replies(&root.ts).next().is_some() => root,
        _ => return refuse("thread_not_found"),
    };
    let mut answer = page(channel.replies(&root.ts).collect(), LIMIT_MAX, parameters);
    // The first message is always there.
    if let Some(messages) = answer["messages"].as_array_mut().filter(|_| !root.deleted) {
        messages.insert(0, told(channel, root, parameters));
    }
    Ok(answer)
}

/// The channel, if the bot may read it.
fn readable(world: &World, parameters: &Parameters) -> Result<String, Refusal> {
    let channel = world.named(parameters, "channel")?;
    needs(world, &channel, "history")?;
    world.joined(parameters, "channel")
}

/// The scope depends on the kind of the channel.
fn needs(world: &World, channel: &str, what: &str) -> Result<(), Refusal> {
    let scope = match world.channel(channel).kind {
        ChannelKind::Public => format!("channels:{what}"),
        ChannelKind::Private => format!("groups:{what}"),
        ChannelKind::Im => format!("im:{what}"),
        ChannelKind::Mpim => format!("mpim:{what}"),
    };
    if world.has_scope(&scope) { Ok(()) } else { Err(Refusal::missing_scope(&scope, &world.scopes)) }
}

/// `limit`: how many messages, where the call does not say.
fn page(messages: Vec<&Message>, limit: usize, parameters: &Parameters) -> Value {
    let limit = parameters.number("limit").map_or(limit, |limit| limit as usize).clamp(1, LIMIT_MAX);
    let inclusive = parameters.flag("inclusive");
    let after = |message: &Message| {
        parameters
            .text("oldest")
            .is_none_or(|oldest| message.ts.as_str() > oldest || (inclusive && message.ts == oldest))
    };
    let before = |message: &Message| {
        parameters
            .text("latest")
            .is_none_or(|latest| message.ts.as_str() < latest || (inclusive && message.ts == latest))
    };
    let within: Vec<&Message> =
        messages.into_iter().filter(|message| !message.deleted && after(message) && before(message)).collect();
    // A cursor is the `ts` that the next page begins with.
    let cursor = parameters.text("cursor").and_then(|cursor| within.iter().position(|message| message.ts == cursor));
    let start = cursor.unwrap_or(0);
    let metadata = parameters.flag("include_all_metadata");
    let shown: Vec<Value> = within[start..].iter().take(limit).map(|message| message.json(TEAM, metadata)).collect();
    let next = within.get(start + limit).map(|message| message.ts.clone());
    let mut answer = json!({"messages": shown, "has_more": next.is_some(), "pin_count": 0});
    if let Some(next) = next {
        answer["response_metadata"] = json!({"next_cursor": next});
    }
    answer
}

/// The first message of a thread, with the number of its answers.
fn told(channel: &Channel, root: &Message, parameters: &Parameters) -> Value {
    let mut message = root.json(TEAM, parameters.flag("include_all_metadata"));
    let replies: Vec<&Message> = channel.replies(&root.ts).collect();
    message["reply_count"] = json!(replies.len());
    if let Some(last) = replies.last() {
        message["latest_reply"] = json!(last.ts);
    }
    message
}

fn shown(channel: &Channel, members: bool) -> Value {
    let mut shown = json!({
        "id": channel.id, "created": 1_700_000_000, "is_archived": channel.archived,
        "is_im": channel.kind == ChannelKind::Im, "is_mpim": channel.kind == ChannelKind::Mpim,
        "is_channel": channel.kind == ChannelKind::Public, "is_group": channel.kind == ChannelKind::Private,
        "is_private": channel.kind != ChannelKind::Public, "is_member": channel.bot, "context_team_id": TEAM,
    });
    if channel.kind == ChannelKind::Im {
        shown["user"] = json!(channel.members.iter().next());
    } else {
        shown["name"] = json!(channel.name);
        shown["name_normalized"] = json!(channel.name);
    }
    if members {
        shown["num_members"] = json!(channel.members.len() + usize::from(channel.bot));
    }
    shown
}
