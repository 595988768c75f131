//! The one place where stored octets are made and read: bincode inside a versioned envelope. The first octet of every
//! stored value is the version of its shape. A shape that a release has written stays readable for ever: a new one is
//! a new variant here, and `tests/it/compat.rs` opens what older releases wrote. What the records mean is not known
//! here.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::StoreError;
use crate::store::records::{Write, v1};

/// The largest value that is read, in octets: a bound on what a damaged length can make us allocate.
pub const VALUE_OCTETS_MAX: usize = 64 * 1024 * 1024;

/// Octets that most records fit into.
const OCTETS_MOSTLY: usize = 256;

/// A record as the view has it. The view is derived: where a shape changes, it gets another name and is made anew.
#[derive(Serialize, Deserialize)]
enum Stored<T> {
    V1(T),
}

/// A change as the journal has it.
#[derive(Serialize, Deserialize)]
enum Change<Old, New> {
    /// By 0.1.0.
    V1(Old),
    V2(New),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<VALUE_OCTETS_MAX>()
}

/// The stored octets of a record.
pub fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, StoreError> {
    written(Stored::V1(record)).map_err(|error| StoreError::Corrupt(format!("a record can't be encoded: {error}")))
}

/// With room for most records from the beginning: a buffer that grows octet by octet is moved five times on its way.
fn written<T: Serialize>(value: T) -> Result<Vec<u8>, bincode::error::EncodeError> {
    let mut octets = Vec::with_capacity(OCTETS_MOSTLY);
    bincode::serde::encode_into_std_write(value, &mut octets, config())?;
    Ok(octets)
}

/// The record of stored octets; every octet must be used.
pub fn decode<T: DeserializeOwned>(octets: &[u8]) -> Result<T, StoreError> {
    let Stored::V1(record) = decode_whole(octets)?;
    Ok(record)
}

fn decode_whole<T: DeserializeOwned>(octets: &[u8]) -> Result<T, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt(format!("a stored record can't be decoded: {why}"));
    let (value, used) =
        bincode::serde::decode_from_slice(octets, config()).map_err(|error| corrupt(error.to_string()))?;
    if used == octets.len() { Ok(value) } else { Err(corrupt(format!("{} octets too many", octets.len() - used))) }
}

/// The change part of a journal record; empty where nothing changes.
pub fn encode_change(writes: &[Write]) -> Result<Vec<u8>, StoreError> {
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    written(Change::<(), _>::V2(writes))
        .map_err(|error| StoreError::Corrupt(format!("a change can't be encoded: {error}")))
}

/// The writes of the change part of a journal record.
pub fn decode_change(octets: &[u8]) -> Result<Vec<Write>, StoreError> {
    if octets.is_empty() {
        return Ok(Vec::new());
    }
    Ok(match decode_whole::<Change<Vec<v1::Write>, Vec<Write>>>(octets)? {
        Change::V1(writes) => writes.into_iter().map(Write::from).collect(),
        Change::V2(writes) => writes,
    })
}

/// SHA-256 of a change, as its entry carries it.
pub fn change_digest(change: &[u8]) -> [u8; 32] {
    Sha256::digest(change).into()
}
