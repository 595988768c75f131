//! From the network to a blocking thread: frames go through a queue that is bounded in octets. A frame keeps its whole read
//! buffer alive, so octets are what is counted, for each pipe and for all of them together (limits.md §3). What the thread
//! does with them is not known here.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::blobs::BlobError;
use crate::registry::error::RegistryError;

/// Octets that may wait for one thread.
const QUEUE_OCTETS: usize = 1024 * 1024;
/// Octets that may wait for all threads together.
const QUEUES_OCTETS: usize = 24 * 1024 * 1024;
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
    /// None once it has told its error.
    thread: Option<JoinHandle<Result<T, BlobError>>>,
}

impl<T: Send + 'static> Pipe<T> {
    /// Starts the thread. `shared` is [`shared_room`].
    pub(crate) fn new(
        shared: &Arc<Semaphore>,
        work: impl FnOnce(Frames) -> Result<T, BlobError> + Send + 'static,
    ) -> Self {
        let (queue, frames) = mpsc::unbounded_channel();
        Self {
            queue,
            own: Arc::new(Semaphore::new(QUEUE_OCTETS)),
            shared: Arc::clone(shared),
            thread: Some(tokio::task::spawn_blocking(move || work(frames))),
        }
    }

    /// Hands octets over; waits while the thread is behind.
    ///
    /// # Errors
    /// What ended the thread. Nothing can be written after an error.
    pub(crate) async fn write(&mut self, octets: Bytes) -> Result<(), RegistryError> {
        let cost = u32::try_from(octets.len().clamp(FRAME_OCTETS_MIN, QUEUE_OCTETS)).unwrap_or(u32::MAX);
        let closed = |error: tokio::sync::AcquireError| RegistryError::Internal(error.into());
        let own = Arc::clone(&self.own).acquire_many_owned(cost).await.map_err(closed)?;
        let shared = Arc::clone(&self.shared).acquire_many_owned(cost).await.map_err(closed)?;
        if self.queue.send(Frame { octets, _room: (own, shared) }).is_ok() {
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
        let Some(thread) = self.thread.take() else {
            return Err(RegistryError::internal("an upload's thread has told its error already"));
        };
        Ok(thread.await.map_err(|error| RegistryError::Internal(error.into()))??)
    }
}
