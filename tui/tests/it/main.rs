//! The console without a terminal: keys in, facts and pictures out.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod acting;
mod bytes;
mod commands;
mod console;
mod keys;
mod never;
mod pictures;
mod settings;
