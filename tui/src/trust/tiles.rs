//! Verified tiles: the right edge at one signed size, and full tiles that were checked up to it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use common::audit::{Frontier, Hash, Nodes, TILE_LEVEL_MAX, TILE_WIDTH, TilePath, root_of};

/// Full tiles that are held: half a megabyte.
pub const TILES_MAX: usize = 64;

/// The tile of a number as it is in a tree of a size.
pub(super) fn path_at(level: u8, number: u64, size: u64) -> Option<TilePath> {
    let width = TilePath::new(level, number, TILE_WIDTH).ok()?.width_in(size)?;
    TilePath::new(level, number, width).ok()
}

/// The tiles on the right edge of a tree: the partial one of each level.
pub fn edge_paths(size: u64) -> Vec<TilePath> {
    (0..=TILE_LEVEL_MAX)
        .filter_map(|level| path_at(level, (size >> (8 * level)) / u64::from(TILE_WIDTH), size))
        .collect()
}

fn hashes_of(path: TilePath, octets: &[u8]) -> Result<Vec<Hash>, String> {
    let (hashes, rest) = octets.as_chunks::<32>();
    if hashes.len() != usize::from(path.width()) || !rest.is_empty() {
        return Err(format!("{path} has {} octets, not {}", octets.len(), 32 * usize::from(path.width())));
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// The right edge of the tree at a size, with the root that was signed.
#[derive(Debug, Clone)]
pub struct Anchor {
    size: u64,
    edge: Frontier,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl Anchor {
    /// Checks the tiles of the right edge against the signed root.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(size: u64, root: &Hash, got: &[(TilePath, Vec<u8>)]) -> Result<Self, String> {
        let mut tiles = BTreeMap::new();
        for (path, octets) in got {
            tiles.insert((path.level(), path.number()), hashes_of(*path, octets)?);
        }
        let found = Frontier::load(size, &Edge { size, tiles: &tiles });
        let edge = found.map_err(|_missing| format!("the tiles on the right edge of {size} entries are not whole"))?;
        if edge.root() != *root {
            return Err(format!("the tiles on the right edge have the root {}, signed is {root}", edge.root()));
        }
        Ok(Self { size, edge, tiles })
    }

    /// The edge itself.
    pub fn edge(&self) -> &Frontier {
        &self.edge
    }
}

struct Edge<'a> {
    size: u64,
    tiles: &'a BTreeMap<(u8, u64), Vec<Hash>>,
}

impl Nodes for Edge<'_> {
    type Error = ();

    fn node(&self, level: u8, index: u64) -> Result<Hash, ()> {
        let (path, range) = TilePath::of_node(level, index, self.size).ok_or(())?;
        self.tiles.get(&(path.level(), path.number())).and_then(|hashes| hashes.get(range)).map(root_of).ok_or(())
    }
}

/// What verified tiles say of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It is the one in the tree.
    Verified,
    /// Another is.
    Wrong(Hash),
    /// These tiles are needed first.
    Needs(Vec<TilePath>),
    /// It is behind the edge that was proved: the edge at this size is needed first.
    Beyond(u64),
    /// Nothing is proved yet.
    Unknown,
}

/// All that is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tiles {
    anchor: Option<Anchor>,
    full: HashMap<(u8, u64), Vec<Hash>>,
    order: VecDeque<(u8, u64)>,
}

impl Tiles {
    pub(crate) fn set_anchor(&mut self, anchor: Anchor) {
        self.anchor = Some(anchor);
    }

    pub(super) fn anchor_size(&self) -> u64 {
        self.anchor.as_ref().map_or(0, |anchor| anchor.size)
    }

    pub(super) fn len(&self) -> usize {
        self.full.len() + self.anchor.as_ref().map_or(0, |anchor| anchor.tiles.len())
    }

    fn known(&self, path: TilePath) -> Option<&Vec<Hash>> {
        let key = (path.level(), path.number());
        if path.is_full() { self.full.get(&key) } else { self.anchor.as_ref()?.tiles.get(&key) }
    }

    pub(crate) fn judge(&mut self, index: u64, hash: &Hash, verified: u64) -> Judged {
        let Some(anchor) = &self.anchor else { return Judged::Unknown };
        let size = anchor.size;
        if index >= size {
            return if index < verified { Judged::Beyond(verified) } else { Judged::Unknown };
        }
        let mut needs = Vec::new();
        let mut number = index / u64::from(TILE_WIDTH);
        for level in 0..=TILE_LEVEL_MAX {
            let Some(path) = path_at(level, number, size) else { break };
            match self.known(path) {
                Some(hashes) if level == 0 => {
                    let at = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
                    return match hashes.get(at) {
                        Some(known) if known == hash => Judged::Verified,
                        Some(known) => Judged::Wrong(*known),
                        None => Judged::Unknown,
                    };
                }
                Some(_) => break,
                None => needs.push(path),
            }
            number /= u64::from(TILE_WIDTH);
        }
        Judged::Needs(needs)
    }

    /// Takes tiles that hash to what is above them.
    pub(crate) fn take(&mut self, got: &[(TilePath, Vec<u8>)]) -> Result<(), String> {
        let Some(size) = self.anchor.as_ref().map(|anchor| anchor.size) else { return Ok(()) };
        let mut sorted: Vec<&(TilePath, Vec<u8>)> = got.iter().collect();
        sorted.sort_by_key(|(path, _)| std::cmp::Reverse(path.level()));
        for (path, octets) in sorted {
            let hashes = hashes_of(*path, octets)?;
            if !path.is_full() {
                continue;
            }
            let above = path_at(path.level() + 1, path.number() / u64::from(TILE_WIDTH), size);
            let at = usize::try_from(path.number() % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
            // Above what was asked for nothing is held where the edge has moved on meanwhile: it is asked for again.
            let Some(expected) = above.and_then(|above| self.known(above)).and_then(|hashes| hashes.get(at)) else {
                continue;
            };
            let root = root_of(&hashes);
            if root != *expected {
                return Err(format!("{path} has the root {root}, the tree above has {expected}"));
            }
            let key = (path.level(), path.number());
            if self.full.insert(key, hashes).is_none() {
                self.order.push_back(key);
            }
            while self.full.len() > TILES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.full.remove(&oldest);
            }
        }
        Ok(())
    }
}
