//! The workers of a process: started when they are needed, used again, ended when a file has spoiled them or they have rested
//! for long. Knows how many there may be and how long one may take; refuses to know what it does meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::worker::{Answer, Ready, Request, Setup, Told, receive, send};
use super::{InProcess, Inspector, Subject};
use crate::inspect::{
    DETAIL_BYTES_MAX, Facts, Finding, Format, Inspection, Limits, Ruleset, Taken, Verdict, WORKER_LOST, Wanted,
};

/// Workers at once; other inspections wait.
const WORKERS_MAX: usize = 4;

/// Files that one worker inspects before another takes its place.
const FILES_MAX: u32 = 1000;

/// The same for the time that it has been at work: far from the end of its time for computing.
const WORKED_MAX: Duration = Duration::from_secs(5 * 60);

/// A worker that rests for longer is ended.
const REST_MAX: Duration = Duration::from_secs(45);

/// How often it is looked for workers that have ended or rested for long.
const TIDY_EVERY: Duration = Duration::from_secs(15);

/// What a worker gets on top of the time that an inspection has, before it counts as hanging.
const GRACE: Duration = Duration::from_secs(10);

/// Inspects in workers.
pub struct Workers {
    ruleset: Ruleset,
    limits: Limits,
    shared: Arc<Shared>,
    /// To the thread that starts workers; it ends with this.
    starter: Sender<Order>,
    fallback: InProcess,
    fell_back: Once,
}

#[derive(Default)]
struct Shared {
    /// The lock is held to count, to move workers and to wait, never while a worker works.
    places: Mutex<Places>,
    freed: Condvar,
}

#[derive(Default)]
struct Places {
    busy: usize,
    /// The sockets of those at work, by process: shut down, they end the wait for an answer.
    at_work: BTreeMap<u32, UnixStream>,
    idle: Vec<Worker>,
    stopped: bool,
}

struct Worker {
    child: Child,
    socket: UnixStream,
    files: u32,
    worked: Duration,
    rests_since: Instant,
}

impl Worker {
    /// Whether it has ended, or rested for so long that it should.
    fn is_stale(&mut self) -> bool {
        self.rests_since.elapsed() > REST_MAX || !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be hanging. Both can only fail where it has ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A worker to be started.
struct Order {
    stdin: OwnedFd,
    started: SyncSender<io::Result<Child>>,
}

/// How one request to a worker went wrong.
enum Lost {
    /// Before the file reached it.
    Before(io::Error),
    /// With the file: it died or gave no answer in time.
    With(io::Error),
}

impl Lost {
    /// Whether a worker gave no answer in time, as opposed to having ended.
    fn is_late(&self) -> bool {
        let (Self::Before(error) | Self::With(error)) = self;
        is_late(error)
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends idle workers that are stale, and reaps those that have ended.
    fn tidy(&self) {
        let stale: Vec<Worker> = self.places().idle.extract_if(.., Worker::is_stale).collect();
        // Outside of the lock, as it waits for their end.
        drop(stale);
    }
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
        let shared = Arc::new(Shared::default());
        let (starter, orders) = channel();
        let tidied = Arc::clone(&shared);
        let thread = thread::Builder::new().name("scan-workers".to_owned());
        if let Err(error) = thread.spawn(move || start_and_tidy(&program, &orders, &tidied)) {
            // Nobody takes orders now, which every inspection will say.
            tracing::error!(%error, "the thread that starts workers can't be started");
        }
        let fallback = InProcess::new(ruleset.clone(), limits.clone());
        Self { ruleset, limits, shared, starter, fallback, fell_back: Once::new() }
    }

    fn start(&self) -> io::Result<Worker> {
        let (socket, other) = UnixStream::pair()?;
        let (started, child) = sync_channel(1);
        let no_thread = || io::Error::other("the thread that starts workers is gone");
        self.starter.send(Order { stdin: other.into(), started }).map_err(|_order| no_thread())?;
        let child = child.recv().map_err(|_closed| no_thread())??;
        let mut worker = Worker { child, socket, files: 0, worked: Duration::ZERO, rests_since: Instant::now() };
        let allowed = &self.ruleset.allowed;
        let setup = Setup {
            parent: std::process::id(),
            globals: allowed.globals.iter().cloned().collect(),
            prefixes: allowed.prefixes.iter().cloned().collect(),
            limits: self.limits.clone(),
        };
        worker.socket.set_read_timeout(Some(GRACE))?;
        worker.socket.set_write_timeout(Some(GRACE))?;
        send(&mut worker.socket, &setup, None)?;
        match receive::<Ready>(&mut worker.socket)? {
            Some(_ready) => Ok(worker),
            None => Err(io::Error::other("a worker could not give up what it doesn't need, and ended")),
        }
    }

    /// Has a worker inspect a file. One that found nothing rests afterwards; others end, so that no file is inspected in what
    /// a hostile one left behind.
    fn inspect_in(&self, mut worker: Worker, file: &File, request: &Request) -> Result<Answer, Lost> {
        let process = worker.child.id();
        let socket = worker.socket.try_clone().map_err(Lost::Before)?;
        {
            let mut places = self.shared.places();
            if places.stopped {
                return Err(Lost::Before(stopped()));
            }
            places.at_work.insert(process, socket);
        }
        let began = Instant::now();
        let answer = self.ask(&mut worker, file, request);
        worker.files += 1;
        worker.worked = worker.worked.saturating_add(began.elapsed());
        worker.rests_since = Instant::now();
        let is_clean = matches!(&answer, Ok(Ok(Told::Inspected(found))) if found.verdict() == Verdict::Clean);
        let is_fresh = worker.files < FILES_MAX && worker.worked < WORKED_MAX;
        let mut places = self.shared.places();
        places.at_work.remove(&process);
        if is_clean && is_fresh && !places.stopped {
            places.idle.push(worker);
        }
        answer
    }

    fn ask(&self, worker: &mut Worker, file: &File, request: &Request) -> Result<Answer, Lost> {
        let gigabytes = u32::try_from(request.len / 1_000_000_000).unwrap_or(u32::MAX);
        let time = self.limits.time.saturating_add(self.limits.time_per_gb.saturating_mul(gigabytes));
        worker.socket.set_read_timeout(Some(time.saturating_add(GRACE))).map_err(Lost::Before)?;
        send(&mut worker.socket, request, Some(file.as_fd())).map_err(Lost::Before)?;
        match receive::<Answer>(&mut worker.socket) {
            Ok(Some((answer, _none))) => Ok(answer),
            Ok(None) => Err(Lost::With(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(Lost::With(error)),
        }
    }

    fn turn(&self) -> io::Result<Turn<'_>> {
        let mut places = self.shared.places();
        while places.busy >= WORKERS_MAX && !places.stopped {
            places = self.shared.freed.wait(places).unwrap_or_else(PoisonError::into_inner);
        }
        if places.stopped {
            return Err(stopped());
        }
        places.busy += 1;
        Ok(Turn(&self.shared))
    }

    fn rested(&self) -> Option<Worker> {
        self.shared.tidy();
        self.shared.places().idle.pop()
    }

    /// What a worker answers to a request, by a rested one if there is any.
    fn outcome(&self, file: &File, request: &Request) -> io::Result<Result<Answer, Lost>> {
        let _turn = self.turn()?;
        if let Some(worker) = self.rested() {
            match self.inspect_in(worker, file, request) {
                // It may have been ended while it rested, or by what files before this one left behind: a fresh one tells.
                Err(lost) if !lost.is_late() => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(self.inspect_in(self.start()?, file, request))
    }

    /// A verdict, or why there is none.
    fn verdict(&self, outcome: Result<Answer, Lost>, name: &str) -> io::Result<Inspection> {
        match outcome {
            Ok(Ok(Told::Inspected(inspection))) => Ok(inspection),
            Ok(Ok(Told::Taken(_))) => Err(another_answer()),
            Ok(Err(why)) => Err(io::Error::other(why)),
            // What ended the worker is the stop, not the file.
            Err(_) if self.shared.places().stopped => Err(stopped()),
            Err(Lost::Before(error)) => Err(error),
            Err(Lost::With(error)) => {
                tracing::warn!(name, %error, "an inspection ended without an answer");
                Ok(lost(&error))
            }
        }
    }
}

/// Starts workers and ends those that have rested for long, until nobody can ask any more. A thread of its own, for the kernel
/// ends a worker with the *thread* that started it, and the threads that inspect come and go.
fn start_and_tidy(program: &Path, orders: &Receiver<Order>, shared: &Shared) {
    loop {
        match orders.recv_timeout(TIDY_EVERY) {
            Ok(Order { stdin, started }) => {
                let child = Command::new(program)
                    .arg(crate::cli::SCAN_WORKER)
                    .env_clear()
                    .current_dir("/")
                    // A signal from the terminal is for us; when a worker ends is ours to say.
                    .process_group(0)
                    .stdin(Stdio::from(stdin))
                    .stdout(Stdio::null())
                    .stderr(Stdio::inherit())
                    .spawn();
                // Whoever ordered it waits.
                let _taken = started.send(child);
            }
            Err(RecvTimeoutError::Timeout) => shared.tidy(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// One of the places at work.
struct Turn<'w>(&'w Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.places().busy -= 1;
        self.0.freed.notify_one();
    }
}

impl Inspector for Workers {
    fn inspect(&self, subject: &dyn Subject, name: &str) -> io::Result<Inspection> {
        let Some(file) = subject.file() else {
            self.fell_back.call_once(|| {
                tracing::warn!("octets that are in no file are inspected in this process, which is not confined");
            });
            return self.fallback.inspect(subject, name);
        };
        let request = Request { name: name.to_owned(), len: subject.len(), wanted: None };
        let outcome = self.outcome(&file?, &request)?;
        self.verdict(outcome, name)
    }

    fn excerpt(&self, subject: &dyn Subject, name: &str, wanted: &Wanted) -> io::Result<Option<Taken>> {
        let Some(file) = subject.file() else { return self.fallback.excerpt(subject, name, wanted) };
        let request = Request { name: name.to_owned(), len: subject.len(), wanted: Some(wanted.clone()) };
        match self.outcome(&file?, &request)? {
            Ok(Ok(Told::Taken(taken))) => Ok(taken),
            Ok(Ok(Told::Inspected(_))) => Err(another_answer()),
            Ok(Err(why)) => Err(io::Error::other(why)),
            Err(Lost::Before(error) | Lost::With(error)) => Err(error),
        }
    }

    fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    fn stop(&self) {
        let mut places = self.shared.places();
        places.stopped = true;
        let idle = std::mem::take(&mut places.idle);
        for socket in places.at_work.values() {
            // Whoever waits for an answer wakes up and ends the worker. It fails only where that one has ended already.
            let _gone = socket.shutdown(Shutdown::Both);
        }
        drop(places);
        self.shared.freed.notify_all();
        drop(idle);
    }
}

fn another_answer() -> io::Error {
    io::Error::other("a worker answered what it was not asked")
}

fn stopped() -> io::Error {
    io::Error::other("no verdict was reached, as no more is inspected: the registry is stopping")
}

/// Whether it is that no answer came in time.
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
