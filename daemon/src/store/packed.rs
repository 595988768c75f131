//! A sled tree whose items are blocks of many pairs: sled keeps a page of sixteen items at most, whatever their size, and
//! an entry in memory for each page, so it is items that cost memory and time at a start. Knows how pairs are spread over
//! blocks; refuses to know what keys mean.
//!
//! A block's key in sled is its upper fence: all its keys are below it, and none is below the fence before it, which the block
//! holds as its lower one. So the block of a key is the first item behind the key. The last block's fence is `TOP`, and all
//! keys are below that. Fences are as short as they can be.
//!
//! One thread writes. A batch changes all blocks at once, and every fetch is of one block as some batch left it: sled's
//! batches exclude its reads. What reads on from block to block goes by fences, not by blocks: however blocks were split and
//! joined meanwhile, the next one fetched is that of the next key, so no pair is met twice, and none is missed that was there
//! all the time.

mod block;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::IntoIter;
use std::hash::{DefaultHasher, Hasher as _};
use std::iter::Peekable;
use std::ops::{Bound, Range};
use std::sync::Arc;

use sled::IVec;

use self::block::{Places, Writer, damaged, find, pair_octets, shared_of};
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
}

/// Changes as they are applied.
pub struct Packed {
    batch: sled::Batch,
    /// The groups of the changed keys.
    groups: Vec<u16>,
}

impl PackedTree {
    /// Opens a tree, or makes an empty one.
    ///
    /// # Errors
    /// sled's.
    pub fn open(db: &sled::Db, name: &[u8]) -> sled::Result<Self> {
        Ok(Self { tree: db.open_tree(name)?, octets_max: BLOCK_OCTETS_MAX, counts: Arc::default() })
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

    /// Applies a batch, as a whole or not at all.
    ///
    /// # Errors
    /// sled's.
    pub fn apply(&self, packed: Packed) -> sled::Result<()> {
        self.tree.apply_batch(packed.batch)?;
        self.counts.changed(packed.groups);
        Ok(())
    }

    /// How often its keys were changed.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The batch that makes changes: each block that they touch is written once. Nothing else may be applied before it.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError): the blocks can't be read, or are damaged.
    pub fn pack(&self, changes: Changes) -> Read<Packed> {
        let mut batch = sled::Batch::default();
        let groups = changes.keys().map(|key| Counts::group(key)).collect();
        let mut changes = changes.into_iter().peekable();
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
        Ok(Packed { batch, groups })
    }

    /// The first block whose fence is behind a bound.
    fn block_behind(&self, bound: Bound<&[u8]>) -> Read<Option<(IVec, IVec)>> {
        Ok(self.tree.range::<&[u8], _>((bound, Bound::Unbounded)).next().transpose()?)
    }
}

impl Kv for PackedTree {
    fn get(&self, key: &[u8]) -> Read<Option<IVec>> {
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
    /// None where it has to begin.
    blocks: Option<sled::Iter>,
    block: Option<Opened>,
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

    /// Goes to the next pair, and gives its value's place.
    fn next(&mut self) -> Read<Option<Range<usize>>> {
        let Some(place) = self.places.next(&self.octets)? else { return Ok(None) };
        place.turn(&self.octets, &mut self.key)?;
        Ok(Some(place.value))
    }
}

impl Up<'_> {
    /// The block of the first key that is wanted.
    fn open(&mut self) -> Read<Option<Opened>> {
        let (Bound::Included(from) | Bound::Excluded(from)) = &self.from else {
            let blocks = self.blocks.insert(self.tree.tree.iter());
            return blocks.next().transpose()?.map(|(fence, octets)| Opened::new(fence, octets)).transpose();
        };
        let mut is_anew = self.blocks.is_none();
        loop {
            let anew = || self.tree.tree.range::<&[u8], _>((Bound::Excluded(from.as_slice()), Bound::Unbounded));
            let Some((fence, octets)) = self.blocks.get_or_insert_with(anew).next().transpose()? else {
                return Ok(None);
            };
            let block = Opened::new(fence, octets)?;
            if block.key <= *from {
                return Ok(Some(block));
            }
            if is_anew {
                return Err(damaged("is missing"));
            }
            (self.blocks, is_anew) = (None, true);
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
            let Some(value) = block.next()? else {
                // Nothing that is wanted is behind its fence; or what is read next is not below it.
                if !is_within(&block.fence, &Bound::Unbounded, &self.to) {
                    return Ok(None);
                }
                self.from = Bound::Included(block.fence.to_vec());
                self.is_past = false;
                self.block = None;
                continue;
            };
            if !self.is_past {
                if !is_within(&block.key, &self.from, &Bound::Unbounded) {
                    continue;
                }
                self.is_past = true;
            }
            if !is_within(&block.key, &Bound::Unbounded, &self.to) {
                return Ok(None);
            }
            return Ok(Some((IVec::from(block.key.as_slice()), block.octets.subslice(value.start, value.len()))));
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
    octets: IVec,
    keys: Vec<u8>,
    /// Keys and values.
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl Down<'_> {
    fn find(&mut self) -> Read<Option<(IVec, IVec)>> {
        loop {
            if let Some((key, value)) = self.block.pairs.pop() {
                let key = self.block.keys.get(key).unwrap_or_default();
                return Ok(Some((IVec::from(key), self.block.octets.subslice(value.start, value.len()))));
            }
            if self.is_over {
                return Ok(None);
            }
            let octets = match &self.to {
                Bound::Unbounded => self.tree.tree.get(TOP)?,
                Bound::Included(to) | Bound::Excluded(to) if to.as_slice() >= TOP => self.tree.tree.get(TOP)?,
                Bound::Included(to) => self.tree.block_behind(Bound::Excluded(to))?.map(|(_fence, octets)| octets),
                // The fence itself, unless blocks changed meanwhile.
                Bound::Excluded(to) => match self.tree.tree.get(to)? {
                    Some(octets) => Some(octets),
                    None => self.tree.block_behind(Bound::Included(to))?.map(|(_fence, octets)| octets),
                },
            };
            let Some(octets) = octets else { return Ok(None) };
            self.open(octets)?;
        }
    }

    /// Takes what is wanted of a block. Its lower fence is where the next one ends.
    fn open(&mut self, octets: IVec) -> Read<()> {
        let mut opened = Opened::new(IVec::default(), octets)?;
        let lower = opened.key.clone();
        if !is_within(&lower, &Bound::Unbounded, &self.to) && !lower.is_empty() {
            return Err(damaged("has a lower fence above its own"));
        }
        self.block.keys.clear();
        while let Some(value) = opened.next()? {
            if !is_within(&opened.key, &Bound::Unbounded, &self.to) {
                break;
            }
            if is_within(&opened.key, &self.from, &Bound::Unbounded) {
                let at = self.block.keys.len();
                self.block.keys.extend_from_slice(&opened.key);
                self.block.pairs.push((at..self.block.keys.len(), value));
            }
        }
        self.block.octets = opened.octets;
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
        changes: &mut Peekable<IntoIter<Vec<u8>, Option<IVec>>>,
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
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
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
            self.is_changed |= before != change;
            self.is_less |= before.is_some() && change.is_none();
            if let Some(value) = change {
                self.push(&key, value, before.is_none());
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
