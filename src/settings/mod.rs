//! Typed settings, one struct per room: defaults, then a TOML file, then `CERVELLA__SECTION__KEY` in the environment,
//! then flags. Read and checked once, at the start.

mod knowledge;
mod load;
mod secret;
mod sections;

pub use knowledge::{CollectionSettings, KnowledgeSettings};
pub use load::{Overrides, SettingsError, load};
pub use secret::Secret;
pub use sections::{
    AnswerSettings, ChatSettings, DataSettings, InferenceSettings, KvPrecision, LogForm, ModelsSettings,
    PassageKvPrecision, RetrievalSettings, Settings, SlackSettings, TelegramSettings, TelemetrySettings, WebSettings,
    WeightPrecision,
};
