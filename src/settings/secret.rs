//! A value that must not be seen: tokens and passwords.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Printed and serialized as `***`; [`Secret::reveal`] is the only way to its text.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "***" }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_neither_printed_nor_serialized() {
        let secret: Secret = serde_json::from_str("\"xoxb-1234\"").unwrap();
        assert_eq!(secret.reveal(), "xoxb-1234");
        assert!(!format!("{secret:?}{}", serde_json::to_string(&secret).unwrap()).contains("1234"));
    }
}
