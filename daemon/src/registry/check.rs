//! Checking everything that is stored: the store checks itself, and for each blob the state points to it is seen whether it
//! is there, and on demand whether its octets are right. Beside a running daemon what a reading finds acts as the scrubber's
//! findings do; what a mere look finds is only told, and read by the scrubber. Knows what is told of it; refuses to repair
//! anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use common::audit::{Action, Target};
use common::digest::Digest;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::blobs::Blobs;
use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::damage::{Looker, Verified};
use crate::registry::error::{Failure, RegistryError};
use crate::registry::examine::{Examined, Fault, Pace, examine, glance};
use crate::registry::scrub::Pass;
use crate::registry::throttle::give_way;
use crate::registry::{Inner, Registry};
use crate::store::check::{Checked, Listener};
use crate::store::records::{DamageKind, DamageRecord};

/// Failures that are told one by one; the rest is only counted.
pub const FAILURES_TOLD_MAX: u64 = 1000;
/// Lines that may wait for the one who asked; then the check waits.
const LINES_MAX: usize = 64;
/// Blobs after which progress is told.
const BLOBS_A_STEP: u64 = 256;

/// What a check tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// How far it is.
    Progress {
        /// What is looked at.
        step: &'static str,
        /// How much of it was.
        done: u64,
        /// How much there is.
        of: u64,
    },
    /// Something is wrong.
    Failure {
        /// Where.
        place: String,
        /// What.
        what: String,
    },
    /// Something worth knowing that is not wrong.
    Remark(String),
    /// The end.
    Total(Total),
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// What the store checked.
    pub checked: Checked,
    /// Blobs that artifacts point to.
    pub blobs: u64,
    /// Blobs that were read whole.
    pub blobs_read: u64,
    /// Their octets.
    pub bytes_read: u64,
    /// Blobs that nothing points to; looked for only where blobs are read.
    pub unreferenced: u64,
    /// What is wrong.
    pub failures: u64,
}

/// What looks at a blob of this digest and size; none if nothing points to it any more, or nobody listens.
pub(crate) type Look<'c> = Box<dyn FnMut(&Digest, u64) -> Option<Result<(), Fault>> + Send + 'c>;

/// Listens to a store's check, looks at its blobs, counts, and tells.
pub struct Checking<'c> {
    /// Takes what is told; false once nobody wants it.
    tell: Box<dyn FnMut(Told) -> bool + Send + 'c>,
    look: Look<'c>,
    /// Whether looking is reading.
    read_blobs: bool,
    /// The blobs that are needed, in the order of their digests: only where they are read.
    needed: Vec<Digest>,
    state: State,
}

#[derive(Default)]
struct State {
    blobs: u64,
    blobs_read: u64,
    bytes_read: u64,
    unreferenced: u64,
    failures: u64,
    ended: bool,
}

impl<'c> Checking<'c> {
    fn new(read_blobs: bool, look: Look<'c>, tell: impl FnMut(Told) -> bool + Send + 'c) -> Self {
        Self { tell: Box::new(tell), look, read_blobs, needed: Vec::new(), state: State::default() }
    }

    /// Of the blobs of a stopped registry: they are only looked at. `bytes_per_second` bounds how fast they are read; none:
    /// not at all.
    pub fn stopped(
        blobs: &'c dyn Blobs,
        read_blobs: bool,
        bytes_per_second: Option<u64>,
        tell: impl FnMut(Told) -> bool + Send + 'c,
    ) -> Self {
        let mut reading = Reading::new(bytes_per_second);
        let look = move |digest: &Digest, size: u64| {
            if read_blobs { reading.examine(blobs, digest, size, || true) } else { Some(glance(blobs, digest, size)) }
        };
        Self::new(read_blobs, Box::new(look), tell)
    }

    /// Names the blobs that nothing points to, where blobs are read. `is_needed` says of those whether something came to
    /// point to them, or is about to. To be called after the store's check.
    pub fn unreferenced(&mut self, blobs: &dyn Blobs, is_needed: impl Fn(&Digest) -> bool) {
        if !self.read_blobs {
            return;
        }
        let needed = std::mem::take(&mut self.needed);
        let listed = blobs.list(&mut |digest, size| {
            if needed.binary_search(&digest).is_ok() || is_needed(&digest) {
                return;
            }
            self.state.unreferenced += 1;
            if self.state.unreferenced <= FAILURES_TOLD_MAX {
                self.remark(format!(
                    "blob {digest} of {size} octets is unreferenced: no version needs it, and the next start removes it"
                ));
            }
        });
        if let Err(error) = listed {
            self.remark(format!("unreferenced blobs can't be looked for: {}", crate::error_chain(&error)));
        }
    }

    /// Tells the end.
    pub fn finish(mut self, checked: Checked) -> Total {
        let State { blobs, blobs_read, bytes_read, unreferenced, failures, ended: _ } = self.state;
        let total = Total { checked, blobs, blobs_read, bytes_read, unreferenced, failures };
        (self.tell)(Told::Total(total.clone()));
        total
    }

    fn say(&mut self, told: Told) {
        if !(self.tell)(told) {
            self.state.ended = true;
        }
    }
}

/// How a check reads blobs.
struct Reading {
    pace: Option<(Pace, Instant)>,
    piece: usize,
}

impl Reading {
    fn new(bytes_per_second: Option<u64>) -> Self {
        let pace = Pace::new(bytes_per_second.unwrap_or(u64::MAX));
        let piece = pace.piece();
        Self { pace: bytes_per_second.map(|_rate| (pace, Instant::now())), piece }
    }

    /// Reads a blob, as long as `goes_on` says so.
    fn examine(&mut self, blobs: &dyn Blobs, digest: &Digest, size: u64, goes_on: impl Fn() -> bool) -> Examined {
        let Self { pace, piece } = self;
        examine(blobs, digest, size, *piece, &mut |octets| {
            if let Some((pace, began)) = pace {
                std::thread::sleep(pace.take(began.elapsed(), octets));
            }
            goes_on()
        })
    }
}

impl Listener for Checking<'_> {
    fn progress(&mut self, step: &'static str, done: u64, of: u64) {
        self.say(Told::Progress { step, done, of });
    }

    fn failure(&mut self, place: String, what: String) {
        self.state.failures += 1;
        if self.state.failures <= FAILURES_TOLD_MAX {
            self.say(Told::Failure { place, what });
        }
        if self.state.failures == FAILURES_TOLD_MAX {
            self.remark("more failures are counted, but not told one by one".to_owned());
        }
    }

    fn remark(&mut self, what: String) {
        self.say(Told::Remark(what));
    }

    fn blob(&mut self, digest: Digest, size: u64, damage: Option<DamageRecord>, needed_by: &dyn Fn() -> Vec<String>) {
        self.state.blobs += 1;
        if self.read_blobs {
            self.needed.push(digest);
        }
        let looked = match ((self.look)(&digest, size), damage) {
            // That it is there and of its size says nothing about its octets.
            (Some(Ok(())), Some(DamageRecord { kind, detail, found_at_ms, .. })) if !self.read_blobs => {
                let found_at = clock::rfc3339(found_at_ms);
                let detail = format!("{detail}, as was found at {found_at}; only reading it (--blobs) tells anew");
                Some(Err(Fault { kind, detail }))
            }
            (looked, _) => looked,
        };
        let was_read = match &looked {
            Some(Ok(())) => true,
            Some(Err(fault)) => fault.kind == DamageKind::Content,
            None => false,
        };
        if self.read_blobs && was_read {
            self.state.blobs_read += 1;
            self.state.bytes_read = self.state.bytes_read.saturating_add(size);
        }
        if let Some(Err(fault)) = looked {
            let versions = needed_by().join(", ");
            self.failure(format!("blob {digest}"), format!("{}; needed by {versions}", fault.detail));
        }
        if self.read_blobs || self.state.blobs.is_multiple_of(BLOBS_A_STEP) {
            self.progress("blobs", self.state.blobs, self.state.blobs);
        }
    }

    fn goes_on(&self) -> bool {
        !self.state.ended
    }
}

/// One check at a time; dropped at its end, however it ends.
struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Registry {
    /// Begins a check beside everything else, on a thread that gives way. What it tells ends with the total; an end without
    /// one says that it could not be done. It ends when nobody listens any more.
    ///
    /// # Errors
    /// `OperatorOnly`; `Conflict` while another runs.
    pub async fn check(
        &self,
        caller: &Caller,
        read_blobs: bool,
        bytes_per_second: Option<u64>,
    ) -> Result<mpsc::Receiver<Told>, Failure> {
        let inner = &self.inner;
        let note =
            Note::event(Action::AuditRead, Target::new("log", &inner.store.identity().origin)).with("check", true);
        if let Err(error) = caller.require_operator() {
            return Err(inner.refuse(caller, note, error).await);
        }
        if inner.checking.swap(true, Ordering::AcqRel) {
            return Err(RegistryError::Conflict("a check is running already; wait for its end".to_owned()).into());
        }
        let turn = Turn(Arc::clone(&inner.checking));
        // Whoever reads everything leaves a trace before the first octet is read.
        inner.record(caller, note).await?;
        let (tell, told) = mpsc::channel(LINES_MAX);
        let inner = Arc::clone(inner);
        let runtime = Handle::current();
        let asked = Asked { by: Caller { request: None, ..caller.clone() }, read_blobs, bytes_per_second };
        std::thread::Builder::new()
            .name("mregd-check".to_owned())
            .spawn(move || {
                let _turn = turn;
                give_way(false);
                let _entered = runtime.enter();
                run(&inner, &runtime, asked, &tell);
            })
            .map_err(|error| RegistryError::Internal(error.into()))?;
        Ok(told)
    }
}

/// What was asked of a check beside a running daemon.
struct Asked {
    by: Caller,
    read_blobs: bool,
    bytes_per_second: Option<u64>,
}

fn run(inner: &Arc<Inner>, runtime: &Handle, asked: Asked, tell: &mpsc::Sender<Told>) {
    let Asked { by, read_blobs, bytes_per_second } = asked;
    let mut reading = Reading::new(bytes_per_second);
    let pass = Mutex::new(Pass::begin());
    // Whether every blob was looked at where it should be.
    let is_whole = AtomicBool::new(true);
    let began = Instant::now();
    let goes_on = || !tell.is_closed() && !inner.scrub.is_stopping();
    let look = |digest: &Digest, _size: u64| {
        // The size that is recorded now: the state may have moved on.
        let verified = if !goes_on() {
            Ok(Verified::Stopped)
        } else if read_blobs {
            let look = |size| reading.examine(&*inner.blobs, digest, size, goes_on);
            inner.verify(runtime, *digest, Looker::Operator, look)
        } else {
            inner.look_at(runtime, *digest)
        };
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => {
                let detail = format!("can't be seen to: {}", crate::error_chain(&error));
                return Some(Err(Fault { kind: DamageKind::Unreadable, detail }));
            }
        };
        pass.lock().unwrap_or_else(PoisonError::into_inner).count(&verified);
        match verified {
            Verified::Sound(size) => {
                if read_blobs {
                    inner.scrub.count(1, size);
                }
                Some(Ok(()))
            }
            Verified::Wrong { fault, octets } => {
                if read_blobs {
                    inner.scrub.count(1, octets);
                }
                Some(Err(fault))
            }
            Verified::Doubtful(fault) => {
                is_whole.store(false, Ordering::Relaxed);
                Some(Err(fault))
            }
            Verified::Unneeded | Verified::Stopped => None,
        }
    };
    let mut checking = Checking::new(read_blobs, Box::new(look), |told| tell.blocking_send(told).is_ok());
    match inner.store.check(&mut checking) {
        Ok(checked) => {
            let is_needed = |digest: &Digest| {
                let recorded = runtime.block_on(inner.read(|view| Ok(view.blob(digest)?.is_some())));
                recorded.unwrap_or(true) || inner.pins.is_held(digest)
            };
            checking.unreferenced(&*inner.blobs, is_needed);
            if read_blobs && is_whole.load(Ordering::Relaxed) && goes_on() {
                let mut pass = pass.lock().unwrap_or_else(PoisonError::into_inner).clone();
                pass.took(began.elapsed());
                let recorded = runtime.block_on(inner.record_pass(&by, &pass));
                if let Err(error) = recorded {
                    tracing::warn!(error = crate::error_chain(&error), "that every blob was read can't be recorded");
                }
            }
            checking.finish(checked);
        }
        Err(error) if checking.goes_on() => {
            tracing::warn!(error = crate::error_chain(&error), "a check could not be done");
            checking.remark(format!("the check could not be done: {}", crate::error_chain(&error)));
        }
        // Nobody listens any more.
        Err(_ended) => {}
    }
}
