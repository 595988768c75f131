//! The live tail: the log as it grows, to many readers at once, without gap or repetition. Knows entries, who may follow
//! them and how many may; refuses to know formats.
//!
//! One task, the feed, reads what was committed and shows it to all tails as shared batches, together with the checkpoint
//! that covers them. A face renders a batch once, whoever of its readers comes first. What a tail needs from before the
//! feed's memory it reads from the journal, at its own pace. Nothing waits for a reader, and nothing is kept for one.
//!
//! | what | bound |
//! |---|---|
//! | tails at once, in all and of one actor | [`TAILS_MAX`], [`TAILS_PER_ACTOR_MAX`] |
//! | leaves of a batch | as many as begin within [`BATCH_OCTETS`], so below that and one leaf |
//! | batches the feed remembers | [`RECENT_BATCHES_MAX`], with [`RECENT_OCTETS_MAX`] of leaves |

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use common::audit::{Action, Target};
use common::role::Permission;
use tokio::sync::watch;

use crate::clock;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::registry::error::{Failure, Outcome, RegistryError};
use crate::registry::upkeep::Ticked;
use crate::registry::{Inner, Registry};
use crate::store::{PublishedCheckpoint, StoreError, View};

/// Tails at once.
pub const TAILS_MAX: usize = 256;
/// Tails of one actor at once.
pub const TAILS_PER_ACTOR_MAX: usize = 32;
/// A batch takes no other leaf when it has so many octets of them.
pub const BATCH_OCTETS: usize = 32 * 1024;
/// Octets of leaves that the feed remembers: some seconds of a busy log.
pub const RECENT_OCTETS_MAX: usize = 4 * 1024 * 1024;
/// Batches that the feed remembers.
pub const RECENT_BATCHES_MAX: usize = 512;
/// The feed pauses so long for each reader after it has woken them, so that entries gather while a crowd is served: a
/// wake-up costs a reader and its client much the same whatever it brings. 200 readers see 100 batches a second; a few
/// wait for nothing.
const PAUSE_PER_READER: Duration = Duration::from_micros(30);
/// Pauses shorter than the timer can tell are left out.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Appends the rendering of an entry: index and exact octets of the leaf.
pub type Render = fn(u64, &[u8], &mut Vec<u8>);

/// Consecutive entries, shared by all who read them.
#[derive(Debug)]
pub struct Batch {
    first: u64,
    leaves: Vec<Vec<u8>>,
    octets: usize,
    /// The rendering of all, and where that of each entry ends.
    rendering: OnceLock<(Bytes, Vec<usize>)>,
}

impl Batch {
    /// Reads the entries from `from` on, below `to`, as many as a batch takes; at least one.
    fn read(view: &dyn View, from: u64, to: u64) -> Result<Self, RegistryError> {
        let mut batch = Self { first: from, leaves: Vec::new(), octets: 0, rendering: OnceLock::new() };
        for index in from..to {
            let missing = || StoreError::Corrupt(format!("entry {index} is missing from the log"));
            let leaf = view.leaf(index)?.ok_or_else(missing)?;
            batch.octets += leaf.len();
            batch.leaves.push(leaf);
            if batch.octets >= BATCH_OCTETS {
                break;
            }
        }
        Ok(batch)
    }

    /// The index behind the last.
    pub fn end(&self) -> u64 {
        self.first + self.leaves.len() as u64
    }

    /// The entries from one of them on, rendered; nothing where it is not among them. Always to be called with the same
    /// function: it is called once for each entry, however many read it.
    pub fn rendered(&self, from: u64, render: Render) -> Bytes {
        let (octets, ends) = self.rendering.get_or_init(|| {
            // Base64 takes four octets for three; the rest is for what stands around it.
            let mut octets = Vec::with_capacity(self.octets / 3 * 4 + self.leaves.len() * 64);
            let mut ends = Vec::with_capacity(self.leaves.len());
            for (index, leaf) in (self.first..).zip(&self.leaves) {
                render(index, leaf, &mut octets);
                ends.push(octets.len());
            }
            (octets.into(), ends)
        });
        let skipped = from.checked_sub(self.first).and_then(|skipped| usize::try_from(skipped).ok());
        match skipped {
            Some(0) => octets.clone(),
            Some(skipped) => ends.get(skipped - 1).map_or_else(Bytes::new, |&end| octets.slice(end..)),
            None => Bytes::new(),
        }
    }
}

/// What the feed remembers: consecutive batches, the newest last, and the checkpoint that covers exactly all before their
/// end.
#[derive(Debug)]
struct Recent {
    batches: VecDeque<Arc<Batch>>,
    octets: usize,
    checkpoint: Arc<PublishedCheckpoint>,
}

impl Recent {
    fn nothing_before(checkpoint: Arc<PublishedCheckpoint>) -> Self {
        Self { batches: VecDeque::new(), octets: 0, checkpoint }
    }

    fn end(&self) -> u64 {
        self.checkpoint.size
    }

    /// The oldest index remembered; the end where there is none.
    fn first(&self) -> u64 {
        self.batches.front().map_or(self.end(), |batch| batch.first)
    }

    /// The batch that has an index.
    fn batch_of(&self, index: u64) -> Option<&Arc<Batch>> {
        let at = self.batches.partition_point(|batch| batch.end() <= index);
        self.batches.get(at).filter(|batch| batch.first <= index)
    }

    /// The same with more, without what is too old to be kept.
    fn with(&self, more: Vec<Batch>, checkpoint: Arc<PublishedCheckpoint>) -> Self {
        let mut batches = self.batches.clone();
        let mut octets = self.octets;
        for batch in more {
            octets += batch.octets;
            batches.push_back(Arc::new(batch));
            while batches.len() > RECENT_BATCHES_MAX || octets > RECENT_OCTETS_MAX {
                octets -= batches.pop_front().map_or(octets, |oldest| oldest.octets);
            }
        }
        Self { batches, octets, checkpoint }
    }
}

/// What all tails share.
pub(crate) struct Feed {
    recent: watch::Sender<Arc<Recent>>,
    /// Tails of each actor.
    readers: watch::Sender<HashMap<String, usize>>,
}

impl Feed {
    pub(crate) fn new(checkpoint: Arc<PublishedCheckpoint>) -> Self {
        Self {
            recent: watch::Sender::new(Arc::new(Recent::nothing_before(checkpoint))),
            readers: watch::Sender::new(HashMap::new()),
        }
    }

    /// Tails there are.
    fn tails(&self) -> usize {
        self.readers.borrow().values().sum()
    }

    /// Takes a place for an actor's tail.
    fn enter(&self, actor: &str) -> Result<(), RegistryError> {
        let mut entered = Ok(());
        self.readers.send_if_modified(|readers| {
            let own = readers.get(actor).copied().unwrap_or(0);
            if own >= TAILS_PER_ACTOR_MAX {
                entered = Err(RegistryError::Busy { what: "you follow the log too often already", is_callers: true });
            } else if readers.values().sum::<usize>() >= TAILS_MAX {
                entered = Err(RegistryError::Busy { what: "too many follow the log already", is_callers: false });
            } else {
                readers.insert(actor.to_owned(), own + 1);
            }
            entered.is_ok()
        });
        entered
    }

    fn leave(&self, actor: &str) {
        self.readers.send_modify(|readers| {
            if let Some(own) = readers.get_mut(actor) {
                *own -= 1;
                if *own == 0 {
                    readers.remove(actor);
                }
            }
        });
    }

    /// Shows that nothing is remembered, and all below the checkpoint is in the journal.
    fn forget(&self, checkpoint: Arc<PublishedCheckpoint>) {
        self.recent.send_replace(Arc::new(Recent::nothing_before(checkpoint)));
    }
}

/// Feeds the tails as long as there are any. Ends with the registry.
pub(crate) async fn feed(inner: Weak<Inner>) {
    let Some((mut checkpoints, mut readers)) =
        inner.upgrade().map(|inner| (inner.store.checkpoints(), inner.feed.readers.subscribe()))
    else {
        return;
    };
    loop {
        if readers.wait_for(|readers| !readers.is_empty()).await.is_err() {
            return;
        }
        // Those who have come already read up to here from the journal.
        match inner.upgrade() {
            Some(inner) => inner.feed.forget(Arc::clone(&checkpoints.borrow_and_update())),
            None => return,
        }
        loop {
            tokio::select! {
                grown = checkpoints.changed() => if grown.is_err() { return },
                nobody = readers.wait_for(HashMap::is_empty) => {
                    if nobody.is_err() {
                        return;
                    }
                    break;
                }
            }
            let Some(inner) = inner.upgrade() else { return };
            let checkpoint = Arc::clone(&checkpoints.borrow_and_update());
            inner.show(checkpoint).await;
            let pause = PAUSE_PER_READER * u32::try_from(inner.feed.tails()).unwrap_or(u32::MAX);
            drop(inner);
            if pause >= PAUSE_MIN {
                tokio::time::sleep(pause).await;
            }
        }
        // What nobody reads is not kept.
        match inner.upgrade() {
            Some(inner) => inner.feed.forget(Arc::clone(&checkpoints.borrow())),
            None => return,
        }
    }
}

impl Inner {
    /// Shows the tails all that a checkpoint covers.
    async fn show(&self, checkpoint: Arc<PublishedCheckpoint>) {
        let recent = Arc::clone(&self.feed.recent.borrow());
        let (from, to) = (recent.end(), checkpoint.size);
        let more = self
            .scan(move |view| {
                let (mut batches, mut next) = (Vec::new(), from);
                // A batch of the commit path is not larger than what is remembered; beyond that nobody misses it.
                while next < to && batches.len() < RECENT_BATCHES_MAX {
                    let batch = Batch::read(view, next, to)?;
                    next = batch.end();
                    batches.push(batch);
                }
                Ok((batches, next))
            })
            .await;
        match more {
            Ok((batches, end)) if end == to => {
                self.feed.recent.send_replace(Arc::new(recent.with(batches, checkpoint)));
            }
            // Whoever reads that far finds the same fault in the journal, and tells it.
            Ok(_) | Err(_) => self.feed.forget(checkpoint),
        }
    }
}

/// Where a tail is to begin.
#[derive(Debug, Clone, Copy)]
pub struct After {
    /// Behind this entry.
    pub index: u64,
    /// Where the caller said so: `query.after`, `header.Last-Event-ID`.
    pub loc: &'static str,
}

/// Why a tail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The reader went away.
    Left,
    /// The reader took nothing for too long.
    Slow,
    /// The token it was begun with expired.
    Expired,
    /// Its session ended, or its user may not read the log any more.
    Revoked,
    /// The daemon stops.
    Stopping,
    /// A fault of the registry's.
    Failed,
}

impl Ending {
    /// The word for it, in entries and to the reader.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Slow => "slow",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}

/// The log as it grows, for one reader. Dropped, it records how far it was read; a stop waits for that.
pub struct Tail {
    inner: Arc<Inner>,
    caller: Caller,
    recent: watch::Receiver<Arc<Recent>>,
    /// Index of the entry of its beginning; none before that is written.
    began: Option<u64>,
    first: u64,
    /// The index to read next.
    next: u64,
    /// All below it was given to the reader.
    given: u64,
    /// The size that was last said to be all there is.
    caught_up_at: Option<u64>,
    ending: Ending,
    _running: Ticked,
}

/// What a tail brings.
#[derive(Debug, Clone)]
pub enum News {
    /// Entries, which all are covered by a checkpoint: those of the batch from this index on.
    Entries(Arc<Batch>, u64),
    /// All that this checkpoint covers has been brought, and nothing else. Once for each size.
    CaughtUp(Arc<PublishedCheckpoint>),
}

impl Tail {
    /// What is next; waits for it. May be dropped while it waits.
    ///
    /// # Errors
    /// `Corrupt`, `Internal`.
    pub async fn next(&mut self) -> Result<News, RegistryError> {
        loop {
            let recent = Arc::clone(&self.recent.borrow_and_update());
            let from = self.next;
            let batch = if let Some(batch) = recent.batch_of(from) {
                Arc::clone(batch)
            } else if from < recent.first() {
                let to = recent.first();
                Arc::new(self.inner.scan(move |view| Batch::read(view, from, to)).await?)
            } else if recent.end() == from && self.caught_up_at != Some(from) {
                self.caught_up_at = Some(from);
                return Ok(News::CaughtUp(Arc::clone(&recent.checkpoint)));
            } else {
                // The feed's memory lives as long as we do, so this can't fail.
                let _ = self.recent.changed().await;
                continue;
            };
            self.next = batch.end();
            return Ok(News::Entries(batch, from));
        }
    }

    /// All that was brought up to now has been given to the reader, whose connection may yet lose it.
    pub fn given(&mut self) {
        self.given = self.next;
    }

    /// What says whether it may go on.
    pub fn rights(&self) -> Rights {
        Rights { inner: Arc::clone(&self.inner), caller: self.caller.clone() }
    }

    /// Ends it, and records why.
    pub fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.inner.feed.leave(&self.caller.actor.id);
        // Its beginning is not in the log, so nothing was read.
        let Some(began) = self.began else { return };
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        let note = Note::event(Action::AuditRead, Target::new("log", "entries"))
            .with("live", "end")
            .with("began", began)
            .with("first", self.first)
            .with("count", self.given.saturating_sub(self.first))
            .with("ending", self.ending.as_str());
        // Started before `_running` goes, so that a stop sees either.
        self.inner.tasks.spawn_if_running(async move {
            if let Err(failure) = inner.record(&caller, note).await {
                tracing::warn!(error = crate::error_chain(&failure.error), "the end of a live tail can't be recorded");
            }
        });
    }
}

/// Whether a reader may go on.
pub struct Rights {
    inner: Arc<Inner>,
    caller: Caller,
}

impl Rights {
    /// Looks again: session or API token, user. Two point reads.
    ///
    /// # Errors
    /// Why it may not: `Expired`, `Revoked`, `Failed`.
    pub async fn check(&self) -> Result<(), Ending> {
        if self.caller.actor.token_expires_at_ms.is_some_and(|at_ms| at_ms <= clock::now_ms()) {
            return Err(Ending::Expired);
        }
        let caller = match self.inner.caller_now(&self.caller).await {
            Ok(caller) => caller,
            Err(RegistryError::Unauthenticated) => return Err(Ending::Revoked),
            Err(error) => {
                tracing::error!(error = crate::error_chain(&error), "whether a live tail may go on can't be found out");
                return Err(Ending::Failed);
            }
        };
        caller.require(Permission::AuditRead).map_err(|_refused: RegistryError| Ending::Revoked)
    }
}

impl Registry {
    /// The log from the entry behind `after` on, or from now on: behind the entry of this very call.
    ///
    /// # Errors
    /// What `require` says; `Invalid` for an index that isn't there yet; `Busy`; `AuditUnavailable`.
    pub async fn audit_tail(&self, caller: &Caller, after: Option<After>) -> Outcome<Tail> {
        let inner = &self.inner;
        let note = Note::event(Action::AuditRead, Target::new("log", "entries")).with("live", "begin");
        inner.permit(caller, Permission::AuditRead, &note).await?;
        if let Err(error) = inner.feed.enter(&caller.actor.id) {
            return Err(inner.refuse(caller, note, error).await);
        }
        let mut tail = Tail {
            inner: Arc::clone(inner),
            caller: caller.clone(),
            recent: inner.feed.recent.subscribe(),
            began: None,
            first: 0,
            next: 0,
            given: 0,
            caught_up_at: None,
            ending: Ending::Left,
            _running: inner.tasks.hold(),
        };
        // In a task of its own: if the caller goes away meanwhile, what has a beginning gets its end.
        let opening = inner.tasks.spawn(async move {
            let inner = Arc::clone(&tail.inner);
            let done = inner.begin(&tail.caller, note, after).await?;
            tail.began = done.logged.map(|logged| logged.index);
            (tail.first, tail.next, tail.given) = (done.value, done.value, done.value);
            Ok::<_, Failure>(done.map(|_first| tail))
        });
        opening.await.map_err(|error| RegistryError::Internal(error.into()))?
    }

    /// What beginning a tail would come to, without it.
    ///
    /// # Errors
    /// Those of [`Registry::audit_tail`], `Busy` excepted.
    pub async fn audit_tail_offer(&self, caller: &Caller, after: Option<After>) -> Outcome<()> {
        let note = Note::event(Action::AuditRead, Target::new("log", "entries")).with("live", "offer");
        self.inner.permit(caller, Permission::AuditRead, &note).await?;
        Ok(self.inner.begin(caller, note, after).await?.map(drop))
    }

    /// Live tails there are.
    pub fn tails(&self) -> usize {
        self.inner.feed.tails()
    }
}

impl Inner {
    /// Records a beginning; the index it is behind `after`.
    async fn begin(self: &Arc<Self>, caller: &Caller, note: Note, after: Option<After>) -> Outcome<u64> {
        self.commit(caller, note, move |_records, moment, note| {
            let first = match after {
                None => moment.index + 1,
                Some(After { index, .. }) if index < moment.index => index + 1,
                Some(After { index, loc }) => {
                    note.say("after", index.to_string());
                    let msg = format!("the log ends with entry {}", moment.index.saturating_sub(1));
                    return Err(RegistryError::invalid(loc, msg));
                }
            };
            note.say("first", first);
            Ok((first, Vec::new()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;
    use std::sync::OnceLock;

    use common::audit::Hash;

    use super::{
        BATCH_OCTETS, Batch, Feed, RECENT_BATCHES_MAX, RECENT_OCTETS_MAX, Recent, TAILS_MAX, TAILS_PER_ACTOR_MAX,
    };
    use crate::registry::error::RegistryError;
    use crate::store::PublishedCheckpoint;

    fn checkpoint(size: u64) -> Arc<PublishedCheckpoint> {
        Arc::new(PublishedCheckpoint { size, root: Hash([0; 32]), note: String::new() })
    }

    fn batch(first: u64, sizes: &[usize]) -> Batch {
        let leaves: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![b'x'; size]).collect();
        Batch { first, octets: sizes.iter().sum(), leaves, rendering: OnceLock::new() }
    }

    fn shown(index: u64, leaf: &[u8], into: &mut Vec<u8>) {
        into.extend_from_slice(format!("{index}:{} ", leaf.len()).as_bytes());
    }

    /// A batch is rendered once; a reader in the middle of it gets the rest.
    #[test]
    fn renderings() {
        let batch = batch(7, &[1, 2, 3]);
        assert_eq!(batch.rendered(7, shown), "7:1 8:2 9:3 ");
        assert_eq!(batch.rendered(8, |_, _, _| panic!("it is rendered already")), "8:2 9:3 ");
        assert_eq!(batch.rendered(9, shown), "9:3 ");
        for outside in [6, 10, 11, u64::MAX] {
            assert_eq!(batch.rendered(outside, shown), "", "{outside}");
        }
        assert_eq!(batch.end(), 10);
    }

    /// Every index between first and end is found in the batch that has it, and in no other; memory is bounded by both
    /// limits.
    #[test]
    fn memory() {
        let mut recent = Recent::nothing_before(checkpoint(5));
        assert!(recent.batch_of(4).is_none() && recent.batch_of(5).is_none());
        assert_eq!((recent.first(), recent.end()), (5, 5));
        let mut next = 5;
        for round in 0..2 * RECENT_BATCHES_MAX {
            let one = batch(next, if round % 2 == 0 { &[10, 20] } else { &[30] });
            next = one.end();
            recent = recent.with(vec![one], checkpoint(next));
            assert_eq!(recent.end(), next);
            assert_eq!(recent.octets, recent.batches.iter().map(|batch| batch.octets).sum::<usize>());
        }
        assert_eq!(recent.batches.len(), RECENT_BATCHES_MAX);
        for index in recent.first()..recent.end() {
            let found = recent.batch_of(index).unwrap();
            assert!(found.first <= index && index < found.end());
        }
        assert!(recent.batch_of(recent.first() - 1).is_none() && recent.batch_of(recent.end()).is_none());
        for _ in 0..2 * RECENT_OCTETS_MAX / BATCH_OCTETS {
            let one = batch(next, &[BATCH_OCTETS]);
            next = one.end();
            recent = recent.with(vec![one], checkpoint(next));
            assert!(recent.octets <= RECENT_OCTETS_MAX);
        }
        assert!(recent.octets > RECENT_OCTETS_MAX - BATCH_OCTETS);
    }

    /// Places are bounded for each and in all, and come back.
    #[test]
    fn places() {
        let feed = Feed::new(checkpoint(0));
        for _ in 0..TAILS_PER_ACTOR_MAX {
            feed.enter("a").unwrap();
        }
        assert!(matches!(feed.enter("a"), Err(RegistryError::Busy { is_callers: true, .. })));
        for other in 0..TAILS_MAX - TAILS_PER_ACTOR_MAX {
            feed.enter(&format!("other-{other}")).unwrap();
        }
        assert!(matches!(feed.enter("b"), Err(RegistryError::Busy { is_callers: false, .. })));
        feed.leave("a");
        assert_eq!(feed.tails(), TAILS_MAX - 1);
        feed.enter("b").unwrap();
        for _ in 0..TAILS_PER_ACTOR_MAX - 1 {
            feed.leave("a");
        }
        assert!(!feed.readers.borrow().contains_key("a"), "who has none takes no room");
    }
}
