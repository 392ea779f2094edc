//! Answers of the Web API: `{"ok":true,…}`, or `{"ok":false,"error":"…"}`.

use serde_json::{Map, Value, json};

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: String,
    pub more: Map<String, Value>,
    /// 429 with this many seconds to wait.
    pub retry_after: Option<u64>,
    /// What was wrong with the call, for the list of violations: a limit that the caller has to know.
    pub broken: Option<String>,
}

pub type Answer = Result<Value, Refusal>;

impl Refusal {
    pub fn new(code: &str) -> Self {
        Refusal { code: code.to_owned(), more: Map::new(), retry_after: None, broken: None }
    }

    pub fn limited(retry_after: u64) -> Self {
        Refusal { retry_after: Some(retry_after), ..Refusal::new("ratelimited") }
    }

    /// A call that breaks a published limit.
    pub fn broken(code: &str, what: &str) -> Self {
        let mut refusal = Refusal { broken: Some(what.to_owned()), ..Refusal::new(code) };
        refusal.more.insert("response_metadata".to_owned(), json!({ "messages": [format!("[ERROR] {what}")] }));
        refusal
    }

    pub fn missing_scope(needed: &str, provided: &[String]) -> Self {
        let mut refusal = Refusal::new("missing_scope");
        refusal.more.insert("needed".to_owned(), json!(needed));
        refusal.more.insert("provided".to_owned(), json!(provided.join(",")));
        refusal
    }

    pub fn json(&self) -> Value {
        let mut body = self.more.clone();
        body.insert("ok".to_owned(), json!(false));
        body.insert("error".to_owned(), json!(self.code));
        Value::Object(body)
    }
}

/// `refuse("channel_not_found")`, as the value of a function that answers.
pub fn refuse<T>(code: &str) -> Result<T, Refusal> {
    Err(Refusal::new(code))
}
