//! The reducer of the live tail: which entry comes next, what is held back, what is missing, what was told twice. Pure: it
//! knows neither sockets nor clocks, and leaves it to `trust` whether what comes is what the log committed to.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use common::audit::verify::{Glance, glance};
use common::audit::{Hash, leaf_hash};

use crate::event::Moment;

/// Newest entries that are held: four pages. What is asked of older ones, the tree and its pages answer.
pub const RING_MAX: usize = 1_024;
/// Octets of their leaves.
pub const RING_OCTETS_MAX: usize = 4 * 1024 * 1024;
/// Entries that wait for a gap to be filled.
pub const HELD_MAX: usize = 1_024;
/// Octets of their leaves.
pub const HELD_OCTETS_MAX: usize = 1024 * 1024;
/// Entries of a bundle: no page of a gap crosses a border.
pub const PAGE: u64 = 256;
/// A jump of more entries is no gap but a wrong index.
const JUMP_MAX: u64 = 1 << 20;
/// Entries that evidence shows.
const EVIDENCE_MAX: usize = 32;
/// Ranges of missing entries that are remembered.
const MISSING_MAX: usize = 64;
/// Seconds over which the rate is told.
const RATE_SECONDS: u64 = 10;
/// Shortest wait before connecting again, milliseconds.
const WAIT_MS_MIN: u64 = 200;
/// Longest wait for a daemon that is away for a minute at most: one that is only begun anew is found soon.
const WAIT_MS_SOON: u64 = 1_000;
/// Longest wait of all.
const WAIT_MS_MAX: u64 = 30_000;
/// The longer it is away, the longer a wait may be: up to one part in so many of that time.
const WAIT_PARTS: u64 = 60;
/// What the daemon asks for is obeyed up to here.
const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// A shorter wait is over before it is read.
const TOLD_MS: u64 = 2_000;
/// Health of so many milliseconds makes the next wait the first again.
const HEALTHY_MS: u64 = 30_000;

/// An entry as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Where it stands.
    pub index: u64,
    /// Its leaf hash.
    pub hash: Hash,
    /// Its exact octets.
    pub leaf: Arc<[u8]>,
    /// Why it is no entry of that place, where it is none.
    pub malformed: Option<String>,
    /// Whether it names a new signing key.
    pub rotates: bool,
}

impl Held {
    /// Looks at what came for an index.
    pub fn new(index: u64, leaf: Vec<u8>) -> Self {
        let (malformed, rotates) = match glance(&leaf) {
            Ok(Glance { seq, rotates }) if seq == index => (None, rotates),
            Ok(Glance { seq, .. }) => (Some(format!("it says that it is entry {seq}")), false),
            Err(error) => (Some(error.to_string()), false),
        };
        Self { index, hash: leaf_hash(&leaf), leaf: leaf.into(), malformed, rotates }
    }
}

/// How the stream is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Link {
    /// Nobody asked for it.
    #[default]
    Closed,
    /// It is asked for.
    Connecting,
    /// It is there, since that many milliseconds of the console's clock.
    Live {
        /// When it began.
        since_ms: u64,
    },
    /// It is asked for again later.
    Waiting {
        /// When, in milliseconds of the console's clock.
        until_ms: u64,
        /// The same by the wall clock, in seconds, where that is long enough to be told.
        told: Option<i64>,
    },
    /// The daemon refused, and why: it is not asked again until the role changes.
    Refused(String),
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An entry of the stream.
    Entry {
        /// The index it came under.
        index: u64,
        /// Its octets.
        leaf: Vec<u8>,
    },
    /// An event that should have been an entry.
    Malformed {
        /// Its id.
        id: String,
        /// Its data.
        data: String,
    },
    /// A checkpoint of that size came: the stream says that all entries below have been brought.
    Covered(u64),
    /// A page of a gap: leaves from an index on.
    Filled {
        /// The index of the first.
        first: u64,
        /// The leaves.
        leaves: Vec<Vec<u8>>,
    },
    /// The daemon does not give a page of the gap.
    Refused {
        /// The page that was asked for.
        page: Range<u64>,
        /// What it said.
        why: String,
    },
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The next entry; they come in order, each once.
    Accept(Held),
    /// An entry of a place that is not held any more came again: whether it is the same is to be looked up in the tree.
    Again(Held),
    /// Ask for these entries; a page never crosses a border of bundles.
    Fetch(Range<u64>),
    /// Too much waits for the gap: close the stream, and open it again when the gap is filled.
    Close,
    /// Two contents for one index.
    Doubled {
        /// What was there.
        before: Held,
        /// What came.
        now: Held,
    },
    /// What came is no entry.
    Malformed {
        /// The index, where it has one.
        index: Option<u64>,
        /// Why.
        why: String,
        /// Its octets, as they came.
        octets: Vec<u8>,
    },
    /// Entries that are withheld; the tail goes on behind them.
    Missing {
        /// Which.
        range: Range<u64>,
        /// What the daemon said.
        why: String,
    },
}

/// The state of the tail.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    /// The index that is expected.
    pub next: u64,
    /// The stream.
    pub link: Link,
    /// Entries that came twice.
    pub duplicates: u64,
    /// Entries accepted since the start.
    pub accepted: u64,
    /// Ranges that were withheld.
    pub missing: Vec<Range<u64>>,
    ring: VecDeque<Held>,
    ring_octets: usize,
    held: BTreeMap<u64, Held>,
    held_octets: usize,
    gap: Option<Range<u64>>,
    /// A checkpoint said that all entries below have been brought.
    covered: u64,
    /// Since when there is no stream that lasts, in milliseconds of the console's clock.
    away_since_ms: Option<u64>,
    rate: VecDeque<(u64, u32)>,
}

impl Tail {
    /// Begins anew at an index.
    pub fn begin(&mut self, next: u64) {
        let (link, away_since_ms) = (std::mem::take(&mut self.link), self.away_since_ms);
        *self = Self { next, link, away_since_ms, ..Self::default() };
    }

    /// The newest entries that are held, oldest first, without gaps but for [`Tail::missing`].
    pub fn ring(&self) -> &VecDeque<Held> {
        &self.ring
    }

    /// An entry that is held.
    pub fn get(&self, index: u64) -> Option<&Held> {
        let at = self.ring.partition_point(|held| held.index < index);
        self.ring.get(at).filter(|held| held.index == index)
    }

    /// What came from an index on, for who looks at evidence: index, leaf hash, and the octets in hex.
    pub fn evidence_from(&self, index: Option<u64>) -> Vec<(u64, String, String)> {
        let Some(index) = index else { return Vec::new() };
        let at = self.ring.partition_point(|held| held.index < index);
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let some = self.ring.iter().skip(at).take(EVIDENCE_MAX);
        some.map(|held| (held.index, held.hash.to_string(), hex(&held.leaf))).collect()
    }

    /// The entries that are waited for.
    pub fn gap(&self) -> Option<Range<u64>> {
        self.gap.clone()
    }

    /// Octets that all it holds take.
    pub fn octets(&self) -> usize {
        self.ring_octets + self.held_octets
    }

    /// Takes what came.
    pub fn take(&mut self, input: Input, out: &mut Vec<Told>) {
        match input {
            Input::Entry { index, leaf } => self.entry(index, leaf, out),
            Input::Malformed { id, data } => {
                let why = format!("an event with the id {id:?} that holds no leaf");
                out.push(Told::Malformed { index: id.parse().ok(), why, octets: data.into_bytes() });
            }
            Input::Covered(size) => {
                if size > self.covered && size <= self.next.saturating_add(JUMP_MAX) {
                    self.covered = size;
                }
                self.open_gap(self.covered, out);
            }
            Input::Filled { first, leaves } => self.filled(first, leaves, out),
            Input::Refused { page, why } => self.refused(&page, why, out),
        }
    }

    /// Asks again for the page that is due, where a gap is open.
    pub fn ask_again(&self) -> Option<Range<u64>> {
        self.gap.clone().map(page_of)
    }

    fn entry(&mut self, index: u64, leaf: Vec<u8>, out: &mut Vec<Told>) {
        if index > self.next.saturating_add(JUMP_MAX) {
            let why = format!("entry {index} where {} was to come", self.next);
            return out.push(Told::Malformed { index: None, why, octets: leaf });
        }
        let entry = Held::new(index, leaf);
        if index < self.next {
            self.again(entry, out);
        } else if index == self.next {
            self.accept(entry, out);
            if let Some(gap) = &self.gap {
                // It came by the stream before the page did.
                if self.next >= gap.end {
                    self.release(out);
                } else {
                    self.gap = Some(self.next..gap.end);
                }
            }
        } else {
            self.hold(entry, out);
        }
    }

    fn again(&mut self, entry: Held, out: &mut Vec<Told>) {
        match self.get(entry.index) {
            Some(before) if before.hash == entry.hash => self.duplicates += 1,
            Some(before) => out.push(Told::Doubled { before: before.clone(), now: entry }),
            None => {
                self.duplicates += 1;
                if !self.missing.iter().any(|range| range.contains(&entry.index)) {
                    out.push(Told::Again(entry));
                }
            }
        }
    }

    fn accept(&mut self, entry: Held, out: &mut Vec<Told>) {
        self.next = entry.index + 1;
        self.accepted += 1;
        if let Some(why) = &entry.malformed {
            let (why, octets) = (why.clone(), entry.leaf.to_vec());
            out.push(Told::Malformed { index: Some(entry.index), why, octets });
        }
        self.ring_octets += entry.leaf.len();
        self.ring.push_back(entry.clone());
        while self.ring.len() > RING_MAX || (self.ring_octets > RING_OCTETS_MAX && self.ring.len() > 1) {
            self.ring_octets -= self.ring.pop_front().map_or(0, |oldest| oldest.leaf.len());
        }
        out.push(Told::Accept(entry));
    }

    fn hold(&mut self, entry: Held, out: &mut Vec<Told>) {
        if let Some(before) = self.held.get(&entry.index) {
            if before.hash == entry.hash {
                self.duplicates += 1;
            } else {
                out.push(Told::Doubled { before: before.clone(), now: entry });
            }
            return;
        }
        if self.held.len() == HELD_MAX || self.held_octets + entry.leaf.len() > HELD_OCTETS_MAX {
            return out.push(Told::Close);
        }
        let index = entry.index;
        self.held_octets += entry.leaf.len();
        self.held.insert(index, entry);
        if self.gap.is_none() {
            self.open_gap(index, out);
        }
    }

    /// Everything up to there is missing, unless it is held.
    fn open_gap(&mut self, end: u64, out: &mut Vec<Told>) {
        if self.gap.is_some() {
            return;
        }
        let end = self.held.keys().next().map_or(end, |first| end.min(*first));
        if end > self.next {
            self.gap = Some(self.next..end);
            out.push(Told::Fetch(page_of(self.next..end)));
        }
    }

    fn filled(&mut self, first: u64, leaves: Vec<Vec<u8>>, out: &mut Vec<Told>) {
        let Some(gap) = self.gap.clone().filter(|gap| first <= gap.start) else { return };
        for (index, leaf) in (first..gap.end).zip(leaves).filter(|(index, _)| *index >= gap.start) {
            self.accept(Held::new(index, leaf), out);
        }
        if self.next < gap.end {
            self.gap = Some(self.next..gap.end);
            out.push(Told::Fetch(page_of(self.next..gap.end)));
        } else {
            self.release(out);
        }
    }

    fn refused(&mut self, page: &Range<u64>, why: String, out: &mut Vec<Told>) {
        let Some(gap) = self.gap.clone().filter(|gap| page.contains(&gap.start)) else { return };
        if self.missing.len() < MISSING_MAX {
            self.missing.push(gap.clone());
        }
        self.next = gap.end;
        out.push(Told::Missing { range: gap, why });
        self.release(out);
    }

    /// The gap is closed: what waited for it follows.
    fn release(&mut self, out: &mut Vec<Told>) {
        self.gap = None;
        while let Some(first) = self.held.first_entry().filter(|first| *first.key() <= self.next) {
            let entry = first.remove();
            self.held_octets -= entry.leaf.len();
            if entry.index == self.next {
                self.accept(entry, out);
            } else {
                // A page had it, too.
                self.again(entry, out);
            }
        }
        let end = self.held.keys().next().copied().unwrap_or(self.covered);
        self.open_gap(end, out);
    }

    // ---- the link ---------------------------------------------------------------------------------------------------

    /// The stream is there.
    pub fn opened(&mut self, now: Moment) {
        self.link = Link::Live { since_ms: now.ms };
    }

    /// The stream has ended: how long to wait, in milliseconds. What waited for a gap is dropped, for it comes again.
    pub fn ended(&mut self, now: Moment, retry_after_seconds: Option<u64>) -> u64 {
        if let Link::Live { since_ms } = self.link
            && now.ms.saturating_sub(since_ms) >= HEALTHY_MS
        {
            self.away_since_ms = None;
        }
        let away_ms = now.ms.saturating_sub(*self.away_since_ms.get_or_insert(now.ms));
        let wait_ms = match retry_after_seconds {
            Some(seconds) => seconds.saturating_mul(1000).clamp(WAIT_MS_MIN, RETRY_AFTER_MS_MAX),
            None => jittered(away_ms, now),
        };
        self.waits(now, wait_ms);
        wait_ms
    }

    /// It is asked for again after so many milliseconds.
    pub fn waits(&mut self, now: Moment, wait_ms: u64) {
        let seconds = i64::try_from(wait_ms / 1000).unwrap_or(i64::MAX);
        let told = (wait_ms >= TOLD_MS).then(|| now.wall_seconds.saturating_add(seconds));
        self.link = Link::Waiting { until_ms: now.ms.saturating_add(wait_ms), told };
    }

    /// Someone wants it now.
    pub fn at_once(&mut self) {
        self.away_since_ms = None;
    }

    // ---- the rate ---------------------------------------------------------------------------------------------------

    /// Counts an entry for the rate.
    pub fn count(&mut self, now: Moment) {
        let second = now.ms / 1000;
        match self.rate.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => self.rate.push_back((second, 1)),
        }
        while self.rate.front().is_some_and(|(first, _)| first + RATE_SECONDS <= second) {
            self.rate.pop_front();
        }
    }

    /// Entries of the last ten seconds, in tenths a second.
    pub fn rate_tenths(&self, now: Moment) -> u64 {
        let second = now.ms / 1000;
        let recent = self.rate.iter().filter(|(at, _)| at + RATE_SECONDS > second);
        recent.map(|(_, count)| u64::from(*count)).sum::<u64>() * 10 / RATE_SECONDS
    }
}

/// The part of a range up to the next border of bundles.
fn page_of(range: Range<u64>) -> Range<u64> {
    let border = (range.start / PAGE + 1).saturating_mul(PAGE);
    range.start..range.end.min(border)
}

/// A wait drawn evenly up to the limit of that time away. The draw is of the moment: many consoles do not come at once.
fn jittered(away_ms: u64, now: Moment) -> u64 {
    let most = (away_ms / WAIT_PARTS).clamp(WAIT_MS_SOON, WAIT_MS_MAX);
    let seed = now.ms ^ now.wall_seconds.unsigned_abs().rotate_left(32) ^ u64::from(std::process::id());
    // SplitMix64.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    WAIT_MS_MIN + (mixed ^ (mixed >> 31)) % (most - WAIT_MS_MIN)
}

#[cfg(test)]
mod tests;
