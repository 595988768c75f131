//! How far something is, on one line of the terminal that is written over. Says nothing where standard error is no
//! terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is written at most.
const EVERY: Duration = Duration::from_millis(200);

/// The line.
pub(super) struct Progress {
    is_shown: bool,
    written_at: Option<Instant>,
}

impl Progress {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), written_at: None }
    }

    /// Writes it, if it is time to.
    pub(super) fn show(&mut self, step: &str, done: u64, of: u64) {
        if self.is_shown && self.written_at.is_none_or(|at| at.elapsed() >= EVERY) {
            self.written_at = Some(Instant::now());
            let of = if of > done { format!(" of {of}") } else { String::new() };
            // If the terminal can't be told, nothing is lost.
            let _ = write!(io::stderr().lock(), "\r\x1b[K{step}: {done}{of}");
        }
    }

    /// Takes it away, before anything else is said.
    pub(super) fn clear(&mut self) {
        if self.written_at.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
