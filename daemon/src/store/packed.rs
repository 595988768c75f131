//! A sled tree whose items are blocks of many pairs: sled keeps a page of sixteen items at most, whatever their size, and
//! an entry in memory for each page, so it is items that cost memory and time at a start. Knows how pairs are spread over
//! blocks; refuses to know what keys mean.
//!
//! A block's key in sled is its upper fence: all its keys are below it, and none is below the fence before it, which the block
//! holds as its lower one. So the block of a key is the first item behind the key. The last block's fence is `TOP`, and all
//! keys are below that. Fences are as short as they can be.
//!
//! One thread writes. What it takes is there for all who read, and goes to sled with what came before and after it, as one
//! batch of sled's (`packed/recent.rs`). Such a batch changes all blocks at once, and every fetch is of one block as some
//! batch left it: sled's batches exclude its reads. What reads on from block to block goes by fences, not by blocks: however blocks were split and
//! joined meanwhile, the next one fetched is that of the next key, so no pair is met twice, and none is missed that was there
//! all the time.

mod block;
mod recent;

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::hash::{DefaultHasher, Hasher as _};
use std::iter::Peekable;
use std::ops::{Bound, Range};
use std::sync::Arc;

use sled::IVec;

use self::block::{Places, Writer, damaged, find, pair_octets, shared_of};
use self::recent::{Change, Recent};
use crate::store::Read;
use crate::store::basis::Counts;
use crate::store::overlay::{Kv, Pairs};

/// Above all keys.
const TOP: &[u8] = &[u8::MAX];
/// Octets of a block, above which it is split. Larger ones are fewer, but a change of one pair writes the whole block: at twice
/// the size there are half as many, and a commit writes twice as much.
const BLOCK_OCTETS_MAX: usize = 1536;
/// A pair counts as so many at least: of an index's many small pairs a commit changes few, and each costs its whole block.
const PAIR_OCTETS_MIN: usize = 64;
/// Keys that differ in so many first octets are in different blocks: what is changed by every commit is not among what isn't.
const APART: usize = 2;
/// A key that shares so many octets more with the one before it than with the one behind it ends a sequence.
const SEQUENCE_SHARES: usize = 4;

/// Changes in the order of their keys; none is a removal.
pub type Changes = BTreeMap<Vec<u8>, Option<IVec>>;

/// A tree of blocks. Cheap to clone.
#[derive(Clone)]
pub struct PackedTree {
    tree: sled::Tree,
    octets_max: usize,
    counts: Arc<Counts>,
    recent: Arc<Recent>,
}

/// What sled lacks, as it is given to it.
pub struct Packed(sled::Batch);

impl PackedTree {
    /// Opens a tree, or makes an empty one.
    ///
    /// # Errors
    /// sled's.
    pub fn open(db: &sled::Db, name: &[u8]) -> sled::Result<Self> {
        Ok(Self {
            tree: db.open_tree(name)?,
            octets_max: BLOCK_OCTETS_MAX,
            counts: Arc::default(),
            recent: Arc::default(),
        })
    }

    /// Whether there are no pairs.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError): it can't be read, or is damaged.
    pub fn is_empty(&self) -> Read<bool> {
        Ok(self.range(Bound::Unbounded, Bound::Unbounded, false).next().transpose()?.is_none())
    }

    /// Reads the last block, which brings out damage that would otherwise be met later.
    ///
    /// # Errors
    /// sled's.
    pub fn read_top(&self) -> sled::Result<()> {
        self.tree.get(TOP).map(drop)
    }

    /// All pairs, upwards.
    pub fn iter(&self) -> Pairs<'_> {
        self.range(Bound::Unbounded, Bound::Unbounded, false)
    }

    /// Takes changes, all at once for those who read. sled has them once they are settled, which is soon where that
    /// [is due](Self::is_due).
    pub fn take(&self, changes: Changes) {
        let groups: Vec<u16> = changes.keys().map(|key| Counts::group(key)).collect();
        self.recent.take(changes);
        self.counts.changed(groups);
    }

    /// Whether there is so much that sled lacks that it should be given to it.
    pub fn is_due(&self) -> bool {
        self.recent.is_due()
    }

    /// Whether there is nothing that sled lacks.
    pub fn is_settled(&self) -> bool {
        self.recent.changes().is_empty()
    }

    /// Applies what [`pack`](Self::pack) has just made, as a whole or not at all.
    ///
    /// # Errors
    /// sled's. What it lacks stays there for those who read.
    pub fn settle(&self, packed: Packed) -> sled::Result<()> {
        self.tree.apply_batch(packed.0)?;
        self.recent.settle();
        Ok(())
    }

    /// Takes changes, and gives them to sled at once.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError): the blocks can't be read or written, or are damaged.
    pub fn apply(&self, changes: Changes) -> Read<()> {
        self.take(changes);
        Ok(self.settle(self.pack()?)?)
    }

    /// The tree as sled has it.
    pub fn as_settled(&self) -> Self {
        Self { recent: Arc::default(), ..self.clone() }
    }

    /// How often its keys were changed.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The batch that gives sled what it lacks: each block that this touches is written once. Nothing may be taken before
    /// it is applied.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError): the blocks can't be read, or are damaged.
    pub fn pack(&self) -> Read<Packed> {
        let mut batch = sled::Batch::default();
        let changes = self.recent.changes();
        let mut changes = changes.iter().peekable();
        while let Some((key, _change)) = changes.peek() {
            if key.as_slice() >= TOP {
                return Err(damaged("would hold a key above all"));
            }
            let mut gathered = Gathered::default();
            let mut found = self.block_behind(Bound::Excluded(key))?;
            loop {
                let (fence, is_there) =
                    found.as_ref().map_or((IVec::from(TOP), false), |(fence, _)| (fence.clone(), true));
                gathered.take(found.as_ref().map(|(_fence, octets)| octets), &fence, &mut changes)?;
                if !gathered.write(&fence, self.octets_max, &mut batch) {
                    break;
                }
                if is_there {
                    batch.remove(&fence);
                }
                found = self.block_behind(Bound::Excluded(&fence))?;
            }
        }
        Ok(Packed(batch))
    }

    /// The first block whose fence is behind a bound.
    fn block_behind(&self, bound: Bound<&[u8]>) -> Read<Option<(IVec, IVec)>> {
        Ok(self.tree.range::<&[u8], _>((bound, Bound::Unbounded)).next().transpose()?)
    }
}

impl Kv for PackedTree {
    fn get(&self, key: &[u8]) -> Read<Option<IVec>> {
        if let Some(change) = self.recent.get(key) {
            return Ok(change);
        }
        let hash = hash_of(key);
        if let Some(fence) = known_fence(hash)
            && let Some(octets) = self.tree.get(&fence)?
            && let Some(value) = find(&octets, key)?
        {
            return Ok(Some(octets.subslice(value.start, value.len())));
        }
        let Some((fence, octets)) = self.block_behind(Bound::Excluded(key))? else { return Ok(None) };
        let Some(value) = find(&octets, key)? else { return Ok(None) };
        keep_fence(hash, fence);
        Ok(Some(octets.subslice(value.start, value.len())))
    }

    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, down: bool) -> Pairs<'_> {
        if down {
            Box::new(Down { tree: self, from, to, block: Unpacked::default(), is_over: false })
        } else {
            Box::new(Up { tree: self, blocks: None, block: None, from, to, is_past: false })
        }
    }
}

// ---- known fences ---------------------------------------------------------------------------------------------------

/// How many fences a thread keeps.
const FENCES: usize = 512;

thread_local! {
    /// Fences of blocks in which keys were found, by the keys' hashes: sled gives an item by its key for less than half of what
    /// the first item behind a key costs. A key that is found there is where it belongs, whichever tree it is and whatever
    /// became of the block; one that isn't is looked for as any other.
    static KNOWN: RefCell<Vec<Option<(u64, IVec)>>> = const { RefCell::new(Vec::new()) };
}

fn hash_of(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

fn slot_of(hash: u64) -> usize {
    usize::try_from(hash).unwrap_or_default() % FENCES
}

fn known_fence(hash: u64) -> Option<IVec> {
    KNOWN.with_borrow(|known| match known.get(slot_of(hash)) {
        Some(Some((of, fence))) if *of == hash => Some(fence.clone()),
        _ => None,
    })
}

fn keep_fence(hash: u64, fence: IVec) {
    KNOWN.with_borrow_mut(|known| {
        known.resize(FENCES, None);
        if let Some(slot) = known.get_mut(slot_of(hash)) {
            *slot = Some((hash, fence));
        }
    });
}

// ---- reading --------------------------------------------------------------------------------------------------------

/// Pairs upwards. sled's iterator keeps a page as it was when it came there, and goes on with the next page: it passes over
/// what was put in between meanwhile. Where a block doesn't follow the one before it, the walk begins anew behind that.
struct Up<'t> {
    tree: &'t PackedTree,
    /// sled's walk, and how often changes had been settled before it began. None where it has to begin.
    blocks: Option<(sled::Iter, u64)>,
    block: Option<Renewed>,
    /// What is wanted yet is behind it.
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    /// Whether keys are known to be past `from`.
    is_past: bool,
}

/// A block that is read upwards.
struct Opened {
    fence: IVec,
    octets: IVec,
    places: Places,
    key: Vec<u8>,
}

impl Opened {
    fn new(fence: IVec, octets: IVec) -> Read<Self> {
        let places = Places::of(&octets)?;
        let key = octets.get(places.lower.clone()).unwrap_or_default().to_vec();
        Ok(Self { fence, octets, places, key })
    }

    /// One without pairs, for all keys.
    fn none() -> Read<Self> {
        Self::new(IVec::from(TOP), IVec::from(Writer::new(&[], 0).finish()))
    }

    /// Goes to the next pair, and gives its value's place.
    fn next(&mut self) -> Read<Option<Range<usize>>> {
        let Some(place) = self.places.next(&self.octets)? else { return Ok(None) };
        place.turn(&self.octets, &mut self.key)?;
        Ok(Some(place.value))
    }
}

/// A block that is read upwards, with what was changed in it since.
struct Renewed {
    block: Opened,
    /// Where the value is of the pair at which the block stands; none behind its last.
    value: Option<Range<usize>>,
    changes: Vec<Change>,
    /// The change that comes next.
    at: usize,
}

impl Renewed {
    fn new(mut block: Opened, changes: Vec<Change>) -> Read<Self> {
        let value = block.next()?;
        Ok(Self { block, value, changes, at: 0 })
    }

    /// Whether the pair at which the block stands is before the next change, the same, or behind it; none behind both.
    fn order(&self) -> Option<Ordering> {
        match (&self.value, self.changes.get(self.at)) {
            (None, None) => None,
            (Some(_), None) => Some(Ordering::Less),
            (None, Some(_)) => Some(Ordering::Greater),
            (Some(_), Some((key, _change))) => Some(self.block.key.as_slice().cmp(key)),
        }
    }

    /// The next key, whether it was removed or not.
    fn key(&self) -> Option<&[u8]> {
        match self.order()? {
            Ordering::Less | Ordering::Equal => Some(&self.block.key),
            Ordering::Greater => self.changes.get(self.at).map(|(key, _change)| key.as_slice()),
        }
    }

    /// Goes to the next key. Gives the value of this one; none if it was removed.
    fn pass(&mut self) -> Read<Option<IVec>> {
        let Some(order) = self.order() else { return Ok(None) };
        let value = if order == Ordering::Less {
            self.value.take().map(|value| self.block.octets.subslice(value.start, value.len()))
        } else {
            self.at += 1;
            self.changes.get(self.at - 1).and_then(|(_key, change)| change.clone())
        };
        if order != Ordering::Greater {
            self.value = self.block.next()?;
        }
        Ok(value)
    }
}

impl Up<'_> {
    /// The block of the first key that is wanted.
    fn open(&mut self) -> Read<Option<Renewed>> {
        let mut is_anew = false;
        loop {
            let (blocks, settled) = match &mut self.blocks {
                Some((blocks, settled)) => (blocks, *settled),
                None => {
                    is_anew = true;
                    let settled = self.tree.recent.settled();
                    let behind = match &self.from {
                        Bound::Included(from) | Bound::Excluded(from) => Bound::Excluded(from.as_slice()),
                        Bound::Unbounded => Bound::Unbounded,
                    };
                    let blocks = self.tree.tree.range::<&[u8], _>((behind, Bound::Unbounded));
                    (&mut self.blocks.insert((blocks, settled)).0, settled)
                }
            };
            let block = match (blocks.next().transpose()?, &self.from) {
                (Some((fence, octets)), _) => Opened::new(fence, octets)?,
                (None, Bound::Included(from) | Bound::Excluded(from)) if from.as_slice() >= TOP => return Ok(None),
                // sled has nothing yet.
                (None, _) if is_anew => Opened::none()?,
                (None, _) => return Ok(None),
            };
            let is_next = match &self.from {
                Bound::Included(from) | Bound::Excluded(from) => block.key <= *from,
                Bound::Unbounded => true,
            };
            if is_next {
                let from = match &self.from {
                    Bound::Unbounded => Bound::Included(block.key.as_slice()),
                    from => from.as_ref().map(Vec::as_slice),
                };
                let fence = Bound::Excluded(&*block.fence);
                let to = match &self.to {
                    Bound::Included(to) | Bound::Excluded(to) if to.as_slice() < &*block.fence => {
                        self.to.as_ref().map(Vec::as_slice)
                    }
                    Bound::Included(_) | Bound::Excluded(_) | Bound::Unbounded => fence,
                };
                if let Some(changes) = self.tree.recent.within(from, to, settled) {
                    return Renewed::new(block, changes).map(Some);
                }
            } else if is_anew {
                return Err(damaged("is missing"));
            }
            self.blocks = None;
        }
    }

    fn find(&mut self) -> Read<Option<(IVec, IVec)>> {
        loop {
            let Some(block) = &mut self.block else {
                self.block = self.open()?;
                if self.block.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let Some(key) = block.key() else {
                // Nothing that is wanted is behind its fence; or what is read next is not below it.
                let fence = &block.block.fence;
                if !is_within(fence, &Bound::Unbounded, &self.to) {
                    return Ok(None);
                }
                self.from = Bound::Included(fence.to_vec());
                self.is_past = false;
                self.block = None;
                continue;
            };
            if !self.is_past {
                if !is_within(key, &self.from, &Bound::Unbounded) {
                    block.pass()?;
                    continue;
                }
                self.is_past = true;
            }
            if !is_within(key, &Bound::Unbounded, &self.to) {
                return Ok(None);
            }
            let key = IVec::from(key);
            if let Some(value) = block.pass()? {
                return Ok(Some((key, value)));
            }
        }
    }
}

impl Iterator for Up<'_> {
    type Item = Read<(IVec, IVec)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.find().transpose()
    }
}

/// Pairs downwards.
struct Down<'t> {
    tree: &'t PackedTree,
    from: Bound<Vec<u8>>,
    /// What is wanted yet is below it.
    to: Bound<Vec<u8>>,
    block: Unpacked,
    is_over: bool,
}

/// A block that is read downwards.
#[derive(Default)]
struct Unpacked {
    keys: Vec<u8>,
    pairs: Vec<(Range<usize>, IVec)>,
}

impl Down<'_> {
    fn find(&mut self) -> Read<Option<(IVec, IVec)>> {
        loop {
            if let Some((key, value)) = self.block.pairs.pop() {
                let key = self.block.keys.get(key).unwrap_or_default();
                return Ok(Some((IVec::from(key), value)));
            }
            if self.is_over {
                return Ok(None);
            }
            self.open()?;
        }
    }

    /// The block of the last key that is wanted, with what was changed since in what is wanted of it.
    fn fetch(&self) -> Read<(Opened, Vec<Change>)> {
        loop {
            let settled = self.tree.recent.settled();
            let sled = &self.tree.tree;
            let octets = match &self.to {
                Bound::Unbounded => sled.get(TOP)?,
                Bound::Included(to) | Bound::Excluded(to) if to.as_slice() >= TOP => sled.get(TOP)?,
                Bound::Included(to) => self.tree.block_behind(Bound::Excluded(to))?.map(|(_fence, octets)| octets),
                // The fence itself, unless blocks changed meanwhile.
                Bound::Excluded(to) => match sled.get(to)? {
                    Some(octets) => Some(octets),
                    None => self.tree.block_behind(Bound::Included(to))?.map(|(_fence, octets)| octets),
                },
            };
            let block = match octets {
                Some(octets) => Opened::new(IVec::default(), octets)?,
                // sled has nothing yet.
                None => Opened::none()?,
            };
            let from = match &self.from {
                Bound::Included(from) | Bound::Excluded(from) if *from >= block.key => {
                    self.from.as_ref().map(Vec::as_slice)
                }
                Bound::Included(_) | Bound::Excluded(_) | Bound::Unbounded => Bound::Included(block.key.as_slice()),
            };
            if let Some(changes) = self.tree.recent.within(from, self.to.as_ref().map(Vec::as_slice), settled) {
                return Ok((block, changes));
            }
        }
    }

    /// Takes what is wanted of the next block. Its lower fence is where the one after it ends.
    fn open(&mut self) -> Read<()> {
        let (block, changes) = self.fetch()?;
        let lower = block.key.clone();
        if !is_within(&lower, &Bound::Unbounded, &self.to) && !lower.is_empty() {
            return Err(damaged("has a lower fence above its own"));
        }
        let mut renewed = Renewed::new(block, changes)?;
        self.block.keys.clear();
        while let Some(key) = renewed.key() {
            if !is_within(key, &Bound::Unbounded, &self.to) {
                break;
            }
            let is_wanted = is_within(key, &self.from, &Bound::Unbounded);
            let at = self.block.keys.len();
            self.block.keys.extend_from_slice(key);
            match renewed.pass()?.filter(|_value| is_wanted) {
                Some(value) => self.block.pairs.push((at..self.block.keys.len(), value)),
                None => self.block.keys.truncate(at),
            }
        }
        self.is_over = lower.is_empty()
            || match &self.from {
                Bound::Included(from) | Bound::Excluded(from) => *from >= lower,
                Bound::Unbounded => false,
            };
        self.to = Bound::Excluded(lower);
        Ok(())
    }
}

impl Iterator for Down<'_> {
    type Item = Read<(IVec, IVec)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.find().transpose()
    }
}

fn is_within(key: &[u8], from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    let is_past = match from {
        Bound::Included(from) => key >= from.as_slice(),
        Bound::Excluded(from) => key > from.as_slice(),
        Bound::Unbounded => true,
    };
    let is_before = match to {
        Bound::Included(to) => key <= to.as_slice(),
        Bound::Excluded(to) => key < to.as_slice(),
        Bound::Unbounded => true,
    };
    is_past && is_before
}

// ---- writing --------------------------------------------------------------------------------------------------------

/// The pairs of a block, or of several that are joined, with the changes to them.
#[derive(Default)]
struct Gathered {
    /// None before the first block.
    lower: Option<Vec<u8>>,
    keys: Vec<u8>,
    pairs: Vec<Pair>,
    is_changed: bool,
    /// Whether pairs were removed.
    is_less: bool,
}

struct Pair {
    key: Range<usize>,
    value: IVec,
    is_new: bool,
}

impl Gathered {
    /// Takes a block's pairs, and the changes that come before its fence.
    fn take(
        &mut self,
        block: Option<&IVec>,
        fence: &[u8],
        changes: &mut Peekable<Iter<'_, Vec<u8>, Option<IVec>>>,
    ) -> Read<()> {
        let mut block = block.map(|octets| Opened::new(IVec::default(), octets.clone())).transpose()?;
        if self.lower.is_none() {
            self.lower = Some(block.as_ref().map(|block| block.key.clone()).unwrap_or_default());
        }
        let mut next = || -> Read<Option<(Vec<u8>, IVec)>> {
            let Some(block) = &mut block else { return Ok(None) };
            let value = block.next()?;
            Ok(value.map(|value| (block.key.clone(), block.octets.subslice(value.start, value.len()))))
        };
        let mut old = next()?;
        loop {
            let change = changes.peek().filter(|(key, _change)| key.as_slice() < fence);
            let order = match (&old, change) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _value)), Some((new, _change))) => old.cmp(new),
            };
            if order.is_lt() {
                if let Some((key, value)) = old.take() {
                    self.push(&key, value, false);
                }
                old = next()?;
                continue;
            }
            let Some((key, change)) = changes.next() else { return Ok(()) };
            let before = if order.is_eq() { old.take().map(|(_key, value)| value) } else { None };
            self.is_changed |= before != *change;
            self.is_less |= before.is_some() && change.is_none();
            if let Some(value) = change {
                self.push(key, value.clone(), before.is_none());
            }
            if order.is_eq() {
                old = next()?;
            }
        }
    }

    fn push(&mut self, key: &[u8], value: IVec, is_new: bool) {
        let at = self.keys.len();
        self.keys.extend_from_slice(key);
        self.pairs.push(Pair { key: at..self.keys.len(), value, is_new });
    }

    fn key(&self, at: usize) -> &[u8] {
        self.pairs.get(at).and_then(|pair| self.keys.get(pair.key.clone())).unwrap_or_default()
    }

    /// Octets that a pair counts in a block, behind the one before it.
    fn octets(&self, at: usize) -> usize {
        let shared = at.checked_sub(1).map_or(0, |before| shared_of(self.key(before), self.key(at)));
        self.pairs.get(at).map_or(0, |pair| pair_octets(shared, self.key(at), &pair.value).max(PAIR_OCTETS_MIN))
    }

    fn octets_of(&self, range: Range<usize>) -> usize {
        range.map(|at| self.octets(at)).sum()
    }

    /// Adds the blocks to a batch, if anything has changed. Whether something is left that goes into the next block: too little
    /// for one of its own.
    fn write(&mut self, fence: &IVec, octets_max: usize, batch: &mut sled::Batch) -> bool {
        if !self.is_changed {
            return false;
        }
        let end = self.pairs.len();
        let ends = self.ends(octets_max);
        let last = ends.iter().rev().nth(1).copied().unwrap_or_default();
        let goes_on = end > 0 && beginning(self.key(end - 1)) == beginning(fence);
        let is_small = goes_on && self.is_less && self.octets_of(last..end) < octets_max / 4;
        let is_left = fence != TOP && (end == 0 || is_small);
        let mut lower = self.lower.take().unwrap_or_default();
        let mut start = 0;
        for end_of_block in ends {
            if is_left && end_of_block == end {
                break;
            }
            let upper = if end_of_block == end {
                fence.to_vec()
            } else {
                let (before, behind) = (self.key(end_of_block - 1), self.key(end_of_block));
                behind.get(..=shared_of(before, behind)).unwrap_or(behind).to_vec()
            };
            batch.insert(upper.as_slice(), self.block(&lower, start..end_of_block));
            (lower, start) = (upper, end_of_block);
        }
        if is_left {
            self.pairs.drain(..start);
            for pair in &mut self.pairs {
                pair.is_new = false;
            }
            self.lower = Some(lower);
        }
        is_left
    }

    fn block(&self, lower: &[u8], range: Range<usize>) -> Vec<u8> {
        let mut writer = Writer::new(lower, 16 + lower.len() + self.octets_of(range.clone()));
        let mut before = lower;
        for at in range {
            if let Some(pair) = self.pairs.get(at) {
                writer.push(before, self.key(at), &pair.value);
                before = self.key(at);
            }
        }
        writer.finish()
    }

    /// Where blocks end: at least one, the last behind all pairs.
    fn ends(&self, octets_max: usize) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut start = 0;
        for at in 1..=self.pairs.len() {
            let is_apart = || beginning(self.key(at - 1)) != beginning(self.key(at));
            if at == self.pairs.len() || is_apart() {
                self.split(start..at, octets_max, &mut ends);
                start = at;
            }
        }
        if ends.is_empty() {
            ends.push(0);
        }
        ends
    }

    /// Splits pairs where they are too many for a block. What was put in one after another stays nearly full, for nothing more
    /// will come between; where they come at random, there is room.
    fn split(&self, range: Range<usize>, octets_max: usize, ends: &mut Vec<usize>) {
        if self.octets_of(range.clone()) <= octets_max {
            return ends.push(range.end);
        }
        match self.sequence_end(range.clone()).filter(|end| self.octets_of(range.start..*end) >= octets_max / 2) {
            Some(end) => {
                self.split_every(range.start..end, octets_max * 15 / 16, ends);
                self.split_evenly(end..range.end, octets_max, ends);
            }
            None => self.split_evenly(range, octets_max, ends),
        }
    }

    /// Where a sequence ends that the new pairs belong to, if they look like one.
    fn sequence_end(&self, range: Range<usize>) -> Option<usize> {
        let is_new = |at: &usize| self.pairs.get(*at).is_some_and(|pair| pair.is_new);
        let (first, last) = (range.clone().find(is_new)?, range.clone().rfind(is_new)?);
        let shared = |at: usize| shared_of(self.key(at), self.key(at + 1));
        let is_at_end =
            last + 1 == range.end || (last > range.start && shared(last - 1) >= shared(last) + SEQUENCE_SHARES);
        (is_at_end && (first..=last).all(|at| is_new(&at))).then_some(last + 1)
    }

    fn split_every(&self, range: Range<usize>, octets: usize, ends: &mut Vec<usize>) {
        let mut filled = 0;
        for at in range.clone() {
            let more = self.octets(at);
            if filled > 0 && filled + more > octets {
                ends.push(at);
                filled = 0;
            }
            filled += more;
        }
        if !range.is_empty() {
            ends.push(range.end);
        }
    }

    fn split_evenly(&self, range: Range<usize>, octets_max: usize, ends: &mut Vec<usize>) {
        let total = self.octets_of(range.clone());
        let blocks = if total > octets_max { total.div_ceil(octets_max * 7 / 10) } else { 1 };
        let (mut filled, mut passed, mut begun) = (0, 0, 1);
        for at in range.clone() {
            let more = self.octets(at);
            let is_due = begun < blocks && passed + more / 2 > total * begun / blocks;
            if filled > 0 && (is_due || filled + more > octets_max) {
                ends.push(at);
                filled = 0;
                begun += 1;
            }
            filled += more;
            passed += more;
        }
        if !range.is_empty() {
            ends.push(range.end);
        }
    }
}

/// The octets of a key that keep it apart from others.
fn beginning(key: &[u8]) -> &[u8] {
    key.get(..APART).unwrap_or(key)
}

#[cfg(test)]
mod tests;
