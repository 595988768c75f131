//! Which models may have a text: the models in the order of their names, in blocks, and of each block which three octets
//! follow one another in its names and descriptions. A search walks only the models of blocks that have all of the text's.
//!
//! Space `X`: the name that a block begins with (the first block: nothing) → models that were added, u32 little-endian, ‖ a
//! sorted list of 16-bit numbers, big-endian, each made of three octets. What a model no longer says stays until its block
//! is divided: a block may be walked in vain, and none is left out. So a change costs what it brings, and nothing where
//! all of that is there.

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

/// The numbers of octets that are in lower case already.
fn grams(octets: &[u8]) -> impl Iterator<Item = u16> + '_ {
    octets.windows(GRAM_OCTETS).map(|three| {
        let number = three.iter().fold(0_u32, |number, &octet| number << 8 | u32::from(octet));
        // Knuth's multiplicative hashing: the upper half of the product.
        let mixed = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
        u16::from_be_bytes([mixed[0], mixed[1]])
    })
}

/// The part of a text whose numbers an earlier one may not have: without what both begin and end with, but for the octets
/// next to it, which make numbers with it.
fn changed<'t>(before: &[u8], now: &'t [u8]) -> &'t [u8] {
    let equal = |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| pairs.take_while(|(one, other)| one == other).count();
    let beginning = equal(&mut before.iter().zip(now));
    let both = before.len().min(now.len());
    let end = equal(&mut before.iter().rev().zip(now.iter().rev()).take(both - beginning));
    let beside = GRAM_OCTETS - 1;
    now.get(beginning.saturating_sub(beside)..(now.len() - end + beside).min(now.len())).unwrap_or_default()
}

/// The words of a text that is searched for: what is between blanks, and between double quotes with its blanks.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').enumerate().flat_map(|(at, part)| {
        let is_phrase = at % 2 == 1;
        let (phrase, rest) = if is_phrase { (Some(part), "") } else { (None, part) };
        phrase.into_iter().filter(|phrase| !phrase.is_empty()).chain(rest.split_whitespace())
    })
}

/// What a text's words must find in a block; none where any block may have them.
pub(super) fn wanted(text: &str) -> Option<Vec<u16>> {
    let grams: Vec<u16> = words(&text.to_lowercase()).flat_map(|word| grams(word.as_bytes())).collect();
    (!grams.is_empty()).then_some(grams)
}

/// Whether a block may have all of them.
fn may_hold(block: &[u8], wanted: &[u16]) -> bool {
    let (there, _rest) = block.get(4..).unwrap_or_default().as_chunks::<2>();
    there.is_empty() || wanted.iter().all(|gram| holds(there, *gram))
}

fn holds(there: &[[u8; 2]], gram: u16) -> bool {
    there.binary_search_by_key(&gram, |number| u16::from_be_bytes(*number)).is_ok()
}

/// A block that is made.
#[derive(Default)]
struct Block {
    models: usize,
    /// Sorted, and none twice; empty where there would be too many.
    grams: Vec<u16>,
}

impl Block {
    fn of(models: &[ModelRecord]) -> Self {
        let of_model = |model: &ModelRecord| texts(model).into_iter().flat_map(|text| grams(&text).collect::<Vec<_>>());
        let mut grams: Vec<u16> = models.iter().flat_map(of_model).collect();
        grams.sort_unstable();
        grams.dedup();
        Self { models: models.len(), grams }
    }

    /// One that is there, with more.
    fn with(octets: &[u8], models: usize, mut more: Vec<u16>) -> Self {
        let (there, _rest) = octets.get(4..).unwrap_or_default().as_chunks::<2>();
        more.sort_unstable();
        more.dedup();
        let mut grams = Vec::with_capacity(there.len() + more.len());
        let mut more = more.into_iter().peekable();
        for number in there.iter().copied().map(u16::from_be_bytes) {
            while let Some(before) = more.next_if(|gram| *gram < number) {
                grams.push(before);
            }
            grams.push(number);
        }
        grams.extend(more);
        Self { models, grams }
    }

    fn encode(&self) -> Vec<u8> {
        let models = u32::try_from(self.models).unwrap_or(u32::MAX);
        let grams: &[u16] = if self.grams.len() > GRAMS_KEPT { &[] } else { &self.grams };
        models.to_le_bytes().into_iter().chain(grams.iter().flat_map(|gram| gram.to_be_bytes())).collect()
    }

    fn fits(&self, models_max: usize, grams_max: usize) -> bool {
        self.models <= models_max && self.grams.len() <= grams_max
    }
}

/// What of a model is searched.
fn texts(model: &ModelRecord) -> [Vec<u8>; 2] {
    [model.name.folded().into_bytes(), model.description.to_lowercase().into_bytes()]
}

/// Takes up what a model's name and description say now.
pub(super) fn index_text(overlay: &mut Overlay<'_>, old: Option<&ModelRecord>, model: &ModelRecord) -> Read<()> {
    if model.purged {
        return Ok(());
    }
    let name = model.name.folded();
    let old = old.filter(|old| !old.purged && old.name.folded() == name);
    if old.is_some_and(|old| old.description == model.description) {
        return Ok(());
    }
    let (at, octets) = block_of(&*overlay, name.as_bytes())?.unwrap_or_else(|| (b"X".into(), IVec::from(&[0; 4])));
    let damaged = || StoreError::Corrupt("a search block in the view is damaged".to_owned());
    let (models, there) = octets.split_first_chunk::<4>().ok_or_else(damaged)?;
    let models = usize::try_from(u32::from_le_bytes(*models)).map_err(|_wide| damaged())?;
    // Full already: it has one model, or is divided now.
    if models > 0 && there.is_empty() {
        return divide(overlay, at.to_vec());
    }
    let (there, _rest) = there.as_chunks::<2>();
    let [name, description] = texts(model);
    // What was said before is in it.
    let new = match old {
        Some(old) => [&[], changed(old.description.to_lowercase().as_bytes(), &description)],
        None => [name.as_slice(), description.as_slice()],
    };
    let more: Vec<u16> = new.into_iter().flat_map(grams).filter(|gram| !holds(there, *gram)).collect();
    if old.is_some() && more.is_empty() {
        return Ok(());
    }
    let block = Block::with(&octets, models + usize::from(old.is_none()), more);
    if block.fits(MODELS_MAX, GRAMS_MAX) {
        overlay.put(at.to_vec(), block.encode());
        return Ok(());
    }
    divide(overlay, at.to_vec())
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
    let whole = Block::of(&models);
    // Well below the bounds, so that it isn't made anew soon.
    if models.len() < 2 || whole.fits(MODELS_MAX / 4 * 3, GRAMS_MAX / 4 * 3) {
        overlay.put(at, whole.encode());
        return Ok(());
    }
    let (lower, upper) = models.split_at(models.len() / 2);
    overlay.put(at, Block::of(lower).encode());
    if let Some(first) = upper.first() {
        overlay.put(key(b'X', &[first.name.folded().as_bytes()]), Block::of(upper).encode());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::{BTreeMap, BTreeSet};

    use proptest::collection;
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::super::KvRecords;
    use super::super::tests::{model, put, tree};
    use super::{changed, grams, words};
    use crate::store::records::ModelRecord;
    use crate::store::{ModelQuery, Records as _};

    #[test]
    fn words_and_phrases() {
        let of = |text| words(text).collect::<Vec<_>>();
        assert_eq!(of("  ner  multi "), ["ner", "multi"]);
        assert_eq!(of("\"of reviews\"x \"\" \" y"), ["of reviews", "x", " y"]);
        assert_eq!(of(" \""), [""; 0]);
    }

    proptest! {
        /// What a change doesn't bring was there.
        #[test]
        fn the_changed_part_is_enough(before in "[ab]{0,12}", now in "[ab]{0,12}") {
            let brought = changed(before.as_bytes(), now.as_bytes());
            let known: BTreeSet<u16> = grams(before.as_bytes()).chain(grams(brought)).collect();
            prop_assert!(grams(now.as_bytes()).all(|gram| known.contains(&gram)), "{brought:?}");
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Whatever is put, changed, purged and put again, in whatever order: each model is found by all that it says.
        #[test]
        fn all_are_found(
            puts in collection::vec((0..160u32, "[a-d ]{0,90}", any::<bool>()), 1..300),
            purge_every in 5..40usize,
        ) {
            let tree = tree();
            let mut said = BTreeMap::new();
            for (at, (number, description, is_long)) in puts.into_iter().enumerate() {
                // Some have so many numbers that a block can't hold them.
                let more = if is_long && at % 7 == 0 { 3_000 } else { 0 };
                let more: String = (0..more).map(|n| format!("{:x}", n * 7919 + at)).collect();
                let description = description + &more;
                let purged = at % purge_every == 0;
                put(&tree, [ModelRecord { description: description.clone(), purged, ..model(number, &[]) }]);
                if purged {
                    said.remove(&number);
                } else {
                    said.insert(number, description);
                }
            }
            for (number, description) in said {
                let letters: Vec<char> = description.chars().collect();
                let end: String = letters.iter().rev().take(40).rev().collect();
                for text in [format!("model-{number:05}"), format!("\"{end}\"")] {
                    let query = ModelQuery { text: Some(text.clone()), limit: 1000, ..ModelQuery::default() };
                    let found = KvRecords(&tree).models(&query).unwrap().models;
                    prop_assert!(found.iter().any(|found| found.id == model(number, &[]).id), "{text:?}");
                }
            }
        }
    }
}
