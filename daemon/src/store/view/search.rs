//! Which models may have a text: the models in the order of their names, in blocks, and of each block which three octets
//! follow one another in its names and descriptions. A search walks only the models of blocks that have all of the text's.
//!
//! Space `X`: the name that a block begins with (the first block: nothing) → models that were added, u32 little-endian, ‖ a
//! sorted list of 16-bit numbers, big-endian, each made of three octets. What a model no longer says stays until its block
//! is divided: a block may be walked in vain, and none is left out.

use std::ops::Bound;

use sled::IVec;

use super::{id, key, model_id, record};
use crate::store::overlay::{Kv, Overlay, Pairs, prefix_end};
use crate::store::records::ModelRecord;
use crate::store::{Read, StoreError};

/// Models of a block, after which it is divided.
const MODELS_MAX: usize = 128;
/// Numbers of a block, after which it is divided if it has several models.
const GRAMS_MAX: usize = 1024;
/// Numbers of a model, after which its block is always walked.
const GRAMS_KEPT: usize = 8192;
/// Octets that a number is made of. A shorter text is looked for everywhere.
const GRAM_OCTETS: usize = 3;

/// The numbers of a text that is in lower case already.
fn grams(text: &str) -> impl Iterator<Item = u16> + '_ {
    text.as_bytes().windows(GRAM_OCTETS).map(|three| {
        let number = three.iter().fold(0_u32, |number, &octet| number << 8 | u32::from(octet));
        // Knuth's multiplicative hashing: the upper half of the product.
        let mixed = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
        u16::from_be_bytes([mixed[0], mixed[1]])
    })
}

/// The words of a text that is searched for: what is between blanks, and between double quotes with its blanks.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').enumerate().flat_map(|(at, part)| {
        let is_phrase = at % 2 == 1;
        let (phrase, rest) = if is_phrase { (Some(part), "") } else { (None, part) };
        phrase.into_iter().filter(|phrase| !phrase.is_empty()).chain(rest.split_whitespace())
    })
}

/// What a text's words must find in a block; none where any block may have them.
pub(super) fn wanted(text: &str) -> Option<Vec<u16>> {
    let grams: Vec<u16> = words(&text.to_lowercase()).flat_map(grams).collect();
    (!grams.is_empty()).then_some(grams)
}

/// Whether a block may have all of them.
fn may_hold(block: &[u8], wanted: &[u16]) -> bool {
    let (there, _rest) = block.get(4..).unwrap_or_default().as_chunks::<2>();
    there.is_empty() || wanted.iter().all(|gram| there.binary_search(&gram.to_be_bytes()).is_ok())
}

/// A block that is being changed.
#[derive(Default)]
struct Block {
    models: usize,
    /// Sorted, and none twice; empty where there would be too many.
    grams: Vec<u16>,
}

impl Block {
    fn decode(octets: &[u8]) -> Read<Self> {
        let damaged = || StoreError::Corrupt("a search block in the view is damaged".to_owned());
        let (models, grams) = octets.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (grams, _rest) = grams.as_chunks::<2>();
        Ok(Self {
            models: usize::try_from(u32::from_le_bytes(*models)).map_err(|_wide| damaged())?,
            grams: grams.iter().copied().map(u16::from_be_bytes).collect(),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let models = u32::try_from(self.models).unwrap_or(u32::MAX);
        let grams: &[u16] = if self.grams.len() > GRAMS_KEPT { &[] } else { &self.grams };
        models.to_le_bytes().into_iter().chain(grams.iter().flat_map(|gram| gram.to_be_bytes())).collect()
    }

    /// The block with some models more.
    fn with<'m>(mut self, models: impl IntoIterator<Item = &'m ModelRecord>) -> Self {
        for model in models {
            self.models += 1;
            self.grams.extend(grams(&model.name.folded()));
            self.grams.extend(grams(&model.description.to_lowercase()));
        }
        self.grams.sort_unstable();
        self.grams.dedup();
        self
    }

    fn fits(&self, models_max: usize, grams_max: usize) -> bool {
        self.models <= models_max && self.grams.len() <= grams_max
    }
}

/// Takes up what a model's name and description say now.
pub(super) fn index_text(overlay: &mut Overlay<'_>, old: Option<&ModelRecord>, model: &ModelRecord) -> Read<()> {
    let says_the_same = |old: &ModelRecord| {
        !old.purged && old.name.folded() == model.name.folded() && old.description == model.description
    };
    if model.purged || old.is_some_and(says_the_same) {
        return Ok(());
    }
    let name = model.name.folded();
    let (at, block) = match block_of(&*overlay, name.as_bytes())? {
        Some((at, octets)) => (at.to_vec(), Block::decode(&octets)?),
        None => (vec![b'X'], Block::default()),
    };
    // Full already: it has one model, or is divided now.
    let was_full = block.models > 0 && block.grams.is_empty();
    let block = block.with([model]);
    if block.fits(MODELS_MAX, GRAMS_MAX) && !was_full {
        overlay.put(at, block.encode());
        return Ok(());
    }
    divide(overlay, at)
}

/// Makes a block anew from its models; in two, where it is large.
fn divide(overlay: &mut Overlay<'_>, at: Vec<u8>) -> Read<()> {
    let next = overlay.range(Bound::Excluded(at.clone()), prefix_end(b"X"), false).next().transpose()?;
    let begin = at.get(1..).unwrap_or_default();
    let to = match &next {
        Some((next, _block)) => Bound::Excluded(key(b'n', &[next.get(1..).unwrap_or_default()])),
        None => prefix_end(b"n"),
    };
    let mut ids = Vec::new();
    for pair in overlay.range(Bound::Included(key(b'n', &[begin])), to, false) {
        ids.push(model_id(&pair?.1)?);
    }
    let mut models: Vec<ModelRecord> = Vec::with_capacity(ids.len());
    for one in ids {
        models.extend(record::<ModelRecord>(&*overlay, &key(b'm', &[&id(one)]))?);
    }
    let whole = Block::default().with(&models);
    // Well below the bounds, so that it isn't made anew soon.
    if models.len() < 2 || whole.fits(MODELS_MAX / 4 * 3, GRAMS_MAX / 4 * 3) {
        overlay.put(at, whole.encode());
        return Ok(());
    }
    let (lower, upper) = models.split_at(models.len() / 2);
    overlay.put(at, Block::default().with(lower).encode());
    if let Some(first) = upper.first() {
        overlay.put(key(b'X', &[first.name.folded().as_bytes()]), Block::default().with(upper).encode());
    }
    Ok(())
}

/// The block that a name is in.
fn block_of(kv: &(impl Kv + ?Sized), name: &[u8]) -> Read<Option<(IVec, IVec)>> {
    kv.range(Bound::Included(vec![b'X']), Bound::Included(key(b'X', &[name])), true).next().transpose()
}

/// Names and ids of the models in blocks that may have a text, in the order of names or backwards, after a name.
pub(super) fn candidates<'a, K: Kv + ?Sized>(
    kv: &'a K,
    wanted: Vec<u16>,
    after: Option<&[u8]>,
    down: bool,
) -> Read<Pairs<'a>> {
    let begin = match after {
        Some(after) if !down => block_of(kv, after)?.map(|(at, _block)| at.to_vec()),
        Some(_) | None => None,
    };
    let to = match after {
        Some(after) if down => Bound::Excluded(key(b'X', &[after])),
        Some(_) | None => prefix_end(b"X"),
    };
    let after = after.map(|after| key(b'n', &[after]));
    let mut end = match &after {
        Some(after) if down => Bound::Excluded(after.clone()),
        Some(_) | None => prefix_end(b"n"),
    };
    let mut blocks = kv.range(Bound::Included(begin.unwrap_or_else(|| vec![b'X'])), to, down).peekable();
    let ranges = std::iter::from_fn(move || {
        loop {
            let (at, block) = match blocks.next()? {
                Ok(pair) => pair,
                Err(error) => return Some(Box::new(std::iter::once(Err(error))) as Pairs<'a>),
            };
            let begin = key(b'n', &[at.get(1..).unwrap_or_default()]);
            let to = if down {
                std::mem::replace(&mut end, Bound::Excluded(begin.clone()))
            } else {
                match blocks.peek() {
                    Some(Ok((next, _block))) => Bound::Excluded(key(b'n', &[next.get(1..).unwrap_or_default()])),
                    Some(Err(_)) | None => prefix_end(b"n"),
                }
            };
            if may_hold(&block, &wanted) {
                let from = match &after {
                    Some(after) if !down && *after >= begin => Bound::Excluded(after.clone()),
                    Some(_) | None => Bound::Included(begin),
                };
                return Some(kv.range(from, to, down));
            }
        }
    });
    Ok(Box::new(ranges.flatten()))
}
