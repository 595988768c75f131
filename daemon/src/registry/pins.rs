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

use crate::registry::Inner;

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
    /// Somebody wanted it removed while it was held or being removed: the last to let go of it looks again.
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

    /// Whether somebody holds it.
    pub(crate) fn is_held(&self, digest: &Digest) -> bool {
        self.table().contains_key(digest)
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

    /// Wants it removed; whether that may be begun now. If not, the last to let go of it is told.
    pub(crate) fn want(&self, digest: Digest) -> bool {
        let mut table = self.table();
        let Some(pin) = table.get_mut(&digest) else { return true };
        pin.wanted = true;
        false
    }

    /// Begins a removal, unless it is held or another is in progress; then the last to let go of it is told.
    pub(crate) fn try_begin_removal(&self, digest: Digest) -> bool {
        let mut table = self.table();
        let pin = table.entry(digest).or_default();
        if pin.holders > 0 || pin.removing {
            pin.wanted = true;
            return false;
        }
        pin.removing = true;
        true
    }

    /// Ends a removal; whether somebody else wanted the same meanwhile. Where the bytes are still there, the caller has to
    /// look again: what was decided before that wish may not hold any more.
    pub(crate) fn end_removal(&self, digest: Digest) -> bool {
        let ended = self.table().remove(&digest);
        self.ended.notify_waiters();
        ended.is_some_and(|pin| pin.wanted)
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

    /// A wish is never lost: whoever lets go last is told of it, a holder or another removal.
    #[test]
    fn wishes() {
        let pins = Pins::default();
        let digest = Digest::from_bytes([7; 32]);
        assert!(pins.want(digest), "nobody has it");
        assert!(pins.try_begin_removal(digest));
        assert!(!pins.end_removal(digest));
        for wish in [Pins::try_begin_removal, Pins::want] {
            assert!(pins.try_begin_removal(digest));
            assert!(!wish(&pins, digest), "it is being removed");
            assert!(pins.end_removal(digest), "the one that was at it is told");
            assert!(pins.try_pin(digest));
            assert!(!wish(&pins, digest), "it is held");
            assert!(pins.unpin(digest), "its holder is told");
            assert!(pins.table().is_empty());
        }
    }
}
