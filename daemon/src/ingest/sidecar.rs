//! What lies beside an item and speaks of it: `NAME.mreg.json` and `NAME.sha256`. Outside bytes. Knows their grammar;
//! refuses to know files.

use std::collections::BTreeMap;

use common::digest::Digest;
use common::name::{Alias, ModelName};
use serde_json::{Map, Value};

/// The longest sidecar, in octets.
pub const SIDECAR_OCTETS_MAX: u64 = 1024 * 1024;
/// The longest checksum file, in octets.
pub const CHECKSUM_OCTETS_MAX: u64 = 64 * 1024;

/// What a sidecar says. Everything is optional.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sidecar {
    /// The model's name, instead of the one that follows from the file's.
    pub name: Option<ModelName>,
    /// As in an upload.
    pub description: Option<String>,
    /// As in an upload.
    pub tags: Option<BTreeMap<String, String>>,
    /// As in an upload.
    pub metadata: Option<Map<String, Value>>,
    /// As in an upload.
    pub alias: Option<Alias>,
    /// The digest that the one file must have.
    pub sha256: Option<Digest>,
}

/// Reads a sidecar: a JSON object of the known keys, nothing else. The error is a sentence that names the place and what is
/// accepted.
pub fn parse(octets: &[u8]) -> Result<Sidecar, String> {
    todo!("{octets:?}")
}

/// Reads a checksum file as `sha256sum` writes it, or with the 64 digits alone, and gives the digest of `name`.
pub fn parse_checksum(octets: &[u8], name: &str) -> Result<Digest, String> {
    todo!("{octets:?} {name}")
}
