//! Access: who may use the bot, who asked to, who was turned away.

use serde::{Deserialize, Serialize};

use super::engine::Range;
use super::keys::{Key, Kind};
use super::{Store, StoreError};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    pub standing: Standing,
    /// Who decided.
    pub by: String,
    /// Unix time in seconds.
    pub at: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Admin,
    Member,
    Denied,
    /// Was told politely, once, that the bot is not for them.
    Greeted,
    /// Was given a code that an admin can confirm until `expires`, unix time in seconds.
    Pairing {
        code: String,
        expires: i64,
    },
}

/// As it is kept: the key cannot be read back.
#[derive(Serialize, Deserialize)]
struct AccessRow {
    subject: String,
    entry: AccessEntry,
}

impl Store {
    /// What is known of a person or a chat, in their written form (`telegram:42`).
    ///
    /// # Errors
    /// `DamagedRow` and errors of the disk.
    pub fn access(&self, subject: &str) -> Result<Option<AccessEntry>, StoreError> {
        self.with(|engine| Ok(engine.read::<AccessRow>(&key(subject))?.map(|row| row.entry)))
    }

    /// On the disk when this returns.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn set_access(&self, subject: &str, entry: &AccessEntry) -> Result<(), StoreError> {
        self.with(|engine| {
            engine.put(&key(subject), &AccessRow { subject: subject.to_owned(), entry: entry.clone() })?;
            engine.flush()
        })
    }

    /// Everybody who is known, in the order of their written form. Entries that cannot be read are told to the log and
    /// left out.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn all_access(&self) -> Result<Vec<(String, AccessEntry)>, StoreError> {
        self.with(|engine| {
            let rows = engine.values::<AccessRow>(&Range::kind(Kind::Access));
            rows.map(|row| row.map(|(_, row)| (row.subject, row.entry))).collect()
        })
    }

    /// Who was given this code. Whether it is still good is for the caller to compare. Codes are looked through one by
    /// one: an index would put them into keys, which are not secret.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn pairing(&self, code: &str) -> Result<Option<String>, StoreError> {
        self.with(|engine| {
            for row in engine.values::<AccessRow>(&Range::kind(Kind::Access)) {
                let (_, row) = row?;
                if matches!(&row.entry.standing, Standing::Pairing { code: given, .. } if given == code) {
                    return Ok(Some(row.subject));
                }
            }
            Ok(None)
        })
    }
}

fn key(subject: &str) -> Key {
    Key::new(Kind::Access).text(subject)
}
