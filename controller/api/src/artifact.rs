//! Artifacts: software by the hash of its content.

use chandler_protocol::Digest;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::value::{Size, Time};

/// Names an artifact that is being published; the body is a tar archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ArtifactPublish {
    /// 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// 1 to 64 of `a-z 0-9 . _ -`. A version once published never changes.
    pub version: String,
    /// What it runs on, such as `linux-x86_64`; `any` for scripts and data.
    pub platform: String,
    /// BLAKE3 of the body, so that damage on the way is found.
    #[param(value_type = String)]
    pub digest: Digest,
}

/// Published software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it runs on.
    pub platform: String,
    /// BLAKE3 of the archive.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Size of the archive.
    #[schema(value_type = String, example = "18 MiB")]
    pub size: Size,
    /// When it was published.
    #[schema(value_type = String)]
    pub published_at: Time,
}

/// Uploaded content: an input of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// BLAKE3 of the content.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
}
