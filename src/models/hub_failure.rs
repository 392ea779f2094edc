//! Why a request to the hub failed: whether another attempt may help, and the sentence that says what to do.

use std::io;
use std::time::Duration;

use hf_hub::api::sync::ApiError;
use thiserror::Error;

use super::error::ModelsError;
use super::hub::{HubOptions, RemoteFile};

#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("the hub answered {0}")]
    Status(u16, #[source] ApiError),
    #[error("the connection failed")]
    Connection(#[source] ApiError),
    #[error("nothing came for {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error("the connection ended early")]
    Short,
    #[error("{0}")]
    Answer(String),
    #[error("the disk refused")]
    Disk(#[source] io::Error),
}

impl Failure {
    pub(super) fn disk(error: io::Error) -> Self {
        Self::Disk(error)
    }

    /// May another attempt help? Not after silence: the silent one still holds its file.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Status(status, _) => *status == 429 || *status >= 500,
            Self::Connection(_) | Self::Short => true,
            Self::Silent(_) | Self::Answer(_) | Self::Disk(_) => false,
        }
    }

    /// The sentence about `file`, which is the repository itself when its name is empty.
    pub(super) fn explain(self, options: &HubOptions, file: &RemoteFile) -> ModelsError {
        let RemoteFile { repo, revision, name, place, .. } = file;
        let page = format!("{}/{repo}", options.endpoint);
        match self {
            Self::Status(status @ (401 | 403), _) => {
                ModelsError::Gated { repo: repo.clone(), page, status, has_token: options.token.is_some() }
            }
            Self::Status(404, _) => {
                let what = if name.is_empty() { repo.clone() } else { format!("{name} in {repo}") };
                ModelsError::NotOnHub { what, page }
            }
            Self::Answer(reason) => {
                let name = if name.is_empty() { repo } else { name };
                ModelsError::BadAnswer { name: name.clone(), reason }
            }
            Self::Disk(source) => ModelsError::Write { path: place.clone(), source },
            failure => ModelsError::Unreachable {
                endpoint: options.endpoint.clone(),
                url: if name.is_empty() { page } else { format!("{page}/resolve/{revision}/{name}") },
                place: place.clone(),
                source: Box::new(failure),
            },
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::RequestError(ref request) => match **request {
                ureq::Error::StatusCode(status) => Self::Status(status, error),
                ureq::Error::Json(_) => Self::Answer("it is no list of files".to_owned()),
                _ => Self::Connection(error),
            },
            // hf-hub copies from the connection into the file and does not tell which of the two failed.
            ApiError::IoError(inner) if is_local(&inner) => Self::Disk(inner),
            ApiError::IoError(_) | ApiError::TooManyRetries(_) => Self::Connection(error),
            ApiError::LockAcquisition(path) => {
                Self::Disk(io::Error::new(io::ErrorKind::ResourceBusy, format!("{} is locked", path.display())))
            }
            other => Self::Answer(other.to_string()),
        }
    }
}

fn is_local(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied | NotFound)
}
