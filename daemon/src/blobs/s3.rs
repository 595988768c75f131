//! Blobs in an object store that speaks S3: `PREFIX/sha256/<2 hex>/<62 hex>` in a bucket, the names that a directory of blobs
//! has, so that tools which copy one to the other find what they expect.
//!
//! An upload is staged in a local file, for inspection needs one, and is sent when it is kept. What makes a blob atomic is
//! the store: an object is there whole, or not at all. That what arrived is what was hashed is seen twice: what is sent is
//! hashed once more on its way out of the file, and the store compares a SHA-256 of each request's body
//! ([`Checksums::Sha256`]), or at least the one that signs it.
//!
//! | module | what it does |
//! |---|---|
//! | `client`, `failure` | the SDK, and what it says when something goes wrong |
//! | `claim` | whose objects these are, and what the credentials may do |
//! | `staged`, `send` | an upload, from its first octet to the object |
//! | `read` | octets of an object, as they come |
//! | `removal` | removing what another daemon may be about to point to |
//! | `condition` | whether the store can be reached |
//!
//! Below the prefix there are also `mreg.json` (whose objects these are), `probe` (what a start writes and reads), and
//! `removing/` (blobs that a daemon is removing now).
//!
//! Calls block on a small runtime of the store's own. Retries, timeouts and backoff are the SDK's, within the limits of
//! `client`; a body that breaks off is asked for again from where it ended.

mod claim;
mod client;
mod condition;
mod failure;
mod read;
mod removal;
mod send;
mod staged;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use common::digest::Digest;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use self::condition::Condition;
use self::failure::{Failure, Kind};
use super::partial::Partials;
use super::{BlobError, BlobReader, Blobs, HandOut, Partial, Removal, Space, Staged};
use crate::config::secret::Secret;
use crate::durable::{self, MODE_DIR};
use crate::traces;

/// The largest blob: as many parts as an object may have, each as large as all that may be in memory at once.
pub const BLOB_BYTES_MAX: u64 = send::PART_BYTES_MAX * send::PARTS_MAX;
/// Threads that move octets to and from the store.
const THREADS: usize = 2;
/// Keys of one page of a listing.
const PAGE: i32 = 1000;

/// Where a store is, how it is spoken to, and who we are.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with, without a slash at its end; may be empty.
    pub prefix: String,
    /// The store's address, `http://` or `https://`; none: Amazon's.
    pub endpoint: Option<String>,
    /// The region to sign for.
    pub region: String,
    /// Whether the bucket's name is in the path rather than the host.
    pub path_style: bool,
    /// Which checksums are sent.
    pub checksums: Checksums,
    /// Who we are.
    pub identity: Identity,
    /// Certificates of the authorities to trust; none: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// For how long readers may fetch what they are allowed to by themselves; none: never.
    pub hand_out: Option<Duration>,
    /// Where several daemons use the same objects: how old one must be to be removed because nothing points to it, 2 hours
    /// at least. None: this daemon is alone.
    pub grace: Option<Duration>,
    /// The local directory of what is staged, and of uploads that were begun; made if it is not there, and no other
    /// daemon's.
    pub dir: PathBuf,
}

/// Checksums that go along with what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksums {
    /// A SHA-256 of each request's body, which the store compares and keeps.
    Sha256,
    /// None but the signature's: for stores that refuse the others.
    None,
}

/// Who we are to the store.
#[derive(Debug, Clone)]
pub enum Identity {
    /// These keys.
    Given {
        /// The key's id.
        key_id: Secret,
        /// The key.
        secret: Secret,
        /// Of temporary keys.
        session_token: Option<Secret>,
    },
    /// What profile files, a web identity or a container's role say.
    Found {
        /// Whether the instance's metadata service may be asked as well.
        asks_instance: bool,
    },
}

/// Blobs in a bucket. Several processes may have the same bucket and prefix open if each of them was given a
/// [`S3Options::grace`].
pub struct S3Blobs {
    store: Arc<Store>,
    /// Ended in the background when the blobs are dropped, wherever that is.
    runtime: Option<Runtime>,
}

/// What readers and uploads share with the store.
struct Store {
    client: Client,
    options: S3Options,
    partials: Partials,
    condition: Condition,
    /// The id of the log that the objects belong to; none as long as nobody said.
    log: OnceLock<String>,
    handle: tokio::runtime::Handle,
    /// Octets of parts that may be in memory, in MiB.
    in_flight: Arc<Semaphore>,
    /// Whether the store knows `If-None-Match`; until it says that it doesn't.
    is_conditional: AtomicBool,
    /// Whether what is missing looks like what is forbidden, because the credentials may not list.
    hides_missing: AtomicBool,
}

impl S3Blobs {
    /// Opens the store: sees that objects can be written and read, and that they belong to the log of this id, if one is
    /// named; unclaimed ones belong to it from now on.
    ///
    /// # Errors
    /// [`BlobError::Unreachable`], [`BlobError::Unavailable`] with what is missing, in words.
    pub fn open(options: S3Options, log: Option<&str>) -> Result<Self, BlobError> {
        durable::create_dir_all(&options.dir.join("staging"), MODE_DIR)?;
        let partials = Partials::open(options.dir.join("partial"))?;
        durable::create_dir_all(&options.dir.join("uploads"), MODE_DIR)?;
        let client = client::client(&options).map_err(BlobError::Unavailable)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("mregd-s3")
            .enable_all()
            .build()?;
        let store = Arc::new(Store {
            client,
            options,
            partials,
            condition: Condition::new(),
            log: OnceLock::new(),
            handle: runtime.handle().clone(),
            in_flight: Arc::new(Semaphore::new(send::IN_FLIGHT_MIB)),
            is_conditional: AtomicBool::new(true),
            hides_missing: AtomicBool::new(false),
        });
        let opened = Self { store, runtime: Some(runtime) };
        opened.store.claim(log)?;
        condition::watch(&opened.store);
        Ok(opened)
    }
}

impl Drop for S3Blobs {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime that is dropped waits for its threads, which an async thread must not.
            runtime.shutdown_background();
        }
    }
}

impl Blobs for S3Blobs {
    fn stage(&self) -> Result<Box<dyn Staged>, BlobError> {
        Ok(Box::new(staged::stage(&self.store)?))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobReader>, BlobError> {
        self.store.condition.check()?;
        match self.store.object(digest)? {
            Some(object) => Ok(Box::new(read::S3Reader::new(&self.store, *digest, object.bytes))),
            None => Err(BlobError::NotFound(*digest)),
        }
    }

    fn contains(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        self.store.condition.check()?;
        Ok(self.store.object(digest)?.map(|object| object.bytes))
    }

    fn is_there(&self) -> Result<(), BlobError> {
        Ok(self.store.block_on(self.store.look())?)
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        self.store.delete(&self.store.key(digest))
    }

    fn remove_unneeded(&self, digest: &Digest) -> Result<Removal, BlobError> {
        // What is another registry's is needed, for all we know.
        self.is_there()?;
        match self.store.options.grace {
            None => self.remove(digest).map(|()| Removal::Done),
            Some(grace) => removal::remove(&self.store, digest, grace),
        }
    }

    fn age(&self, digest: &Digest) -> Result<Option<Duration>, BlobError> {
        Ok(self.store.object(digest)?.as_ref().map(removal::age))
    }

    fn commit_within(&self) -> Option<Duration> {
        self.store.options.grace.map(removal::fresh)
    }

    fn list(&self, visit: &mut dyn FnMut(Digest, u64)) -> Result<(), BlobError> {
        let store = &self.store;
        let base = store.at("sha256/");
        let mut token = None;
        loop {
            let request = store
                .client
                .list_objects_v2()
                .bucket(&store.options.bucket)
                .prefix(&base)
                .max_keys(PAGE)
                .set_continuation_token(token.take());
            let page = store.block_on(store.observed(request.send()))?;
            for object in page.contents() {
                let digest = object.key().and_then(|key| digest_of(key.strip_prefix(&base)?));
                let bytes = object.size().and_then(|bytes| u64::try_from(bytes).ok());
                if let (Some(digest), Some(bytes)) = (digest, bytes) {
                    visit(digest, bytes);
                }
            }
            token = page.next_continuation_token().map(str::to_owned);
            if !page.is_truncated().unwrap_or(false) || token.is_none() {
                return Ok(());
            }
        }
    }

    fn space(&self) -> Result<Space, BlobError> {
        // A bucket has no end; what is staged has one.
        let stat = rustix::fs::statvfs(&self.store.options.dir).map_err(io::Error::from)?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn partial(&self, name: &str) -> Result<Box<dyn Partial>, BlobError> {
        Ok(Box::new(self.store.partials.open_one(name, None)?))
    }

    fn stage_partial(&self, name: &str) -> Result<Box<dyn Staged>, BlobError> {
        Ok(Box::new(staged::stage_partial(&self.store, name)?))
    }

    fn partials(&self, visit: &mut dyn FnMut(&str, u64)) -> Result<(), BlobError> {
        self.store.partials.visit(visit)
    }

    fn remove_partial(&self, name: &str) -> Result<(), BlobError> {
        self.store.partials.remove(name)
    }

    fn sweep_staging(&self) -> Result<u64, BlobError> {
        let removed = staged::sweep(&self.store.options.dir.join("staging"))?;
        send::abort_left_over(&self.store);
        Ok(removed)
    }

    fn backend(&self) -> &'static str {
        "s3"
    }

    fn reachable(&self) -> Result<(), String> {
        self.store.condition.now()
    }

    fn hands_out(&self) -> bool {
        self.store.options.hand_out.is_some()
    }

    fn hand_out(&self, digest: &Digest, said: &HandOut) -> Result<Option<Secret>, BlobError> {
        let store = &self.store;
        let Some(valid) = store.options.hand_out else { return Ok(None) };
        let presigning =
            PresigningConfig::expires_in(valid).map_err(|error| BlobError::Unavailable(io::Error::other(error)))?;
        let request = store
            .client
            .get_object()
            .bucket(&store.options.bucket)
            .key(store.key(digest))
            .response_content_type(&said.content_type)
            .response_content_disposition(&said.content_disposition);
        let signed = store.block_on(async { request.presigned(presigning).await.map_err(Failure::of) })?;
        Ok(Some(Secret::new(signed.uri().to_owned())))
    }
}

/// An object, as a HEAD tells.
struct Object {
    bytes: u64,
    /// When it was written, by the store's clock; milliseconds since the epoch.
    written_at_ms: i64,
}

impl Store {
    /// The key of something below the prefix.
    fn at(&self, name: &str) -> String {
        match self.options.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// The key of a blob.
    fn key(&self, digest: &Digest) -> String {
        let digits = digest.to_hex();
        let (shard, rest) = digits.split_at(2);
        self.at(&format!("sha256/{shard}/{rest}"))
    }

    /// Waits on a thread that may block.
    fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.handle.block_on(work)
    }

    /// Sends a request, and remembers what its answer says of the store.
    async fn observed<T, E>(
        &self,
        request: impl Future<Output = Result<T, aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>>>,
    ) -> Result<T, Failure>
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let result = request.instrument(traces::step!("object store")).await.map_err(Failure::of);
        self.condition.saw(result.as_ref().err());
        result
    }

    /// What is known of an object; none if there is none.
    fn object(&self, digest: &Digest) -> Result<Option<Object>, BlobError> {
        match self.head(&self.key(digest)) {
            Ok(object) => Ok(Some(object)),
            Err(failure) if self.is_missing(&failure)? => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    fn head(&self, key: &str) -> Result<Object, Failure> {
        let request = self.client.head_object().bucket(&self.options.bucket).key(key);
        let head = self.block_on(self.observed(request.send()))?;
        let bytes = head.content_length().and_then(|bytes| u64::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| Failure::odd("it does not say how large an object is"))?;
        let written_at_ms = head.last_modified().and_then(|at| at.to_millis().ok()).unwrap_or(0);
        Ok(Object { bytes, written_at_ms })
    }

    /// Whether a failure may mean that the object isn't there: without the right to list, what is missing is forbidden.
    fn looks_missing(&self, failure: &Failure) -> bool {
        match failure.kind {
            Kind::Missing => true,
            Kind::Denied => self.hides_missing.load(Ordering::Relaxed),
            _ => false,
        }
    }

    /// Whether a request failed because its object isn't there. A HEAD's answer has no body, so that the bucket is missing
    /// looks the same: both are told apart by an object that is known to be there.
    fn is_missing(&self, failure: &Failure) -> Result<bool, BlobError> {
        let looks_missing = self.looks_missing(failure);
        if looks_missing {
            self.block_on(self.look())?;
        }
        Ok(looks_missing)
    }

    /// Deletes an object; `Ok` as well if there is none.
    fn delete(&self, key: &str) -> Result<(), BlobError> {
        let request = self.client.delete_object().bucket(&self.options.bucket).key(key);
        match self.block_on(self.observed(request.send())) {
            Ok(_) => Ok(()),
            Err(failure) if failure.kind == Kind::Missing && self.is_missing(&failure)? => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// The inverse of [`Store::key`], below `sha256/`.
fn digest_of(name: &str) -> Option<Digest> {
    let (shard, rest) = name.split_once('/')?;
    if shard.len() != 2 {
        return None;
    }
    Digest::from_hex(&format!("{shard}{rest}")).ok()
}

/// Reads a local file from an offset until `buf` is full or the file ends.
fn read_file_at(file: &std::fs::File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut read = 0;
    while read < buf.len() {
        let Some(at) = offset.checked_add(read as u64).filter(|at| i64::try_from(*at).is_ok()) else { break };
        match file.read_at(&mut buf[read..], at) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Where a record of an upload in parts lies.
fn record_of(dir: &Path, name: &str) -> PathBuf {
    dir.join("uploads").join(name)
}

#[cfg(test)]
mod tests {
    use super::digest_of;

    /// Only what we named ourselves is taken for a blob.
    #[test]
    fn names() {
        let rest = "b".repeat(62);
        assert_eq!(digest_of(&format!("aa/{rest}")).map(|digest| digest.to_hex()), Some(format!("aa{rest}")));
        for other in ["", "aa", &rest, &format!("a/a{rest}"), &format!("aa/{rest}b"), &format!("AA/{rest}"), "aa/x/y"] {
            assert_eq!(digest_of(other), None, "{other}");
        }
    }
}
