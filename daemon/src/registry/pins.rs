//! Pins: what keeps a blob's bytes from being removed while somebody is about to point to them, or is reading them. Knows
//! digests; refuses to know who holds a pin and why.
//!
//! Bytes may be removed only where no record points to them *and* nobody has them pinned. A removal in progress makes
//! later pins wait, so that re-uploading a digest and removing it can't cross: the upload's `keep` comes either before the
//! check, and then its pin stops the removal, or after the removal, and then it stores the bytes anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::digest::Digest;
use tokio::sync::Notify;

use crate::registry::{Health, Inner};

/// Who holds what. The lock is held for map operations only, never over I/O.
#[derive(Default)]
pub(crate) struct Pins {
    table: Mutex<HashMap<Digest, Pin>>,
    /// Told when a removal has ended.
    ended: Notify,
}

#[derive(Default)]
struct Pin {
    holders: usize,
    /// A removal is in progress; new holders wait.
    removing: bool,
    /// Somebody wanted it removed while it was held: the last holder looks again.
    wanted: bool,
}

impl Pins {
    fn table(&self) -> MutexGuard<'_, HashMap<Digest, Pin>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a pin, unless a removal is in progress.
    fn try_pin(&self, digest: Digest) -> bool {
        let mut table = self.table();
        let pin = table.entry(digest).or_default();
        if !pin.removing {
            pin.holders += 1;
        }
        !pin.removing
    }

    /// Gives a pin back; whether the holder has to look if the blob is still needed.
    fn unpin(&self, digest: Digest) -> bool {
        let mut table = self.table();
        let Some(pin) = table.get_mut(&digest) else { return false };
        pin.holders = pin.holders.saturating_sub(1);
        if pin.holders > 0 {
            return false;
        }
        table.remove(&digest).is_some_and(|pin| pin.wanted)
    }

    /// Begins a removal, unless it is held or another is in progress.
    fn try_begin_removal(&self, digest: Digest) -> bool {
        let mut table = self.table();
        let pin = table.entry(digest).or_default();
        if pin.holders > 0 || pin.removing {
            pin.wanted = pin.holders > 0;
            return false;
        }
        pin.removing = true;
        true
    }

    fn end_removal(&self, digest: Digest) {
        self.table().remove(&digest);
        self.ended.notify_waiters();
    }
}

/// What a holder does with its pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Is about to store the bytes: when the pin goes, somebody must look whether a record points to them.
    Writer,
    /// Reads bytes that a record points to.
    Reader,
}

/// Pins that are given back when this is dropped.
pub(crate) struct PinGuard {
    inner: Arc<Inner>,
    holder: Holder,
    digests: Vec<Digest>,
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        let writer = self.holder == Holder::Writer;
        let unpinned = self.digests.drain(..).filter(|digest| self.inner.pins.unpin(*digest) || writer);
        let to_look_at: Vec<Digest> = unpinned.collect();
        self.inner.settle_later(to_look_at);
    }
}

impl Inner {
    /// Pins blobs; waits where one is being removed.
    pub(crate) async fn pin(self: &Arc<Self>, holder: Holder, digests: Vec<Digest>) -> PinGuard {
        let mut guard = PinGuard { inner: Arc::clone(self), holder, digests: Vec::new() };
        for digest in digests {
            loop {
                let ended = self.pins.ended.notified();
                tokio::pin!(ended);
                // From here on the end of a removal is noticed, even between the next two lines.
                ended.as_mut().enable();
                if self.pins.try_pin(digest) {
                    guard.digests.push(digest);
                    break;
                }
                ended.await;
            }
        }
        guard
    }

    /// Removes the bytes of each blob that no record points to and nobody holds, in the background.
    pub(crate) fn settle_later(self: &Arc<Self>, digests: Vec<Digest>) {
        if digests.is_empty() {
            return;
        }
        let inner = Arc::clone(self);
        self.tasks.spawn_if_running(async move {
            for digest in digests {
                inner.settle(digest).await;
            }
        });
    }

    /// Removes the bytes of a blob, if no record points to it and nobody holds it. What can't be removed now is found by
    /// the sweep of the next start.
    pub(crate) async fn settle(self: &Arc<Self>, digest: Digest) {
        // A store that failed may have recorded more than its view shows: a batch whose fdatasync failed, or that was never
        // applied, counts again after the next start. Its bytes must be there then.
        if matches!(*self.store.health().borrow(), Health::Failed(_)) {
            return;
        }
        if !self.pins.try_begin_removal(digest) {
            return;
        }
        // The rest runs in one piece: a cancelled removal would keep later uploads of the digest waiting for ever.
        let referenced = self.read(|view| Ok(view.blob(&digest)?.is_some())).await;
        match referenced {
            Ok(true) => {}
            Ok(false) => {
                let inner = Arc::clone(self);
                let removed = tokio::task::spawn_blocking(move || inner.blobs.remove(&digest)).await;
                match removed {
                    Ok(Ok(())) => tracing::debug!(%digest, "removed a blob that nothing points to"),
                    Ok(Err(error)) => {
                        tracing::warn!(%digest, error = crate::error_chain(&error), "can't remove a blob");
                    }
                    Err(error) => tracing::warn!(%digest, %error, "can't remove a blob"),
                }
            }
            Err(error) => {
                tracing::warn!(%digest, error = crate::error_chain(&error), "can't tell whether a blob is needed");
            }
        }
        self.pins.end_removal(digest);
    }
}

#[cfg(test)]
mod tests {
    use common::digest::Digest;

    use super::Pins;

    /// A held blob isn't removed, its last holder looks again; a blob being removed isn't pinned.
    #[test]
    fn crossing() {
        let pins = Pins::default();
        let digest = Digest::from_bytes([7; 32]);
        assert!(pins.try_pin(digest) && pins.try_pin(digest));
        assert!(!pins.try_begin_removal(digest));
        assert!(!pins.unpin(digest));
        assert!(pins.unpin(digest), "the last holder is told that somebody wanted it removed");
        assert!(pins.try_begin_removal(digest));
        assert!(!pins.try_pin(digest));
        assert!(!pins.try_begin_removal(digest));
        pins.end_removal(digest);
        assert!(pins.try_pin(digest));
        assert!(!pins.unpin(digest));
        assert!(pins.table().is_empty());
    }
}
