//! The terminal, given back exactly as it was: on quit, error, panic, signal and suspension. One value knows what was
//! switched on and undoes it, more than once if asked, without allocating. Nothing else writes to the tty.

pub mod clipboard;
pub mod input;
pub mod lean;
pub mod signals;
pub mod watchdog;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};

use crate::event::Size;

/// Alternate screen, bracketed paste, focus, cursor hidden, everything empty.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?2004h\x1b[?1004h\x1b[?25l\x1b[2J";
/// The way out: synchronized update ended, mouse, focus and paste off, attributes and scroll region reset, cursor on, main
/// screen.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?1004l\x1b[?2004l\x1b[0m\x1b[r\x1b[?25h\x1b[?1049l";
/// The same where the mouse was on.
const LEAVE_MOUSE: &[u8] = b"\x1b[?2026l\x1b[?1006l\x1b[?1000l\x1b[?1004l\x1b[?2004l\x1b[0m\x1b[r\x1b[?25h\x1b[?1049l";
/// The title is kept by the terminal, and given back.
const TITLE_KEEP: &[u8] = b"\x1b[22;2t";
const TITLE_BACK: &[u8] = b"\x1b[23;2t";
/// Longest title, characters.
const TITLE_CHARS_MAX: usize = 100;
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";

const AS_FOUND: u8 = 0;
const SCREEN: u8 = 1;
const PROMPT: u8 = 2;

/// How long giving back waits for a frame that is being written, and for a line that takes no octet.
const STUCK: Duration = Duration::from_millis(200);

static GUARD: OnceLock<Guard> = OnceLock::new();

/// The tty and what is switched on there.
pub struct Guard {
    tty: File,
    found: Termios,
    mode: AtomicU8,
    mouse: AtomicBool,
    title: AtomicBool,
    /// Held while a frame is written: no frame comes after the terminal was given back.
    pen: Mutex<()>,
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
        let guard = Self {
            tty,
            found,
            mode: AtomicU8::new(AS_FOUND),
            mouse: AtomicBool::new(false),
            title: AtomicBool::new(false),
            pen: Mutex::new(()),
        };
        Ok(GUARD.get_or_init(|| guard))
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
        self.put(ENTER)
    }

    /// Takes the keys only: nothing typed is shown.
    ///
    /// # Errors
    /// What the tty says.
    pub fn take_prompt(&self) -> io::Result<()> {
        self.take(PROMPT)
    }

    /// Lines as ever, but what is typed is not shown: for passwords where there is no screen.
    ///
    /// # Errors
    /// What the tty says.
    pub fn take_silent(&self) -> io::Result<()> {
        self.mode.store(PROMPT, Ordering::SeqCst);
        let mut silent = self.found.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        Ok(tcsetattr(&self.tty, OptionalActions::Now, &silent)?)
    }

    fn take(&self, mode: u8) -> io::Result<()> {
        self.mode.store(mode, Ordering::SeqCst);
        let mut raw = self.found.clone();
        raw.make_raw();
        Ok(tcsetattr(&self.tty, OptionalActions::Flush, &raw)?)
    }

    /// Has the mouse reported, or no more.
    ///
    /// # Errors
    /// What the tty says.
    pub fn report_mouse(&self, on: bool) -> io::Result<()> {
        match (self.mouse.swap(on, Ordering::SeqCst), on) {
            (_, true) => self.put(MOUSE_ON),
            (true, false) => self.put(MOUSE_OFF),
            (false, false) => Ok(()),
        }
    }

    /// Rings.
    ///
    /// # Errors
    /// What the tty says.
    pub fn ring(&self) -> io::Result<()> {
        self.put(b"\x07")
    }

    /// Gives the terminal a title, or gives the one back that it had. What could end the sequence is left out.
    ///
    /// # Errors
    /// What the tty says.
    pub fn entitle(&self, title: Option<&str>) -> io::Result<()> {
        let Some(title) = title else {
            return if self.title.swap(false, Ordering::SeqCst) { self.put(TITLE_BACK) } else { Ok(()) };
        };
        let mut octets = Vec::new();
        if !self.title.swap(true, Ordering::SeqCst) {
            octets.extend_from_slice(TITLE_KEEP);
        }
        let text: String = title.chars().filter(|letter| !letter.is_control()).take(TITLE_CHARS_MAX).collect();
        octets.extend_from_slice(b"\x1b]2;");
        octets.extend_from_slice(text.as_bytes());
        octets.extend_from_slice(b"\x1b\\");
        self.put(&octets)
    }

    /// Writes octets, if the screen is ours.
    ///
    /// # Errors
    /// What the tty says.
    pub fn put(&self, octets: &[u8]) -> io::Result<()> {
        let _writing = self.pen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.mode.load(Ordering::SeqCst) != SCREEN {
            return Ok(());
        }
        (&self.tty).write_all(octets)
    }

    /// Gives the terminal back, if it was taken. Neither a frame in the making nor a line that takes no octet holds this up
    /// for long.
    pub fn give_back(&self) {
        let mode = self.mode.swap(AS_FOUND, Ordering::SeqCst);
        if mode == AS_FOUND {
            return;
        }
        if mode == SCREEN {
            let writing = self.pen_soon();
            if writing.is_none() || !self.takes_octets() {
                // What the line did not take is dropped, or the way out would wait behind it.
                let _ = tcflush(&self.tty, QueueSelector::OFlush);
            }
            let leave = if self.mouse.load(Ordering::SeqCst) { LEAVE_MOUSE } else { LEAVE };
            if self.takes_octets() {
                // Nobody is left to tell of an error; the attributes are restored all the same.
                drop((&self.tty).write_all(leave));
                if self.title.load(Ordering::SeqCst) {
                    drop((&self.tty).write_all(TITLE_BACK));
                }
            }
        }
        // Keys that were meant for the console don't reach the shell.
        let _ = tcflush(&self.tty, QueueSelector::IFlush);
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.found);
    }

    fn pen_soon(&self) -> Option<MutexGuard<'_, ()>> {
        let step = Duration::from_millis(2);
        for _ in 0..STUCK.as_millis() / step.as_millis() {
            match self.pen.try_lock() {
                Ok(pen) => return Some(pen),
                Err(std::sync::TryLockError::Poisoned(pen)) => return Some(pen.into_inner()),
                Err(std::sync::TryLockError::WouldBlock) => std::thread::sleep(step),
            }
        }
        None
    }

    fn takes_octets(&self) -> bool {
        let mut watched = [PollFd::new(&self.tty, PollFlags::OUT)];
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(STUCK.subsec_nanos()) };
        poll(&mut watched, Some(&wait)).is_ok_and(|ready| ready > 0)
    }

    /// Columns and rows now.
    pub fn size(&self) -> Size {
        rustix::termios::tcgetwinsize(&self.tty)
            .map(|size| Size { width: size.ws_col, height: size.ws_row })
            .unwrap_or_default()
    }
}

/// The guarded terminal as the place where frames go.
pub struct Screen {
    guard: &'static Guard,
}

impl Screen {
    /// The terminal of a guard.
    pub fn new(guard: &'static Guard) -> Self {
        Self { guard }
    }
}

impl lean::Tty for Screen {
    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.guard.put(octets)
    }

    fn size(&self) -> ratatui::layout::Size {
        let size = self.guard.size();
        ratatui::layout::Size::new(size.width, size.height)
    }
}

/// Gives the terminal back whatever it was taken for, or not at all.
pub fn give_back() {
    if let Some(guard) = GUARD.get() {
        guard.give_back();
    }
}

/// Columns and rows of the terminal, where one was opened.
pub fn size() -> Option<Size> {
    GUARD.get().map(Guard::size)
}

/// Columns of the terminal that standard output goes to; none where it goes elsewhere.
pub fn output_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
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
