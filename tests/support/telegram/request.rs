//! The parameters of a call, whichever way a client sends them: in the address, as a form, as JSON, in parts.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::reply::Refusal;

#[derive(Clone, Debug, Default)]
pub struct Parameters(Map<String, Value>);

impl Parameters {
    /// What stands in the body wins over the address.
    pub fn read(query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let mut all = form(query.unwrap_or_default());
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let lower = kind.to_ascii_lowercase();
        if body.is_empty() {
            return Ok(Parameters(all));
        }
        if lower.starts_with("application/json") {
            let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
                return Err(Refusal::Unreadable("no JSON object"));
            };
            all.extend(object);
        } else if lower.starts_with("multipart/form-data") {
            let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
            let boundary = boundary.ok_or(Refusal::Unreadable("no boundary"))?.trim_matches('"');
            all.extend(parts(body, boundary).ok_or(Refusal::Unreadable("broken parts"))?);
        } else if lower.starts_with("application/x-www-form-urlencoded") {
            let text = std::str::from_utf8(body).map_err(|_| Refusal::Unreadable("no UTF-8"))?;
            all.extend(form(text));
        }
        Ok(Parameters(all))
    }

    /// The fields of an object inside a call.
    pub fn of(object: &Value) -> Self {
        Parameters(object.as_object().cloned().unwrap_or_default())
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A string; numbers count as what they look like.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| ["true", "1", "yes"].contains(&text.to_ascii_lowercase().as_str()))
    }

    /// An object or a list: as it is in JSON, as a string of JSON in forms.
    pub fn json(&self, name: &str) -> Option<Value> {
        match self.value(name)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(serde_json::from_str(text).unwrap_or(Value::Null)),
            other => Some(other.clone()),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// `a=1&b=two+words%21`
fn form(text: &str) -> Map<String, Value> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), Value::String(decoded(value)))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The fields of a multipart body. Of files only the name is kept.
fn parts(body: &[u8], boundary: &str) -> Option<Map<String, Value>> {
    let border = format!("--{boundary}");
    let mut fields = Map::new();
    let mut rest = body;
    rest = &rest[find(rest, border.as_bytes())? + border.len()..];
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n")?;
        let head_end = find(rest, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
        rest = &rest[head_end + 4..];
        let next = format!("\r\n{border}");
        let end = find(rest, next.as_bytes())?;
        let name = attribute(&head, "name")?;
        let value = match attribute(&head, "filename") {
            Some(file) => file,
            None => String::from_utf8_lossy(&rest[..end]).into_owned(),
        };
        fields.insert(name, Value::String(value));
        rest = &rest[end + next.len()..];
    }
    Some(fields)
}

/// `name="…"` of a part's `Content-Disposition`.
fn attribute(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    line.split(';').find_map(|part| {
        let value = part.trim().strip_prefix(name)?.strip_prefix('=')?;
        Some(value.trim_matches('"').to_owned())
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
