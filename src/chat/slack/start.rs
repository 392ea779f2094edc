//! The check at start: do both tokens work, and may the bot do what it needs to?

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Api, CallError, Token};
use super::{SlackError, SlackIdentity, SlackOptions};

const APP_TOKEN: &str = "slack.app_token";
const BOT_TOKEN: &str = "slack.bot_token";

/// What the bot cannot do its work without; the manifest in `docs/slack-manifest.json` asks for them.
pub const SCOPES: [&str; 11] = [
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "groups:history",
    "im:history",
    "im:read",
    "mpim:history",
    "users:read",
];

#[derive(Deserialize)]
struct Tested {
    user_id: String,
    team_id: String,
    #[serde(default)]
    team: String,
    bot_id: Option<String>,
}

/// Asks Slack who the bot is and whether a socket would be opened for it.
pub async fn check(options: &SlackOptions) -> Result<SlackIdentity, SlackError> {
    if options.bot_token.is_empty() || options.bot_token.starts_with("xapp-") {
        return Err(SlackError::WrongKind { setting: BOT_TOKEN, prefix: "xoxb-" });
    }
    if options.app_token.is_empty() || options.app_token.starts_with("xoxb-") {
        return Err(SlackError::WrongKind { setting: APP_TOKEN, prefix: "xapp-" });
    }
    let api = Api::new(options)?;
    let tested: Tested =
        api.post(Token::Bot, "auth.test", &json!({})).await.map_err(|error| refused(BOT_TOKEN, error))?;
    if let Some(scopes) = api.scopes().await {
        let missing: Vec<_> =
            SCOPES.iter().filter(|scope| !scopes.iter().any(|has| has == *scope)).map(|&s| s.to_owned()).collect();
        if !missing.is_empty() {
            return Err(SlackError::MissingScopes { setting: BOT_TOKEN, scopes: missing });
        }
    }
    let _: Value =
        api.post(Token::App, "apps.connections.open", &json!({})).await.map_err(|error| refused(APP_TOKEN, error))?;
    Ok(SlackIdentity {
        team_id: tested.team_id,
        team_name: tested.team,
        user_id: tested.user_id,
        bot_id: tested.bot_id,
    })
}

fn refused(setting: &'static str, error: CallError) -> SlackError {
    let (code, needed) = match error {
        CallError::Refused { code, needed } => (code, needed),
        CallError::Unreachable(reason) => return SlackError::Unreachable(reason),
        CallError::Wait(_) | CallError::Spent(_) => {
            return SlackError::Unreachable("too many calls, try again in a minute".to_owned());
        }
    };
    match code.as_str() {
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => {
            SlackError::TokenRefused { setting, code }
        }
        "not_allowed_token_type" | "no_permission" => {
            SlackError::WrongKind { setting, prefix: if setting == APP_TOKEN { "xapp-" } else { "xoxb-" } }
        }
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => SlackError::Unreachable(code),
        "missing_scope" => {
            let needed = needed.unwrap_or_else(|| "connections:write".to_owned());
            SlackError::MissingScopes { setting, scopes: needed.split(',').map(str::to_owned).collect() }
        }
        _ => SlackError::Refused { setting, code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(setting: &'static str, code: &str, needed: Option<&str>, expect: &str) {
        let error = CallError::Refused { code: code.to_owned(), needed: needed.map(str::to_owned) };
        assert_eq!(refused(setting, error).to_string(), expect);
    }

    #[test]
    fn each_refusal_names_its_setting() {
        let again = "copy it again from the app's settings";
        check(BOT_TOKEN, "invalid_auth", None, &format!("slack refuses slack.bot_token (invalid_auth): {again}"));
        check(APP_TOKEN, "token_revoked", None, &format!("slack refuses slack.app_token (token_revoked): {again}"));
        check(
            APP_TOKEN,
            "missing_scope",
            Some("connections:write"),
            "slack.app_token lacks the scopes connections:write: add them to the app and install it again",
        );
        check(
            APP_TOKEN,
            "not_allowed_token_type",
            None,
            "slack.app_token is not a token of this kind: expected one that begins with `xapp-`",
        );
    }

    #[test]
    fn the_manifest_asks_for_every_scope() {
        let manifest: Value = serde_json::from_str(include_str!("../../../docs/slack-manifest.json")).unwrap();
        let asked = manifest["oauth_config"]["scopes"]["bot"].as_array().unwrap();
        for scope in SCOPES {
            assert!(asked.iter().any(|asked| asked == scope), "{scope} is not in the manifest");
        }
        assert_eq!(manifest["settings"]["socket_mode_enabled"], true);
        assert_eq!(manifest["features"]["shortcuts"][0]["callback_id"], crate::chat::slack::decode::SHORTCUT);
        assert_eq!(manifest["features"]["slash_commands"][0]["command"], "/cervella");
    }
}
