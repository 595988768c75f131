//! Signals. Those that end the process give the terminal back first, whatever else is in flight; SIGTSTP becomes an
//! event, because nothing may be drawn while the terminal is not ours, and so does SIGCONT, because it may have been
//! somebody else's meanwhile.

use std::time::Duration;

use signal_hook::consts::signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use crate::event::EventKind;
use crate::lanes::Sender;

/// Longest time from a signal to the end of the process, restoring the terminal included.
const END_MAX: Duration = Duration::from_millis(800);

/// Waits for signals on a thread of its own. Without `events` SIGTSTP and SIGCONT stay what they are.
///
/// # Errors
/// What the system says where no handler or thread can be had.
pub fn start(events: Option<Sender>) -> std::io::Result<()> {
    let mut list = vec![SIGHUP, SIGINT, SIGQUIT, SIGTERM];
    if events.is_some() {
        list.extend([SIGTSTP, SIGCONT]);
    }
    let mut signals = Signals::new(&list)?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match (signal, &events) {
                // A full lane must not hold up the signal that ends it all.
                (SIGTSTP, Some(events)) => drop(events.try_send(EventKind::SuspendAsked)),
                (SIGCONT, Some(events)) => drop(events.try_send(EventKind::Continued)),
                _ => {
                    let status = 128 + signal;
                    // Whatever holds the terminal up, the process ends.
                    drop(std::thread::Builder::new().spawn(move || {
                        std::thread::sleep(END_MAX);
                        std::process::exit(status);
                    }));
                    super::give_back();
                    std::process::exit(status);
                }
            }
        }
    })?;
    Ok(())
}
