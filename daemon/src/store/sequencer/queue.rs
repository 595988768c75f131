//! What is asked of the writing thread, and in which order it is taken: commands come into the next batch, all else waits for
//! its end. Knows who waits; refuses to know what a command does.

use tokio::sync::{mpsc, oneshot};

use super::{AGAIN_MAX, BATCH_COMMANDS_MAX, QUEUE_MAX, Request, answer};
use crate::store::shared::SharedError;
use crate::store::{Committed, Decide, PublishedCheckpoint, StoreError, Urgency};
use std::sync::Arc;

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

    /// Refuses who came while a batch lasts, and can't be served before it has ended. All else waits for that; when it is
    /// there, it is looked whether things are better.
    pub(super) fn refuse(&mut self, why: &str) {
        self.taken.probe = true;
        while !self.is_batch()
            && let Some(request) = self.next_here()
        {
            self.place(request);
            for (_urgency, _decide, reply) in self.waiting.drain(..) {
                answer(reply, Err(StoreError::Unavailable(why.to_owned())));
            }
            for (_size, reply) in self.taken.catch_up.drain(..) {
                // Who waited for it may be gone.
                let _gone = reply.send(Err(SharedError::Unreachable(why.to_owned())));
            }
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
