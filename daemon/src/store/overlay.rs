//! Keys and values: the view's tree as it is, and as it will be once a batch is durable. Nothing here knows what keys
//! mean.

use std::iter::Peekable;
use std::ops::Bound;

use sled::IVec;

use crate::store::Read;
use crate::store::packed::{Changes, PackedTree};

/// Pairs in the order of an iteration.
pub type Pairs<'a> = Box<dyn Iterator<Item = Read<(IVec, IVec)>> + 'a>;

/// Ordered keys and values.
pub trait Kv {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Read<Option<IVec>>;
    /// The pairs between two bounds, upwards or downwards.
    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, down: bool) -> Pairs<'_>;
}

/// The pairs whose keys begin with a prefix.
pub fn prefixed<'a>(kv: &'a (impl Kv + ?Sized), prefix: &[u8], down: bool) -> Pairs<'a> {
    kv.range(Bound::Included(prefix.to_vec()), prefix_end(prefix), down)
}

/// The bound behind every key that begins with a prefix.
pub fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// A tree with changes over it that nobody else sees yet.
pub struct Overlay<'t> {
    base: &'t PackedTree,
    pending: Changes,
    octets: usize,
}

impl<'t> Overlay<'t> {
    /// No changes yet.
    pub fn new(base: &'t PackedTree) -> Self {
        Self { base, pending: Changes::new(), octets: 0 }
    }

    /// Sets a value.
    pub fn put(&mut self, key: Vec<u8>, value: impl Into<IVec>) {
        let value = value.into();
        self.octets += key.len() + value.len();
        self.pending.insert(key, Some(value));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.octets += key.len();
        self.pending.insert(key, None);
    }

    /// Octets of all that was put and deleted; there is less, where keys were changed again.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// The changes.
    pub fn into_changes(self) -> Changes {
        self.pending
    }
}

impl Kv for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Read<Option<IVec>> {
        match self.pending.get(key) {
            Some(value) => Ok(value.clone()),
            None => Kv::get(self.base, key),
        }
    }

    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, down: bool) -> Pairs<'_> {
        if is_empty(&from, &to) {
            return Box::new(std::iter::empty());
        }
        let base = Kv::range(self.base, from.clone(), to.clone(), down);
        let pending = self.pending.range((from, to));
        if down {
            Box::new(Merged { base: base.peekable(), pending: pending.rev().peekable(), down })
        } else {
            Box::new(Merged { base: base.peekable(), pending: pending.peekable(), down })
        }
    }
}

/// `BTreeMap::range` panics on bounds that cross.
fn is_empty(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

/// Two ordered sequences as one; the pending one wins, and its removals hide.
struct Merged<'a, P: Iterator<Item = (&'a Vec<u8>, &'a Option<IVec>)>> {
    base: Peekable<Pairs<'a>>,
    pending: Peekable<P>,
    down: bool,
}

impl<'a, P: Iterator<Item = (&'a Vec<u8>, &'a Option<IVec>)>> Iterator for Merged<'a, P> {
    type Item = Read<(IVec, IVec)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.base.peek(), self.pending.peek()) {
                (None, None) => return None,
                (Some(Err(_)) | Some(Ok(_)), None) => return self.base.next(),
                (Some(Err(_)), Some(_)) => return self.base.next(),
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(Ok((base, _value))), Some((pending, _change))) => {
                    let order = base.as_ref().cmp(pending.as_slice());
                    if self.down { order.reverse() } else { order }
                }
            };
            if order.is_lt() {
                return self.base.next();
            }
            if order.is_eq() {
                self.base.next();
            }
            if let Some((key, Some(value))) = self.pending.next() {
                return Some(Ok((IVec::from(key.as_slice()), value.clone())));
            }
        }
    }
}
