//! Read leases: how the kernel tells whether somebody has a file open for writing, or mapped writable (fcntl(2),
//! `F_SETLEASE`). Knows one system call; refuses to know what follows from its answer.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::ingest::settle::Writer;

/// Whether SIGIO has a handler, for the rest of the process's life.
static BREAKS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Makes leases safe to ask for: somebody who opens a leased file breaks the lease, the kernel says so by SIGIO, and that
/// ends a process without a handler. Until this was called, `writer` knows nothing. To be called within a runtime with
/// I/O; again is harmless.
///
/// # Errors
/// The handler can't be installed.
pub fn ignore_breaks() -> io::Result<()> {
    // tokio never takes a handler away again (`signal`, "Caveats"), so the listener itself is not needed: a lease is held
    // for the time between two system calls, and whoever opens the file waits no longer than that.
    drop(signal(SignalKind::io())?);
    BREAKS_IGNORED.store(true, Ordering::Release);
    Ok(())
}

/// Whether somebody has it open for writing. Takes a lease and gives it back.
pub(super) fn writer(file: &File) -> Writer {
    if !BREAKS_IGNORED.load(Ordering::Acquire) {
        return Writer::Unknown;
    }
    match set_lease(file, libc::F_RDLCK) {
        Ok(()) => {
            // It can only fail where there is none, and closing the file gives it back, too.
            let _ = set_lease(file, libc::F_UNLCK);
            Writer::None
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Writer::Some,
        // EACCES: not our file, and no CAP_LEASE. EINVAL and others: the file system has no leases.
        Err(_) => Writer::Unknown,
    }
}

#[expect(unsafe_code, reason = "rustix has no leases; the call takes two numbers and a descriptor that is open")]
fn set_lease(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: `file` is borrowed, so its descriptor is open during the call; with `F_SETLEASE` the third argument is a number
    // and no memory is read or written.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
