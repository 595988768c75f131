//! How far a transfer is, on standard error: a line that is drawn over itself on a terminal; elsewhere only what it waits
//! for, each a line of its own.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use super::talk;
use crate::clean::clean;
use crate::time::{bytes, duration};
use crate::transfer::Step;

/// The pause between two pictures.
const PICTURE: Duration = Duration::from_millis(250);

/// The line.
pub(super) struct Progress {
    on_terminal: bool,
    began: Instant,
    /// Where it began to count, which an earlier run had come to.
    base: Option<u64>,
    drawn: Option<Instant>,
    standing: String,
}

impl Progress {
    /// Nothing is drawn yet.
    pub(super) fn new() -> Self {
        let on_terminal = io::stderr().is_terminal();
        Self { on_terminal, began: Instant::now(), base: None, drawn: None, standing: String::new() }
    }

    /// Takes a step.
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Going { done, total } => {
                let base = *self.base.get_or_insert(done);
                if !self.on_terminal || self.drawn.is_some_and(|drawn| drawn.elapsed() < PICTURE) {
                    return;
                }
                self.drawn = Some(Instant::now());
                self.draw(&line(done, total, base, self.began.elapsed()));
            }
            Step::Standing(what) if what == self.standing => {}
            Step::Standing(what) => {
                self.standing.clone_from(&what);
                match (what.is_empty(), self.on_terminal) {
                    (true, _) => {}
                    (false, true) => self.draw(&clean(&what)),
                    (false, false) => talk(&what),
                }
            }
        }
    }

    fn draw(&mut self, text: &str) {
        // With stderr gone there is nobody left to tell.
        drop(write!(io::stderr(), "\r\u{1b}[K{text}").and_then(|()| io::stderr().flush()));
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if self.on_terminal {
            self.draw("");
        }
    }
}

/// `61 %, 24 MiB of 40 MiB, 12 MiB/s, 41 s left`
fn line(done: u64, total: u64, base: u64, past: Duration) -> String {
    let share = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let mut line = format!("{share} %, {} of {}", bytes(done), bytes(total));
    let past_ms = u64::try_from(past.as_millis()).unwrap_or(u64::MAX);
    let rate = done.saturating_sub(base).saturating_mul(1_000).checked_div(past_ms).filter(|rate| *rate > 0);
    if let Some(rate) = rate {
        let left = total.saturating_sub(done) / rate;
        line.push_str(&format!(", {}/s, {} left", bytes(rate), duration(left)));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::line;

    /// What an earlier run sent is no speed of this one.
    #[test]
    fn lines() {
        const MIB: u64 = 1 << 20;
        assert_eq!(line(0, 0, 0, Duration::ZERO), "100 %, 0 B of 0 B");
        assert_eq!(line(50 * MIB, 100 * MIB, 50 * MIB, Duration::from_secs(9)), "50 %, 50 MiB of 100 MiB");
        let half = line(60 * MIB, 100 * MIB, 50 * MIB, Duration::from_secs(2));
        assert_eq!(half, "60 %, 60 MiB of 100 MiB, 5.0 MiB/s, 8 s left");
    }
}
