//! Octets of an object, as they come. Knows ranges and streams; refuses to know what reads.
//!
//! Who reads on where the last reading ended gets the next octets of the same answer; who jumps begins a new one. An answer
//! is asked for in windows: small at first, for whoever looks here and there, and growing as long as the reading goes on,
//! so that a download costs few requests. What isn't asked for yet waits in the connection, so memory is constant. An answer
//! that breaks off is asked for again from there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf as _, Bytes};
use common::digest::Digest;

use super::Store;
use super::failure::{Failure, Kind};
use crate::blobs::{BlobError, BlobReader};

/// Octets of the first window at least.
const WINDOW_MIN: u64 = 256 << 10;
/// And of any at most.
const WINDOW_MAX: u64 = 64 << 20;
/// How much larger the next window is.
const WINDOW_GROWTH: u64 = 8;
/// How long the next octets of an answer may take.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);
/// Answers that may break off in a row without an octet.
const BREAKS_MAX: u32 = 4;
/// After one broke off, times two for each.
const BREAK_PAUSE: Duration = Duration::from_millis(100);

/// An object opened for reading.
pub(super) struct S3Reader {
    store: Arc<Store>,
    digest: Digest,
    len: u64,
    /// The answer that goes on where somebody stopped reading. Whoever reads takes it out: nothing waits under the lock.
    window: Mutex<Option<Window>>,
}

/// A range that is being read.
struct Window {
    /// Where the next octet lies.
    at: u64,
    end: u64,
    /// How large it was when it began.
    bytes: u64,
    body: ByteStream,
    rest: Bytes,
}

impl S3Reader {
    pub(super) fn new(store: &Arc<Store>, digest: Digest, len: u64) -> Self {
        Self { store: Arc::clone(store), digest, len, window: Mutex::new(None) }
    }

    /// Asks for `bytes` octets from `at`.
    async fn ask(&self, at: u64, bytes: u64) -> Result<Window, BlobError> {
        let store = &self.store;
        let end = at.saturating_add(bytes).min(self.len);
        let request = store
            .client
            .get_object()
            .bucket(&store.options.bucket)
            .key(store.key(&self.digest))
            .range(format!("bytes={at}-{}", end.saturating_sub(1)));
        let answer = match store.observed(request.send()).await {
            Ok(answer) => answer,
            Err(failure) if failure.kind == Kind::NoRange => return Err(self.corrupt("it ends earlier")),
            Err(failure) if failure.kind == Kind::Denied && store.looks_missing(&failure) => {
                store.look().await?;
                return Err(BlobError::NotFound(self.digest));
            }
            Err(failure) => return Err(failure.of_blob(&self.digest)),
        };
        // A server that does not know ranges sends everything, from the beginning.
        match answer.content_range().and_then(range_of) {
            Some((begin, _last, total)) if total != self.len => {
                Err(self.corrupt(&format!("{total} octets, of which {begin} and on were asked for")))
            }
            Some((begin, last, _total)) if begin == at && last.checked_add(1) == Some(end) => {
                Ok(Window { at, end, bytes: end - at, body: answer.body, rest: Bytes::new() })
            }
            _ => Err(Failure::odd("it does not answer with the range that was asked for").into()),
        }
    }

    fn corrupt(&self, what: &str) -> BlobError {
        let detail = format!("{} octets when opened, now {what}", self.len);
        BlobError::Corrupt { digest: self.digest, detail }
    }

    /// Fills the buffer from an offset; it ends before the blob does.
    async fn fill(&self, window: Option<Window>, offset: u64, buf: &mut [u8]) -> Result<Window, BlobError> {
        let wanted = buf.len() as u64;
        let mut window = match window {
            Some(window) => window,
            None => self.ask(offset, wanted.max(WINDOW_MIN)).await?,
        };
        let (mut filled, mut breaks) = (0, 0);
        while filled < buf.len() {
            if window.rest.is_empty() {
                if window.at == window.end {
                    let bytes = window.bytes.saturating_mul(WINDOW_GROWTH).clamp(WINDOW_MIN, WINDOW_MAX);
                    window = self.ask(window.at, bytes).await?;
                }
                match next(&mut window.body).await {
                    Ok(octets) => {
                        breaks = 0;
                        window.rest = octets;
                        window.rest.truncate(usize::try_from(window.end - window.at).unwrap_or(usize::MAX));
                    }
                    Err(failure) if breaks < BREAKS_MAX => {
                        tracing::debug!(
                            cause = crate::error_chain(&failure),
                            "an object broke off; it is asked for again"
                        );
                        tokio::time::sleep(BREAK_PAUSE * 2_u32.pow(breaks)).await;
                        breaks += 1;
                        window = self.ask(window.at, window.end - window.at).await?;
                    }
                    Err(failure) => {
                        self.store.condition.saw(Some(&failure));
                        return Err(failure.into());
                    }
                }
                continue;
            }
            let count = window.rest.len().min(buf.len() - filled);
            window.rest.copy_to_slice(&mut buf[filled..filled + count]);
            filled += count;
            window.at += count as u64;
        }
        Ok(window)
    }
}

/// The next octets of a body; at least one.
async fn next(body: &mut ByteStream) -> Result<Bytes, Failure> {
    loop {
        match tokio::time::timeout(WAIT_MAX, body.next()).await {
            Ok(Some(Ok(octets))) if octets.is_empty() => {}
            Ok(Some(Ok(octets))) => return Ok(octets),
            Ok(Some(Err(error))) => return Err(Failure::of_body(error)),
            Ok(None) => return Err(Failure::odd("it ended an answer too early")),
            Err(late) => return Err(Failure::of_body(late)),
        }
    }
}

/// `bytes FIRST-LAST/TOTAL` (RFC 9110 §14.4).
fn range_of(field: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = field.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

impl BlobReader for S3Reader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BlobError> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner).take_if(|window| window.at == offset);
        let window = self.store.block_on(self.fill(window, offset, &mut buf[..wanted]))?;
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Some(window);
        Ok(wanted)
    }

    fn try_read_cached(&self, _offset: u64, _buf: &mut [u8]) -> Option<Result<usize, BlobError>> {
        None
    }

    fn file(&self) -> Option<std::io::Result<std::fs::File>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::range_of;

    /// Only what says first, last and total is a range.
    #[test]
    fn ranges() {
        assert_eq!(range_of("bytes 5-9/20"), Some((5, 9, 20)));
        for other in ["", "bytes */20", "bytes 5-9/*", "octets 5-9/20", "bytes 9/20", "bytes 5-9", "bytes -9/20"] {
            assert_eq!(range_of(other), None, "{other}");
        }
    }
}
