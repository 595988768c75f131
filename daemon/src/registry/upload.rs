//! Taking bytes in.

use bytes::Bytes;

use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::{Failure, RegistryError};

/// An upload under way. Dropped without `publish` or `fail`, everything staged vanishes and the attempt is recorded.
pub struct Upload {}

/// One file on its way to the staging area.
pub struct FileSink {}

/// A file that has arrived.
pub struct StagedFile {}

impl Registry {
    /// Permission, room and size, before any octet of the body is polled. `declared_bytes` is the Content-Length.
    pub async fn begin_upload(&self, caller: &Caller, declared_bytes: Option<u64>) -> Result<Upload, Failure> { todo!() }
}

impl Upload {
    /// The next file. One at a time.
    pub async fn file(&mut self, filename: &str) -> Result<FileSink, RegistryError> { todo!() }
    /// A finished file joins the upload.
    pub fn add(&mut self, file: StagedFile) { todo!() }
    /// Ends the upload with an error: records the attempt, gives the failure to answer with.
    pub async fn fail(self, error: RegistryError) -> Failure { todo!() }
}

impl FileSink {
    /// Takes the next octets; waits while the disk is behind.
    pub async fn write(&mut self, octets: Bytes) -> Result<(), RegistryError> { todo!() }
    /// The file is complete.
    pub async fn finish(self) -> Result<StagedFile, RegistryError> { todo!() }
}
