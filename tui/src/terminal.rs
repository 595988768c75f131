//! The terminal, given back exactly as it was: on quit, error, panic, signal and suspension. One value knows what was
//! switched on and undoes it, more than once if asked, without allocating. Nothing else writes to the tty.

pub mod input;
pub mod lean;
pub mod screen;
pub mod signals;
pub mod watchdog;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::event::Size;

/// Alternate screen, bracketed paste, cursor hidden.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[2J";
/// Attributes and scroll region reset, cursor hidden, everything empty.
const CLEAR: &[u8] = b"\x1b[0m\x1b[r\x1b[?25l\x1b[2J";
/// The way out: synchronized update ended, paste off, attributes and scroll region reset, cursor on, main screen.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?2004l\x1b[0m\x1b[r\x1b[?25h\x1b[?1049l";

const AS_FOUND: u8 = 0;
const SCREEN: u8 = 1;
const PROMPT: u8 = 2;

static GUARD: OnceLock<Guard> = OnceLock::new();

/// The tty and what is switched on there.
pub struct Guard {
    tty: File,
    found: Termios,
    mode: AtomicU8,
}

impl Guard {
    /// Opens the controlling terminal and remembers how it was found. There is one guard per process.
    ///
    /// # Errors
    /// Without a controlling terminal.
    pub fn open() -> io::Result<&'static Self> {
        if let Some(guard) = GUARD.get() {
            return Ok(guard);
        }
        let tty = File::options().read(true).write(true).open("/dev/tty")?;
        let found = tcgetattr(&tty)?;
        Ok(GUARD.get_or_init(|| Self { tty, found, mode: AtomicU8::new(AS_FOUND) }))
    }

    /// The tty.
    pub fn tty(&self) -> &File {
        &self.tty
    }

    /// Takes the whole screen.
    ///
    /// # Errors
    /// What the tty says.
    pub fn take_screen(&self) -> io::Result<()> {
        self.take(SCREEN)?;
        (&self.tty).write_all(ENTER)
    }

    /// Empties the screen; what was typed ahead stays.
    ///
    /// # Errors
    /// What the tty says.
    pub fn clear(&self) -> io::Result<()> {
        (&self.tty).write_all(CLEAR)
    }

    /// Takes the keys only: nothing typed is shown.
    ///
    /// # Errors
    /// What the tty says.
    pub fn take_prompt(&self) -> io::Result<()> {
        self.take(PROMPT)
    }

    fn take(&self, mode: u8) -> io::Result<()> {
        self.mode.store(mode, Ordering::SeqCst);
        let mut raw = self.found.clone();
        raw.make_raw();
        Ok(tcsetattr(&self.tty, OptionalActions::Flush, &raw)?)
    }

    /// Gives the terminal back, if it was taken.
    pub fn give_back(&self) {
        let mode = self.mode.swap(AS_FOUND, Ordering::SeqCst);
        if mode == SCREEN {
            // Nobody is left to tell of an error; the attributes are restored all the same.
            drop((&self.tty).write_all(LEAVE));
        }
        if mode != AS_FOUND {
            let _ = tcsetattr(&self.tty, OptionalActions::Flush, &self.found);
        }
    }

    /// Columns and rows now.
    pub fn size(&self) -> Size {
        rustix::termios::tcgetwinsize(&self.tty)
            .map(|size| Size { width: size.ws_col, height: size.ws_row })
            .unwrap_or_default()
    }
}

/// Gives the terminal back whatever it was taken for, or not at all.
pub fn give_back() {
    if let Some(guard) = GUARD.get() {
        guard.give_back();
    }
}

/// Whether a person is on both ends.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Gives the terminal back, stops the process group, and takes the screen again when continued.
///
/// # Errors
/// What the tty says.
pub fn suspend(guard: &Guard) -> io::Result<()> {
    guard.give_back();
    // SIGSTOP and not SIGTSTP: one raised by oneself is ignored in an orphaned group.
    rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?;
    guard.take_screen()
}
