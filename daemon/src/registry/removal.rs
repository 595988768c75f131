//! Removing the bytes of blobs that nothing points to. Knows in which order that is found out; refuses to know why somebody
//! wants it.
//!
//! That reads show no record of a blob is only a reason to ask: they may have lost it. The log decides, in one reading for
//! all blobs that are suspected by then, on a thread that gives way. Only then is a blob closed to new pins, the little that
//! was committed meanwhile read too, and its bytes removed. So an upload of the same bytes waits for a moment at most, and
//! either comes first and is seen, or stores them anew. A crash anywhere leaves bytes that the next start's sweep finds.
//!
//! Where several daemons share the log, the pins of the others are not seen. What takes their place is the age of the bytes
//! ([`crate::blobs::Blobs::remove_unneeded`], [`crate::blobs::Blobs::commit_within`]), where the store of blobs has such a
//! thing; where it doesn't, nothing is removed.
//!
//! A backup holds all removals while it copies (`Inner::hold_removals`). That is looked at after the log has said that a blob is
//! free and before its bytes go: a blob that is being removed can't be pointed to again before that has ended, so whatever
//! is pointed to once the hold is there stays until it ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::digest::Digest;
use tokio::sync::{oneshot, watch};

use crate::blobs::{BlobError, Removal};
use crate::registry::error::RegistryError;
use crate::registry::throttle::give_way;
use crate::registry::{Health, Inner};
use crate::store::references::{References, Verdict};

/// Digests that are looked up in the view at once.
const LOOKED_UP_AT_ONCE: usize = 256;
/// Blobs that one reading of the log decides on; more wait for the next.
const SUSPECTS_MAX: usize = 65_536;
/// How old a reading of the log may be on which a removal rests: other daemons may commit meanwhile
/// ([`crate::blobs::Blobs::remove_unneeded`]).
const READ_AGE_MAX: Duration = Duration::from_secs(600);
/// After that time the log is asked again where it couldn't be read because others have it, and the store of blobs where it
/// was away.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// And where a backup holds all removals.
const ASK_HELD_AGAIN: Duration = Duration::from_secs(30);
/// Blobs that are closed to new pins at once.
const REMOVED_AT_ONCE: usize = 16;
/// After a reading the next waits so many times as long as it took: whoever makes orphans on purpose gets a quarter of a
/// core that nobody else wants, and no more.
const PAUSE_FACTOR: u32 = 3;

/// What waits to be removed.
pub(crate) struct Removals {
    waiting: Mutex<Waiting>,
    /// Who wants nothing to be removed.
    holds: AtomicUsize,
    stopping: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    suspects: BTreeSet<Digest>,
    /// What another daemon may still come to need, by when it is asked again.
    put_off: BTreeSet<(Instant, Digest)>,
    /// Somebody is at it.
    under_way: bool,
}

impl Default for Removals {
    fn default() -> Self {
        Self { waiting: Mutex::default(), holds: AtomicUsize::new(0), stopping: watch::Sender::new(false) }
    }
}

impl Removals {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds suspects; whether the caller has to see to them, because nobody is at it.
    fn add(&self, suspects: Vec<Digest>) -> bool {
        let mut waiting = self.waiting();
        waiting.suspects.extend(suspects);
        !waiting.suspects.is_empty() && !std::mem::replace(&mut waiting.under_way, true)
    }

    /// The next suspects; without any, nobody is at it any more.
    fn next(&self) -> Option<Vec<Digest>> {
        let mut waiting = self.waiting();
        let rest = waiting.suspects.iter().nth(SUSPECTS_MAX).copied();
        let later = rest.map(|first| waiting.suspects.split_off(&first)).unwrap_or_default();
        let now: Vec<Digest> = std::mem::replace(&mut waiting.suspects, later).into_iter().collect();
        waiting.under_way = !now.is_empty();
        (!now.is_empty()).then_some(now)
    }

    /// Has a blob asked about again after a time. What is beyond the limit waits for the next start.
    fn put_off(&self, digest: Digest, after: Duration) {
        let mut waiting = self.waiting();
        let at = Instant::now().checked_add(after).filter(|_at| waiting.put_off.len() < SUSPECTS_MAX);
        waiting.put_off.extend(at.map(|at| (at, digest)));
    }

    /// What was put off until now.
    pub(crate) fn due(&self) -> Vec<Digest> {
        let mut waiting = self.waiting();
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some((_at, digest)) = waiting.put_off.first().copied().filter(|(at, _digest)| *at <= now) {
            waiting.put_off.pop_first();
            due.push(digest);
        }
        due
    }

    /// Ends what is under way, as soon as that can be; what is left is for the next start.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Whether a blob is asked about again later.
    #[cfg(test)]
    pub(crate) fn is_put_off(&self, digest: &Digest) -> bool {
        self.waiting().put_off.iter().any(|(_at, other)| other == digest)
    }

    fn are_held(&self) -> bool {
        self.holds.load(Ordering::SeqCst) > 0
    }
}

/// What became of a blob's bytes.
enum Removed {
    Yes,
    No,
    /// Their store can't be reached.
    Away,
}

/// Nothing is removed as long as this is there.
pub(crate) struct Hold(Arc<Inner>);

impl Drop for Hold {
    fn drop(&mut self) {
        // What waits is asked about again by its time.
        self.0.removals.holds.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Blobs that are closed to new pins, until this is dropped.
struct Closed<'i> {
    inner: &'i Arc<Inner>,
    digests: Vec<Digest>,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        let pins = &self.inner.pins;
        self.inner.settle_later(self.digests.drain(..).filter(|digest| pins.end_removal(*digest)).collect());
    }
}

impl Inner {
    /// Has the bytes of all blobs stay that anything points to from now on, until the hold is dropped.
    pub(crate) fn hold_removals(self: &Arc<Self>) -> Hold {
        self.removals.holds.fetch_add(1, Ordering::SeqCst);
        Hold(Arc::clone(self))
    }

    /// Removes the bytes of each blob that nothing points to and nobody holds, in the background.
    pub(crate) fn settle_later(self: &Arc<Self>, digests: Vec<Digest>) {
        if digests.is_empty() {
            return;
        }
        let inner = Arc::clone(self);
        self.tasks.spawn_if_running(async move {
            match inner.suspects(digests).await {
                Ok(suspects) => inner.see_to(suspects).await,
                Err(error) => {
                    tracing::warn!(error = crate::error_chain(&error), "can't tell whether blobs are needed");
                }
            }
        });
    }

    /// Looks blobs up in the log, in the background, whatever reads show of them: their counts contradict something.
    pub(crate) fn look_up_later(self: &Arc<Self>, digests: Vec<Digest>) {
        if digests.is_empty() {
            return;
        }
        let inner = Arc::clone(self);
        self.tasks.spawn_if_running(async move { inner.see_to(digests).await });
    }

    /// Those of which reads show no record, and which nobody holds.
    async fn suspects(&self, digests: Vec<Digest>) -> Result<Vec<Digest>, RegistryError> {
        let mut suspects = Vec::new();
        for some in digests.chunks(LOOKED_UP_AT_ONCE) {
            if self.removals.is_stopping() {
                break;
            }
            let missing = self.read(|view| {
                let mut missing = Vec::new();
                for digest in some {
                    if view.blob(digest)?.is_none() {
                        missing.push(*digest);
                    }
                }
                Ok(missing)
            });
            suspects.extend(missing.await?.into_iter().filter(|digest| self.pins.want(*digest)));
            tokio::task::yield_now().await;
        }
        Ok(suspects)
    }

    /// Sees to suspects, one reading of the log after another, unless somebody is at it already.
    async fn see_to(self: &Arc<Self>, suspects: Vec<Digest>) {
        // The pins of other daemons' uploads are not ours to see: bytes that nothing points to may be about to be used. A
        // store that takes others into account says so by the time it gives them; with any other, bytes stay.
        if self.store.is_shared() && self.blobs.commit_within().is_none() {
            return;
        }
        if !self.removals.add(suspects) {
            return;
        }
        let mut stopping = self.removals.stopping.subscribe();
        while let Some(suspects) = self.removals.next() {
            let began = Instant::now();
            let read = self.read_references(References::of(&suspects)).await;
            let took = began.elapsed();
            let removed = match read {
                Ok(references) => self.remove_free(&suspects, references).await,
                Err(error) => Err(error),
            };
            if self.removals.is_stopping() {
                return;
            }
            match removed {
                Ok(_removed) => {
                    tracing::debug!(suspects = suspects.len(), ?took, "looked in the log for what is not needed")
                }
                Err(error) => {
                    let error = crate::error_chain(&error);
                    tracing::error!(error, "the log can't be asked whether blobs are needed; they are kept");
                    // A database that doesn't answer now will again, and no start need come before that.
                    if self.store.is_shared() {
                        suspects.iter().for_each(|digest| self.removals.put_off(*digest, ASK_AGAIN));
                    }
                }
            }
            if pause(&mut stopping, took.saturating_mul(PAUSE_FACTOR)).await {
                return;
            }
        }
    }

    /// Reads on in the log, on a thread that gives way.
    pub(crate) async fn read_references(
        self: &Arc<Self>,
        mut references: References,
    ) -> Result<References, RegistryError> {
        let (done, read) = oneshot::channel();
        let inner = Arc::clone(self);
        let work = move || {
            give_way(false);
            let read = inner.store.read_references(&mut references, &|| !inner.removals.is_stopping());
            drop(inner);
            // Nobody waits for it at the end of the runtime.
            let _gone = done.send(read.map(|()| references));
        };
        std::thread::Builder::new()
            .name("mregd-removal".to_owned())
            .spawn(work)
            .map_err(|error| RegistryError::Internal(error.into()))?;
        Ok(read.await.map_err(|_panicked| RegistryError::internal("reading the log for references panicked"))??)
    }

    /// Removes those that the log says nothing points to; which those were.
    pub(crate) async fn remove_free(
        self: &Arc<Self>,
        suspects: &[Digest],
        mut references: References,
    ) -> Result<BTreeSet<Digest>, RegistryError> {
        let (mut free, mut removed) = (Vec::new(), BTreeSet::new());
        for digest in suspects {
            match references.verdict(digest) {
                Verdict::Free => free.push(*digest),
                Verdict::Needed => {}
                Verdict::Miscounted => tracing::error!(
                    %digest,
                    "the log counts references to a blob that don't fit its versions; its bytes are kept. Run `mregd check`"
                ),
            }
        }
        for some in free.chunks(REMOVED_AT_ONCE) {
            if self.removals.is_stopping() {
                break;
            }
            let closed = some.iter().copied().filter(|digest| self.pins.try_begin_removal(*digest)).collect();
            let mut closed = Closed { inner: self, digests: closed };
            if closed.digests.is_empty() {
                continue;
            }
            // From here on nothing of them is committed that isn't read. A store that failed may have recorded more than it
            // tells: a batch whose fdatasync failed counts again after the next start, and its bytes must be there then.
            if matches!(*self.store.health().borrow(), Health::Failed(_)) {
                return Ok(removed);
            }
            let read_at = Instant::now();
            references = self.read_references(references).await?;
            for digest in closed.digests.clone() {
                if read_at.elapsed() > READ_AGE_MAX {
                    tracing::warn!("removing blobs takes too long to rest on what was read; the rest is kept for now");
                    self.put_off_rest(&free, &removed);
                    return Ok(removed);
                }
                let is_recorded = self.read(|view| Ok(view.blob(&digest)?.is_some())).await?;
                if is_recorded || references.verdict(&digest) != Verdict::Free {
                    continue;
                }
                if self.removals.are_held() {
                    self.removals.put_off(digest, ASK_HELD_AGAIN);
                    continue;
                }
                match self.remove_bytes(digest).await {
                    Removed::Yes => {
                        closed.digests.retain(|other| *other != digest);
                        // Whoever wanted the same has it.
                        let _wanted = self.pins.end_removal(digest);
                        removed.insert(digest);
                    }
                    Removed::No => {}
                    // The others would be waited for as long, one after another.
                    Removed::Away => {
                        self.put_off_rest(&free, &removed);
                        return Ok(removed);
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Has those asked about again that were not removed.
    fn put_off_rest(&self, free: &[Digest], removed: &BTreeSet<Digest>) {
        free.iter()
            .filter(|digest| !removed.contains(digest))
            .for_each(|digest| self.removals.put_off(*digest, ASK_AGAIN));
    }

    /// Removes a blob's bytes; whether they are gone. What can't be removed while the store is away is asked about again; what
    /// fails otherwise is found by the sweep of the next start, and not tried for ever.
    async fn remove_bytes(self: &Arc<Self>, digest: Digest) -> Removed {
        let inner = Arc::clone(self);
        let removed = tokio::task::spawn_blocking(move || inner.blobs.remove_unneeded(&digest)).await;
        match removed {
            Ok(Ok(Removal::Later(after))) => {
                self.removals.put_off(digest, after);
            }
            Ok(Ok(Removal::Done)) => {
                tracing::debug!(%digest, "removed a blob that nothing points to");
                return Removed::Yes;
            }
            // That the store is away is said by who watches it, once and not for each blob.
            Ok(Err(error @ BlobError::Unreachable { .. })) => {
                tracing::info!(%digest, error = crate::error_chain(&error), "can't remove a blob yet");
                return Removed::Away;
            }
            Ok(Err(error)) => tracing::warn!(%digest, error = crate::error_chain(&error), "can't remove a blob"),
            Err(error) => tracing::warn!(%digest, %error, "can't remove a blob"),
        }
        Removed::No
    }
}

/// Waits; whether that was ended by a stop.
async fn pause(stopping: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::time::timeout(time, stopping.wait_for(|stopping| *stopping)).await.is_ok()
}
