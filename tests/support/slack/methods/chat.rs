//! Messages of the bot: posted, changed, taken back.

use serde_json::json;
use tokio::time::Instant;

use super::{TEXT_MAX, content, own, thread_of};
use crate::fakes::slack::message::{Stream, Version};
use crate::fakes::slack::render;
use crate::fakes::slack::reply::{Answer, Refusal, refuse};
use crate::fakes::slack::request::Parameters;
use crate::fakes::slack::world::{BOT_USER, ChannelKind, Ephemeral, TEAM, World};

/// Characters of `text` in an update.
const UPDATE_MAX: usize = 4_000;

pub fn post_message(world: &mut World, parameters: &Parameters) -> Answer {
    let channel = writable(world, parameters)?;
    let content = content(parameters, TEXT_MAX)?;
    let thread = thread_of(world, &channel, parameters)?;
    let mut message = own(world.ts(), &content.text);
    message.blocks = content.blocks.unwrap_or_default();
    message.metadata = content.metadata;
    message.client_msg_id = parameters.text("client_msg_id").map(str::to_owned);
    message.unfurls = parameters.flag("unfurl_links") || parameters.flag_or_true("unfurl_media");
    message.broadcast = parameters.flag("reply_broadcast");
    message.thread_ts = thread;
    clear_status(world, &channel, message.thread_ts.as_deref());
    world.begin_thread(&channel, message.thread_ts.as_deref());
    let ts = world.place(&channel, message);
    let message = world.channel(&channel).messages[&ts].json(TEAM, true);
    Ok(json!({"channel": channel, "ts": ts, "message": message}))
}

/// The channel that the bot may write in.
pub fn writable(world: &World, parameters: &Parameters) -> Result<String, Refusal> {
    let id = world.named(parameters, "channel")?;
    let channel = world.channel(&id);
    if channel.archived {
        return refuse("is_archived");
    }
    let open = channel.kind == ChannelKind::Public && world.has_scope("chat:write.public");
    if channel.bot || open { Ok(id) } else { refuse("not_in_channel") }
}

/// A status in the thread goes away with the bot's next message there.
pub fn clear_status(world: &mut World, channel: &str, thread: Option<&str>) {
    let Some(thread) = thread else { return };
    let statuses = &mut world.deeds.statuses;
    let last = statuses.iter().rev().find(|status| status.channel == channel && status.thread_ts == thread);
    if let Some(mut cleared) = last.filter(|status| !status.status.is_empty()).cloned() {
        cleared.status.clear();
        cleared.at = Instant::now();
        statuses.push(cleared);
    }
}

pub fn post_ephemeral(world: &mut World, parameters: &Parameters) -> Answer {
    let channel = writable(world, parameters)?;
    let content = content(parameters, TEXT_MAX)?;
    let user = parameters.text("user").unwrap_or_default();
    if !world.channel(&channel).members.contains(user) {
        return refuse("user_not_in_channel");
    }
    let thread_ts = thread_of(world, &channel, parameters)?;
    let blocks = content.blocks.unwrap_or_default();
    let user = user.to_owned();
    world.deeds.ephemerals.push(Ephemeral {
        channel,
        user,
        thread_ts,
        plain: render::words(&content.text, &blocks),
        at: Instant::now(),
    });
    Ok(json!({"message_ts": world.ts()}))
}

pub fn update(world: &mut World, parameters: &Parameters) -> Answer {
    let channel = world.named(parameters, "channel")?;
    let ts = parameters.text("ts").unwrap_or_default();
    let moment = world.ts();
    let message = world.own_message(&channel, ts, "cant_update_message")?;
    if matches!(message.stream, Stream::Open { .. }) {
        return refuse("streaming_state_conflict");
    }
    let content = content(parameters, UPDATE_MAX)?;
    let before = message.json(TEAM, true);
    message.text = content.text;
    // What the stream wrote is replaced with the rest.
    message.streamed.clear();
    message.stream = Stream::No;
    if let Some(blocks) = content.blocks {
        message.blocks = blocks;
    }
    message.metadata = content.metadata.or(message.metadata.take());
    message.edits += 1;
    message.edited = Some((BOT_USER.to_owned(), moment));
    message.shown();
    let shown = message.json(TEAM, true);
    let text = message.text.clone();
    world.tell_changed(&channel, ts, &before);
    Ok(json!({"channel": channel, "ts": ts, "text": text, "message": shown}))
}

pub fn delete(world: &mut World, parameters: &Parameters) -> Answer {
    let channel = world.named(parameters, "channel")?;
    let ts = parameters.text("ts").unwrap_or_default();
    let message = world.own_message(&channel, ts, "cant_delete_message")?;
    if matches!(message.stream, Stream::Open { .. }) {
        return refuse("streaming_state_conflict");
    }
    let before = message.json(TEAM, true);
    message.deleted = true;
    let plain = message.plain();
    message.versions.push(Version { at: Instant::now(), plain });
    world.tell_deleted(&channel, ts, &before);
    Ok(json!({"channel": channel, "ts": ts}))
}

pub fn permalink(world: &mut World, parameters: &Parameters) -> Answer {
    let channel = world.named(parameters, "channel")?;
    let ts = parameters.text("message_ts").unwrap_or_default();
    match world.channel(&channel).messages.get(ts).filter(|message| !message.deleted) {
        Some(_) => {
            let link = format!("https://example.slack.com/archives/{channel}/p{}", ts.replace('.', ""));
            Ok(json!({"channel": channel, "permalink": link}))
        }
        None => refuse("message_not_found"),
    }
}
