//! Word to the service manager (sd_notify(3)): ready, alive, reloading, stopping. Knows the protocol by its crate; refuses to know
//! what is being started. Without a service manager nothing is said and nothing fails.

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::registry::Health;

/// While starting, the manager is asked for this much more time …
const EXTENSION: Duration = Duration::from_secs(60);
/// … this often.
const EXTENSION_EVERY: Duration = Duration::from_secs(15);

/// Requests are accepted.
pub fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// Settings are read again; [`reloaded`] follows. The time says which of several this is (`Type=notify-reload`); managers
/// that don't know it pass over it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now, NotifyState::Status("reading the settings again")]),
        Err(error) => tracing::debug!(%error, "the service manager can't be told that settings are read again"),
    }
}

/// What came of that, in a few words.
pub fn reloaded(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Nothing new is accepted.
pub fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("stopping: running requests may end")]);
}

/// Does `work`, which may take long on a large journal, and asks for time as long as it does.
pub async fn while_starting<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut round = tokio::time::interval(EXTENSION_EVERY);
    let extension_us = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
    say(&[NotifyState::Status("opening the journal")]);
    loop {
        tokio::select! {
            done = work.as_mut() => return done,
            _ = round.tick() => say(&[NotifyState::ExtendTimeoutUsec(extension_us)]),
        }
    }
}

/// Says that the daemon is alive, as often as the manager wants to hear it, unless the journal failed.
///
/// A full disk is not a reason to be killed: the log is tried again with every request, and a restart would not make
/// room. That this runs at all shows that the runtime still does.
pub async fn watchdog(mut health: watch::Receiver<Health>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut round = tokio::time::interval(limit / 3);
    loop {
        let changed = tokio::select! {
            _ = round.tick() => false,
            changed = health.changed() => match changed {
                Ok(()) => true,
                Err(_store_is_gone) => return,
            },
        };
        let status = match &*health.borrow_and_update() {
            Health::Ok => "serving",
            Health::Full(_) => "disk full: free space or purge",
            Health::Refusing(_) => "the audit log can't be written; see the daemon's log",
            Health::Failed(_) => return,
        };
        say(&[NotifyState::Watchdog]);
        if changed {
            say(&[NotifyState::Status(status)]);
        }
    }
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager can't be told");
    }
}
