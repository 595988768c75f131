//! Blobs: bytes by digest, written once.
//!
//! The trait [`Blobs`] is the promise, its leaves keep it ([`disk`]: on a local file system; `s3`: in an object store), and the
//! suite `contract` holds each of them to it. [`both`] is two of them while blobs move from one to the other, which `migrate`
//! does. The module knows octets, sizes and digests. It does not know what the octets are, who owns them or whether anything points at them, and it computes no
//! digest: hashing and size limits sit above, in one place, so that no two stores can disagree about them.
//!
//! All calls block. They are made on blocking threads, never on the async ones, with one exception that says so
//! ([`BlobReader::try_read_cached`]).

use std::error::Error;
use std::fs::File;
use std::io::{self, IoSlice};
use std::time::Duration;

use common::digest::Digest;

use crate::config::secret::Secret;
use crate::inspect::ReadAt;
use crate::inspection::Subject;

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod both;
pub mod disk;
mod partial;
pub mod migrate;
#[cfg(feature = "s3")]
pub mod s3;

/// A store of blobs.
///
/// - **Durable on return.** When [`Staged::keep`] or [`Blobs::remove`] returns `Ok`, a power cut does not undo it.
/// - **Atomic.** A digest is either absent or stands for the whole blob. A crash at any point leaves at worst a staged
///   upload, which [`Blobs::sweep_staging`] removes at the next start, or a whole blob that nothing points at.
/// - **Immutable.** What stands under a digest never changes, but for [`Staged::replace`] of what is damaged. Readers that are open when it is removed may read on to the
///   end or get [`BlobError::NotFound`] or [`BlobError::Unavailable`]; never other octets.
/// - **Concurrent.** Every method may be called from many threads at once. Any number of `keep`s of one digest may race:
///   all succeed. `keep` and `remove` of the *same* digest must be kept apart by the caller until the record that points
///   at the blob is committed: only the caller knows whether something is about to point at it.
/// - **Idempotent.** `keep` of a digest that is there, `remove` of one that is not: `Ok`.
/// - **No retries inside.** A leaf over a network repeats single requests as its protocol wants; apart from that an error
///   is final for the call, and the caller decides. Each [`BlobError`] says what can be done.
pub trait Blobs: Send + Sync {
    /// Begins a new blob, of a length and digest not yet known.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`].
    fn stage(&self) -> Result<Box<dyn Staged>, BlobError>;

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Unavailable`].
    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobReader>, BlobError>;

    /// The size in octets of the blob with this digest, `None` if there is none. Says nothing about its content.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    fn contains(&self, digest: &Digest) -> Result<Option<u64>, BlobError>;

    /// Whether the store as a whole is where it was when it was opened: where it isn't, that a blob is missing says nothing.
    /// `Ok` where the store can't tell.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`]: it isn't.
    fn is_there(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// Whether another daemon, by its [`DiskOptions::own`](disk::DiskOptions::own), keeps its blobs here, too. `Ok(true)`
    /// where the store can't tell.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    fn is_shared_with(&self, _other: &str) -> Result<bool, BlobError> {
        Ok(true)
    }

    /// Removes a blob; `Ok` as well if there is none.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`]: it may be gone, or not, or come back after a power cut. Call again.
    fn remove(&self, digest: &Digest) -> Result<(), BlobError>;

    /// Removes a blob that nothing points to, as the caller has read in the log ten minutes ago at most, and of which this
    /// process itself holds nothing. Where other daemons use the same blobs, one of them may be about to point to it: then
    /// it is said when to ask again.
    ///
    /// # Errors
    /// As of [`Blobs::remove`].
    fn remove_unneeded(&self, digest: &Digest) -> Result<Removal, BlobError> {
        self.remove(digest).map(|()| Removal::Done)
    }

    /// How long after [`Staged::keep`] began a record that points to the blob may still be committed. None: for ever, as
    /// [`Blobs::remove_unneeded`] takes nobody else into account, and is not to be called where several daemons share a log.
    fn commit_within(&self) -> Option<Duration> {
        None
    }

    /// How long ago a blob was stored, as far as clocks agree; none if there is none, or if that can't be told. For those who
    /// leave alone what was stored lately.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    fn age(&self, _digest: &Digest) -> Result<Option<Duration>, BlobError> {
        Ok(None)
    }

    /// Calls `visit` with the digest and size in octets of each blob, in no order. Blobs kept or removed meanwhile may be
    /// visited or not; all others are, once each. Names in the store that are no digests are passed over.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`]: the walk ended early.
    fn list(&self, visit: &mut dyn FnMut(Digest, u64)) -> Result<(), BlobError>;

    /// How much room there is. The caller refuses uploads below its watermark; [`Staged::write`] may still find the store
    /// full, as others write too.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    fn space(&self) -> Result<Space, BlobError>;

    /// Opens the partial blob of this name, made empty if there is none: octets that outlive this process, until
    /// [`Blobs::remove_partial`]. `name` is a caller's, of letters and digits. One at a time may have it open.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`].
    fn partial(&self, name: &str) -> Result<Box<dyn Partial>, BlobError>;

    /// The octets of a partial blob, staged: to be inspected and kept as any other. Nothing may be appended to either from
    /// here on. The partial blob itself stays, whatever becomes of this, so that a refused version can be tried again.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`]: also where there is none of this name.
    fn stage_partial(&self, name: &str) -> Result<Box<dyn Staged>, BlobError>;

    /// Calls `visit` with the name and size in octets of each partial blob, in no order.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    fn partials(&self, visit: &mut dyn FnMut(&str, u64)) -> Result<(), BlobError>;

    /// Removes a partial blob; `Ok` as well if there is none. What was staged of it is not affected.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    fn remove_partial(&self, name: &str) -> Result<(), BlobError>;

    /// Removes everything staged and returns how many there were; partial blobs stay. For start-up, before the first
    /// [`Blobs::stage`]: then everything staged is what a crash left. Called later it takes running uploads with it.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`]: some may be left.
    fn sweep_staging(&self) -> Result<u64, BlobError>;

    /// What it is, in a word for operators.
    fn backend(&self) -> &'static str {
        "disk"
    }

    /// Whether the blobs can be reached, as far as is known without asking: never waits. The reason names nothing that not
    /// anybody may know.
    ///
    /// # Errors
    /// Why not, in words.
    fn reachable(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether [`Blobs::hand_out`] may give addresses.
    fn hands_out(&self) -> bool {
        false
    }

    /// An address from which whoever has it may fetch the blob for a short time, without asking us; none where there are
    /// none. It is a secret.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`], [`BlobError::Unreachable`]: there is none now.
    fn hand_out(&self, _digest: &Digest, _said: &HandOut) -> Result<Option<Secret>, BlobError> {
        Ok(None)
    }
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Done,
    /// Another daemon may be about to need it; ask again after this time, having read the log anew.
    Later(Duration),
}

/// What is said of a blob where it is fetched from an address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOut {
    /// Its media type.
    pub content_type: String,
    /// `Content-Disposition` (RFC 6266).
    pub content_disposition: String,
}

/// A blob in the making. Dropped without [`Staged::keep`], it leaves nothing behind: that covers every early return and
/// every cancelled upload.
pub trait Staged: Send + Sync {
    /// Appends octets. After an error the staged blob is good for nothing but dropping.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`].
    fn write(&mut self, octets: &[u8]) -> Result<(), BlobError>;

    /// The same for several pieces, in their order, with fewer system calls where that can be.
    ///
    /// # Errors
    /// As of [`Staged::write`].
    fn write_pieces(&mut self, pieces: &mut [IoSlice<'_>]) -> Result<(), BlobError> {
        pieces.iter().try_for_each(|piece| self.write(piece))
    }

    /// Octets written so far.
    fn len(&self) -> u64;

    /// Whether nothing has been written yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads what has been written, as [`BlobReader::read_at`] does: for inspection before the blob is kept.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BlobError>;

    /// The octets written so far as a file opened for reading; `None` where they are no file of this machine. What has no file
    /// is inspected in this process and not in a worker, so a wrapper hands on what it wraps.
    fn file(&self) -> Option<io::Result<File>>;

    /// Makes the octets durable under `digest`, which the caller has computed over exactly what it wrote.
    ///
    /// If the digest is there already, the staged copy is discarded and the one that is there is made durable, for the
    /// upload that brought it may not have got so far yet. Few run at a time; others wait.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`]: nothing may be assumed about the digest, except that it never
    /// stands for half a blob; stage again. [`BlobError::Corrupt`]: the digest is there with another size.
    fn keep(self: Box<Self>, digest: &Digest) -> Result<(), BlobError>;

    /// The same where the stored octets are known to be damaged: these take their place, at once and durably. Readers that
    /// are open read on in the old ones.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`]: the old or the new octets are there.
    fn replace(self: Box<Self>, digest: &Digest) -> Result<(), BlobError>;
}

/// A blob in the making that outlives the process. What was written and synced is there after a crash; what was written
/// since may be there, in part or not at all, so whoever opens it again first cuts it to what it knows.
pub trait Partial: Send {
    /// Octets there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts it to `len` octets.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`]: also where it has fewer.
    fn cut(&mut self, len: u64) -> Result<(), BlobError>;

    /// Appends octets. After an error it is as long as before, and may be written to again.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`].
    fn write(&mut self, octets: &[u8]) -> Result<(), BlobError>;

    /// Makes all that was written durable. After an error only what an earlier call made durable counts: cut it to that.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`].
    fn sync(&mut self) -> Result<(), BlobError>;
}

/// A blob opened for reading. Any number of threads may read at once.
pub trait BlobReader: Send + Sync {
    /// Size of the blob in octets.
    fn len(&self) -> u64;

    /// Whether the blob has no octets.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `offset` until `buf` is full or the blob ends, and returns how many octets those were: fewer than
    /// `buf.len()` only at the end, 0 at or behind it.
    ///
    /// # Errors
    /// [`BlobError::Corrupt`]: the blob is shorter than it was. [`BlobError::Unavailable`].
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BlobError>;

    /// Reads like [`BlobReader::read_at`], but only what is in memory already: it never waits, so an async thread may call
    /// it. The count may be short anywhere, but is 0 only at the end or for an empty `buf`. `None`: it would have to wait,
    /// or cannot tell; use `read_at` on a blocking thread.
    fn try_read_cached(&self, offset: u64, buf: &mut [u8]) -> Option<Result<usize, BlobError>>;

    /// The blob as a file opened for reading; `None` where it is no file of this machine (see [`Staged::file`]).
    fn file(&self) -> Option<io::Result<File>>;

    /// Where the whole blob is, as the path of a file below the store's directory on this machine; `None` where there is no
    /// such file. For a program that sends it in our stead.
    fn place(&self) -> Option<String> {
        None
    }

    /// Lets go of what memory holds of the blob, so that the next read comes from where it is stored. A help, not a promise.
    fn evict(&self) {}
}

/// Room in a store, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All there is, used or not. [`u64::MAX`] where the store knows no bound.
    pub total_bytes: u64,
    /// What can still be written by us, quotas of others and reserves of the system left out. [`u64::MAX`] where the store
    /// knows no bound.
    pub free_bytes: u64,
}

/// Why a blob could not be written or read. One variant per thing a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such blob. Nothing to repeat: answer so, or, if a record points at it, treat it as corruption.
    #[error("no blob '{0}'")]
    NotFound(Digest),
    /// No room: disk, quota or file size limit. Refuse uploads until an operator makes room; reading and removing go on.
    #[error("the blob store is full")]
    Full(#[source] io::Error),
    /// The store contradicts itself: stop the operation, tell an operator, repair nothing silently.
    #[error("blob '{digest}' is corrupt: {detail}")]
    Corrupt {
        /// Which blob.
        digest: Digest,
        /// What is wrong with it, for the log.
        detail: String,
    },
    /// The disk or service failed. The same operation may succeed later, begun anew.
    #[error("the blob store is unavailable")]
    Unavailable(#[source] io::Error),
    /// The service that keeps the blobs can't be reached, is busy, or refuses. The same operation may succeed later, begun
    /// anew, and until then nothing is known of any blob.
    #[error("the blobs can't be reached: {why}")]
    Unreachable {
        /// Why, in words that anybody may see.
        why: String,
        /// The cause, for the log.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<io::Error> for BlobError {
    /// Sorts by what the caller can do: no room is [`BlobError::Full`], all else [`BlobError::Unavailable`]. That a blob is
    /// not there cannot be told here, as the error does not know which one was meant.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full(error)
            }
            _ => Self::Unavailable(error),
        }
    }
}

impl ReadAt for Box<dyn BlobReader> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf).map_err(io::Error::other)
    }
}

impl ReadAt for Box<dyn Staged> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf).map_err(io::Error::other)
    }
}

impl Subject for Box<dyn BlobReader> {
    fn file(&self) -> Option<io::Result<File>> {
        (**self).file()
    }
}

impl Subject for Box<dyn Staged> {
    fn file(&self) -> Option<io::Result<File>> {
        (**self).file()
    }
}
