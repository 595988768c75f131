//! Removing an object while another daemon may be about to point to it. Knows a protocol between daemons that share nothing
//! but the store and a log; refuses to know the log.
//!
//! Two things keep a blob that somebody needs: it is young, or somebody sees that it is being removed.
//!
//! - What is kept is made young: an object that is there already, and older than a quarter of the grace, is sent again. From
//!   then on there is a quarter of the grace to commit the record ([`fresh`]); later it isn't committed.
//! - Whoever removes reads the log, puts `removing/DIGEST`, looks at the object, deletes it if it is older than the grace, and
//!   deletes the mark.
//! - Whoever keeps looks for the mark once the object is there, waits until it is gone, and looks that the object still is.
//!
//! Say a record is committed at `c`, its object was kept at `k`, a quarter of the grace before at most, and the log was read by
//! the remover before `c`, so it does not know of it. If the mark was put after the keeper had looked for it, the remover sees
//! an object that was written at most half the grace before `c`, and its log was read ten minutes ago at most
//! ([`Blobs::remove_unneeded`] asks for that): too young. If it was put before, the keeper sees it, or that it has gone: then
//! so has the object, or it was too young, and what is missing is sent again. Clocks of the daemons and the store differ by a
//! quarter of an hour at most, or the store refuses the signatures; twice that and the ten minutes fit into half of the
//! smallest grace.
//!
//! [`Blobs::remove_unneeded`]: super::super::Blobs::remove_unneeded
//!
//! A remover that dies, or does not hear what became of its deletion, leaves its mark; it counts for [`MARK_MAX`], which is far longer than a remover that lives needs from
//! the mark to the deletion: it gives up after [`STEP_MAX`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use common::digest::Digest;

use super::failure::Failure;
use super::{Object, Store};
use crate::blobs::{BlobError, Removal};
use crate::clock;

/// How long a remover may take from the mark to the deletion.
const STEP_MAX: Duration = Duration::from_secs(60);
/// For how long a mark counts.
const MARK_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a keeper waits for a remover.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// How often it looks meanwhile.
const WAIT_STEP: Duration = Duration::from_millis(250);

/// How long an object counts as young, and how long whoever kept it has to commit what points to it.
pub(super) fn fresh(grace: Duration) -> Duration {
    grace / 4
}

/// Sees that an object is there and young, whatever another daemon removes. `send` sends it; it is told whether one that is
/// there is too old to stay.
pub(super) fn keep(
    store: &Store,
    digest: &Digest,
    grace: Duration,
    send: impl Fn(bool) -> Result<(), BlobError>,
) -> Result<(), BlobError> {
    let began = Instant::now();
    loop {
        let is_old = match store.head(&store.key(digest)) {
            Ok(object) => age(&object) > fresh(grace),
            Err(failure) if store.looks_missing(&failure) => false,
            Err(failure) => return Err(failure.into()),
        };
        send(is_old)?;
        if !is_being_removed(store, digest)? {
            match store.head(&store.key(digest)) {
                Ok(_) => return Ok(()),
                // It went between the two; the next round sends it.
                Err(failure) if store.looks_missing(&failure) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        if began.elapsed() > WAIT_MAX {
            return Err(Failure::odd("another daemon is removing the same octets, and does not end").into());
        }
        std::thread::sleep(WAIT_STEP);
    }
}

/// Removes an object that nothing points to, as the caller has just read.
pub(super) fn remove(store: &Arc<Store>, digest: &Digest, grace: Duration) -> Result<Removal, BlobError> {
    let (key, mark) = (store.key(digest), mark(store, digest));
    // Most are asked about far too early; those cost one request.
    if let Some(later) = too_young(store.object(digest)?.as_ref(), grace) {
        return Ok(later);
    }
    let began = Instant::now();
    let request = store.client.put_object().bucket(&store.options.bucket).key(&mark).body(ByteStream::from(Vec::new()));
    store.block_on(store.observed(request.send()))?;
    let step = || {
        if let Some(later) = too_young(store.object(digest)?.as_ref(), grace) {
            return Ok(later);
        }
        if began.elapsed() > STEP_MAX {
            return Ok(Removal::Later(fresh(grace)));
        }
        store.delete(&key).map(|()| Removal::Done)
    };
    // After an error the deletion may have been sent, and come to pass later: until the mark counts no more, nobody may rest on
    // an object that it would take.
    let removed = step()?;
    // One that stays behind delays others, and counts no more after a while.
    if let Err(error) = store.delete(&mark) {
        tracing::warn!(%digest, error = crate::error_chain(&error), "the mark of a removal can't be removed");
    }
    Ok(removed)
}

/// Why it is not removed now: it is too young; none, too, where there is nothing to remove.
fn too_young(object: Option<&Object>, grace: Duration) -> Option<Removal> {
    let Some(object) = object else { return Some(Removal::Done) };
    let left = grace.saturating_sub(age(object));
    (!left.is_zero()).then_some(Removal::Later(left))
}

fn mark(store: &Store, digest: &Digest) -> String {
    store.at(&format!("removing/{}", digest.to_hex()))
}

fn is_being_removed(store: &Store, digest: &Digest) -> Result<bool, BlobError> {
    match store.head(&mark(store, digest)) {
        Ok(mark) => Ok(age(&mark) < MARK_MAX),
        Err(failure) if store.looks_missing(&failure) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// How old an object is, as far as our clock and the store's agree; zero where it seems to come from the future.
pub(super) fn age(object: &Object) -> Duration {
    let ms = clock::now_ms().saturating_sub(object.written_at_ms);
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
