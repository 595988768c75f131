//! The commit path where several daemons share the log: the turn before a batch is decided, the commit of the batch in the
//! database, and the entries that others committed, which are applied as recovery would. Knows in which order replica and
//! database change; refuses to know SQL.
//!
//! A batch is committed in the database first, then appended to the local journal, then applied and signed. So what is in a
//! replica is in the database, and whatever a crash leaves out of the replica is fetched again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::audit::{Hash, leaf_hash};

use super::{NewKeys, Placed, Sequencer, apply_record};
use crate::store::journal::{AppendError, Record, Scanned, Spare};
use crate::store::overlay::Overlay;
use crate::store::shared::writer::{Outcome, PAUSE};
use crate::store::shared::{Contradiction, Head, SharedError};
use crate::store::sled::{first_keys, read_record};
use crate::store::view::{Applied, set_applied};
use crate::store::{Health, Moment, StoreError};

/// A replica that is further behind catches up before it takes the turn, so that others don't wait for it.
const BEHIND_IN_TURN_MAX: u64 = 1024;

/// How long it is asked what became of a commit before those who wait are told that it is not known.
const FIND_OUT_FOR: Duration = Duration::from_secs(30);

/// Makes what a command is told.
type Refusal = fn(String) -> StoreError;

/// A batch that did not get into the database, or of which it isn't known.
pub(super) struct Unshared {
    pub(super) error: Refusal,
    pub(super) why: String,
}

/// Why a replica can't go on with the database.
#[derive(Debug)]
pub(super) enum Behind {
    /// Not now.
    Later(String),
    /// Not without a person: the daemon stops.
    Never(String),
}

impl From<SharedError> for Behind {
    fn from(error: SharedError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<StoreError> for Behind {
    fn from(error: StoreError) -> Self {
        Self::Never(crate::error_chain(&error))
    }
}

impl Sequencer {
    /// Takes the turn to commit, and applies what others committed before it. Without a shared log it is always our turn.
    pub(super) fn take_turn(&mut self) -> Result<(), Behind> {
        loop {
            let Some(shared) = &mut self.shared else { return Ok(()) };
            let head = shared.begin()?;
            if head.size.saturating_sub(self.journal.next_index()) <= BEHIND_IN_TURN_MAX {
                return self.follow(&head);
            }
            shared.end();
            self.follow(&head)?;
        }
    }

    /// Gives back a turn that came to nothing.
    pub(super) fn end_turn(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.end();
        }
    }

    /// What is said, and to whom, where a replica can't go on.
    pub(super) fn say_behind(&mut self, behind: Behind) -> String {
        match behind {
            Behind::Later(why) => {
                self.refusing(Health::Refusing(why.clone()));
                why
            }
            Behind::Never(why) => {
                self.failed(&why);
                why
            }
        }
    }

    /// Commits the records of a batch for all daemons: the commit point, where there are several. None: it happened.
    pub(super) fn share(&mut self, records: &[Record], placed: &[Placed]) -> Option<Unshared> {
        let first = self.journal.next_index();
        let root = self.hashes.root_with(placed.iter().map(|one| one.leaf_hash));
        let (error, why): (Refusal, _) = match self.shared.as_mut()?.commit(first, records, root) {
            Outcome::Done => return None,
            Outcome::NotDone(why) => (StoreError::Unavailable, why),
            Outcome::Unanswered(why) => match self.find_out(first, records, &why) {
                Ok(true) => return None,
                Ok(false) => (StoreError::Unavailable, why),
                // Whatever it was: it is fetched like others' entries, once the database answers.
                Err(still) => (StoreError::Unknown, format!("{why}; {still}")),
            },
        };
        let why = format!("the database: {why}");
        self.refusing(Health::Refusing(why.clone()));
        Some(Unshared { error, why })
    }

    /// Whether a batch whose commit was not answered is committed; an error if that could not be told in time. Nothing else
    /// can be decided before, so who comes meanwhile is refused instead of kept waiting.
    fn find_out(&mut self, first: u64, records: &[Record], why: &str) -> Result<bool, String> {
        let began = Instant::now();
        loop {
            let Some(shared) = &mut self.shared else { return Ok(false) };
            match shared.is_committed(first, records) {
                Ok(is_committed) => return Ok(is_committed),
                Err(SharedError::Unreachable(still)) if began.elapsed() < FIND_OUT_FOR => {
                    let why = format!("{why}; {still}");
                    self.refusing(Health::Refusing(format!("the database: {why}")));
                    self.queue.refuse(&why);
                    std::thread::sleep(PAUSE);
                }
                Err(SharedError::Unreachable(still) | SharedError::Refused(still)) => return Err(still),
            }
        }
    }

    /// Catches up with the shared log up to a size at least; nothing is to do where it is reached.
    pub(super) fn catch_up(&mut self, size: u64) -> Result<(), SharedError> {
        if self.journal.next_index() >= size {
            return Ok(());
        }
        self.check_alive().map_err(SharedError::Refused)?;
        let Some(shared) = &mut self.shared else { return Ok(()) };
        let caught_up = shared.head().map_err(Behind::from).and_then(|head| self.follow(&head));
        caught_up.map_err(|behind| SharedError::Unreachable(self.say_behind(behind)))
    }

    /// Applies what the database has and this replica has not.
    fn follow(&mut self, head: &Head) -> Result<(), Behind> {
        head.require_here()?;
        let (size, root) = (self.journal.next_index(), self.hashes.root());
        if head.size < size || (head.size == size && head.root != root) {
            return Err(Behind::Never(Contradiction { here: (size, root), there: head }.to_string()));
        }
        let mut roots = VecDeque::new();
        while self.journal.next_index() < head.size {
            let from = self.journal.next_index();
            let Some(shared) = &mut self.shared else { return Ok(()) };
            let records = shared.fetch(from, head.size)?;
            let end = from + records.len() as u64;
            if roots.is_empty() && end < head.size {
                roots = self.look_ahead(&records, head)?;
            }
            let (expected, root) = roots.pop_front().unwrap_or((head.size, head.root));
            if end != expected {
                return Err(Behind::Later(format!("the database gives {end} entries where it gave {expected}")));
            }
            self.apply_others(&records, root, head)?;
            if self.tree.is_due() {
                self.settle();
                // Nothing may be decided on a view that failed.
                self.check_alive().map_err(Behind::Never)?;
            }
        }
        Ok(())
    }

    /// The sizes and roots at the ends of the pieces in which entries are fetched, from a first one up to the head, whose root
    /// they come to: before that is seen none of them gets into the replica, and nothing is signed on them.
    fn look_ahead(&mut self, first: &[Record], head: &Head) -> Result<VecDeque<(u64, Hash)>, Behind> {
        let here = (self.journal.next_index(), self.hashes.root());
        let mut frontier = self.hashes.frontier();
        let mut roots = VecDeque::new();
        let mut add = |records: &[Record]| {
            for record in records {
                frontier.append(leaf_hash(&record.leaf), |_level, _index, _hash| {});
            }
            roots.push_back((frontier.size(), frontier.root()));
            frontier.size()
        };
        let mut size = add(first);
        while size < head.size {
            let Some(shared) = &mut self.shared else { break };
            size = add(&shared.fetch(size, head.size)?);
        }
        if roots.back() != Some(&(head.size, head.root)) {
            return Err(Behind::Never(Contradiction { here, there: head }.to_string()));
        }
        Ok(roots)
    }

    /// Applies consecutive entries of others, which must come to this root: checked, appended to the replica, applied, signed.
    /// All or none.
    fn apply_others(&mut self, records: &[Record], root: Hash, head: &Head) -> Result<(), Behind> {
        let first = self.journal.next_index();
        let hashes: Vec<Hash> = records.iter().map(|record| leaf_hash(&record.leaf)).collect();
        let size = first + records.len() as u64;
        // Before any of it gets into the replica.
        if self.hashes.root_with(hashes.iter().copied()) != root {
            let here = (first, self.hashes.root());
            return Err(Behind::Never(Contradiction { here, there: head }.to_string()));
        }
        self.require_our_log(first, records)?;
        let tree = self.tree.clone();
        let mut overlay = Overlay::new(&tree);
        let mut placed = Vec::with_capacity(records.len());
        let mut keys: Option<NewKeys> = None;
        let mut brought = Vec::new();
        for ((index, record), &leaf_hash) in (first..).zip(records).zip(&hashes) {
            let place = crate::store::journal::Place { offset: 0, octets: 0 };
            let scanned = Scanned { index, place, leaf: &record.leaf, change: &record.change };
            let (entry, writes) = read_record(&scanned)?;
            let moment = Moment { index, at_ms: entry.ts };
            let before = apply_record(&mut overlay, &entry, &writes, moment, &mut Vec::new())?;
            placed.push(Placed { index, at_ms: entry.ts, leaf_hash, before });
            brought.extend(
                writes.into_iter().filter(|write| matches!(write, crate::store::records::Write::PutLogKeys(_))),
            );
        }
        if !brought.is_empty() {
            // The last is what counts: a key of before may be retired and destroyed by now.
            keys = self.new_keys(&brought).map_err(|error| {
                Behind::Later(format!(
                    "other daemons go on under a key that this one lacks, so it neither signs nor commits: {error}. Copy the \
                     key's file from the daemon that made it; this one then goes on by itself"
                ))
            })?;
        }
        let genesis = self.genesis.or(hashes.first().copied()).map_or([0; 32], |hash| hash.0);
        set_applied(&mut overlay, &Applied { size, genesis })?;
        let more = records.len() as u64;
        let reserved = self.hash_files.reserve(first, more).and_then(|()| self.rows.reserve(first, more));
        reserved.map_err(|error| Behind::Later(crate::error_chain(&error)))?;
        let places = match self.journal.append(records, Spare::Keep) {
            Ok(places) => places,
            Err(error @ AppendError::NotWritten(_)) => return Err(Behind::Later(crate::error_chain(&error))),
            Err(AppendError::Lost(why) | AppendError::Unknown(why)) => return Err(Behind::Never(why)),
        };
        self.genesis.get_or_insert(Hash(genesis));
        self.last_at_ms = placed.last().map_or(self.last_at_ms, |last| last.at_ms);
        self.shown.journal_bytes.store(self.journal.octets(), std::sync::atomic::Ordering::Relaxed);
        match self.publish(overlay, &placed, &places, keys) {
            Ok(_checkpoint) => Ok(()),
            Err(error) => {
                self.view_failed = true;
                self.shown.doubt.raise();
                Err(error.into())
            }
        }
    }

    /// Whoever begins a log may find that another was faster: then that is the log, and our key must be its key.
    fn require_our_log(&self, first: u64, records: &[Record]) -> Result<(), Behind> {
        let Some(genesis) = records.first().filter(|_genesis| first == 0) else { return Ok(()) };
        let keys = first_keys(&genesis.leaf).map_err(|error| Behind::Later(error.to_string()))?;
        let ours = self.shown.keys.borrow();
        if keys.current.vkey == ours.current.vkey {
            return Ok(());
        }
        Err(Behind::Later(format!(
            "another daemon began the log meanwhile, with the key {}, and not with {}",
            keys.current.vkey, ours.current.vkey
        )))
    }
}
