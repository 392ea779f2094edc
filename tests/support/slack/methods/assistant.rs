//! The assistant panel: status, suggested prompts, titles, and the sessions of an agent.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::thread_of;
use crate::fakes::slack::reply::{Answer, Refusal, refuse};
use crate::fakes::slack::request::Parameters;
use crate::fakes::slack::world::{Prompts, Status, World};

const PROMPTS_MAX: usize = 4;

pub fn set_status(world: &mut World, parameters: &Parameters) -> Answer {
    let (channel, thread_ts) = place(world, parameters)?;
    if !parameters.has("status") {
        return refuse("invalid_arguments");
    }
    let status = parameters.text("status").unwrap_or_default().to_owned();
    world.deeds.statuses.push(Status { channel, thread_ts, status, at: Instant::now() });
    Ok(json!({}))
}

pub fn set_suggested_prompts(world: &mut World, parameters: &Parameters) -> Answer {
    let (channel, thread_ts) = place(world, parameters)?;
    let Ok(Some(Value::Array(given))) = parameters.json("prompts") else { return refuse("invalid_arguments") };
    let field = |prompt: &Value, name: &str| prompt[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let prompts: Vec<_> =
        given.iter().filter_map(|prompt| field(prompt, "title").zip(field(prompt, "message"))).collect();
    if prompts.len() < given.len() || prompts.is_empty() || prompts.len() > PROMPTS_MAX {
        return Err(Refusal::broken("invalid_arguments", "1 to 4 prompts, each with title and message"));
    }
    let title = parameters.text("title").map(str::to_owned);
    world.deeds.prompts.push(Prompts { channel, thread_ts, title, prompts });
    Ok(json!({}))
}

pub fn set_title(world: &mut World, parameters: &Parameters) -> Answer {
    let (channel, thread_ts) = place(world, parameters)?;
    let Some(title) = parameters.text("title") else { return refuse("invalid_arguments") };
    world.deeds.titles.push((channel, thread_ts, title.to_owned()));
    Ok(json!({}))
}

pub fn set_session_status(world: &mut World, parameters: &Parameters) -> Answer {
    let (channel, thread_ts) = place(world, parameters)?;
    let status = parameters.text("status").unwrap_or_default();
    if !matches!(status, "active" | "processing" | "suspended" | "closed") {
        return refuse("invalid_arguments");
    }
    world.deeds.sessions.push((channel, thread_ts, status.to_owned()));
    Ok(json!({"status": status, "agent_status": status}))
}

fn place(world: &World, parameters: &Parameters) -> Result<(String, String), Refusal> {
    let channel = world.joined(parameters, "channel_id")?;
    match thread_of(world, &channel, parameters)? {
        Some(thread) => Ok((channel, thread)),
        None => refuse("invalid_thread_ts"),
    }
}
