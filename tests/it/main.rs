//! The black-box suite: one binary, one module per feature.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic, and documents itself by its first line")]

mod access;
mod audit;
mod compat;
mod console;
mod console_deeds;
mod console_targets;
mod corpus;
mod crash;
mod disk;
mod download;
mod evidence;
mod faults;
mod fill;
mod fuzz;
mod hostile;
mod ingest;
mod inspection;
mod intake;
mod keys;
mod limits;
mod log;
mod login;
mod measured;
mod models;
mod openapi;
mod problems;
mod proof;
mod races;
mod readme;
mod recovery;
mod removal;
mod scrub;
mod store_contract;
mod tail;
mod tidy;
mod upload;
mod verifier;
mod verify;
mod witness;
mod workers;

use tests::oracle;
