//! A body made of blobs and a few octets around them, of a length that is known before: read in pieces of
//! [`CHUNK`] octets, from memory at once where they are there, else on a blocking thread with one read ahead. A few pieces
//! are in memory at a time, whatever the size. A read that fails, or an end before the end, is an error, so that the
//! connection is cut and nobody takes a part for the whole. Knows nothing of models, and of the registry only whom to
//! tell.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use crate::blobs::BlobReader;

/// Octets read at once: where reading is fastest (limits.md §4).
const CHUNK: usize = 256 * 1024;
/// With many transfers at once fewer are read, so that what all hold together stays bounded …
const CHUNK_MIN: usize = 16 * 1024;
/// … by shares of this; each holds about three pieces.
const CHUNKS: usize = 32 * 1024 * 1024;
/// Reads that wait for the disk at once. The threads that do them are those that write uploads and look things up, too.
const READS_MAX: usize = 32;

static READS: Semaphore = Semaphore::const_new(READS_MAX);
/// Transfers under way in this process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Pieces whose memory may come back: as many as the connection holds at once.
const LENT_MAX: usize = 3;

/// A blob that is opened when its turn comes.
type Opening = Pin<Box<dyn Future<Output = io::Result<Arc<dyn BlobReader>>> + Send>>;

/// A part of the body.
pub(super) enum Piece {
    /// These octets.
    Octets(Bytes),
    /// A range of a blob.
    Blob {
        /// Opens it.
        open: Opening,
        /// Which octets.
        range: Range<u64>,
    },
}

/// The body. `told` is called for each piece that is handed to the connection with its octets and whether it was the
/// last; it is dropped with the body, however that ends.
pub(super) struct Transfer<T> {
    frames: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    left: u64,
    told: T,
    _open: Open,
}

/// Counts a transfer while it exists.
struct Open;

impl Open {
    fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Octets to be read at once, with so many transfers under way.
fn chunk(open: usize) -> usize {
    (CHUNKS / open.max(1)).clamp(CHUNK_MIN, CHUNK)
}

impl<T: FnMut(u64, bool)> Transfer<T> {
    /// A body of these pieces, `length` octets in all.
    pub(super) fn new(pieces: impl Iterator<Item = Piece> + Send + 'static, length: u64, told: T) -> Self {
        let state = Reading { pieces: Box::new(pieces), blob: None };
        let frames = stream::try_unfold(state, |mut state| async move {
            let next = state.next().await?;
            Ok(next.map(|octets| (octets, state)))
        });
        Self { frames: Box::pin(frames), left: length, told, _open: Open::new() }
    }
}

impl<T: FnMut(u64, bool) + Unpin> Body for Transfer<T> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let polled = std::task::ready!(self.frames.as_mut().poll_next(cx));
        Poll::Ready(Some(match polled {
            Some(Ok(octets)) => match self.left.checked_sub(octets.len() as u64) {
                Some(left) => {
                    self.left = left;
                    (self.told)(octets.len() as u64, left == 0);
                    Ok(Frame::data(octets))
                }
                None => Err(io::Error::other("there is more to send than was announced")),
            },
            Some(Err(error)) => Err(error),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "there is less to send than was announced")),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

struct Reading {
    pieces: Box<dyn Iterator<Item = Piece> + Send>,
    blob: Option<Source>,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(blob) = &mut self.blob {
                if let Some(octets) = blob.next().await? {
                    return Ok(Some(octets));
                }
                self.blob = None;
            }
            match self.pieces.next() {
                None => return Ok(None),
                Some(Piece::Octets(octets)) if octets.is_empty() => {}
                Some(Piece::Octets(octets)) => return Ok(Some(octets)),
                Some(Piece::Blob { open, range }) => self.blob = Some(Source::new(open.await?, range)),
            }
        }
    }
}

/// A range of a blob that is being read.
struct Source {
    reader: Arc<dyn BlobReader>,
    /// Where the next octets begin.
    at: u64,
    end: u64,
    /// The read of the octets at `at`, where one is under way.
    ahead: Option<Read>,
    /// Pieces that were handed out: their memory is used again when the connection is done with it, which saves
    /// clearing fresh memory for each.
    lent: VecDeque<Bytes>,
}

type Read = JoinHandle<io::Result<BytesMut>>;

impl Source {
    fn new(reader: Arc<dyn BlobReader>, range: Range<u64>) -> Self {
        Self { reader, at: range.start, end: range.end, ahead: None, lent: VecDeque::with_capacity(LENT_MAX) }
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (octets, is_slow) = match self.ahead.take() {
            Some(ahead) => {
                // Done before it was asked for: the disk keeps up, and the next may be in memory.
                let is_slow = !ahead.is_finished();
                (finished(ahead).await?, is_slow)
            }
            None => {
                let mut buffer = self.buffer();
                match self.reader.try_read_cached(self.at, &mut buffer) {
                    Some(Ok(0)) => return Err(short()),
                    Some(Ok(count)) => {
                        buffer.truncate(count);
                        (buffer, false)
                    }
                    Some(Err(error)) => return Err(io::Error::other(error)),
                    None => {
                        let place = READS.acquire().await.map_err(io::Error::other)?;
                        (finished(self.read(buffer, place)).await?, true)
                    }
                }
            }
        };
        self.at += octets.len() as u64;
        // Where others wait for the disk as well, nothing is read ahead of being asked for.
        if is_slow
            && self.at < self.end
            && let Ok(place) = READS.try_acquire()
        {
            let buffer = self.buffer();
            self.ahead = Some(self.read(buffer, place));
        }
        let octets = octets.freeze();
        self.lent.truncate(LENT_MAX - 1);
        self.lent.push_front(octets.clone());
        Ok(Some(octets))
    }

    /// Room for the next piece.
    fn buffer(&mut self) -> BytesMut {
        let chunk = chunk(OPEN.load(Ordering::Relaxed));
        let length = usize::try_from(self.end - self.at).map_or(chunk, |left| left.min(chunk));
        let mut buffer = self.lent.pop_back().and_then(|octets| octets.try_into_mut().ok()).unwrap_or_default();
        buffer.resize(length, 0);
        buffer
    }

    /// Starts to read the next piece, whole.
    fn read(&self, mut buffer: BytesMut, place: SemaphorePermit<'static>) -> Read {
        let (reader, at) = (Arc::clone(&self.reader), self.at);
        tokio::task::spawn_blocking(move || {
            let _place = place;
            match reader.read_at(at, &mut buffer) {
                Ok(count) if count == buffer.len() => Ok(buffer),
                Ok(_fewer) => Err(short()),
                Err(error) => Err(io::Error::other(error)),
            }
        })
    }
}

async fn finished(read: Read) -> io::Result<BytesMut> {
    read.await.unwrap_or_else(|panicked_or_stopping| Err(io::Error::other(panicked_or_stopping)))
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the blob is shorter than its record says")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::{CHUNK, Piece, Transfer};
    use crate::blobs::{BlobError, BlobReader};

    /// A blob in memory, which is "cached" as its pattern says, and may break at an offset.
    struct Memory {
        octets: Vec<u8>,
        cached: fn(u64) -> bool,
        breaks_at: u64,
        blocking_reads: AtomicUsize,
    }

    impl Memory {
        fn new(length: usize, cached: fn(u64) -> bool) -> Self {
            let octets = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            Self { octets, cached, breaks_at: u64::MAX, blocking_reads: AtomicUsize::new(0) }
        }
    }

    impl BlobReader for Memory {
        fn len(&self) -> u64 {
            self.octets.len() as u64
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, BlobError> {
            self.blocking_reads.fetch_add(1, Ordering::Relaxed);
            if offset + buf.len() as u64 > self.breaks_at {
                return Err(BlobError::Unavailable(std::io::Error::other("the disk is gone")));
            }
            let from = &self.octets[usize::try_from(offset).unwrap().min(self.octets.len())..];
            let count = from.len().min(buf.len());
            buf[..count].copy_from_slice(&from[..count]);
            Ok(count)
        }

        fn try_read_cached(&self, offset: u64, buf: &mut [u8]) -> Option<Result<usize, BlobError>> {
            if !(self.cached)(offset) {
                return None;
            }
            // Short anywhere, as the trait allows.
            let length = buf.len().min(100_000);
            let read = self.read_at(offset, &mut buf[..length]);
            self.blocking_reads.fetch_sub(1, Ordering::Relaxed);
            Some(read)
        }

        fn file(&self) -> Option<std::io::Result<std::fs::File>> {
            None
        }
    }

    fn blob(reader: &Arc<Memory>, range: std::ops::Range<u64>) -> Piece {
        let reader: Arc<dyn BlobReader> = Arc::<Memory>::clone(reader);
        Piece::Blob { open: Box::pin(async move { Ok(reader) }), range }
    }

    type Told = Arc<Mutex<(u64, bool)>>;

    fn transfer(pieces: Vec<Piece>, length: u64) -> (Transfer<impl FnMut(u64, bool) + Unpin>, Told) {
        let told = Told::default();
        let keep = Arc::clone(&told);
        let tell = move |octets, last| {
            let mut told = keep.lock().unwrap();
            *told = (told.0 + octets, last);
        };
        (Transfer::new(pieces.into_iter(), length, tell), told)
    }

    #[tokio::test]
    async fn octets_arrive_whatever_is_cached() {
        let patterns: [fn(u64) -> bool; 4] = [|_| true, |_| false, |at| at % 3 == 0, |at| at < 300_000];
        for cached in patterns {
            for length in [1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17] {
                let memory = Arc::new(Memory::new(length, cached));
                let (body, told) = transfer(vec![blob(&memory, 0..length as u64)], length as u64);
                assert_eq!(body.size_hint().exact(), Some(length as u64));
                assert_eq!(body.collect().await.unwrap().to_bytes(), memory.octets);
                assert_eq!(*told.lock().unwrap(), (length as u64, true));
            }
        }
    }

    /// A reader that lets go of each piece gets the next in the same memory, and still the right octets.
    #[tokio::test]
    async fn memory_comes_back() {
        let patterns: [fn(u64) -> bool; 3] = [|_| true, |_| false, |at| at % 3 == 0];
        for cached in patterns {
            let length = 20 * CHUNK + 17;
            let memory = Arc::new(Memory::new(length, cached));
            let (mut body, _) = transfer(vec![blob(&memory, 0..length as u64)], length as u64);
            let (mut at, mut places) = (0, std::collections::BTreeSet::new());
            while let Some(frame) = body.frame().await {
                let octets = frame.unwrap().into_data().unwrap();
                assert_eq!(octets, memory.octets[at..at + octets.len()]);
                places.insert(octets.as_ptr() as usize);
                at += octets.len();
            }
            assert_eq!(at, length);
            assert!(places.len() <= 6, "{} buffers for {length} octets", places.len());
        }
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_a_range_is_a_range() {
        let memory = Arc::new(Memory::new(2 * CHUNK, |_| false));
        let pieces = vec![
            Piece::Octets(Bytes::from_static(b"head")),
            blob(&memory, 10..20),
            Piece::Octets(Bytes::new()),
            blob(&memory, 5..5),
            Piece::Octets(Bytes::from_static(b"tail")),
        ];
        let (body, _) = transfer(pieces, 18);
        let mut wanted = b"head".to_vec();
        wanted.extend(&memory.octets[10..20]);
        wanted.extend(b"tail");
        assert_eq!(body.collect().await.unwrap().to_bytes(), wanted);
    }

    #[tokio::test]
    async fn the_last_frame_is_known_to_be_the_last() {
        let memory = Arc::new(Memory::new(10, |_| true));
        let (mut body, _) = transfer(vec![blob(&memory, 0..10)], 10);
        assert!(!body.is_end_stream());
        body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
        let (empty, _) = transfer(vec![], 0);
        assert!(empty.is_end_stream());
    }

    #[tokio::test]
    async fn what_breaks_is_an_error_and_not_an_end() {
        let mut memory = Memory::new(4 * CHUNK, |_| false);
        memory.breaks_at = 2 * CHUNK as u64;
        let memory = Arc::new(memory);
        let (body, told) = transfer(vec![blob(&memory, 0..4 * CHUNK as u64)], 4 * CHUNK as u64);
        body.collect().await.unwrap_err();
        assert_eq!(*told.lock().unwrap(), (2 * CHUNK as u64, false));

        let short = Arc::new(Memory::new(10, |_| true));
        let (body, _) = transfer(vec![blob(&short, 0..11)], 11);
        body.collect().await.unwrap_err();
        let (body, _) = transfer(vec![blob(&short, 0..9)], 10);
        body.collect().await.unwrap_err();
        let (body, _) = transfer(vec![blob(&short, 0..10)], 9);
        body.collect().await.unwrap_err();
    }

    #[tokio::test]
    async fn a_reader_that_leaves_stops_the_reading() {
        let memory = Arc::new(Memory::new(100 * CHUNK, |_| false));
        let (mut body, told) = transfer(vec![blob(&memory, 0..100 * CHUNK as u64)], 100 * CHUNK as u64);
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(*told.lock().unwrap(), (CHUNK as u64, false));
        assert!(memory.blocking_reads.load(Ordering::Relaxed) <= 2);
        assert_eq!(Arc::strong_count(&told), 1, "whoever was to be told is dropped");
    }
}
