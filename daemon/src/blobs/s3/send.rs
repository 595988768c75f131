//! From a file to an object: in one request where it is small, else in parts, a few at a time. Knows requests, parts and
//! checksums; where the octets come from is a function.
//!
//! Memory is constant: at most [`IN_FLIGHT_MIB`] of parts and small objects for all uploads together, [`PARTS_AT_ONCE`] parts
//! for each. An
//! upload in parts leaves a record in a local file from its beginning to its end, for what a crash leaves in the store is
//! paid for and shows in no listing: the next start of the same daemon aborts it. A crash between the store's answer and the
//! record leaves one that only a rule of the bucket removes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::digest::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::client::TRY_TIMEOUT;
use super::failure::{Failure, Kind};
use super::{Checksums, Store, record_of, removal};
use crate::blobs::BlobError;
use crate::durable::{self, MODE_FILE};

const MIB: u64 = 1 << 20;
/// Octets of a part, and of the largest object that is sent in one request.
const PART_BYTES: u64 = 8 * MIB;
/// Octets of a part where there would be too many of the usual size.
pub(super) const PART_BYTES_MAX: u64 = IN_FLIGHT_MIB as u64 * MIB;
/// Parts of an object, as S3 has it.
pub(super) const PARTS_MAX: u64 = 10_000;
/// MiB of parts in memory, of all uploads together.
pub(super) const IN_FLIGHT_MIB: usize = 64;
/// Parts of one upload on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// How often a request is sent again that met another one for the same object.
const CONTENDED_MAX: u32 = 5;
/// Before it is, times the number of the try.
const CONTENDED_PAUSE: Duration = Duration::from_millis(200);

/// Reads octets from an offset until the buffer is full.
pub(super) type Read<'r> = &'r dyn Fn(u64, &mut [u8]) -> io::Result<()>;

/// Makes `len` octets an object under their digest. Where that is there already, nothing is sent unless it is to be
/// replaced, or another daemon may be about to remove it.
pub(super) fn send(
    store: &Arc<Store>,
    digest: &Digest,
    len: u64,
    read: Read<'_>,
    replace: bool,
) -> Result<(), BlobError> {
    let Some(grace) = store.options.grace else { return once(store, digest, len, read, replace) };
    removal::keep(store, digest, grace, |is_old| once(store, digest, len, read, replace || is_old))
}

fn once(store: &Arc<Store>, digest: &Digest, len: u64, read: Read<'_>, replace: bool) -> Result<(), BlobError> {
    let upload = Upload { store, digest, key: store.key(digest), len, read, replace };
    if !replace {
        match store.head(&upload.key) {
            Ok(object) => return upload.same(object.bytes),
            Err(failure) if store.looks_missing(&failure) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    if len <= PART_BYTES {
        upload.whole()?
    } else {
        upload.in_parts()?
    }
    match store.head(&upload.key) {
        Ok(object) => upload.same(object.bytes),
        Err(failure) if store.looks_missing(&failure) => {
            Err(Failure::odd("it lost an object that it had taken").into())
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Parts on their way.
type Parts = JoinSet<Result<CompletedPart, Failure>>;

struct Upload<'u> {
    store: &'u Arc<Store>,
    digest: &'u Digest,
    key: String,
    len: u64,
    read: Read<'u>,
    replace: bool,
}

impl Upload<'_> {
    /// Whether what is there can be what was to be sent.
    fn same(&self, bytes: u64) -> Result<(), BlobError> {
        if bytes == self.len {
            return Ok(());
        }
        let detail = format!("{bytes} octets in the store, {} octets uploaded with the same digest", self.len);
        Err(BlobError::Corrupt { digest: *self.digest, detail })
    }

    /// What the file holds is no longer what was hashed.
    fn changed(&self) -> BlobError {
        let detail = "its staged file has other octets than were written to it".to_owned();
        BlobError::Corrupt { digest: *self.digest, detail }
    }

    fn octets(&self, offset: u64, len: u64) -> Result<Vec<u8>, BlobError> {
        let mut octets = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        (self.read)(offset, &mut octets)?;
        Ok(octets)
    }

    /// What the store is to compare.
    fn checksum(&self, sha256: &[u8]) -> Option<String> {
        match self.store.options.checksums {
            Checksums::Sha256 => Some(STANDARD.encode(sha256)),
            Checksums::None => None,
        }
    }

    /// `If-None-Match`, where it is wanted and the store knows it.
    fn condition(&self) -> Option<String> {
        (!self.replace && self.store.is_conditional.load(Ordering::Relaxed)).then(|| "*".to_owned())
    }

    /// Sends a request that creates the object, again where that makes sense.
    fn create(&self, mut request: impl FnMut(Option<String>) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            let condition = self.condition();
            let is_conditional = condition.is_some();
            match request(condition) {
                Ok(()) => return Ok(()),
                // Somebody else sent the same octets; what there is of them is looked at afterwards.
                Err(failure) if failure.kind == Kind::Exists && is_conditional => return Ok(()),
                Err(failure) if failure.kind == Kind::Unsupported && is_conditional => {
                    // The same octets twice are the same object: the condition saves traffic, and no more.
                    self.store.is_conditional.store(false, Ordering::Relaxed);
                }
                Err(failure) if failure.kind == Kind::Contended && tries < CONTENDED_MAX => {
                    tries += 1;
                    std::thread::sleep(CONTENDED_PAUSE * tries);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn whole(&self) -> Result<(), BlobError> {
        let store = self.store;
        let mib = u32::try_from(self.len.div_ceil(MIB)).map_err(io::Error::other)?;
        let _room = store.block_on(Arc::clone(&store.in_flight).acquire_many_owned(mib)).map_err(io::Error::other)?;
        let octets = self.octets(0, self.len)?;
        if Sha256::digest(&octets)[..] != self.digest.as_bytes()[..] {
            return Err(self.changed());
        }
        let octets = bytes::Bytes::from(octets);
        self.create(|condition| {
            let request = store
                .client
                .put_object()
                .bucket(&store.options.bucket)
                .key(&self.key)
                .content_type("application/octet-stream")
                .set_if_none_match(condition)
                .set_checksum_sha256(self.checksum(self.digest.as_bytes()))
                .body(ByteStream::from(octets.clone()));
            store.block_on(store.observed(request.send())).map(drop)
        })?;
        Ok(())
    }

    fn in_parts(&self) -> Result<(), BlobError> {
        let store = self.store;
        let part_bytes = part_bytes(self.len)?;
        let sums = store.options.checksums == Checksums::Sha256;
        let request = store
            .client
            .create_multipart_upload()
            .bucket(&store.options.bucket)
            .key(&self.key)
            .content_type("application/octet-stream")
            .set_checksum_algorithm(sums.then_some(ChecksumAlgorithm::Sha256));
        let begun = store.block_on(store.observed(request.send()))?;
        let id = begun.upload_id().ok_or_else(|| Failure::odd("it names no upload in parts"))?.to_owned();
        let left_over = LeftOver { key: self.key.clone(), id };
        let record = record_of(&store.options.dir, &format!("{}.json", uuid::Uuid::new_v4().simple()));
        // A crash before this line leaves an upload that only a rule of the bucket removes.
        durable::write_file(&record, &serde_json::to_vec(&left_over).map_err(io::Error::from)?, MODE_FILE)?;
        let sent = self.send_parts(&left_over.id, part_bytes).and_then(|parts| self.complete(&left_over.id, &parts));
        match sent {
            Ok(is_used) if is_used => forget(&record),
            // Unused, because somebody else was first, or because something failed: it goes, now or at the next start.
            _ => {
                if store.abort(&left_over).is_ok() {
                    forget(&record);
                }
            }
        }
        sent.map(drop)
    }

    /// Sends the parts, and gives what the store said of each.
    ///
    /// Afterwards none is on its way any more, as far as can be known within [`TRY_TIMEOUT`]: a part that arrives after its
    /// upload was aborted stays in the store and is paid for (S3, `AbortMultipartUpload`).
    fn send_parts(&self, id: &str, part_bytes: u64) -> Result<Vec<CompletedPart>, BlobError> {
        let mut under_way = JoinSet::new();
        let sent = self.send_each_part(id, part_bytes, &mut under_way);
        if sent.is_err() {
            let ended = async { while under_way.join_next().await.is_some() {} };
            // Those that take longer are given up with the set.
            let _in_time = self.store.block_on(async { tokio::time::timeout(TRY_TIMEOUT, ended).await });
        }
        sent
    }

    fn send_each_part(
        &self,
        id: &str,
        part_bytes: u64,
        under_way: &mut Parts,
    ) -> Result<Vec<CompletedPart>, BlobError> {
        let store = self.store;
        let mut whole = Sha256::new();
        let mut done = Vec::new();
        let (mut offset, mut number) = (0, 1);
        while offset < self.len {
            while under_way.len() >= PARTS_AT_ONCE {
                done.extend(store.block_on(next(under_way))?);
            }
            let len = part_bytes.min(self.len - offset);
            let mib = u32::try_from(len.div_ceil(MIB)).map_err(io::Error::other)?;
            // Whoever waits here holds no part of its own that isn't on its way.
            let room =
                store.block_on(Arc::clone(&store.in_flight).acquire_many_owned(mib)).map_err(io::Error::other)?;
            let octets = self.octets(offset, len)?;
            whole.update(&octets);
            let checksum = self.checksum(&Sha256::digest(&octets));
            let request = store
                .client
                .upload_part()
                .bucket(&store.options.bucket)
                .key(&self.key)
                .upload_id(id)
                .part_number(number)
                .set_checksum_sha256(checksum.clone())
                .body(ByteStream::from(octets));
            let sender = Arc::clone(store);
            under_way.spawn_on(
                async move {
                    let answer = sender.observed(request.send()).await?;
                    drop(room);
                    Ok(CompletedPart::builder()
                        .part_number(number)
                        .set_e_tag(answer.e_tag().map(str::to_owned))
                        .set_checksum_sha256(checksum)
                        .build())
                },
                &store.handle,
            );
            offset += len;
            number += 1;
        }
        while !under_way.is_empty() {
            done.extend(store.block_on(next(under_way))?);
        }
        // Each part was compared by the store, and all together are what was hashed when they came.
        if whole.finalize()[..] != self.digest.as_bytes()[..] {
            return Err(self.changed());
        }
        done.sort_by_key(CompletedPart::part_number);
        Ok(done)
    }

    /// Makes an object of the parts; whether it is made of them, and not of somebody else's.
    fn complete(&self, id: &str, parts: &[CompletedPart]) -> Result<bool, BlobError> {
        let store = self.store;
        let mut is_used = false;
        let completed = self.create(|condition| {
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
            let request = store
                .client
                .complete_multipart_upload()
                .bucket(&store.options.bucket)
                .key(&self.key)
                .upload_id(id)
                .multipart_upload(parts)
                .set_if_none_match(condition);
            store.block_on(store.observed(request.send())).map(|_completed| is_used = true)
        });
        match completed {
            Ok(()) => Ok(is_used),
            // A try whose answer was lost may have succeeded; then the upload is no more, and the object there. Where there was
            // one before, that says nothing.
            Err(failure) if !self.replace || failure.kind == Kind::Missing => match store.head(&self.key) {
                Ok(_) => Ok(true),
                Err(_) => Err(failure.into()),
            },
            Err(failure) => Err(failure.into()),
        }
    }
}

/// The next part that is done.
async fn next(under_way: &mut Parts) -> Result<Option<CompletedPart>, BlobError> {
    match under_way.join_next().await {
        Some(Ok(part)) => Ok(Some(part?)),
        Some(Err(error)) => Err(BlobError::Unavailable(io::Error::other(error))),
        None => Ok(None),
    }
}

/// The size of the parts of an object.
fn part_bytes(len: u64) -> io::Result<u64> {
    let bytes = PART_BYTES.max(len.div_ceil(PARTS_MAX).next_multiple_of(MIB));
    if bytes > PART_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than an object of this store can be"));
    }
    Ok(bytes)
}

/// An upload in parts that was begun.
#[derive(Debug, Serialize, Deserialize)]
struct LeftOver {
    key: String,
    id: String,
}

fn forget(record: &Path) {
    if let Err(error) = durable::remove(record) {
        // Aborting it once more at the next start does no harm.
        tracing::warn!(path = %record.display(), %error, "the record of an upload in parts can't be removed");
    }
}

impl Store {
    fn abort(&self, left_over: &LeftOver) -> Result<(), Failure> {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.options.bucket)
            .key(&left_over.key)
            .upload_id(&left_over.id);
        match self.block_on(self.observed(request.send())) {
            Err(failure) if failure.kind != Kind::Missing => Err(failure),
            _ => Ok(()),
        }
    }
}

/// Aborts uploads in parts that a crash, or an outage, left behind. What can't be aborted now is tried at the next start.
pub(super) fn abort_left_over(store: &Store) {
    let dir = store.options.dir.join("uploads");
    let records = match std::fs::read_dir(&dir) {
        Ok(records) => records,
        Err(error) => {
            tracing::warn!(path = %dir.display(), %error, "records of uploads in parts can't be listed");
            return;
        }
    };
    for record in records.filter_map(Result::ok).map(|record| record.path()) {
        let left_over = std::fs::read(&record).ok().and_then(|octets| serde_json::from_slice::<LeftOver>(&octets).ok());
        let Some(left_over) = left_over else {
            // Torn, so its upload had no part yet.
            forget(&record);
            continue;
        };
        match store.abort(&left_over) {
            Ok(()) => forget(&record),
            Err(failure) => {
                let cause = crate::error_chain(&failure);
                tracing::warn!(
                    cause,
                    "an upload in parts that was left over can't be aborted; the next start tries again"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::super::BLOB_BYTES_MAX;
    use super::{MIB, PART_BYTES, PART_BYTES_MAX, PARTS_MAX, part_bytes};

    /// Whatever the size, there are at most as many parts as there may be, and none is larger than what may be in memory.
    #[test]
    fn parts() {
        for len in
            [1, PART_BYTES, 64 << 30, PARTS_MAX * PART_BYTES, PARTS_MAX * PART_BYTES + 1, 1 << 39, BLOB_BYTES_MAX]
        {
            let bytes = part_bytes(len).unwrap();
            assert!(len.div_ceil(bytes) <= PARTS_MAX, "{len}");
            assert!((PART_BYTES..=PART_BYTES_MAX).contains(&bytes) && bytes.is_multiple_of(MIB), "{len}");
        }
        part_bytes(BLOB_BYTES_MAX + 1).unwrap_err();
        // What the settings let through is what can be sent.
        assert_eq!(BLOB_BYTES_MAX, crate::config::s3::BLOB_BYTES_MAX);
    }
}
