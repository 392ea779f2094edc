//! Small settings that people or platforms change while the house is running: `paused`, `telegram.offset`,
//! `mentions_only:slack:C1`.

use super::keys::{Key, Kind};
use super::{Store, StoreError};

impl Store {
    /// # Errors
    /// `DamagedRow` and errors of the disk.
    pub fn flag(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.with(|engine| engine.read(&key(name)))
    }

    /// `None` takes the flag away. On the disk when this returns.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn set_flag(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        self.with(|engine| {
            match value {
                Some(value) => engine.put(&key(name), &value)?,
                None => engine.remove(&key(name))?,
            }
            engine.flush()
        })
    }
}

fn key(name: &str) -> Key {
    Key::new(Kind::Flag).text(name)
}
