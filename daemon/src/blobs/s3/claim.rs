//! Whose objects these are, and what the credentials may do with them. Knows the object `mreg.json`, which names the log that
//! points to the blobs, and the words for what is missing; refuses to know what a log is.
//!
//! Without it, a second registry with the same prefix would take the first one's blobs for what a crash left behind. Two that
//! start at the same moment are told apart by the store, which lets one of them make the object; where it knows no conditions
//! (`If-None-Match`), or the object is there and names nobody yet, by reading it again: after it was written, from time to time,
//! and before anything is removed. The
//! object is also what tells a blob that is missing from a bucket that is.

use std::io;
use std::sync::atomic::Ordering;

use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};

use super::Store;
use super::failure::{Failure, Kind};
use crate::blobs::BlobError;

/// The object that names the log.
const CLAIM: &str = "mreg.json";
/// The object that a start writes and reads.
const PROBE: &str = "probe";
/// Octets of the largest claim.
const CLAIM_OCTETS_MAX: i64 = 4096;
/// The layout of what is below the prefix.
const FORMAT: u32 = 1;

/// What [`CLAIM`] says.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    format: u32,
    /// The id of the log; empty until one came.
    log: String,
    /// For how long what nobody needs rests, as the daemon said that started last, seconds; none by daemons that didn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grace_s: Option<u64>,
}

impl Store {
    /// Sees that objects can be written and read, and that they are the log's.
    pub(super) fn claim(&self, log: Option<&str>) -> Result<(), BlobError> {
        let probed = self.block_on(self.probe());
        probed.map_err(|failure| self.missing("write", "s3:PutObject", failure))?;
        let denied = self.block_on(self.may_list());
        self.hides_missing.store(denied, Ordering::Relaxed);
        if denied {
            tracing::warn!(
                "the credentials of the object store may not list (s3:ListBucket): blobs that a crash left behind stay, and \
                 `mregd check --blobs` can't name what nothing points to"
            );
        }
        // Where there was none, somebody else may be first; then there is one to be read.
        if !self.claim_as(log, denied)? && !self.claim_as(log, denied)? {
            return Err(self.odd("can be neither read nor written"));
        }
        if let Some(log) = log {
            self.log.get_or_init(|| log.to_owned());
            self.block_on(self.look()).map_err(|failure| self.missing("read", "s3:GetObject", failure))?;
        }
        Ok(())
    }

    /// Reads whose the objects are, and says that they are the log's if that was not said yet. Whether it was done: not where
    /// somebody else said so meanwhile.
    fn claim_as(&self, log: Option<&str>, denied: bool) -> Result<bool, BlobError> {
        let found = match self.block_on(self.small(CLAIM)) {
            Ok(octets) => Some(octets),
            Err(failure) if failure.kind == Kind::Missing || (denied && failure.kind == Kind::Denied) => None,
            Err(failure) => return Err(self.missing("read", "s3:GetObject", failure)),
        };
        // A daemon that is alone removes nothing of others.
        let grace_s = log.and(self.options.grace).map(|grace| grace.as_secs());
        let claim: Option<Claim> = found
            .map(|octets| {
                serde_json::from_slice(&octets).map_err(|error| self.odd(&format!("can't be understood: {error}")))
            })
            .transpose()?;
        match (claim, log) {
            (Some(claim), _) if claim.format != FORMAT => {
                Err(self.odd(&format!("is of the format {}, and this version knows {FORMAT}", claim.format)))
            }
            (Some(claim), Some(log)) if !claim.log.is_empty() && claim.log != log => Err(self.odd(
                "says that the objects belong to another registry, whose blobs this one would remove; name another prefix",
            )),
            (Some(claim), _) if log.is_none() || (Some(claim.log.as_str()), claim.grace_s) == (log, grace_s) => {
                Ok(true)
            }
            (claim, log) => {
                let is_first = claim.is_none();
                // Nobody knows whether the others run still, or were changed as well: so it is said, and not refused.
                let before = claim.and_then(|claim| claim.grace_s);
                if let (Some(before_s), Some(now_s)) = (before, grace_s)
                    && before_s != now_s
                {
                    tracing::warn!(
                        before_s,
                        now_s,
                        "MREG_S3_GRACE is another than that of the daemon that started last with these objects: set the same for \
                         all daemons, or one removes what another is about to use"
                    );
                }
                let claim = Claim { format: FORMAT, log: log.unwrap_or_default().to_owned(), grace_s };
                let octets = serde_json::to_vec(&claim).map_err(io::Error::from)?;
                match self.block_on(self.put_claim(octets, is_first)) {
                    Ok(()) => Ok(true),
                    Err(failure) if is_first && matches!(failure.kind, Kind::Exists | Kind::Contended) => Ok(false),
                    Err(failure) => Err(self.missing("write", "s3:PutObject", failure)),
                }
            }
        }
    }

    /// Whether a claim is of the log that this store was opened for.
    fn is_ours(&self, octets: &[u8]) -> Result<(), Failure> {
        let Some(log) = self.log.get() else { return Ok(()) };
        match serde_json::from_slice::<Claim>(octets) {
            Ok(claim) if claim.log == *log => Ok(()),
            Ok(_) | Err(_) => Err(Failure::odd(
                "its objects belong to another registry by now, as 'mreg.json' says: name another prefix for one of the two",
            )),
        }
    }

    /// Whether the store answers, and still has what it should: that a blob is missing says nothing otherwise.
    pub(super) async fn look(&self) -> Result<(), Failure> {
        let looked = match self.small(CLAIM).await {
            Ok(octets) => self.is_ours(&octets),
            Err(failure) if failure.kind == Kind::Unreachable => Err(failure),
            Err(failure) if failure.kind == Kind::Denied => {
                Err(Failure::odd("the credentials may not read any more (s3:GetObject)"))
            }
            Err(_) => Err(Failure::odd("what names the owner of its objects is gone")),
        };
        self.condition.saw(looked.as_ref().err());
        looked
    }

    /// Writes something and reads it.
    async fn probe(&self) -> Result<(), Failure> {
        let octets = uuid::Uuid::new_v4().to_string().into_bytes();
        self.put_small(PROBE, octets).await?;
        // Another daemon may have written meanwhile; that something can be read is what counts.
        self.small(PROBE).await.map(drop)
    }

    /// Whether listing is denied.
    async fn may_list(&self) -> bool {
        let options = &self.options;
        let request = self.client.list_objects_v2().bucket(&options.bucket).prefix(self.at("")).max_keys(1);
        let listed = self.observed(request.send()).await;
        listed.is_err_and(|failure| failure.kind == Kind::Denied)
    }

    /// Writes the claim; the first one only if there is none, where the store knows how.
    async fn put_claim(&self, octets: Vec<u8>, is_first: bool) -> Result<(), Failure> {
        if is_first && self.is_conditional.load(Ordering::Relaxed) {
            match self.put_if(CLAIM, octets.clone(), Some("*")).await {
                Err(failure) if failure.kind == Kind::Unsupported => {
                    self.is_conditional.store(false, Ordering::Relaxed)
                }
                put => return put,
            }
        }
        self.put_small(CLAIM, octets).await
    }

    async fn put_small(&self, name: &str, octets: Vec<u8>) -> Result<(), Failure> {
        self.put_if(name, octets, None).await
    }

    async fn put_if(&self, name: &str, octets: Vec<u8>, none_match: Option<&str>) -> Result<(), Failure> {
        let request =
            self.client.put_object().bucket(&self.options.bucket).key(self.at(name)).body(ByteStream::from(octets));
        self.observed(request.set_if_none_match(none_match.map(str::to_owned)).send()).await.map(drop)
    }

    /// A small object of ours.
    async fn small(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let request = self.client.get_object().bucket(&self.options.bucket).key(self.at(name));
        let answer = self.observed(request.send()).await?;
        if answer.content_length().is_none_or(|octets| octets > CLAIM_OCTETS_MAX) {
            return Err(Failure::odd("an object of ours is larger than we make them"));
        }
        let collected = tokio::time::timeout(super::read::WAIT_MAX, answer.body.collect()).await;
        match collected {
            Ok(Ok(octets)) => Ok(octets.to_vec()),
            Ok(Err(error)) => Err(Failure::of_body(error)),
            Err(late) => Err(Failure::of_body(late)),
        }
    }

    /// The place, as an operator named it.
    fn place(&self) -> String {
        format!("s3://{}/{}", self.options.bucket, self.options.prefix)
    }

    fn odd(&self, what: &str) -> BlobError {
        let why = format!("'{CLAIM}' below {} {what}", self.place());
        BlobError::Unavailable(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// A start that can't be made, in words for the operator who makes it.
    fn missing(&self, verb: &str, right: &str, failure: Failure) -> BlobError {
        let place = self.place();
        let why = match failure.kind {
            Kind::Denied => format!("the credentials may not {verb} objects below {place} ({right})"),
            _ => format!("{place} can't be used: {}", failure.why),
        };
        let BlobError::Unreachable { source, .. } = failure.into() else {
            return BlobError::Unavailable(io::Error::other(why));
        };
        BlobError::Unreachable { why, source }
    }
}
