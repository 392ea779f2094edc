//! Who the bot is, who the people are, sockets, views and reactions.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::fakes::slack::reply::{Answer, refuse};
use crate::fakes::slack::request::Parameters;
use crate::fakes::slack::sockets::SOCKETS_MAX;
use crate::fakes::slack::world::{APP_ID, BOT_ID, BOT_USER, TEAM, TEAM_NAME, User, World};

/// A trigger opens a view within this time.
const TRIGGER_MAX: Duration = Duration::from_secs(3);

pub fn api_test(_: &mut World, parameters: &Parameters) -> Answer {
    match parameters.text("error") {
        Some(code) => refuse(code),
        None => Ok(json!({"args": parameters.without_token()})),
    }
}

pub fn auth_test(_: &mut World, _: &Parameters) -> Answer {
    Ok(json!({
        "url": "https://example.slack.com/", "team": TEAM_NAME, "user": "cervella", "team_id": TEAM,
        "user_id": BOT_USER, "bot_id": BOT_ID, "is_enterprise_install": false,
    }))
}

pub fn connections_open(world: &mut World, _: &Parameters) -> Answer {
    if world.sockets.open.len() >= SOCKETS_MAX {
        return refuse("too_many_websockets");
    }
    Ok(json!({"url": world.sockets.ticket()}))
}

pub fn bots_info(world: &mut World, parameters: &Parameters) -> Answer {
    let id = parameters.text("bot").unwrap_or(BOT_ID);
    let (name, user) = match world.users.values().find(|user| user.bot_id.as_deref() == Some(id)) {
        Some(user) => (user.name.as_str(), user.id.as_str()),
        None if id == BOT_ID => ("Cervella", BOT_USER),
        None => return refuse("bot_not_found"),
    };
    Ok(json!({"bot": {
        "id": id, "deleted": false, "name": name, "updated": 1_700_000_000, "app_id": APP_ID, "user_id": user,
        "icons": {"image_36": "https://example.com/36.png"},
    }}))
}

pub fn users_info(world: &mut World, parameters: &Parameters) -> Answer {
    let id = parameters.text("user").unwrap_or_default();
    let bot = User {
        id: BOT_USER.to_owned(),
        name: "cervella".to_owned(),
        locale: "en-US".to_owned(),
        bot_id: Some(BOT_ID.to_owned()),
    };
    let Some(user) = world.users.get(id).or((id == BOT_USER).then_some(&bot)) else { return refuse("user_not_found") };
    let mut found = json!({
        "id": user.id, "team_id": TEAM, "name": user.name.to_lowercase(), "deleted": false, "real_name": user.name,
        "tz": "Europe/Rome", "tz_label": "Central European Time", "tz_offset": 3_600, "is_admin": false,
        "is_owner": false, "is_primary_owner": false, "is_restricted": false, "is_ultra_restricted": false,
        "is_bot": user.bot_id.is_some(), "is_app_user": false, "updated": 1_700_000_000,
        "profile": {"real_name": user.name, "display_name": user.name, "team": TEAM, "avatar_hash": "0"},
    });
    if parameters.flag("include_locale") {
        found["locale"] = json!(user.locale);
    }
    Ok(json!({"user": found}))
}

pub fn views_open(world: &mut World, parameters: &Parameters) -> Answer {
    let Some(trigger) = parameters.text("trigger_id").and_then(|id| world.triggers.get(id)) else {
        return refuse("invalid_trigger_id");
    };
    if trigger.since.elapsed() > TRIGGER_MAX {
        return refuse("expired_trigger_id");
    }
    let Ok(Some(mut view @ Value::Object(_))) = parameters.json("view") else { return refuse("invalid_arguments") };
    if !matches!(view["type"].as_str(), Some("modal" | "home")) || !view["blocks"].is_array() {
        return refuse("invalid_arguments");
    }
    let blocks = super::blocks::checked(&view["blocks"])?;
    view["blocks"] = json!(blocks);
    view["id"] = json!(format!("V{:08}", world.count()));
    view["team_id"] = json!(TEAM);
    view["app_id"] = json!(APP_ID);
    view["bot_id"] = json!(BOT_ID);
    view["hash"] = json!("1");
    view["state"] = json!({"values": Map::new()});
    world.deeds.views.push(view.clone());
    Ok(json!({"view": view}))
}

pub fn reactions_add(world: &mut World, parameters: &Parameters) -> Answer {
    let name = parameters.text("name").unwrap_or_default().to_owned();
    let reaction = (name, BOT_USER.to_owned());
    let reactions = reactions(world, parameters)?;
    if reaction.0.is_empty() {
        return refuse("invalid_name");
    }
    if reactions.contains(&reaction) {
        return refuse("already_reacted");
    }
    reactions.push(reaction);
    Ok(json!({}))
}

pub fn reactions_remove(world: &mut World, parameters: &Parameters) -> Answer {
    let name = parameters.text("name").unwrap_or_default().to_owned();
    let reactions = reactions(world, parameters)?;
    let Some(index) = reactions.iter().position(|reaction| *reaction == (name.clone(), BOT_USER.to_owned())) else {
        return refuse("no_reaction");
    };
    reactions.remove(index);
    Ok(json!({}))
}

type Reactions = Vec<(String, String)>;

fn reactions<'a>(
    world: &'a mut World,
    parameters: &Parameters,
) -> Result<&'a mut Reactions, crate::fakes::slack::reply::Refusal> {
    let channel = world.joined(parameters, "channel")?;
    let ts = parameters.text("timestamp").unwrap_or_default();
    match world.channel_mut(&channel).messages.get_mut(ts).filter(|message| !message.deleted) {
        Some(message) => Ok(&mut message.reactions),
        None => refuse("message_not_found"),
    }
}
