//! What is asked of the writing thread, and in which order it is taken: commands come into the next batch, a probe goes before
//! it, what needs the files alone is run at once, and all else waits for the batch's end. Knows who waits; refuses to know what a
//! command does.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{AGAIN_MAX, BATCH_COMMANDS_MAX, QUEUE_MAX, Request, answer};
use crate::store::shared::SharedError;
use crate::store::{Committed, Decide, PublishedCheckpoint, StoreError, Urgency};

/// A command, how urgent it is, and who waits for it.
pub(super) type Waiting = (Urgency, Decide, oneshot::Sender<Result<Committed, StoreError>>);

/// Who waits for a checkpoint that is signed once more.
pub(super) type SignedAgain = oneshot::Sender<Result<Arc<PublishedCheckpoint>, StoreError>>;

/// The requests, and those of them that were taken.
pub struct Queue {
    requests: mpsc::Receiver<Request>,
    /// Commands of the next batch.
    pub(super) waiting: Vec<Waiting>,
    /// What is done before the batch, or after it.
    pub(super) taken: Taken,
}

/// What was taken besides commands.
#[derive(Default)]
pub(super) struct Taken {
    /// Who waits for the end, if that is asked for.
    pub(super) closing: Option<oneshot::Sender<()>>,
    /// A probe was asked for.
    pub(super) probe: bool,
    /// Checkpoints that are to be signed once more.
    pub(super) again: Vec<(u64, SignedAgain)>,
    /// Who waits for a view that lacks nothing.
    pub(super) settle: Vec<oneshot::Sender<()>>,
    /// Sizes that are to be reached.
    pub(super) catch_up: Vec<(u64, oneshot::Sender<Result<(), SharedError>>)>,
}

impl Queue {
    /// An empty one, and the way into it.
    pub fn new() -> (mpsc::Sender<Request>, Self) {
        let (sender, requests) = mpsc::channel(QUEUE_MAX);
        (sender, Self { requests, waiting: Vec::new(), taken: Taken::default() })
    }

    /// Waits for a request; none once nobody can send one any more.
    pub(super) fn next(&mut self) -> Option<Request> {
        self.requests.blocking_recv()
    }

    /// The next request, if it is here already.
    pub(super) fn next_here(&mut self) -> Option<Request> {
        self.requests.try_recv().ok()
    }

    /// Requests that were not taken yet.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether nothing more is taken before the next batch.
    pub(super) fn is_batch(&self) -> bool {
        self.taken.closing.is_some() || self.waiting.len() >= BATCH_COMMANDS_MAX || self.taken.again.len() >= AGAIN_MAX
    }

    /// Takes a request and those behind it, as many as go into a batch, up to the end if there is one.
    pub(super) fn take(&mut self, first: Request) {
        self.place(first);
        while !self.is_batch()
            && let Some(request) = self.next_here()
        {
            self.place(request);
        }
    }

    /// Refuses those who came while a batch is in doubt and can't be served before it has ended: commands, and those who want to
    /// know what others committed. All else waits for that; when it is there, it is looked whether things are better.
    pub(super) fn refuse(&mut self, why: &str) {
        self.taken.probe = true;
        while self.taken.closing.is_none()
            && let Some(request) = self.next_here()
        {
            self.place(request);
        }
        for (_urgency, _decide, reply) in self.waiting.drain(..) {
            answer(reply, Err(StoreError::Unavailable(why.to_owned())));
        }
        for (_size, reply) in self.taken.catch_up.drain(..) {
            // Who waited for it may be gone.
            let _gone = reply.send(Err(SharedError::Unreachable(why.to_owned())));
        }
    }

    fn place(&mut self, request: Request) {
        match request {
            Request::Commit(urgency, decide, reply) => self.waiting.push((urgency, decide, reply)),
            Request::SignAgain(size, reply) => self.taken.again.push((size, reply)),
            // What waits is not decided yet, and what is being committed not applied: the view is as a batch left it.
            Request::Still(work) => work(),
            Request::CatchUp(size, reply) => self.taken.catch_up.push((size, reply)),
            Request::Settle(reply) => self.taken.settle.push(reply),
            Request::Probe => self.taken.probe = true,
            Request::Close(done) => self.taken.closing = Some(done),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use tokio::sync::oneshot;

    use super::{AGAIN_MAX, BATCH_COMMANDS_MAX, Queue, Request};
    use crate::store::shared::SharedError;
    use crate::store::{StoreError, Urgency};

    /// While a batch is in doubt commands and readers are refused, as many as there are and whatever came before them; the rest
    /// waits for the end of it, and behind a request to close nothing is taken.
    #[test]
    fn in_doubt() {
        let (requests, mut queue) = Queue::new();
        let send = |request| assert!(requests.try_send(request).is_ok());
        let (behind, mut told_behind) = oneshot::channel();
        send(Request::CatchUp(7, behind));
        let first = queue.next().unwrap();
        queue.take(first);
        for _ in 0..2 * AGAIN_MAX {
            send(Request::SignAgain(1, oneshot::channel().0));
        }
        let mut commands: Vec<_> = (0..2 * BATCH_COMMANDS_MAX)
            .map(|_| {
                let (reply, told) = oneshot::channel();
                send(Request::Commit(Urgency::Ordinary, Box::new(|_, _| unreachable!("it is refused")), reply));
                told
            })
            .collect();
        let (done, mut settled) = oneshot::channel();
        send(Request::Settle(done));
        queue.refuse("in doubt");
        assert!(matches!(told_behind.try_recv(), Ok(Err(SharedError::Unreachable(why))) if why == "in doubt"));
        for told in &mut commands {
            assert!(matches!(told.try_recv(), Ok(Err(StoreError::Unavailable(why))) if why == "in doubt"));
        }
        assert!(settled.try_recv().is_err());
        assert_eq!((queue.taken.again.len(), queue.taken.settle.len(), queue.waiting.len()), (2 * AGAIN_MAX, 1, 0));
        assert!(queue.taken.probe);

        let (closed, mut told_closed) = oneshot::channel();
        send(Request::Close(closed));
        let (late, mut told_late) = oneshot::channel();
        send(Request::CatchUp(8, late));
        queue.refuse("in doubt");
        assert!(told_closed.try_recv().is_err() && told_late.try_recv().is_err());
        assert!(queue.taken.closing.is_some() && queue.is_batch());
        assert_eq!(queue.len(), 1);
    }
}
