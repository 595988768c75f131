//! The octets of a block: ordered pairs, front-coded. Knows nothing of trees, nor what keys mean; takes any octets, and
//! refuses those that are no block.
//!
//! | octets | what |
//! |---|---|
//! | 1 | format, 1 |
//! | varint, as many | lower fence: no key of the block is below it |
//! | | then each pair: |
//! | varint | octets that its key shares with the key before it, the first with the lower fence: as many as are equal |
//! | varint | octets of the rest of its key |
//! | varint | octets of its value |
//! | as many | the rest of the key, then the value |
//!
//! Varints are LEB128, up to five octets. There is no checksum: sled has one over each of its messages.

use std::cmp::Ordering;
use std::ops::Range;

use crate::store::{Read, StoreError};

/// The format that is written.
const FORMAT: u8 = 1;

/// Where a pair is in its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Octets of the key before it with which its key begins.
    shared: usize,
    /// The rest of the key.
    rest: Range<usize>,
    /// The value.
    pub(super) value: Range<usize>,
}

/// Reads a block's pairs one after another.
#[derive(Debug, Clone)]
pub(super) struct Places {
    at: usize,
    /// Where the lower fence is.
    pub(super) lower: Range<usize>,
}

impl Places {
    /// At the first pair.
    pub(super) fn of(octets: &[u8]) -> Read<Self> {
        if octets.first() != Some(&FORMAT) {
            return Err(damaged("has an unknown format"));
        }
        let mut at = 1;
        let length = number(octets, &mut at)?;
        let lower = taken(octets, &mut at, length)?;
        Ok(Self { at, lower })
    }

    /// The next pair, or none behind the last.
    pub(super) fn next(&mut self, octets: &[u8]) -> Read<Option<Place>> {
        if self.at >= octets.len() {
            return Ok(None);
        }
        let shared = number(octets, &mut self.at)?;
        let (rest, value) = (number(octets, &mut self.at)?, number(octets, &mut self.at)?);
        let rest = taken(octets, &mut self.at, rest)?;
        let value = taken(octets, &mut self.at, value)?;
        Ok(Some(Place { shared, rest, value }))
    }
}

impl Place {
    /// Makes the key before it into its own.
    pub(super) fn turn(&self, octets: &[u8], key: &mut Vec<u8>) -> Read<()> {
        if self.shared > key.len() {
            return Err(damaged("shares more of a key than there is"));
        }
        key.truncate(self.shared);
        key.extend_from_slice(octets.get(self.rest.clone()).unwrap_or_default());
        Ok(())
    }
}

/// Where the value of a key is in a block. Keys are not put together for it: how much a pair shares with the one before it
/// tells how both compare with the key that is sought.
pub(super) fn find(octets: &[u8], key: &[u8]) -> Read<Option<Range<usize>>> {
    let mut places = Places::of(octets)?;
    let lower = octets.get(places.lower.clone()).unwrap_or_default();
    if key < lower {
        return Ok(None);
    }
    // All that was passed is below the key, or the lower fence, and the last of it shares so much with it.
    let mut common = shared_of(lower, key);
    while let Some(place) = places.next(octets)? {
        match place.shared.cmp(&common) {
            // It goes on as the one before it did, which was below.
            Ordering::Greater => {}
            Ordering::Less => return Ok(None),
            Ordering::Equal => {
                let (rest, wanted) =
                    (octets.get(place.rest).unwrap_or_default(), key.get(common..).unwrap_or_default());
                let equal = shared_of(rest, wanted);
                match rest.get(equal).cmp(&wanted.get(equal)) {
                    Ordering::Equal => return Ok(Some(place.value)),
                    Ordering::Greater => return Ok(None),
                    Ordering::Less => common += equal,
                }
            }
        }
    }
    Ok(None)
}

/// Makes a block.
pub(super) struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// Without pairs yet; room is made for so many octets.
    pub(super) fn new(lower: &[u8], room: usize) -> Self {
        let mut octets = Vec::with_capacity(room);
        octets.push(FORMAT);
        put_number(&mut octets, lower.len());
        octets.extend_from_slice(lower);
        Self { octets }
    }

    /// Adds a pair, whose key is above the one before it; `before` is that, or the lower fence.
    pub(super) fn push(&mut self, before: &[u8], key: &[u8], value: &[u8]) {
        let shared = shared_of(before, key);
        let rest = key.get(shared..).unwrap_or_default();
        put_number(&mut self.octets, shared);
        put_number(&mut self.octets, rest.len());
        put_number(&mut self.octets, value.len());
        self.octets.extend_from_slice(rest);
        self.octets.extend_from_slice(value);
    }

    /// The block.
    pub(super) fn finish(self) -> Vec<u8> {
        self.octets
    }
}

/// About how many octets a pair takes in a block.
pub(super) fn pair_octets(shared: usize, key: &[u8], value: &[u8]) -> usize {
    let large = |length: usize| if length < 0x80 { 1 } else { 2 };
    let rest = key.len().saturating_sub(shared);
    large(shared) + large(rest) + large(value.len()) + rest + value.len()
}

/// How many octets two strings have in common at their beginnings.
pub(super) fn shared_of(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn put_number(octets: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        octets.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    octets.push(u8::try_from(number).unwrap_or_default());
}

fn number(octets: &[u8], at: &mut usize) -> Read<usize> {
    const OCTETS_MAX: u32 = 5;
    let mut number = 0u64;
    for place in 0..OCTETS_MAX {
        let octet = *octets.get(*at).ok_or_else(|| damaged("ends within a number"))?;
        *at += 1;
        number |= u64::from(octet & 0x7f) << (7 * place);
        if octet < 0x80 {
            return usize::try_from(number).map_err(|_large| damaged("has a number too large"));
        }
    }
    Err(damaged("has a number too large"))
}

fn taken(octets: &[u8], at: &mut usize, length: usize) -> Read<Range<usize>> {
    let end = at.checked_add(length).filter(|end| *end <= octets.len()).ok_or_else(|| damaged("ends within a pair"))?;
    let taken = *at..end;
    *at = end;
    Ok(taken)
}

/// What is said of a block that is none.
pub(super) fn damaged(why: &str) -> StoreError {
    StoreError::Corrupt(format!("a block of the view {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(lower: &[u8], pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::new(lower, 0);
        let mut before = lower;
        for (key, value) in pairs {
            writer.push(before, key, value);
            before = key;
        }
        writer.finish()
    }

    fn all(octets: &[u8]) -> Read<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut places = Places::of(octets)?;
        let mut key = octets[places.lower.clone()].to_vec();
        let mut pairs = Vec::new();
        while let Some(place) = places.next(octets)? {
            place.turn(octets, &mut key)?;
            pairs.push((key.clone(), octets[place.value].to_vec()));
        }
        Ok(pairs)
    }

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0u8), Just(255u8)], 0..7)
    }

    proptest! {
        /// What is written is read, and each key is found or not as in a map.
        #[test]
        fn a_block_is_a_map(
            pairs in prop::collection::btree_map(keys(), prop::collection::vec(any::<u8>(), 0..200), 0..40),
            sought in prop::collection::vec(keys(), 0..40),
            cut in 0usize..7,
        ) {
            let lower = pairs.first_key_value().map(|(key, _)| key[..cut.min(key.len())].to_vec()).unwrap_or_default();
            let list: Vec<_> = pairs.clone().into_iter().collect();
            let octets = block(&lower, &list);
            prop_assert_eq!(all(&octets).unwrap(), list);
            for key in sought.iter().chain(pairs.keys()) {
                let found = find(&octets, key).unwrap().map(|value| octets[value].to_vec());
                prop_assert_eq!(found.as_ref(), pairs.get(key));
            }
        }

        /// Any octets are read to an end, or refused.
        #[test]
        fn any_octets(mut octets in prop::collection::vec(any::<u8>(), 0..200), key in keys(), as_block in any::<bool>()) {
            if as_block && let Some(first) = octets.first_mut() {
                *first = FORMAT;
            }
            let _any = all(&octets);
            let _any = find(&octets, &key);
        }

        /// So are blocks in which an octet is another, or that are cut.
        #[test]
        fn damaged_blocks(
            pairs in prop::collection::btree_map(keys(), keys(), 0..20), at in any::<prop::sample::Index>(),
            octet in any::<u8>(), key in keys(), cut in any::<bool>(),
        ) {
            let mut octets = block(b"", &pairs.into_iter().collect::<Vec<_>>());
            let at = at.index(octets.len());
            if cut {
                octets.truncate(at);
            } else {
                octets[at] = octet;
            }
            let _any = all(&octets);
            let _any = find(&octets, &key);
        }
    }
}
