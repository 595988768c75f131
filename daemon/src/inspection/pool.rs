//! The workers of a process: started when they are needed, used again, ended when a file has spoiled them. Knows how many
//! there may be and how long one may take; refuses to know what it does meanwhile.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::worker::{Answer, Ready, Request, Setup, receive, send};
use super::{InProcess, Inspector, Subject};
use crate::inspect::{DETAIL_BYTES_MAX, Facts, Finding, Format, Inspection, Limits, Ruleset, WORKER_LOST};

/// Workers at once; other inspections wait.
const WORKERS_MAX: usize = 4;

/// Files that one worker inspects before another takes its place.
const FILES_MAX: u32 = 1000;

/// What a worker gets on top of the time that an inspection has, before it counts as hanging.
const GRACE: Duration = Duration::from_secs(10);

/// Inspects in workers.
pub struct Workers {
    program: PathBuf,
    ruleset: Ruleset,
    limits: Limits,
    /// How many are at work. The lock is held to count and to wait, never while a worker works.
    busy: Mutex<usize>,
    freed: Condvar,
    idle: Mutex<Vec<Worker>>,
    fallback: InProcess,
}

struct Worker {
    child: Child,
    socket: UnixStream,
    files: u32,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be hanging. Both can only fail where it has ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// How one request to a worker went wrong.
enum Lost {
    /// Before the file reached it: another worker may be tried.
    Before(io::Error),
    /// With the file: it died or gave no answer in time.
    With(io::Error),
}

impl Workers {
    /// Workers that are this very program.
    #[must_use]
    pub fn new(ruleset: Ruleset, limits: Limits) -> Self {
        // Also right after the file was replaced by an upgrade: the kernel knows which program runs.
        Self::of_program(PathBuf::from("/proc/self/exe"), ruleset, limits)
    }

    /// Workers that are another `mregd`: for a program that is none.
    #[must_use]
    pub fn of_program(program: PathBuf, ruleset: Ruleset, limits: Limits) -> Self {
        Self {
            program,
            fallback: InProcess::new(ruleset.clone(), limits.clone()),
            ruleset,
            limits,
            busy: Mutex::new(0),
            freed: Condvar::new(),
            idle: Mutex::new(Vec::new()),
        }
    }

    fn start(&self) -> io::Result<Worker> {
        let (socket, other) = UnixStream::pair()?;
        let child = Command::new(&self.program)
            .arg("scan-worker")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let allowed = &self.ruleset.allowed;
        let setup = Setup {
            globals: allowed.globals.iter().cloned().collect(),
            prefixes: allowed.prefixes.iter().cloned().collect(),
            limits: self.limits.clone(),
        };
        let mut worker = Worker { child, socket, files: 0 };
        worker.socket.set_read_timeout(Some(GRACE))?;
        worker.socket.set_write_timeout(Some(GRACE))?;
        send(&mut worker.socket, &setup, None)?;
        match receive::<Ready>(&mut worker.socket)? {
            Some(_ready) => Ok(worker),
            None => Err(io::Error::other("a worker could not give up what it doesn't need, and ended")),
        }
    }

    fn ask(&self, worker: &mut Worker, file: &File, len: u64, name: &str) -> Result<Answer, Lost> {
        let gigabytes = u32::try_from(len / 1_000_000_000).unwrap_or(u32::MAX);
        let time = self.limits.time.saturating_add(self.limits.time_per_gb.saturating_mul(gigabytes));
        worker.socket.set_read_timeout(Some(time.saturating_add(GRACE))).map_err(Lost::Before)?;
        worker.files += 1;
        let request = Request { name: name.to_owned(), len };
        send(&mut worker.socket, &request, Some(file.as_fd())).map_err(Lost::Before)?;
        match receive::<Answer>(&mut worker.socket) {
            Ok(Some((answer, _none))) => Ok(answer),
            Ok(None) => Err(Lost::With(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(Lost::With(error)),
        }
    }

    fn turn(&self) -> Turn<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while *busy >= WORKERS_MAX {
            busy = self.freed.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        *busy += 1;
        Turn(self)
    }

    fn rested(&self) -> Option<Worker> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn rest(&self, worker: Worker) {
        if worker.files < FILES_MAX {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        }
    }
}

/// One of the places at work.
struct Turn<'w>(&'w Workers);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.busy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

impl Inspector for Workers {
    fn inspect(&self, subject: &dyn Subject, name: &str) -> io::Result<Inspection> {
        let Some(file) = subject.file() else { return self.fallback.inspect(subject, name) };
        let file = file?;
        let _turn = self.turn();
        loop {
            let (mut worker, is_new) = match self.rested() {
                Some(worker) => (worker, false),
                None => (self.start()?, true),
            };
            match self.ask(&mut worker, &file, subject.len(), name) {
                Ok(answer) => {
                    self.rest(worker);
                    return answer.map_err(io::Error::other);
                }
                // It may have been ended while it rested, or by what files before this one left behind: a fresh one tells.
                Err(Lost::Before(_)) if !is_new => {}
                Err(Lost::With(error)) if !is_new && !is_late(&error) => {}
                Err(Lost::Before(error)) => return Err(error),
                Err(Lost::With(error)) => {
                    tracing::warn!(name, %error, "an inspection ended without an answer");
                    return Ok(lost(&error));
                }
            }
        }
    }

    fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }
}

/// Whether a worker gave no answer in time, as opposed to having ended.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The verdict on a file that no worker survived.
fn lost(error: &io::Error) -> Inspection {
    let detail =
        if is_late(error) { "the inspection gave no answer in time" } else { "the inspection ended without an answer" };
    let mut detail = detail.to_owned();
    detail.truncate(DETAIL_BYTES_MAX);
    let finding = Finding { rule: WORKER_LOST.id.to_owned(), level: WORKER_LOST.level, place: String::new(), detail };
    Inspection { format: Format::Unknown, findings: vec![finding], findings_total: 1, facts: Facts::default() }
}
