//! Copying all blobs from one store to another. Knows the trait alone; refuses to know who points to blobs, and changes
//! nothing in the store it copies from.
//!
//! Each blob is hashed on its way, and kept only if its digest is right. What is there already is passed over, so a run that
//! was cut off is simply begun again; so is one during which blobs came.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use common::digest::Digest;
use sha2::{Digest as _, Sha256};

use super::{BlobError, Blobs};

/// Blobs that are copied at once: what a small one waits for is the network.
const AT_ONCE: usize = 8;
/// Octets that are read at once.
const PIECE: usize = 1 << 20;
/// Blobs that may wait for their turn.
const QUEUE: usize = 256;
/// Failures that are told one by one.
pub const TOLD_MAX: usize = 1000;

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Blobs that were copied.
    pub blobs: u64,
    /// Their octets.
    pub bytes: u64,
    /// Blobs that were there already, with the right size.
    pub there: u64,
    /// Blobs that went while they were copied, because nothing points to them any more.
    pub gone: u64,
    /// How many were not copied.
    pub failures: u64,
    /// The first [`TOLD_MAX`] of those, and why.
    pub failed: Vec<(Digest, String)>,
}

/// Copies everything. `tell` is called after each blob, with how many were seen to so far.
///
/// # Errors
/// [`BlobError::Full`], [`BlobError::Unavailable`], [`BlobError::Unreachable`]: a store failed, and the run ended early. What
/// is wrong with a single blob is no error, but a part of the result.
pub fn copy_all(from: &dyn Blobs, to: &dyn Blobs, tell: &(dyn Fn(u64) + Sync)) -> Result<Copied, BlobError> {
    let (queue, blobs) = sync_channel(QUEUE);
    let blobs = Mutex::new(blobs);
    let shared = Mutex::new((Copied::default(), None));
    let listed = thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((digest, bytes)) = next(&blobs) {
                    let copied = copy(from, to, &digest, bytes);
                    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let (sum, error) = &mut *shared;
                    match copied {
                        Ok(Came::Copied) => {
                            sum.blobs += 1;
                            sum.bytes += bytes;
                        }
                        Ok(Came::There) => sum.there += 1,
                        Ok(Came::Gone) => sum.gone += 1,
                        Err(BlobError::Corrupt { detail, .. }) => {
                            sum.failures += 1;
                            if sum.failed.len() < TOLD_MAX {
                                sum.failed.push((digest, detail));
                            }
                        }
                        Err(failure) => {
                            error.get_or_insert(failure);
                        }
                    }
                    let done = sum.blobs + sum.there + sum.gone + sum.failures;
                    drop(shared);
                    tell(done);
                }
            });
        }
        let is_failed = || shared.lock().unwrap_or_else(PoisonError::into_inner).1.is_some();
        let listed = from.list(&mut |digest, bytes| {
            // After a failure the rest is only passed by; the others end what they have.
            if !is_failed() {
                let _nobody_left = queue.send((digest, bytes));
            }
        });
        drop(queue);
        listed
    });
    let (sum, error) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (error, listed) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(())) => Ok(sum),
    }
}

/// The next blob; none at the end. Whoever waits for one holds the others back no longer than they would wait themselves.
fn next(blobs: &Mutex<Receiver<(Digest, u64)>>) -> Option<(Digest, u64)> {
    blobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

enum Came {
    Copied,
    There,
    Gone,
}

fn copy(from: &dyn Blobs, to: &dyn Blobs, digest: &Digest, bytes: u64) -> Result<Came, BlobError> {
    match to.contains(digest)? {
        Some(there) if there == bytes => return Ok(Came::There),
        Some(there) => {
            let detail =
                format!("{there} octets are there already, {bytes} were to be copied; one of the two is damaged");
            return Err(BlobError::Corrupt { digest: *digest, detail });
        }
        None => {}
    }
    // A sector that can't be read is one blob's matter; a service that can't be reached is everybody's.
    let of_blob = |error: BlobError| match error {
        BlobError::Unavailable(cause) => {
            BlobError::Corrupt { digest: *digest, detail: format!("it can't be read: {cause}") }
        }
        error => error,
    };
    let reader = match from.open(digest) {
        Ok(reader) => reader,
        Err(BlobError::NotFound(_)) => return Ok(Came::Gone),
        Err(error) => return Err(of_blob(error)),
    };
    let mut staged = to.stage()?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; usize::try_from(bytes).map_or(PIECE, |bytes| bytes.clamp(1, PIECE))];
    let mut at = 0;
    loop {
        let count = match reader.read_at(at, &mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(BlobError::NotFound(_)) => return Ok(Came::Gone),
            Err(error) => return Err(of_blob(error)),
        };
        hash.update(&piece[..count]);
        staged.write(&piece[..count])?;
        at = at.checked_add(count as u64).ok_or_else(|| io::Error::other("a blob without an end"))?;
    }
    let found = Digest::from_bytes(hash.finalize().into());
    if found != *digest {
        let detail = format!("it is damaged: its octets have the digest {found}");
        return Err(BlobError::Corrupt { digest: *digest, detail });
    }
    staged.keep(digest)?;
    Ok(Came::Copied)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::atomic::{AtomicU64, Ordering};

    use common::digest::Digest;
    use sha2::{Digest as _, Sha256};

    use super::copy_all;
    use crate::blobs::Blobs as _;
    use crate::blobs::disk::{DiskBlobs, DiskOptions};

    /// Everything that is sound arrives, what is damaged is named and doesn't, and a second run has nothing to do.
    #[test]
    fn copies_what_is_sound() {
        let root = tempfile::tempdir().unwrap();
        let open = |name: &str| DiskBlobs::open(&root.path().join(name), DiskOptions::default()).unwrap();
        let (from, to) = (open("from"), open("to"));
        let mut digests = Vec::new();
        for number in 0..40_u32 {
            let octets = number.to_be_bytes().repeat(1 + 70_000 * usize::from(number == 7));
            let digest = Digest::from_bytes(Sha256::digest(&octets).into());
            let mut staged = from.stage().unwrap();
            staged.write(&octets).unwrap();
            staged.keep(&digest).unwrap();
            digests.push(digest);
        }
        let hex = digests[3].to_hex();
        let path = root.path().join("from/sha256").join(&hex[..2]).join(&hex[2..]);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"xxxx").unwrap();
        let told = AtomicU64::new(0);
        let count = |done| {
            told.fetch_max(done, Ordering::Relaxed);
        };
        let copied = copy_all(&from, &to, &count).unwrap();
        assert_eq!((copied.blobs, copied.there, copied.gone, copied.failures), (39, 0, 0, 1));
        assert_eq!(copied.failed.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(), [digests[3]]);
        assert!(copied.failed[0].1.contains("damaged"));
        assert_eq!(told.load(Ordering::Relaxed), 40);
        for digest in digests.iter().filter(|digest| **digest != digests[3]) {
            assert_eq!(to.contains(digest).unwrap(), from.contains(digest).unwrap());
        }
        assert_eq!(to.contains(&digests[3]).unwrap(), None);
        let again = copy_all(&from, &to, &count).unwrap();
        assert_eq!((again.blobs, again.there, again.failures), (0, 39, 1));
    }
}
