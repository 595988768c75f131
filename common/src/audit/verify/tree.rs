//! The half that hashes: leaves to tiles, tiles to tiles, tiles to the root, each compared with what was served.
//!
//! Where a computed hash and a served one differ, one of two things is wrong, and the level above tells which: it has the
//! root of the one or of the other. The check then goes on with the one that the tree confirms, so that each fault is
//! named where it is and not again on every level above. A root is only ever called good if nothing differed: it then
//! comes from the leaves alone.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Fault, FaultKind, Report};
use crate::audit::tile::{BundlePath, TILE_LEVEL_MAX, TILE_WIDTH, TilePath, take_leaf};
use crate::audit::tree::{HASH_LEN, Hash, empty_root, leaf_hash, node_hash, root_of};

/// Gives the tiles above the lowest level as they were served.
pub trait Served {
    /// The octets of a tile, of any length; or why there are none. Asked for once for each tile.
    ///
    /// # Errors
    /// The words that a reader is told.
    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, String>;
}

/// A resource that was asked for.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// It was not asked for: the reader has no right to it.
    No,
    /// It could not be had, and why.
    Missing(&'a str),
    /// Its octets, of any length.
    Octets(&'a [u8]),
}

/// What is known of the tree once all of it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeFacts {
    /// The root over all leaves; `None` where too much is missing.
    pub root: Option<Hash>,
    /// The roots of the sizes asked for.
    pub roots: BTreeMap<u64, Option<Hash>>,
    /// The hashes of the leaves asked for.
    pub leaves: BTreeMap<u64, Option<Hash>>,
    /// Tiles that were compared.
    pub tiles: u64,
    /// Whether every leaf is what the tree has.
    pub leaves_agree: bool,
}

/// Computes the tree from its leaves, in constant memory.
pub struct TreeCheck {
    size: u64,
    /// The bundle that is due.
    next: u64,
    levels: Vec<Level>,
    /// What differs in the tiles on the right edge: only the root can tell which is wrong.
    doubts: Vec<Doubt>,
    facts: TreeFacts,
}

/// A level's tile in the making.
#[derive(Default)]
struct Level {
    number: u64,
    /// `None` where it is not known.
    hashes: Vec<Option<Hash>>,
    /// The tile as it was served, once it was asked for.
    served: Option<Result<Vec<Hash>, Fault>>,
}

/// A tile that differs from what is below it.
struct Doubt {
    path: TilePath,
    computed: Vec<Option<Hash>>,
    served: Vec<Hash>,
    /// On the lowest level: where each leaf lies in its bundle.
    places: Vec<Range<u64>>,
}

/// Which of two things is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Tile,
    Below,
    Either,
}

impl TreeCheck {
    /// For a log of that size; `roots` and `leaves` are the sizes and indices whose hashes will be wanted. Those beyond the
    /// size stay unknown.
    pub fn new(size: u64, roots: impl IntoIterator<Item = u64>, leaves: impl IntoIterator<Item = u64>) -> Self {
        let mut levels = Vec::new();
        levels.resize_with(usize::from(TILE_LEVEL_MAX) + 2, Level::default);
        let facts = TreeFacts {
            roots: roots.into_iter().map(|size| (size, None)).collect(),
            leaves: leaves.into_iter().map(|index| (index, None)).collect(),
            leaves_agree: true,
            ..TreeFacts::default()
        };
        Self { size, next: 0, levels, doubts: Vec::new(), facts }
    }

    /// The path of the bundle that is due; `None` when all were read.
    pub fn due(&self) -> Option<BundlePath> {
        let width = BundlePath::new(self.next, TILE_WIDTH).ok()?.width_in(self.size)?;
        BundlePath::new(self.next, width).ok()
    }

    /// Takes the bundle that is due, and the tile of its leaf hashes.
    pub fn bundle(
        &mut self,
        bundle: Asked<'_>,
        tile: Result<&[u8], &str>,
        served: &mut dyn Served,
        report: Report<'_>,
    ) {
        let Some(path) = self.due() else { return };
        let Ok(tile_path) = TilePath::new(0, self.next, path.width()) else { return };
        let shown = match tile {
            Ok(octets) => hashes_of(tile_path, octets),
            Err(why) => Err(Fault::new(FaultKind::Missing, tile_path, why)),
        };
        let shown = shown.map_err(&mut *report).ok();
        let (computed, places) = match bundle {
            Asked::No => (known(shown.as_deref(), path.width()), Vec::new()),
            Asked::Missing(why) => {
                self.facts.leaves_agree = false;
                report(Fault::new(FaultKind::Missing, path, why));
                (known(shown.as_deref(), path.width()), Vec::new())
            }
            Asked::Octets(octets) => self.cut(path, octets, shown.as_deref(), report),
        };
        let carried = match shown {
            Some(shown) => self.settle(Doubt { path: tile_path, computed, served: shown, places }, served, report),
            None => computed,
        };
        self.next += 1;
        if path.is_full() {
            self.note(path.number(), &carried);
            self.rise(1, root(&carried), served, report);
        } else {
            self.levels[0].hashes = carried;
        }
    }

    /// The hashes of a bundle's leaves, and where each lies. Where it cannot be cut, the tile shows how far it is whole.
    fn cut(
        &mut self,
        path: BundlePath,
        octets: &[u8],
        shown: Option<&[Hash]>,
        report: Report<'_>,
    ) -> (Vec<Option<Hash>>, Vec<Range<u64>>) {
        let width = usize::from(path.width());
        let (mut hashes, mut places) = (Vec::with_capacity(width), Vec::with_capacity(width));
        let mut rest = octets;
        while hashes.len() < width
            && let Ok(leaf) = take_leaf(&mut rest)
        {
            let end = len(octets) - len(rest);
            places.push(end - len(leaf)..end);
            hashes.push(Some(leaf_hash(leaf)));
        }
        if hashes.len() == width && rest.is_empty() {
            return (hashes, places);
        }
        self.facts.leaves_agree = false;
        let whole = match shown {
            Some(shown) => hashes.iter().zip(shown).take_while(|(ours, theirs)| **ours == Some(**theirs)).count(),
            // Any of them may have begun at a wrong place.
            None => 0,
        };
        let begin = whole.checked_sub(1).map_or(0, |last| places[last].end);
        let detail = if whole == width {
            format!("it has {} octets after its last leaf", rest.len())
        } else {
            let what = if hashes.len() < width { "ends early" } else { "has octets left over" };
            format!("it cannot be cut into {width} leaves: from here on its lengths are wrong, and it {what}")
        };
        let fault = Fault::new(FaultKind::Length, path, detail).at(begin..len(octets));
        report(match u64::try_from(whole) {
            Ok(whole) if whole < path.width().into() && shown.is_some() => fault.of_entry(path.leaves().start + whole),
            _none => fault,
        });
        hashes.truncate(whole);
        hashes.resize(width, None);
        places.resize(width, begin..len(octets));
        (hashes, places)
    }

    /// Compares a tile with what is below it, and gives the hashes to go on with.
    fn settle(&mut self, mut doubt: Doubt, served: &mut dyn Served, report: Report<'_>) -> Vec<Option<Hash>> {
        self.facts.tiles += 1;
        for (ours, theirs) in doubt.computed.iter_mut().zip(&doubt.served) {
            // What could not be computed was reported where it is missing.
            ours.get_or_insert(*theirs);
        }
        if doubt.differing().next().is_none() {
            return doubt.computed;
        }
        if !doubt.path.is_full() {
            let computed = doubt.computed.clone();
            self.doubts.push(doubt);
            return computed;
        }
        let above = self.above(doubt.path, served);
        let verdict = match above {
            Some(above) if above == root_of(&doubt.served) => Verdict::Below,
            Some(above) if Some(above) == root(&doubt.computed) => Verdict::Tile,
            _neither => Verdict::Either,
        };
        self.judge(doubt, verdict, report)
    }

    fn judge(&mut self, doubt: Doubt, verdict: Verdict, report: Report<'_>) -> Vec<Option<Hash>> {
        if doubt.path.level() == 0 && verdict != Verdict::Tile {
            self.facts.leaves_agree = false;
        }
        doubt.differing().for_each(|place| report(doubt.fault(place, verdict)));
        match verdict {
            Verdict::Below => doubt.served.into_iter().map(Some).collect(),
            Verdict::Tile | Verdict::Either => doubt.computed,
        }
    }

    /// The hash that the level above was served with for a full tile.
    fn above(&mut self, path: TilePath, served: &mut dyn Served) -> Option<Hash> {
        let at = usize::try_from(path.number() % u64::from(TILE_WIDTH)).ok()?;
        self.shown(path.level() + 1, served).as_ref().ok()?.get(at).copied()
    }

    /// The tile in the making of a level, as it was served.
    fn shown(&mut self, level: u8, served: &mut dyn Served) -> &Result<Vec<Hash>, Fault> {
        let size = self.size;
        let Level { number, served: slot, .. } = &mut self.levels[usize::from(level)];
        slot.get_or_insert_with(|| {
            let path = TilePath::new(level, *number, TILE_WIDTH)
                .ok()
                .and_then(|path| TilePath::new(level, *number, path.width_in(size)?).ok())
                .ok_or_else(|| Fault::new(FaultKind::Missing, format_args!("tile/{level}"), "there is no such tile"))?;
            let octets = served.tile(path).map_err(|why| Fault::new(FaultKind::Missing, path, why))?;
            hashes_of(path, &octets)
        })
    }

    /// Adds the root of a full tile to the level above.
    fn rise(&mut self, level: u8, root_below: Option<Hash>, served: &mut dyn Served, report: Report<'_>) {
        let state = &mut self.levels[usize::from(level)];
        state.hashes.push(root_below);
        if state.hashes.len() == usize::from(TILE_WIDTH) {
            let carried = self.close(level, served, report);
            self.levels[usize::from(level)].number += 1;
            self.rise(level + 1, root(&carried), served, report);
        }
    }

    /// Compares the tile in the making, which is as full as it gets, and takes it out.
    fn close(&mut self, level: u8, served: &mut dyn Served, report: Report<'_>) -> Vec<Option<Hash>> {
        let _asked = self.shown(level, served);
        let state = &mut self.levels[usize::from(level)];
        let computed = std::mem::take(&mut state.hashes);
        let width = u16::try_from(computed.len()).unwrap_or(TILE_WIDTH);
        match (state.served.take(), TilePath::new(level, state.number, width)) {
            (Some(Ok(shown)), Ok(path)) => {
                self.settle(Doubt { path, computed, served: shown, places: Vec::new() }, served, report)
            }
            (Some(Err(fault)), _) => {
                report(fault);
                computed
            }
            (_, _) => computed,
        }
    }

    /// Notes what was asked for about the leaves of a bundle, while the levels above are as they are before it.
    fn note(&mut self, number: u64, hashes: &[Option<Hash>]) {
        let first = number * u64::from(TILE_WIDTH);
        let range = first..first + u64::from(TILE_WIDTH);
        let wanted: Vec<u64> = self.facts.roots.range(range.clone()).map(|(size, _)| *size).collect();
        for size in wanted {
            let known = usize::try_from(size - first).ok().and_then(|width| hashes.get(..width));
            let root = known.and_then(|hashes| self.root_with(hashes));
            self.facts.roots.insert(size, root);
        }
        for (index, hash) in self.facts.leaves.range_mut(range) {
            *hash = usize::try_from(index - first).ok().and_then(|at| hashes.get(at).copied().flatten());
        }
    }

    /// The root over all full tiles so far and these leaves.
    fn root_with(&self, leaves: &[Option<Hash>]) -> Option<Hash> {
        let above = self.levels.iter().skip(1).map(|level| level.hashes.as_slice());
        over(std::iter::once(leaves).chain(above))
    }

    /// Compares the tiles on the right edge, and the root with the one that was signed.
    pub fn finish(mut self, signed: &Hash, served: &mut dyn Served, report: Report<'_>) -> TreeFacts {
        for level in 1..=TILE_LEVEL_MAX {
            if !self.levels[usize::from(level)].hashes.is_empty() {
                self.levels[usize::from(level)].hashes = self.close(level, served, report);
            }
        }
        let edge = std::mem::take(&mut self.levels[0].hashes);
        let mut computed = self.root_with(&edge);
        let mut edge = edge;
        let doubts = std::mem::take(&mut self.doubts);
        let verdict = if computed == Some(*signed) {
            Verdict::Tile
        } else {
            let ours = self.swap(&doubts, &mut edge);
            let theirs = self.root_with(&edge);
            if theirs == Some(*signed) {
                computed = theirs;
                Verdict::Below
            } else {
                self.restore(ours, &mut edge);
                Verdict::Either
            }
        };
        for doubt in doubts {
            self.judge(doubt, verdict, report);
        }
        match computed {
            Some(root) if root == *signed => {}
            Some(root) => {
                report(Fault::new(
                    FaultKind::Root,
                    "checkpoint",
                    format_args!("the tree has the root {root}, signed is {signed}"),
                ));
            }
            None => {
                report(Fault::new(FaultKind::Root, "checkpoint", "the root cannot be computed: too much is missing"));
            }
        }
        self.note(self.size / u64::from(TILE_WIDTH), &edge);
        self.facts.root = computed;
        self.facts
    }

    /// Puts the served tiles of the right edge in place of the computed ones, and gives those back.
    fn swap(&mut self, doubts: &[Doubt], edge: &mut Vec<Option<Hash>>) -> Vec<(u8, Vec<Option<Hash>>)> {
        let mut before = Vec::new();
        for doubt in doubts {
            let theirs = doubt.served.iter().copied().map(Some).collect();
            let place = self.place(doubt.path.level(), edge);
            before.push((doubt.path.level(), std::mem::replace(place, theirs)));
        }
        before
    }

    fn restore(&mut self, before: Vec<(u8, Vec<Option<Hash>>)>, edge: &mut Vec<Option<Hash>>) {
        for (level, hashes) in before {
            *self.place(level, edge) = hashes;
        }
    }

    fn place<'a>(&'a mut self, level: u8, edge: &'a mut Vec<Option<Hash>>) -> &'a mut Vec<Option<Hash>> {
        if level == 0 { edge } else { &mut self.levels[usize::from(level)].hashes }
    }
}

impl Doubt {
    /// The places where it differs.
    fn differing(&self) -> impl Iterator<Item = usize> {
        let pairs = self.computed.iter().zip(&self.served).enumerate();
        pairs.filter(|(_, (ours, theirs))| **ours != Some(**theirs)).map(|(place, _)| place)
    }

    fn fault(&self, place: usize, verdict: Verdict) -> Fault {
        let path = self.path;
        let at = u64::try_from(place).expect("a tile has 256 hashes");
        let octets = at * len(&[0; HASH_LEN])..(at + 1) * len(&[0; HASH_LEN]);
        let number = path.number() * u64::from(TILE_WIDTH) + at;
        let (below, kind) = if path.level() == 0 {
            let bundle = BundlePath::new(path.number(), path.width()).map(|bundle| bundle.to_string());
            (bundle.unwrap_or_default(), FaultKind::Leaf)
        } else {
            let child = TilePath::new(path.level() - 1, number, TILE_WIDTH).map(|child| child.to_string());
            (child.unwrap_or_default(), FaultKind::Tile)
        };
        let above = if path.is_full() { "the tree above" } else { "the signed root" };
        let place = self.places.get(place).cloned();
        let with_place = |fault: Fault| match (path.level(), place) {
            (0, Some(octets)) => fault.at(octets).of_entry(number),
            (0, None) => fault.of_entry(number),
            _above => fault,
        };
        match verdict {
            Verdict::Below => {
                let what = if path.level() == 0 { "its hash" } else { "its root" };
                let detail = format!("{what} is not the one in {path}, which {above} confirms");
                with_place(Fault::new(kind, below, detail))
            }
            Verdict::Tile => {
                let what = if path.level() == 0 { format!("entry {number}") } else { below };
                let detail = format!("hash {at} is not that of {what}, which {above} confirms");
                Fault::new(FaultKind::Tile, path, detail).at(octets)
            }
            Verdict::Either => {
                let Range { start, end } = octets;
                let detail = format!("{path} has another hash at octets {start}..{end}; {above} confirms neither");
                with_place(Fault::new(kind, below, detail))
            }
        }
    }
}

/// The root that the tiles on the right edge give a tree of that size: one on each level at most, so that it is soon known
/// whether there is a tree of the size that was signed at all.
///
/// # Errors
/// The first of them that is missing, or of a wrong length.
pub fn edge_root(size: u64, served: &mut dyn Served) -> Result<Hash, Fault> {
    let (mut levels, mut left) = (Vec::new(), size);
    for level in 0..=TILE_LEVEL_MAX {
        let (number, width) = (left / u64::from(TILE_WIDTH), u16::try_from(left % u64::from(TILE_WIDTH)).unwrap_or(0));
        let mut hashes = Vec::new();
        if width > 0 {
            let path = TilePath::new(level, number, width)
                .map_err(|error| Fault::new(FaultKind::Missing, format_args!("tile/{level}"), error))?;
            let octets = served.tile(path).map_err(|why| Fault::new(FaultKind::Missing, path, why))?;
            hashes.extend(hashes_of(path, &octets)?.into_iter().map(Some));
        }
        levels.push(hashes);
        left = number;
    }
    Ok(over(levels.iter().map(Vec::as_slice)).unwrap_or_else(empty_root))
}

/// The root over complete subtrees: those in the tile in the making of each level, from the lowest on.
fn over<'a>(levels: impl Iterator<Item = &'a [Option<Hash>]>) -> Option<Hash> {
    let mut root: Option<Hash> = None;
    for hashes in levels {
        // From right to left.
        let mut end = hashes.len();
        while end > 0 {
            let begin = end - (1 << end.trailing_zeros());
            let peak = self::root(&hashes[begin..end])?;
            root = Some(root.map_or(peak, |right| node_hash(&peak, &right)));
            end = begin;
        }
    }
    Some(root.unwrap_or_else(empty_root))
}

/// The hashes of a tile, whose length must be right.
fn hashes_of(path: TilePath, octets: &[u8]) -> Result<Vec<Hash>, Fault> {
    let (hashes, rest) = octets.as_chunks::<HASH_LEN>();
    if hashes.len() != usize::from(path.width()) || !rest.is_empty() {
        let detail = format!("it has {} octets, not {}", octets.len(), HASH_LEN * usize::from(path.width()));
        return Err(Fault::new(FaultKind::Length, path, detail));
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

fn known(shown: Option<&[Hash]>, width: u16) -> Vec<Option<Hash>> {
    match shown {
        Some(shown) => shown.iter().copied().map(Some).collect(),
        None => vec![None; width.into()],
    }
}

/// The root over hashes that are all known.
fn root(hashes: &[Option<Hash>]) -> Option<Hash> {
    let hashes: Vec<Hash> = hashes.iter().copied().collect::<Option<_>>()?;
    Some(root_of(&hashes))
}

fn len(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).expect("a length fits into 64 bits")
}
