//! Parameters of a call, in any of the forms that Slack takes: JSON, a form, a query.

use serde_json::{Map, Value, json};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(Map<String, Value>);

impl Parameters {
    /// `None`: the body is not what its type says.
    pub fn read(content_type: &str, query: &str, body: &[u8]) -> Option<Self> {
        let mut fields = form(query);
        if content_type.starts_with("application/json") {
            if !body.iter().all(u8::is_ascii_whitespace) {
                let Ok(Value::Object(body)) = serde_json::from_slice(body) else { return None };
                fields.extend(body.into_iter().filter(|(_, value)| !value.is_null()));
            }
        } else if content_type.starts_with("application/x-www-form-urlencoded") {
            fields.extend(form(std::str::from_utf8(body).ok()?));
        } else if !body.is_empty() {
            return None;
        }
        Some(Parameters(fields))
    }

    pub fn of(fields: &Value) -> Self {
        Parameters(fields.as_object().cloned().unwrap_or_default())
    }

    /// What a test may look at: everything but the token.
    pub fn without_token(&self) -> Value {
        let mut fields = self.0.clone();
        fields.remove("token");
        Value::Object(fields)
    }

    /// A text that is there and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text == "true" || text == "1",
            Some(Value::Number(number)) => number.as_u64() == Some(1),
            _ => false,
        }
    }

    /// `true` but where the call says otherwise.
    pub fn flag_or_true(&self, name: &str) -> bool {
        !self.has(name) || self.flag(name)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A list or an object; forms carry them as JSON in a text. `Err`: it is neither.
    pub fn json(&self, name: &str) -> Result<Option<Value>, ()> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(value @ (Value::Array(_) | Value::Object(_))) => Ok(Some(value)),
                _ => Err(()),
            },
            Some(value @ (Value::Array(_) | Value::Object(_))) => Ok(Some(value.clone())),
            Some(_) => Err(()),
        }
    }
}

fn form(text: &str) -> Map<String, Value> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), json!(decoded(value))))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
