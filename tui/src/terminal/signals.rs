//! Signals. Those that end the process give the terminal back first, whatever else is in flight; SIGTSTP becomes an
//! event, because nothing may be drawn while the terminal is not ours, and so does SIGCONT, because it may have been
//! somebody else's meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use signal_hook::consts::signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use crate::event::{Code, EventKind, Key};
use crate::lanes::Sender;

/// Longest time from a signal to the end of the process, restoring the terminal included.
const END_MAX: Duration = Duration::from_millis(800);

/// Waits for signals on a thread of its own. Without `events` SIGTSTP and SIGCONT stay what they are.
///
/// # Errors
/// What the system says where no handler or thread can be had.
pub fn start(events: Option<Sender>) -> std::io::Result<()> {
    let Some(events) = events else { return watch(&[], |_none| {}) };
    watch(&[(SIGTSTP, EventKind::SuspendAsked), (SIGCONT, EventKind::Continued)], move |event| {
        // A full lane must not hold up the signal that ends it all.
        drop(events.try_send(event));
    })
}

/// The same where lines are read: C-c is SIGINT there, and comes as that key.
///
/// # Errors
/// What the system says where no handler or thread can be had.
pub fn start_lines(events: Sender) -> std::io::Result<()> {
    let give_up = EventKind::Key(Key { code: Code::Char('c'), ctrl: true });
    watch(&[(SIGINT, give_up)], move |event| drop(events.try_send(event)))
}

/// Waits for signals: these become events, the others that would end the process do, with the terminal given back first.
fn watch(heard: &[(i32, EventKind)], tell: impl Fn(EventKind) + Send + 'static) -> std::io::Result<()> {
    let heard = heard.to_vec();
    let ending = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter();
    let mut signals = Signals::new(ending.chain(heard.iter().map(|(signal, _)| *signal)).collect::<BTreeSet<i32>>())?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if let Some((_, event)) = heard.iter().find(|(of, _)| *of == signal) {
                tell(event.clone());
                continue;
            }
            let status = 128 + signal;
            // Whatever holds the terminal up, the process ends.
            drop(std::thread::Builder::new().spawn(move || {
                std::thread::sleep(END_MAX);
                std::process::exit(status);
            }));
            super::give_back();
            std::process::exit(status);
        }
    })?;
    Ok(())
}
