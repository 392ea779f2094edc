//! Model files: which ones are known (`catalogue`), which of them a setting means (`folder`, `runtime`), how they get
//! here (`pull`, with `hub` and `demo`) and whether they are what they should be (`inventory`).
//! What is inside them is read elsewhere, by `inference` and `retrieval`.

mod catalogue;
mod checksums;
mod demo;
mod error;
mod folder;
mod gguf;
mod hub;
mod hub_failure;
mod inventory;
mod progress;
mod pull;
mod runtime;
mod target;

pub use catalogue::{Catalogue, CatalogueEntry, CatalogueFile, Role, Source};
pub use error::ModelsError;
pub use folder::{EMBEDDING_FILES, ModelsFolder, default_folder};
pub use hub::{HubOptions, Token};
pub use inventory::{CheckedFile, FileVerdict, ModelRow};
pub use progress::ProgressView;
pub use pull::{PullOutcome, Pulled, Puller};
