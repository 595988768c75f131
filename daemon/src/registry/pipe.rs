//! From the network to a blocking thread: frames go through a queue that is bounded in octets. A frame keeps its whole read
//! buffer alive, so octets are what is counted, for each pipe and for all of them together (limits.md §3). What the thread
//! does with them is not known here.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::blobs::BlobError;
use crate::registry::error::RegistryError;
use crate::registry::upload::UPLOADS_MAX;

/// Octets that may wait for one thread.
const QUEUE_OCTETS: usize = 1024 * 1024;
/// Octets that may wait for all threads together.
const QUEUES_OCTETS: usize = 24 * 1024 * 1024;
/// Octets that wait for a thread before it starts, where it gathers.
const GATHERED_OCTETS: usize = 128 * 1024;
// Invariant: what waits for threads that have not started leaves room for those that have, which give theirs back. Nobody
// waits for somebody who waits for a client.
const _: () = assert!(2 * UPLOADS_MAX * GATHERED_OCTETS < QUEUES_OCTETS);
/// What a frame counts at least: the smallest ones cost more than their octets.
const FRAME_OCTETS_MIN: usize = 4096;

/// Octets and the room they take in the queues.
pub(crate) struct Frame {
    pub(crate) octets: Bytes,
    _room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// The thread's end. Nothing more comes when the pipe is finished or dropped: which of the two, the thread can't tell.
pub(crate) type Frames = mpsc::UnboundedReceiver<Frame>;

/// The room that all pipes share.
pub(crate) fn shared_room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(QUEUES_OCTETS))
}

/// A queue and the thread that empties it.
pub(crate) struct Pipe<T> {
    queue: mpsc::UnboundedSender<Frame>,
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
    /// Octets that may still wait before there is a thread.
    before_start: usize,
    thread: Thread<T>,
}

enum Thread<T> {
    /// It starts when enough waits for it, or all.
    Later(Box<dyn FnOnce() -> Working<T> + Send>),
    Running(Working<T>),
    /// It has told its error.
    Ended,
}

type Working<T> = JoinHandle<Result<T, BlobError>>;

impl<T: Send + 'static> Pipe<T> {
    /// A pipe to a thread that starts now. `shared` is [`shared_room`].
    pub(crate) fn new(
        shared: &Arc<Semaphore>,
        work: impl FnOnce(Frames) -> Result<T, BlobError> + Send + 'static,
    ) -> Self {
        let mut pipe = Self::gathering(shared, work);
        pipe.start();
        pipe
    }

    /// A pipe to a thread that starts when [`GATHERED_OCTETS`] wait for it, or all there is: what is small is one piece of work
    /// then, and not one for each frame with a change of threads between them. Dropped before, it has done nothing.
    pub(crate) fn gathering(
        shared: &Arc<Semaphore>,
        work: impl FnOnce(Frames) -> Result<T, BlobError> + Send + 'static,
    ) -> Self {
        let (queue, frames) = mpsc::unbounded_channel();
        Self {
            queue,
            own: Arc::new(Semaphore::new(QUEUE_OCTETS)),
            shared: Arc::clone(shared),
            before_start: GATHERED_OCTETS,
            thread: Thread::Later(Box::new(move || tokio::task::spawn_blocking(move || work(frames)))),
        }
    }

    fn start(&mut self) {
        self.thread = match std::mem::replace(&mut self.thread, Thread::Ended) {
            Thread::Later(start) => Thread::Running(start()),
            started => started,
        };
    }

    /// Hands octets over; waits while the thread is behind.
    ///
    /// # Errors
    /// What ended the thread. Nothing can be written after an error.
    pub(crate) async fn write(&mut self, octets: Bytes) -> Result<(), RegistryError> {
        let cost = u32::try_from(octets.len().clamp(FRAME_OCTETS_MIN, QUEUE_OCTETS)).unwrap_or(u32::MAX);
        let closed = |error: tokio::sync::AcquireError| RegistryError::Internal(error.into());
        self.before_start = self.before_start.saturating_sub(cost as usize);
        let own = Arc::clone(&self.own).acquire_many_owned(cost).await.map_err(closed)?;
        let shared = Arc::clone(&self.shared).acquire_many_owned(cost).await.map_err(closed)?;
        let sent = self.queue.send(Frame { octets, _room: (own, shared) });
        if self.before_start == 0 {
            self.start();
        }
        if sent.is_ok() {
            return Ok(());
        }
        // The thread has ended early, so it has an error to tell.
        self.end().await?;
        Err(RegistryError::internal("an upload's thread ended before its file"))
    }

    /// Nothing more comes: what the thread comes to.
    ///
    /// # Errors
    /// What ended the thread.
    pub(crate) async fn finish(mut self) -> Result<T, RegistryError> {
        drop(std::mem::replace(&mut self.queue, mpsc::unbounded_channel().0));
        self.end().await
    }

    async fn end(&mut self) -> Result<T, RegistryError> {
        self.start();
        let Thread::Running(thread) = std::mem::replace(&mut self.thread, Thread::Ended) else {
            return Err(RegistryError::internal("an upload's thread has told its error already"));
        };
        Ok(thread.await.map_err(|error| RegistryError::Internal(error.into()))??)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::{Frames, GATHERED_OCTETS, Pipe, QUEUES_OCTETS, shared_room};
    use crate::blobs::BlobError;

    fn count(mut frames: Frames) -> Result<(usize, usize), BlobError> {
        let mut counted = (0, 0);
        while let Some(frame) = frames.blocking_recv() {
            counted = (counted.0 + 1, counted.1 + frame.octets.len());
        }
        Ok(counted)
    }

    /// A thread starts when enough is gathered or nothing more comes, sees all of it, and gives all room back.
    #[tokio::test]
    async fn gathering() {
        let room = shared_room();
        let started = Arc::new(AtomicUsize::new(0));
        let pipe = || {
            let started = Arc::clone(&started);
            Pipe::gathering(&room, move |frames| {
                started.fetch_add(1, Ordering::SeqCst);
                count(frames)
            })
        };
        let mut small = pipe();
        small.write(Bytes::from(vec![1; 10_000])).await.unwrap();
        small.write(Bytes::from(vec![2; 20_000])).await.unwrap();
        assert_eq!(started.load(Ordering::SeqCst), 0);
        assert_eq!(small.finish().await.unwrap(), (2, 30_000));
        assert_eq!(pipe().finish().await.unwrap(), (0, 0));

        let mut large = pipe();
        for _ in 0..100 {
            large.write(Bytes::from(vec![3; GATHERED_OCTETS])).await.unwrap();
        }
        assert_eq!(large.finish().await.unwrap(), (100, 100 * GATHERED_OCTETS));

        let before = started.load(Ordering::SeqCst);
        let mut dropped = pipe();
        dropped.write(Bytes::from_static(b"octets")).await.unwrap();
        drop(dropped);
        assert_eq!((started.load(Ordering::SeqCst), room.available_permits()), (before, QUEUES_OCTETS));
    }

    /// A thread that fails is heard of by the next who writes, or at the end.
    #[tokio::test]
    async fn errors() {
        let fail = |_frames: Frames| Err::<(), _>(BlobError::Full(std::io::Error::other("full")));
        let mut pipe = Pipe::new(&shared_room(), fail);
        while pipe.write(Bytes::from_static(b"octets")).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(pipe.write(Bytes::from_static(b"octets")).await.is_err());
        let mut pipe = Pipe::gathering(&shared_room(), fail);
        pipe.write(Bytes::from_static(b"octets")).await.unwrap();
        assert!(pipe.finish().await.is_err());
    }
}
