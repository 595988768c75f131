//! The audit formats from outside: known answers, an independent implementation, and hostile input.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod hostile;
mod leaf;
mod memory;
mod oracle;
mod policy;
mod vectors;
mod verify;
