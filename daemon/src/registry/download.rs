//! Handing out.

use common::api::VersionInfo;
use common::digest::Digest;
use common::name::{ArtifactPath, ModelRef, Version};

use crate::blobs::BlobReader;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::{Outcome, RegistryError};

/// A file that may be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path within the version.
    pub path: ArtifactPath,
    /// Octets.
    pub size: u64,
    /// SHA-256 of them.
    pub digest: Digest,
    /// Its format.
    pub format: String,
}

/// What would be handed out: for HEAD, conditional requests and ranges, before anything is.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The version.
    pub version: VersionInfo,
    /// The files asked for, in the order of their paths.
    pub files: Vec<FileInfo>,
}

/// What is handed out.
pub struct Download {
    /// The version.
    pub version: VersionInfo,
    /// The files, each with its reader, in the order of their paths.
    pub files: Vec<DownloadFile>,
    /// To be kept until the last octet is sent: when dropped, the end is recorded.
    pub ticket: Ticket,
}

/// A file that is handed out.
pub struct DownloadFile {
    /// What it is.
    pub info: FileInfo,
}

impl DownloadFile {
    /// Opens it. The first call of the first file can't fail any more; a later file's may.
    pub async fn open(&mut self) -> Result<Box<dyn BlobReader>, RegistryError> { todo!() }
}

/// A download under way. Dropped, it records how it ended: `sent` octets, `complete` or not.
pub struct Ticket {}

impl Ticket {
    /// Counts octets handed to the connection.
    pub fn sent(&mut self, octets: u64) { todo!() }
    /// All that was to be sent has been.
    pub fn complete(&mut self) { todo!() }
}

impl Registry {
    /// The gate without the hand-out: what `open_download` would give. No entry for success.
    pub async fn offer_download(&self, caller: &Caller, model: &ModelRef, version: Option<Version>, file: Option<&ArtifactPath>) -> Outcome<Offer> { todo!() }
    /// The gate: writes the entry, then hands out readers. `version` wins over what the reference selects; without a
    /// file, all of them.
    pub async fn open_download(&self, caller: &Caller, model: &ModelRef, version: Option<Version>, file: Option<&ArtifactPath>) -> Outcome<Download> { todo!() }
}
