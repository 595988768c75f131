//! The worker: a process that inspects one file after the other and can do nothing else. Its standard input is a socket; each
//! request comes over it with the descriptor of a file, opened for reading, and each answer goes back over it.
//!
//! Before the first file it gives up what it doesn't need: memory beyond `MEMORY_BYTES_MAX`, files of its own, new
//! privileges, and, where the processor is one that the filter is written for, every system call that is not on the list of
//! `confine`: it can't open a file, a socket or a process. What it is left with is to read, to compute and to answer.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LocalFile;
use crate::inspect::{self, Allowed, Inspection, Limits, Ruleset, Taken, Wanted};

/// Address space of a worker, in octets (scanning.md §2).
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Octets of a request or an answer: findings and facts are bounded far below.
const MESSAGE_BYTES_MAX: u32 = 8 << 20;

/// Seconds of computing that a worker has for all its files, on top of the time that one may take. The pool ends one that is
/// at a file for too long, by the file's size; this bounds one whatever the pool does.
const CPU_SECONDS_MAX: u64 = 15 * 60;

/// The first message: what to go by.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    /// The process that asks.
    pub(super) parent: u32,
    /// What the administrator allows.
    pub(super) globals: Vec<(String, String)>,
    /// Prefixes of library classes.
    pub(super) prefixes: Vec<String>,
    /// The limits.
    pub(super) limits: Limits,
}

/// The first answer: everything is given up, and files may come. What goes wrong before is no verdict on a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {}

/// A request; a descriptor comes with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// The file's path within its version.
    pub(super) name: String,
    /// Its octets.
    pub(super) len: u64,
    /// The place whose octets are wanted, where it is not a verdict that is asked for.
    pub(super) wanted: Option<Wanted>,
}

/// What an answer tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// What was found.
    Inspected(Inspection),
    /// The octets that were wanted, if they were come to.
    Taken(Option<Taken>),
}

/// An answer: what was asked for, or why the file can't be read.
pub(super) type Answer = Result<Told, String>;

/// What the worker does until nobody asks any more.
///
/// # Errors
/// Where the socket or a limit can't be set up, or a message is none. That nobody asks any more is the ordinary end.
pub fn run() -> io::Result<()> {
    match serve() {
        // Whoever asked is gone, killed perhaps: nobody waits for an answer.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn serve() -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((setup, _none)) = receive::<Setup>(&mut socket)? else { return Ok(()) };
    // What it is at ends with whoever asked. If that was before the kernel knew, somebody else is the parent by now.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().and_then(|parent| u32::try_from(parent.as_raw_pid()).ok()) != Some(setup.parent) {
        return Ok(());
    }
    let allowed =
        Allowed { globals: setup.globals.into_iter().collect(), prefixes: setup.prefixes.into_iter().collect() };
    let (ruleset, limits) = (Ruleset::new(allowed), setup.limits);
    confine(&limits)?;
    send(&mut socket, &Ready {}, None)?;
    loop {
        let (request, file) = match receive::<Request>(&mut socket) {
            Ok(Some((request, Some(file)))) => (request, file),
            Ok(Some((_, None))) => return Err(io::Error::other("a request without a file")),
            Ok(None) => return Ok(()),
            Err(error) => return Err(error),
        };
        let file = LocalFile::of_len(file.into(), request.len);
        let told = match &request.wanted {
            None => inspect::inspect(&file, &request.name, &ruleset, &limits).map(Told::Inspected),
            Some(wanted) => inspect::excerpt(&file, &request.name, &ruleset, &limits, wanted).map(Told::Taken),
        };
        let answer: Answer = told.map_err(|error| error.to_string());
        send(&mut socket, &answer, None)?;
    }
}

/// Sends a message, and a descriptor with it.
pub(super) fn send<T: Serialize>(socket: &mut UnixStream, message: &T, file: Option<BorrowedFd>) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a message that is too long"))?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files: Vec<BorrowedFd> = file.into_iter().collect();
    if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    // The descriptor travels with the first octets; NOSIGNAL, for a worker that is gone is no reason to end.
    let length_only = [IoSlice::new(&length)];
    let sent = retry_on_intr(|| sendmsg(&*socket, &length_only, &mut ancillary, SendFlags::NOSIGNAL))?;
    if sent != length.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    socket.write_all(&body)
}

/// Receives a message and the descriptor that came with it; none where the other end has closed.
pub(super) fn receive<T: DeserializeOwned>(socket: &mut UnixStream) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // A socket with a timeout is interrupted by every signal that is handled, whatever its handler asks for (signal(7)).
    let received = retry_on_intr(|| {
        recvmsg(&*socket, &mut [IoSliceMut::new(&mut length)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut file = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.into_iter().next().or(file);
        }
    }
    socket.read_exact(&mut length[received.bytes..])?;
    let length = u32::from_be_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message that is too long"));
    }
    let mut body = Vec::new();
    (&*socket).take(u64::from(length)).read_to_end(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, file)))
}

/// Gives up all that inspecting doesn't need. From here on an attempt at anything else fails with EPERM.
fn confine(limits: &Limits) -> io::Result<()> {
    let bounds = [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Cpu, CPU_SECONDS_MAX.saturating_add(limits.time.as_secs())),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nofile, 16),
    ];
    for (resource, bound) in bounds {
        // Where the system allows less already, that stays.
        let bound = getrlimit(resource).maximum.map_or(bound, |maximum| maximum.min(bound));
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) })?;
    }
    rustix::thread::set_no_new_privs(true)?;
    filter()
}

/// The system calls that are left: reading at a place, the socket, memory, time, ending.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn filter() -> io::Result<()> {
    use libc::{
        SYS_brk, SYS_clock_gettime, SYS_close, SYS_exit, SYS_exit_group, SYS_fcntl, SYS_futex, SYS_getrandom,
        SYS_madvise, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap, SYS_pread64, SYS_read, SYS_recvfrom, SYS_recvmsg,
        SYS_restart_syscall, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_yield, SYS_sendmsg, SYS_sendto,
        SYS_sigaltstack, SYS_write, SYS_writev,
    };
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    let calls = [
        SYS_brk,
        SYS_clock_gettime,
        SYS_close,
        SYS_exit,
        SYS_exit_group,
        SYS_fcntl,
        SYS_futex,
        SYS_getrandom,
        SYS_madvise,
        SYS_mmap,
        SYS_mprotect,
        SYS_mremap,
        SYS_munmap,
        SYS_pread64,
        SYS_read,
        SYS_recvfrom,
        SYS_recvmsg,
        SYS_restart_syscall,
        SYS_rt_sigprocmask,
        SYS_rt_sigreturn,
        SYS_sched_yield,
        SYS_sendmsg,
        SYS_sendto,
        SYS_sigaltstack,
        SYS_write,
        SYS_writev,
    ];
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let machine = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, machine).map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    match seccompiler::apply_filter(&program) {
        Ok(()) => Ok(()),
        // A kernel or a container without seccomp: the limits above still hold.
        Err(error) => {
            let _told = writeln!(io::stderr(), "mregd scan-worker: no filter of system calls: {error}");
            Ok(())
        }
    }
}

/// The filter is written for other processors only.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn filter() -> io::Result<()> {
    Ok(())
}
