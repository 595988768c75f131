//! Signals. Those that end the process give the terminal back first, whatever else is in flight; SIGTSTP becomes an
//! event, because nothing may be drawn while the terminal is not ours.

use std::sync::mpsc::SyncSender;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use crate::event::EventKind;

/// Waits for signals on a thread of its own. Without `events` SIGTSTP stays what it is.
///
/// # Errors
/// What the system says where no handler or thread can be had.
pub fn start(events: Option<SyncSender<EventKind>>) -> std::io::Result<()> {
    let mut list = vec![SIGHUP, SIGINT, SIGQUIT, SIGTERM];
    if events.is_some() {
        list.push(SIGTSTP);
    }
    let mut signals = Signals::new(&list)?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match (signal, &events) {
                (SIGTSTP, Some(events)) => drop(events.send(EventKind::SuspendAsked)),
                _ => {
                    super::give_back();
                    std::process::exit(128 + signal);
                }
            }
        }
    })?;
    Ok(())
}
