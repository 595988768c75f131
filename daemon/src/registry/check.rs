//! Checking everything that is stored: the store checks itself, and for each blob the state points to it is seen whether it
//! is there, and on demand whether its octets are right. Knows what is told of it; refuses to repair anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::audit::{Action, Target};
use common::digest::Digest;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::blobs::{BlobError, Blobs};
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, RegistryError};
use crate::registry::throttle::give_way;
use crate::registry::{Inner, Registry};
use crate::store::check::{Checked, Listener};

/// Failures that are told one by one; the rest is only counted.
pub const FAILURES_TOLD_MAX: u64 = 1000;
/// Octets of a blob that are read at once.
const PIECE: usize = 1024 * 1024;
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
    /// What is wrong.
    pub failures: u64,
}

/// Listens to a store's check, looks at its blobs, counts, and tells.
pub struct Checking<'c> {
    /// Takes what is told; false once nobody wants it.
    pub tell: Box<dyn FnMut(Told) -> bool + Send + 'c>,
    /// The blobs.
    pub blobs: &'c dyn Blobs,
    /// Whether to read them.
    pub read_blobs: bool,
    /// Whether a blob that is not as it should be is still pointed to: beside a running daemon it may have been removed
    /// since.
    pub is_wanted: Box<dyn Fn(&Digest) -> bool + Send + 'c>,
    state: State,
}

#[derive(Default)]
struct State {
    blobs: u64,
    blobs_read: u64,
    failures: u64,
    ended: bool,
}

impl<'c> Checking<'c> {
    /// Of these blobs.
    pub fn new(
        blobs: &'c dyn Blobs,
        read_blobs: bool,
        is_wanted: impl Fn(&Digest) -> bool + Send + 'c,
        tell: impl FnMut(Told) -> bool + Send + 'c,
    ) -> Self {
        Self { tell: Box::new(tell), blobs, read_blobs, is_wanted: Box::new(is_wanted), state: State::default() }
    }

    /// Tells the end.
    pub fn finish(mut self, checked: Checked) -> Total {
        let State { blobs, blobs_read, failures, ended: _ } = self.state;
        let total = Total { checked, blobs, blobs_read, failures };
        (self.tell)(Told::Total(total.clone()));
        total
    }

    fn say(&mut self, told: Told) {
        if !(self.tell)(told) {
            self.state.ended = true;
        }
    }

    /// What is wrong with a blob.
    fn wrong_with(&mut self, digest: &Digest, size: u64) -> Option<String> {
        match self.blobs.contains(digest) {
            Ok(Some(there)) if there == size => {}
            Ok(Some(there)) => return Some(format!("has {there} octets instead of {size}")),
            Ok(None) => return Some("is missing".to_owned()),
            Err(error) => return Some(format!("can't be looked at: {}", crate::error_chain(&error))),
        }
        if !self.read_blobs {
            return None;
        }
        self.state.blobs_read += 1;
        match digest_of(self.blobs, digest) {
            Ok(there) if there == *digest => None,
            Ok(there) => Some(format!("has octets of the digest {there}")),
            Err(error) => Some(format!("can't be read: {}", crate::error_chain(&error))),
        }
    }
}

fn digest_of(blobs: &dyn Blobs, digest: &Digest) -> Result<Digest, BlobError> {
    let reader = blobs.open(digest)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        let octets = reader.read_at(at, &mut piece)?;
        if octets == 0 {
            return Ok(Digest::from_bytes(hash.finalize().into()));
        }
        hash.update(&piece[..octets]);
        at += octets as u64;
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

    fn blob(&mut self, digest: Digest, size: u64) {
        self.state.blobs += 1;
        if let Some(what) = self.wrong_with(&digest, size)
            && (self.is_wanted)(&digest)
        {
            self.failure(format!("blob {digest}"), what);
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
    pub async fn check(&self, caller: &Caller, read_blobs: bool) -> Result<mpsc::Receiver<Told>, Failure> {
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
        std::thread::Builder::new()
            .name("mregd-check".to_owned())
            .spawn(move || {
                let _turn = turn;
                give_way(false);
                run(&inner, &runtime, read_blobs, &tell);
            })
            .map_err(|error| RegistryError::Internal(error.into()))?;
        Ok(told)
    }
}

fn run(inner: &Inner, runtime: &Handle, read_blobs: bool, tell: &mpsc::Sender<Told>) {
    let is_wanted = |digest: &Digest| {
        let recorded = runtime.block_on(inner.read(|view| Ok(view.blob(digest)?.is_some())));
        recorded.unwrap_or(true)
    };
    let mut checking = Checking::new(&*inner.blobs, read_blobs, is_wanted, |told| tell.blocking_send(told).is_ok());
    match inner.store.check(&mut checking) {
        Ok(checked) => {
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
