//! Reading a blob again and holding it against its digest, at a pace. Knows octets and in what ways they can be wrong;
//! refuses to know who points to them, and what is done about what it finds.

use std::io;
use std::time::Duration;

use common::digest::Digest;
use sha2::{Digest as _, Sha256};

use crate::blobs::{BlobError, Blobs};
use crate::store::records::DamageKind;

/// Octets that are read at once, at most.
const PIECE: usize = 1024 * 1024;
/// And at least.
const PIECE_MIN: usize = 4096;
/// Time in which less was read than might have been, and that may be made up for.
const CREDIT: Duration = Duration::from_secs(1);

/// What is wrong with a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// In what way.
    pub(crate) kind: DamageKind,
    /// A few words, as they follow a name.
    pub(crate) detail: String,
}

impl Fault {
    fn new(kind: DamageKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    fn missing() -> Self {
        Self::new(DamageKind::Missing, "is missing")
    }

    fn size(there: u64, size: u64) -> Self {
        Self::new(DamageKind::Size, format!("has {there} octets instead of {size}"))
    }

    /// What is said is for anyone, and names no path of this machine.
    fn unreadable(error: &BlobError) -> Self {
        let why = match error {
            BlobError::Unavailable(error) | BlobError::Full(error) => match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code).to_string(),
                None => error.kind().to_string(),
            },
            BlobError::Unreachable { why, .. } => why.clone(),
            BlobError::NotFound(_) | BlobError::Corrupt { .. } => error.to_string(),
        };
        Self::new(DamageKind::Unreadable, format!("can't be read: {why}"))
    }
}

/// What an examination came to; none: it was ended before its end.
pub(crate) type Examined = Option<Result<(), Fault>>;

/// Whether a blob is there and of its size. Says nothing about its octets.
pub(crate) fn glance(blobs: &dyn Blobs, digest: &Digest, size: u64) -> Result<(), Fault> {
    match blobs.contains(digest) {
        Ok(Some(there)) if there == size => Ok(()),
        Ok(Some(there)) => Err(Fault::size(there, size)),
        Ok(None) => Err(Fault::missing()),
        Err(error) => Err(Fault::unreadable(&error)),
    }
}

/// Reads a blob whole, in pieces of bounded memory. `each` is called with the octets of each piece after it was read, and
/// may wait; the reading ends when it says no.
///
/// Octets that seem to be others are read a second time before that counts: what went wrong on the way to us, or was
/// replaced under our eyes, is no damage.
pub(crate) fn examine(
    blobs: &dyn Blobs,
    digest: &Digest,
    size: u64,
    piece: usize,
    each: &mut dyn FnMut(u64) -> bool,
) -> Examined {
    match read(blobs, digest, size, piece, each) {
        Some(Err(fault)) if fault.kind == DamageKind::Content => read(blobs, digest, size, piece, each),
        read => read,
    }
}

fn read(blobs: &dyn Blobs, digest: &Digest, size: u64, piece: usize, each: &mut dyn FnMut(u64) -> bool) -> Examined {
    let reader = match blobs.open(digest) {
        Ok(reader) => reader,
        Err(BlobError::NotFound(_)) => return Some(Err(Fault::missing())),
        Err(error) => return Some(Err(Fault::unreadable(&error))),
    };
    if reader.len() != size {
        return Some(Err(Fault::size(reader.len(), size)));
    }
    // What memory holds may be sound where the disk is not.
    reader.evict();
    let mut hash = Sha256::new();
    let mut octets = vec![0; usize::try_from(size).map_or(piece, |size| size.clamp(1, piece.max(1)))];
    let mut at = 0;
    loop {
        match reader.read_at(at, &mut octets) {
            Ok(0) => break,
            Ok(count) => {
                hash.update(&octets[..count]);
                at += count as u64;
                if !each(count as u64) {
                    return None;
                }
            }
            Err(BlobError::NotFound(_)) => return Some(Err(Fault::missing())),
            Err(BlobError::Corrupt { detail, .. }) => return Some(Err(Fault::new(DamageKind::Size, detail))),
            Err(error) => return Some(Err(Fault::unreadable(&error))),
        }
    }
    // Nor shall it push out of memory what somebody reads.
    reader.evict();
    let there = Digest::from_bytes(hash.finalize().into());
    if there == *digest {
        return Some(Ok(()));
    }
    Some(Err(Fault::new(DamageKind::Content, format!("has octets of the digest {there}"))))
}

/// How fast octets are read: a function of time and of nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    /// When all that was read so far may have been read at the earliest.
    paid_until: Duration,
}

impl Pace {
    /// So many octets a second; at least the smallest piece.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(PIECE_MIN as u64), paid_until: Duration::ZERO }
    }

    /// How many octets to read at once, so that no wait is much longer than a second.
    pub(crate) fn piece(&self) -> usize {
        usize::try_from(self.bytes_per_second).unwrap_or(PIECE).clamp(PIECE_MIN, PIECE)
    }

    /// How long to wait at the time `now`, when so many octets were read. Of the time in which nothing was read a second
    /// may be made up for, and no more.
    pub(crate) fn take(&mut self, now: Duration, octets: u64) -> Duration {
        let nanos = u128::from(octets) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_until = self.paid_until.max(now.saturating_sub(CREDIT)).saturating_add(cost);
        self.paid_until.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Duration;

    use common::digest::Digest;
    use proptest::prelude::{prop, proptest};
    use sha2::{Digest as _, Sha256};

    use super::{CREDIT, PIECE, PIECE_MIN, Pace, examine, glance};
    use crate::blobs::disk::{DiskBlobs, DiskOptions};
    use crate::store::records::DamageKind;

    #[test]
    fn pieces() {
        let piece = |rate| Pace::new(rate).piece();
        assert_eq!([piece(0), piece(5000), piece(u64::MAX)], [PIECE_MIN, 5000, PIECE]);
    }

    /// Nothing waits without need: a reader as slow as the pace never does.
    #[test]
    fn a_slow_reader_does_not_wait() {
        let mut pace = Pace::new(8000);
        for second in 2..100 {
            assert_eq!(pace.take(Duration::from_secs(second), 8000), Duration::ZERO);
        }
        // A second is made up for, the hour is not.
        let later = Duration::from_secs(3700);
        assert_eq!(pace.take(later, 8000), Duration::ZERO);
        assert_eq!(pace.take(later, 8000), Duration::from_secs(1));
    }

    proptest! {
        /// Whoever waits as told reads no more than the rate, a second's credit and a piece allow, whatever the pauses.
        #[test]
        fn the_rate_holds(
            rate in 4096_u64..1 << 40,
            steps in prop::collection::vec((0_u64..1 << 20, 0_u64..5_000_000_000), 1..200),
        ) {
            let mut pace = Pace::new(rate);
            let (mut now, mut read) = (Duration::ZERO, 0_u128);
            for (octets, pause) in steps {
                now += Duration::from_nanos(pause);
                let allowed = (now + CREDIT).as_nanos() * u128::from(rate) / 1_000_000_000;
                // Each step rounds down by less than a nanosecond's octets.
                assert!(read <= allowed + 200 * (u128::from(rate) / 1_000_000_000 + 1), "{read} of {allowed}");
                read += u128::from(octets);
                now += pace.take(now, octets);
            }
        }
    }

    /// Each kind of damage is told apart, by a reading of any piece; a reading that is ended says nothing.
    #[test]
    fn kinds_of_damage() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(dir.path(), DiskOptions::default()).unwrap();
        let octets = vec![7; 10_000];
        let digest = Digest::from_bytes(Sha256::digest(&octets).into());
        let hex = digest.to_hex();
        let path = dir.path().join("sha256").join(&hex[..2]).join(&hex[2..]);
        let look = |piece| {
            let mut read = 0;
            let examined = examine(&blobs, &digest, 10_000, piece, &mut |count| {
                read += count;
                true
            });
            (examined.unwrap().map_err(|fault| fault.kind), read)
        };
        let put = |octets: &[u8]| {
            let _gone = std::fs::remove_file(&path);
            std::fs::write(&path, octets).unwrap();
        };
        assert_eq!(look(64), (Err(DamageKind::Missing), 0));
        assert_eq!(glance(&blobs, &digest, 10_000).unwrap_err().kind, DamageKind::Missing);
        put(&octets);
        for piece in [1000, 4096, 10_000, PIECE] {
            assert_eq!(look(piece), (Ok(()), 10_000));
        }
        assert_eq!(examine(&blobs, &digest, 10_000, 64, &mut |_count| false), None);
        put(&octets[1..]);
        assert_eq!(look(64), (Err(DamageKind::Size), 0));
        assert_eq!(glance(&blobs, &digest, 10_000).unwrap_err().kind, DamageKind::Size);
        put(&[&octets[1..], &[8]].concat());
        assert_eq!(look(4096), (Err(DamageKind::Content), 20_000), "read twice");
        assert_eq!(glance(&blobs, &digest, 10_000), Ok(()));
    }
}
