//! Tiles and entry bundles: how the tree and its leaves are cut into resources (C2SP tlog-tiles, height 8).
//!
//! Knows the paths, which nodes a tile holds, which tiles a tree size has, and the octets of a bundle. Refuses to know
//! where tiles are kept and how they are served.
//!
//! A tile of level `L` and number `N` holds the nodes `N·256 ..` of binary level `8·L`; a bundle holds leaves in the
//! same way. Full ones have 256 and never change; the last of each level may be partial, and is then named by its width.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;

use super::tree::TREE_SIZE_MAX;

/// Nodes of a full tile, leaves of a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// The highest tile level any tree has: 2^56 leaves make its first node. C2SP allows paths up to level 63, but a path
/// above 7 can only ever be answered with 404, so it does not parse here.
pub const TILE_LEVEL_MAX: u8 = 7;

/// The largest tile number: the tile of the last leaf a log may have.
pub const TILE_NUMBER_MAX: u64 = TREE_SIZE_MAX / TILE_WIDTH as u64;

/// The largest leaf a bundle can hold, in octets: its length is written as uint16.
pub const BUNDLE_LEAF_MAX: usize = u16::MAX as usize;

/// Names a hash tile: `tile/<L>/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TilePath {
    level: u8,
    number: u64,
    width: u16,
}

impl TilePath {
    /// The tile of `level` and `number` with its first `width` nodes.
    ///
    /// # Errors
    /// [`TilePathError`] where the level is above [`TILE_LEVEL_MAX`], the number above [`TILE_NUMBER_MAX`], or the width
    /// is not in `1..=256`.
    pub fn new(level: u8, number: u64, width: u16) -> Result<Self, TilePathError> {
        if level > TILE_LEVEL_MAX {
            return Err(TilePathError::Level);
        }
        check_number_and_width(number, width)?;
        Ok(Self { level, number, width })
    }

    /// The tile that holds node `index` of binary `level`, or the nodes below it, as it is in a tree of `size` leaves,
    /// and where in it: [`root_of`](super::tree::root_of) over that range of its hashes is the node. `None` where the
    /// tree does not have that node.
    pub fn of_node(level: u8, index: u64, size: u64) -> Option<(Self, Range<usize>)> {
        let (tile_level, above) = (level / 8, level % 8);
        let first = index.checked_shl(above.into()).filter(|first| first >> above == index)?;
        let number = first / u64::from(TILE_WIDTH);
        let width = width_in(tile_level, number, size)?;
        let start = usize::try_from(first % u64::from(TILE_WIDTH)).ok()?;
        let end = start + (1 << above);
        (end <= usize::from(width))
            .then(|| Self::new(tile_level, number, width).ok())
            .flatten()
            .map(|path| (path, start..end))
    }

    /// The tile level: its nodes are of binary level `8·level`.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Which tile of its level, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many hashes it has, `1..=256`.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it has all 256, and so never changes.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The nodes it holds.
    pub fn nodes(&self) -> TileNodes {
        TileNodes { level: self.level * 8, start: self.number * u64::from(TILE_WIDTH), count: self.width }
    }

    /// The widest form this tile has in a tree of `size` leaves; `None` where it has no node yet. A tile may be served
    /// where its own width is not above this one.
    pub fn width_in(&self, size: u64) -> Option<u16> {
        width_in(self.level, self.number, size)
    }

    /// Every tile of a tree of `size` leaves, lowest level first: the full ones, and at most one partial a level.
    pub fn all_of(size: u64) -> impl Iterator<Item = Self> {
        let size = size.min(TREE_SIZE_MAX);
        (0..=TILE_LEVEL_MAX).flat_map(move |level| {
            numbers(size >> (8 * level)).map(move |(number, width)| Self { level, number, width })
        })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_number_and_width(f, self.number, self.width)
    }
}

/// The nodes of a tile: `count` of them on binary `level`, from index `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileNodes {
    /// Binary level: 0 for leaf hashes.
    pub level: u8,
    /// Index of the first node on that level.
    pub start: u64,
    /// How many, `1..=256`.
    pub count: u16,
}

/// Names an entry bundle: `tile/entries/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BundlePath {
    number: u64,
    width: u16,
}

impl BundlePath {
    /// The bundle `number` with its first `width` leaves.
    ///
    /// # Errors
    /// [`TilePathError`] where the number is above [`TILE_NUMBER_MAX`], or the width is not in `1..=256`.
    pub fn new(number: u64, width: u16) -> Result<Self, TilePathError> {
        check_number_and_width(number, width)?;
        Ok(Self { number, width })
    }

    /// Which bundle, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many leaves it has, `1..=256`.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it has all 256, and so never changes.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The indices of its leaves.
    pub fn leaves(&self) -> Range<u64> {
        let start = self.number * u64::from(TILE_WIDTH);
        start..start + u64::from(self.width)
    }

    /// The widest form this bundle has in a tree of `size` leaves; `None` where it has no leaf yet.
    pub fn width_in(&self, size: u64) -> Option<u16> {
        width_in(0, self.number, size)
    }

    /// Every bundle of a tree of `size` leaves, in order.
    pub fn all_of(size: u64) -> impl Iterator<Item = Self> {
        numbers(size.min(TREE_SIZE_MAX)).map(|(number, width)| Self { number, width })
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_number_and_width(f, self.number, self.width)
    }
}

/// What a path below `tile/` can name. Parses canonical paths only, so that each resource has one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TileResource {
    /// A tile of hashes.
    Hashes(TilePath),
    /// A bundle of leaves.
    Entries(BundlePath),
}

impl FromStr for TileResource {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        let rest = path.strip_prefix("tile/").ok_or(TilePathError::Prefix)?;
        let (level, rest) = rest.split_once('/').ok_or(TilePathError::Number)?;
        let (number, width) = parse_number_and_width(rest)?;
        if level == "entries" {
            return Ok(Self::Entries(BundlePath { number, width }));
        }
        let level = u8::try_from(parse_decimal(level).ok_or(TilePathError::Level)?).ok().ok_or(TilePathError::Level)?;
        TilePath::new(level, number, width).map(Self::Hashes)
    }
}

impl fmt::Display for TileResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashes(path) => path.fmt(f),
            Self::Entries(path) => path.fmt(f),
        }
    }
}

/// Why a path names no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TilePathError {
    /// It does not begin with `tile/`.
    #[error("a tile path begins with `tile/`")]
    Prefix,
    /// The level is not a canonical number up to [`TILE_LEVEL_MAX`].
    #[error("the tile level is not a plain number from 0 to {TILE_LEVEL_MAX}")]
    Level,
    /// The number is not in canonical groups of three digits, or larger than any log.
    #[error("the tile number is not in groups of three digits, as `x001/x234/067`")]
    Number,
    /// The width of a partial tile is not a canonical number from 1 to 255.
    #[error("the width of a partial tile is not a plain number from 1 to 255")]
    Width,
}

fn check_number_and_width(number: u64, width: u16) -> Result<(), TilePathError> {
    if number > TILE_NUMBER_MAX {
        return Err(TilePathError::Number);
    }
    if width == 0 || width > TILE_WIDTH {
        return Err(TilePathError::Width);
    }
    Ok(())
}

/// `<N>[.p/<W>]`: groups of three digits, all but the last marked `x`.
fn parse_number_and_width(text: &str) -> Result<(u64, u16), TilePathError> {
    let (number_text, width) = match text.split_once(".p/") {
        None => (text, TILE_WIDTH),
        Some((number, width)) => {
            let width = parse_decimal(width).filter(|width| (1..256).contains(width)).ok_or(TilePathError::Width)?;
            (number, u16::try_from(width).ok().ok_or(TilePathError::Width)?)
        }
    };
    let mut groups = number_text.split('/').peekable();
    let mut number: u64 = 0;
    let mut first = true;
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        let digits = if last { group } else { group.strip_prefix('x').ok_or(TilePathError::Number)? };
        let leading_zeros = first && !last && digits == "000";
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) || leading_zeros {
            return Err(TilePathError::Number);
        }
        let value: u64 = digits.parse().ok().ok_or(TilePathError::Number)?;
        number = number * 1000 + value;
        // Checked at each group, so that the next step cannot overflow.
        if number > TILE_NUMBER_MAX {
            return Err(TilePathError::Number);
        }
        first = false;
    }
    Ok((number, width))
}

fn write_number_and_width(f: &mut fmt::Formatter<'_>, number: u64, width: u16) -> fmt::Result {
    let mut divisor = 1;
    while number / divisor >= 1000 {
        divisor *= 1000;
    }
    while divisor > 1 {
        write!(f, "x{:03}/", number / divisor % 1000)?;
        divisor /= 1000;
    }
    write!(f, "{:03}", number % 1000)?;
    if width < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

/// A decimal number without sign or leading zeros.
pub fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// How many nodes tile `number` of `level` has in a tree of `size` leaves, if any.
fn width_in(level: u8, number: u64, size: u64) -> Option<u16> {
    let nodes = size.checked_shr(u32::from(level) * 8)?;
    let left = nodes.checked_sub(number.checked_mul(TILE_WIDTH.into())?)?;
    u16::try_from(left.min(TILE_WIDTH.into())).ok().filter(|width| *width > 0)
}

/// The tiles of a level with `nodes` nodes: number and width of each.
fn numbers(nodes: u64) -> impl Iterator<Item = (u64, u16)> {
    (0..nodes.div_ceil(TILE_WIDTH.into())).map_while(move |number| Some((number, width_in(0, number, nodes)?)))
}

/// Why a bundle cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BundleError {
    /// A leaf is longer than [`BUNDLE_LEAF_MAX`] octets.
    #[error("a leaf of {0} octets does not fit into a bundle")]
    LeafTooLong(usize),
    /// The bundle ends within a leaf, or before the last.
    #[error("the bundle ends early")]
    Short,
    /// Octets follow the last leaf.
    #[error("the bundle has octets after its last leaf")]
    Trailing,
}

/// Appends one leaf to a bundle: its length as uint16, big endian, then its octets.
///
/// # Errors
/// [`BundleError::LeafTooLong`]; nothing is then written.
pub fn push_leaf(bundle: &mut Vec<u8>, leaf: &[u8]) -> Result<(), BundleError> {
    let length = u16::try_from(leaf.len()).ok().ok_or(BundleError::LeafTooLong(leaf.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    Ok(())
}

/// The leaves of a bundle that must hold exactly `width`.
///
/// # Errors
/// [`BundleError::Short`] or [`BundleError::Trailing`] where it holds fewer or more.
pub fn read_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let mut rest = bundle;
    let leaves = (0..width).map(|_| take_leaf(&mut rest)).collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok(leaves) } else { Err(BundleError::Trailing) }
}

/// The part of a bundle that holds its first `width` leaves: a partial bundle is cut from a wider one.
///
/// # Errors
/// [`BundleError::Short`] where the bundle has fewer.
pub fn cut_bundle(bundle: &[u8], width: u16) -> Result<&[u8], BundleError> {
    let mut rest = bundle;
    for _ in 0..width {
        take_leaf(&mut rest)?;
    }
    Ok(&bundle[..bundle.len() - rest.len()])
}

pub(super) fn take_leaf<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BundleError> {
    let (length, after) = rest.split_first_chunk().ok_or(BundleError::Short)?;
    let (leaf, after) = after.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(BundleError::Short)?;
    *rest = after;
    Ok(leaf)
}
