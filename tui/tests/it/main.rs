//! The console without a terminal: keys in, facts and pictures out.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bytes;
mod acting;
mod commands;
mod console;
mod everyday;
mod fresh;
mod keys;
mod log;
mod never;
mod newer;
mod pictures;
mod screens;
mod settings;
mod targets;
