//! Messages that grow while they are written: https://docs.slack.dev/reference/methods/chat.startStream

use serde_json::{Value, json};
use tokio::time::Instant;

use super::chat::{clear_status, writable};
use super::{metadata, own, thread_of};
use crate::fakes::slack::blocks::{self, MARKDOWN_MAX};
use crate::fakes::slack::message::{Message, Stream};
use crate::fakes::slack::reply::{Answer, Refusal, refuse};
use crate::fakes::slack::request::Parameters;
use crate::fakes::slack::world::{ChannelKind, TEAM, World};

pub fn start(world: &mut World, parameters: &Parameters) -> Answer {
    let channel = writable(world, parameters)?;
    let Some(thread) = thread_of(world, &channel, parameters)? else { return refuse("invalid_thread_ts") };
    if world.channel(&channel).kind != ChannelKind::Im {
        for name in ["recipient_user_id", "recipient_team_id"] {
            if parameters.text(name).is_none() {
                return refuse(&format!("missing_{name}"));
            }
        }
    }
    let piece = piece(parameters)?;
    let mut message = own(world.ts(), "");
    message.thread_ts = Some(thread.clone());
    message.stream = Stream::Open { since: Instant::now(), chunks: piece.chunks };
    add(&mut message, &piece)?;
    clear_status(world, &channel, Some(&thread));
    world.begin_thread(&channel, Some(&thread));
    let ts = world.place(&channel, message);
    Ok(json!({"channel": channel, "ts": ts}))
}

pub fn append(world: &mut World, parameters: &Parameters) -> Answer {
    let (channel, ts) = place(world, parameters)?;
    let piece = piece(parameters)?;
    if piece.text.is_empty() && piece.blocks.is_empty() {
        return refuse("no_text");
    }
    let message = open(world, &channel, &ts, &piece)?;
    add(message, &piece)?;
    message.shown();
    Ok(json!({"channel": channel, "ts": ts}))
}

pub fn stop(world: &mut World, parameters: &Parameters) -> Answer {
    let (channel, ts) = place(world, parameters)?;
    let piece = piece(parameters)?;
    let below = match parameters.json("blocks") {
        Ok(Some(blocks)) => blocks::checked(&blocks)?,
        Ok(None) => Vec::new(),
        Err(()) => return refuse("invalid_blocks_format"),
    };
    let metadata = metadata(parameters)?;
    let message = open(world, &channel, &ts, &piece)?;
    add(message, &piece)?;
    message.blocks.extend(below);
    message.metadata = metadata.or(message.metadata.take());
    let before = message.json(TEAM, true);
    message.stream = Stream::Ended { stopped_by_person: false };
    message.shown();
    let shown = message.json(TEAM, true);
    let thread = message.thread_ts.clone().unwrap_or_default();
    world.tell_changed(&channel, &ts, &before);
    if let Some(status) = parameters.text("session_status") {
        world.deeds.sessions.push((channel.clone(), thread, status.to_owned()));
    }
    Ok(json!({"channel": channel, "ts": ts, "message": shown}))
}

fn place(world: &World, parameters: &Parameters) -> Result<(String, String), Refusal> {
    let channel = world.named(parameters, "channel")?;
    Ok((channel, parameters.text("ts").unwrap_or_default().to_owned()))
}

/// What one call adds to a stream.
struct Piece {
    text: String,
    blocks: Vec<Value>,
    chunks: bool,
}

fn piece(parameters: &Parameters) -> Result<Piece, Refusal> {
    let text = parameters.text("markdown_text").unwrap_or_default();
    let mut piece = Piece { text: text.to_owned(), blocks: Vec::new(), chunks: false };
    let chunks = match parameters.json("chunks") {
        Ok(Some(Value::Array(chunks))) => chunks,
        Ok(None) => Vec::new(),
        _ => return refuse("invalid_chunks"),
    };
    if !chunks.is_empty() && !text.is_empty() {
        return refuse("streaming_mode_mismatch");
    }
    for chunk in &chunks {
        piece.chunks = true;
        match (chunk["type"].as_str(), chunk["text"].as_str()) {
            (Some("markdown_text"), Some(text)) => piece.text.push_str(text),
            (Some("task_update" | "plan_update"), _) if chunk["title"].is_string() => {}
            (Some("blocks"), _) => piece.blocks.extend(blocks::checked(&chunk["blocks"])?),
            _ => return refuse("invalid_chunks"),
        }
    }
    if piece.text.chars().count() > MARKDOWN_MAX {
        return Err(Refusal::broken("msg_too_long", "more than 12000 characters at once"));
    }
    Ok(piece)
}

/// The stream, if it still takes something of this kind.
fn open<'a>(world: &'a mut World, channel: &str, ts: &str, piece: &Piece) -> Result<&'a mut Message, Refusal> {
    let message = world.own_message(channel, ts, "message_not_owned_by_app")?;
    match message.stream {
        Stream::Open { since, chunks }
            if chunks != piece.chunks && !(piece.text.is_empty() && piece.blocks.is_empty()) =>
        {
            // A stream that has nothing yet takes either.
            if message.streamed.is_empty() && message.blocks.is_empty() {
                message.stream = Stream::Open { since, chunks: piece.chunks };
                return Ok(message);
            }
            refuse("streaming_mode_mismatch")
        }
        Stream::Open { .. } => Ok(message),
        Stream::Ended { stopped_by_person: true } => refuse("stopped_by_user"),
        Stream::Ended { stopped_by_person: false } | Stream::No => refuse("message_not_in_streaming_state"),
    }
}

fn add(message: &mut Message, piece: &Piece) -> Result<(), Refusal> {
    if message.streamed.chars().count() + piece.text.chars().count() > MARKDOWN_MAX {
        return Err(Refusal::broken("msg_too_long", "a stream of more than 12000 characters"));
    }
    message.streamed.push_str(&piece.text);
    message.blocks.extend(piece.blocks.iter().cloned());
    Ok(())
}
