//! What the API answers, word for word.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use thiserror::Error;

/// Why a call is refused. The texts are those of the platform: clients tell errors apart by them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("Unauthorized")]
    Unauthorized,
    #[error("Not Found")]
    UnknownMethod,
    #[error("Request Entity Too Large")]
    TooLarge,
    #[error("Too Many Requests: retry after {0}")]
    RetryAfter(u64),
    #[error("{}", reason(*.0))]
    ServerError(u16),
    #[error("Conflict: terminated by other getUpdates request; make sure that only one bot instance is running")]
    OtherPoller,
    #[error(
        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
    )]
    WebhookActive,
    #[error("Forbidden: bot was blocked by the user")]
    Blocked,
    #[error("Forbidden: bot was kicked from the {0} chat")]
    Kicked(&'static str),
    #[error("Forbidden: bot is not a member of the {0} chat")]
    NotMember(&'static str),
    #[error("Bad Request: chat not found")]
    ChatNotFound,
    #[error("Bad Request: chat_id is empty")]
    ChatMissing,
    #[error("Bad Request: group chat was upgraded to a supergroup chat")]
    Upgraded(i64),
    #[error("Bad Request: message thread not found")]
    ThreadNotFound,
    #[error("Bad Request: TOPIC_CLOSED")]
    TopicClosed,
    #[error("Bad Request: message text is empty")]
    EmptyText,
    #[error("Bad Request: message is too long")]
    TooLong,
    #[error("Bad Request: MESSAGE_TOO_LONG")]
    EditTooLong,
    #[error(
        "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a \
         current content and reply markup of the message"
    )]
    NotModified,
    #[error("Bad Request: message identifier is not specified")]
    MessageMissing,
    #[error("Bad Request: message to edit not found")]
    EditNotFound,
    #[error("Bad Request: message can't be edited")]
    CannotEdit,
    #[error("Bad Request: message to delete not found")]
    DeleteNotFound,
    #[error("Bad Request: message can't be deleted")]
    CannotDelete,
    #[error("Bad Request: message to be replied not found")]
    ReplyNotFound,
    #[error("Bad Request: message to react not found")]
    ReactNotFound,
    #[error("Bad Request: REACTION_INVALID")]
    ReactionInvalid,
    #[error("Bad Request: can't parse entities: {0}")]
    Markup(String),
    #[error("Bad Request: unsupported parse_mode")]
    ParseMode,
    #[error("Bad Request: BUTTON_DATA_INVALID")]
    ButtonData,
    #[error("Bad Request: can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")]
    TextButton,
    #[error("Bad Request: inline keyboard button URL '{0}' is invalid: Wrong HTTP URL")]
    ButtonUrl(String),
    #[error("Bad Request: object expected as reply markup")]
    ReplyMarkup,
    #[error("Bad Request: query is too old and response timeout expired or query ID is invalid")]
    QueryTooOld,
    #[error("Bad Request: RESULTS_TOO_MUCH")]
    TooManyResults,
    #[error("Bad Request: RESULT_ID_INVALID")]
    ResultId,
    #[error("Bad Request: RESULT_ID_DUPLICATE")]
    ResultIdTwice,
    #[error("Bad Request: can't parse inline query result: {0}")]
    Result(&'static str),
    #[error("Bad Request: wrong parameter action in request")]
    WrongAction,
    #[error("Bad Request: BOT_COMMAND_INVALID")]
    Command,
    #[error("Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")]
    CommandDescription,
    #[error("Bad Request: BOT_COMMANDS_TOO_MUCH")]
    TooManyCommands,
    #[error("Bad Request: invalid user_id specified")]
    UserMissing,
    #[error("Bad Request: user not found")]
    UserNotFound,
    #[error("Bad Request: bad webhook: {0}")]
    Webhook(&'static str),
    #[error("Bad Request: can't parse the request: {0}")]
    Unreadable(&'static str),
}

fn reason(code: u16) -> &'static str {
    StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason()).unwrap_or("Internal Server Error")
}

impl Refusal {
    pub fn code(&self) -> u16 {
        match self {
            Refusal::Unauthorized => 401,
            Refusal::Blocked | Refusal::Kicked(_) | Refusal::NotMember(_) => 403,
            Refusal::UnknownMethod => 404,
            Refusal::OtherPoller | Refusal::WebhookActive => 409,
            Refusal::TooLarge => 413,
            Refusal::RetryAfter(_) => 429,
            Refusal::ServerError(code) => *code,
            _ => 400,
        }
    }

    fn body(&self) -> Value {
        let mut body = json!({ "ok": false, "error_code": self.code(), "description": self.to_string() });
        match self {
            Refusal::RetryAfter(seconds) => body["parameters"] = json!({ "retry_after": seconds }),
            Refusal::Upgraded(chat) => body["parameters"] = json!({ "migrate_to_chat_id": chat }),
            _ => {}
        }
        body
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self.body())).into_response();
        if let Refusal::RetryAfter(seconds) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A result, in the API's envelope.
pub fn success(result: Value) -> Response {
    let mut envelope = json!({ "ok": true });
    envelope["result"] = result;
    axum::Json(envelope).into_response()
}
