//! A new version.

use std::collections::BTreeMap;

use common::api::VersionInfo;
use common::digest::Digest;
use common::name::{Alias, ModelName, Version};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::Outcome;
use crate::registry::upload::Upload;

/// Where a version came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// The REST interface.
    #[default]
    Api,
    /// The drop folder.
    Drop,
    /// The MLflow interface.
    Mlflow,
    /// The Hugging Face interface.
    Hf,
}

/// What an uploader says besides the files.
#[derive(Debug, Clone, Default)]
pub struct PublishForm {
    /// The model's name; without it the first file's name decides.
    pub name: Option<ModelName>,
    /// The number; without it the next.
    pub version: Option<Version>,
    /// What to say about the version, and about the model if this creates it.
    pub description: Option<String>,
    /// Tags to add to the model's.
    pub tags: Option<BTreeMap<String, String>>,
    /// Claims about the version, top-level keys of a JSON object.
    pub metadata: Option<Map<String, Value>>,
    /// An alias to point at the version.
    pub alias: Option<Alias>,
    /// The digest the one file must have.
    pub sha256: Option<Digest>,
    /// A new version even if the bytes are the latest version's.
    pub force_new_version: bool,
    /// Where it came in.
    pub source: Source,
    /// Warnings to hand on, such as parts that were ignored.
    pub warnings: Vec<String>,
}

/// A version after its upload; becomes `Published` with the receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishedVersion {
    /// The version.
    pub version: VersionInfo,
    /// Its revision.
    pub revision: u64,
    /// Whether the same bytes were there already.
    pub already_present: bool,
    /// Notes for the uploader.
    pub warnings: Vec<String>,
}

impl Registry {
    /// Makes a version of what was uploaded.
    pub async fn publish(&self, caller: &Caller, upload: Upload, form: PublishForm) -> Outcome<PublishedVersion> { todo!() }
}
