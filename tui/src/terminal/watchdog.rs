//! Ends the process when the tty has gone. crossterm 0.29 doesn't notice: its read loop then spins on one core. Signals
//! alone don't do, for a parent may have had SIGHUP ignored.

use std::fs::File;

use rustix::event::{PollFd, PollFlags, poll};

/// The status of a process that lost its terminal: as if ended by SIGHUP.
const LOST_TTY: i32 = 129;

/// Waits on a thread of its own for the tty to hang up.
///
/// # Errors
/// What the system says where no thread can be started.
pub fn start(tty: &File) -> std::io::Result<()> {
    let tty = tty.try_clone()?;
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        loop {
            // No events are asked for: the call returns only for a hang-up or an error.
            let mut watched = [PollFd::new(&tty, PollFlags::empty())];
            match poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => std::process::exit(LOST_TTY),
            }
        }
    })?;
    Ok(())
}
