//! The console without a terminal: keys in, facts and pictures out.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bytes;
mod acting;
mod commands;
mod console;
mod everyday;
mod fresh;
mod habits;
mod keys;
mod log;
mod made_log;
mod never;
mod newer;
mod newer_words;
mod pictures;
mod scenes;
mod screens;
mod settings;
mod styles;
mod targets;
