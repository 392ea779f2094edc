//! A value that must not be seen: tokens and passwords.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

/// Printed and serialized as `***`, wiped from memory when it is dropped; [`Secret::reveal`] is the only way to its text.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(SecretString);

impl Secret {
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    pub fn is_empty(&self) -> bool {
        self.reveal().is_empty()
    }

    fn shown(&self) -> &'static str {
        if self.reveal().is_empty() { "" } else { "***" }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.reveal() == other.reveal()
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
