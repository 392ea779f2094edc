//! Which method is which, and the short ones: who the bot is, its commands, its chats, its webhook.

use serde_json::{Value, json};

use super::places::{Person, PersonId};
use super::reply::Refusal;
use super::request::Parameters;
use super::state::State;
use super::webhook::Webhook;

const COMMANDS_MAX: usize = 100;

impl State {
    /// Applies a call. `method` is in lower case.
    pub fn apply(&mut self, method: &str, parameters: &Parameters) -> Result<Value, Refusal> {
        match method {
            "getme" => Ok(self.me()),
            "sendmessage" => self.send_message(parameters),
            "editmessagetext" => self.edit_message_text(parameters),
            "editmessagereplymarkup" => self.edit_message_reply_markup(parameters),
            "deletemessage" => self.delete_message(parameters),
            "deletemessages" => self.delete_messages(parameters),
            "setmessagereaction" => self.set_message_reaction(parameters),
            "sendchataction" => self.send_chat_action(parameters),
            "answercallbackquery" => self.answer_callback_query(parameters),
            "answerinlinequery" => self.answer_inline_query(parameters),
            "setmycommands" => self.set_my_commands(parameters),
            "getmycommands" => Ok(self.get_my_commands(parameters)),
            "deletemycommands" => {
                self.commands.remove(&commands_key(parameters));
                Ok(json!(true))
            }
            "getchat" => self.get_chat(parameters),
            "getchatmember" => self.get_chat_member(parameters),
            "getchatadministrators" => self.get_chat_administrators(parameters),
            "getchatmembercount" => {
                let chat = self.named(parameters)?;
                Ok(json!(self.room(chat).members.len() + 1))
            }
            "setwebhook" => self.set_webhook(parameters),
            "deletewebhook" => {
                self.webhook = None;
                if parameters.flag("drop_pending_updates") {
                    self.updates.drop_pending();
                }
                Ok(json!(true))
            }
            "getwebhookinfo" => Ok(self.webhook_info()),
            "setmydescription" | "setmyshortdescription" | "setmyname" | "logout" | "close" => Ok(json!(true)),
            _ => Err(Refusal::UnknownMethod),
        }
    }

    fn me(&self) -> Value {
        let mut me = self.person_json(self.bot);
        me["can_join_groups"] = json!(true);
        me["can_read_all_group_messages"] = json!(!self.privacy);
        me["supports_inline_queries"] = json!(true);
        me["can_connect_to_business"] = json!(false);
        me["has_main_web_app"] = json!(false);
        me
    }

    fn set_my_commands(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let list = parameters.json("commands").unwrap_or_default();
        let list = list.as_array().ok_or(Refusal::Command)?;
        if list.len() > COMMANDS_MAX {
            return Err(Refusal::TooManyCommands);
        }
        let mut commands = Vec::new();
        for command in list {
            let name = command["command"].as_str().unwrap_or_default().trim_start_matches('/');
            let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !(1..=32).contains(&name.len()) || !name.bytes().all(valid) {
                return Err(Refusal::Command);
            }
            let description = command["description"].as_str().unwrap_or_default();
            if !(1..=256).contains(&description.chars().count()) {
                return Err(Refusal::CommandDescription);
            }
            commands.push((name.to_owned(), description.to_owned()));
        }
        self.commands.insert(commands_key(parameters), commands);
        Ok(json!(true))
    }

    fn get_my_commands(&self, parameters: &Parameters) -> Value {
        let commands = self.commands.get(&commands_key(parameters)).map(Vec::as_slice).unwrap_or_default();
        let one = |(name, description): &(String, String)| json!({ "command": name, "description": description });
        commands.iter().map(one).collect()
    }

    fn get_chat(&self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let mut value = self.room(chat).json(self.people.get(&PersonId(chat.0)));
        value["accent_color_id"] = json!(0);
        value["max_reaction_count"] = json!(11);
        value["accepted_gift_types"] = json!({
            "unlimited_gifts": true,
            "limited_gifts": true,
            "unique_gifts": true,
            "premium_subscription": true,
            "gifts_from_channels": true,
        });
        Ok(value)
    }

    fn get_chat_member(&self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let id = parameters.integer("user_id").ok_or(Refusal::UserMissing)?;
        let person: &Person = self.people.get(&PersonId(id)).ok_or(Refusal::UserNotFound)?;
        Ok(self.room(chat).member_json(person, person.id == self.bot))
    }

    fn get_chat_administrators(&self, parameters: &Parameters) -> Result<Value, Refusal> {
        let chat = self.named(parameters)?;
        let room = self.room(chat);
        let admins = room.admins.iter().filter_map(|id| self.people.get(id));
        Ok(admins.map(|person| room.member_json(person, false)).collect())
    }

    fn set_webhook(&mut self, parameters: &Parameters) -> Result<Value, Refusal> {
        let url = parameters.text("url").unwrap_or_default();
        if parameters.flag("drop_pending_updates") {
            self.updates.drop_pending();
        }
        if url.is_empty() {
            self.webhook = None;
            return Ok(json!(true));
        }
        // The platform wants HTTPS; here there is only this machine.
        if !url.starts_with("http://127.0.0.1:") {
            return Err(Refusal::Webhook("An HTTPS URL must be provided for webhook"));
        }
        let secret = parameters.text("secret_token");
        let valid = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        if secret.as_ref().is_some_and(|secret| secret.is_empty() || secret.len() > 256 || !secret.chars().all(valid)) {
            return Err(Refusal::Webhook("secret token contains unallowed characters"));
        }
        self.allow(parameters);
        let connections = parameters.integer("max_connections").unwrap_or(40);
        self.webhook = Some(Webhook { url, secret, connections, last_error: None });
        Ok(json!(true))
    }

    /// The kinds of updates that the bot wants; what it does not say stays as it was.
    pub fn allow(&mut self, parameters: &Parameters) {
        if let Some(Value::Array(kinds)) = parameters.json("allowed_updates") {
            self.updates.allowed = kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
        }
    }

    fn webhook_info(&self) -> Value {
        let url = self.webhook.as_ref().map(|webhook| webhook.url.as_str()).unwrap_or_default();
        let mut info = json!({
            "url": url,
            "has_custom_certificate": false,
            "pending_update_count": self.updates.pending(),
        });
        if let Some(webhook) = &self.webhook {
            info["max_connections"] = json!(webhook.connections);
            info["ip_address"] = json!("127.0.0.1");
            if let Some((date, text)) = &webhook.last_error {
                info["last_error_date"] = json!(date);
                info["last_error_message"] = json!(text);
            }
        }
        if !self.updates.allowed.is_empty() {
            info["allowed_updates"] = json!(self.updates.allowed);
        }
        info
    }
}

fn commands_key(parameters: &Parameters) -> (String, String) {
    let scope = parameters.json("scope").unwrap_or_else(|| json!({ "type": "default" }));
    (scope.to_string(), parameters.text("language_code").unwrap_or_default())
}
