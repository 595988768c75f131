//! What an answer was made from, so that it can be kept for as long as nothing of that has changed. Knows keys and how often
//! they were changed; refuses to know answers.
//!
//! Keys are counted in groups, by a hash of their first octets, so a group may change because of a stranger; never the other
//! way round. A count is read before what it counts, and goes up after the change can be read and before anybody is told of
//! it. So who asks after a change was acknowledged is never given an answer from before it.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hasher as _};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sled::IVec;

use crate::store::Read;
use crate::store::overlay::{Kv, Pairs, prefix_end};

/// Groups of keys: half a million counts would be 4 MiB; these are 256 KiB, and at some 100 000 keys changed a second a group
/// of strangers lasts for a third of a second.
const GROUPS: usize = 1 << 15;
/// Octets of a key that tell its group: the space and an id.
const GROUP_OCTETS: usize = 17;
/// What an answer may be made from, in groups.
const GROUPS_MAX: usize = 16;

/// How often each group of keys was changed since the start.
pub struct Counts(Box<[AtomicU64]>);

impl Default for Counts {
    fn default() -> Self {
        Self((0..GROUPS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Counts {
    /// The group of a key.
    pub fn group(key: &[u8]) -> u16 {
        let mut hasher = DefaultHasher::new();
        hasher.write(key.get(..GROUP_OCTETS).unwrap_or(key));
        // `GROUPS` fit.
        u16::try_from(hasher.finish() % GROUPS as u64).unwrap_or_default()
    }

    fn of(&self, group: u16) -> u64 {
        self.0.get(usize::from(group)).map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// One more change of each of these groups, which can be read by now.
    pub fn changed(&self, groups: impl IntoIterator<Item = u16>) {
        for group in groups {
            if let Some(count) = self.0.get(usize::from(group)) {
                count.fetch_add(1, Ordering::Release);
            }
        }
    }
}

/// What an answer was made from.
pub struct Basis {
    counts: Arc<Counts>,
    seen: Box<[(u16, u64)]>,
}

impl Basis {
    /// Whether nothing of it has changed since.
    pub fn holds(&self) -> bool {
        self.seen.iter().all(|(group, count)| self.counts.of(*group) == *count)
    }
}

/// Keys and values, and notes on what was read of them.
pub struct Noted<'k, K: Kv + ?Sized> {
    kv: &'k K,
    counts: &'k Arc<Counts>,
    seen: RefCell<Vec<(u16, u64)>>,
    /// Whether more was read than can be noted.
    is_vast: Cell<bool>,
}

impl<'k, K: Kv + ?Sized> Noted<'k, K> {
    /// Nothing read yet.
    pub fn new(kv: &'k K, counts: &'k Arc<Counts>) -> Self {
        Self { kv, counts, seen: RefCell::default(), is_vast: Cell::new(false) }
    }

    /// What was read; none where it was so much that it isn't worth noting.
    pub fn basis(self) -> Option<Basis> {
        (!self.is_vast.get())
            .then(|| Basis { counts: Arc::clone(self.counts), seen: self.seen.into_inner().into_boxed_slice() })
    }

    fn note(&self, key: &[u8]) {
        let group = Counts::group(key);
        let mut seen = self.seen.borrow_mut();
        if seen.iter().any(|(noted, _count)| *noted == group) {
            // The earlier count is the stricter one.
        } else if seen.len() < GROUPS_MAX {
            seen.push((group, self.counts.of(group)));
        } else {
            self.is_vast.set(true);
        }
    }
}

impl<K: Kv + ?Sized> Kv for Noted<'_, K> {
    fn get(&self, key: &[u8]) -> Read<Option<IVec>> {
        self.note(key);
        self.kv.get(key)
    }

    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, down: bool) -> Pairs<'_> {
        match one_group(&from, &to) {
            Some(beginning) => self.note(beginning),
            None => self.is_vast.set(true),
        }
        self.kv.range(from, to, down)
    }
}

/// How all keys between two bounds begin, where that tells their group.
fn one_group<'b>(from: &'b Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> Option<&'b [u8]> {
    let (Bound::Included(from) | Bound::Excluded(from)) = from else { return None };
    let beginning = from.get(..GROUP_OCTETS)?;
    let is_within = match (to, prefix_end(beginning)) {
        (Bound::Included(to), _) => to.starts_with(beginning),
        (Bound::Excluded(to), Bound::Excluded(end)) => *to <= end,
        (Bound::Excluded(to), _) => to.starts_with(beginning),
        (Bound::Unbounded, _) => false,
    };
    is_within.then_some(beginning)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;
    use std::ops::Bound;
    use std::sync::Arc;

    use proptest::prelude::{Just, Strategy, any, proptest};
    use proptest::{collection, prop_assert_eq, prop_oneof};
    use sled::IVec;

    use super::{Counts, GROUP_OCTETS, GROUPS_MAX, Noted, one_group};
    use crate::store::Read;
    use crate::store::overlay::{Kv, Pairs, prefix_end};

    #[derive(Default)]
    struct Map(BTreeMap<Vec<u8>, IVec>);

    impl Kv for Map {
        fn get(&self, key: &[u8]) -> Read<Option<IVec>> {
            Ok(self.0.get(key).cloned())
        }

        fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, down: bool) -> Pairs<'_> {
            let pairs = self.0.range((from, to)).map(|(key, value)| Ok((IVec::from(key.as_slice()), value.clone())));
            if down { Box::new(pairs.rev()) } else { Box::new(pairs) }
        }
    }

    /// What is read of a key, missing or not, holds until that key changes.
    #[test]
    fn points() {
        let (map, counts) = (Map::default(), Arc::new(Counts::default()));
        let noted = Noted::new(&map, &counts);
        assert!(noted.get(b"m-one").unwrap().is_none());
        let basis = noted.basis().unwrap();
        assert!(basis.holds());
        counts.changed([Counts::group(b"m-two")]);
        assert!(basis.holds(), "two groups by their hashes");
        counts.changed([Counts::group(b"m-one")]);
        assert!(!basis.holds());
    }

    /// What changed between the reading and the end of the answer was noted before.
    #[test]
    fn changes_on_the_way() {
        let (map, counts) = (Map::default(), Arc::new(Counts::default()));
        let noted = Noted::new(&map, &counts);
        noted.get(b"a").unwrap();
        counts.changed([Counts::group(b"a")]);
        noted.get(b"a").unwrap();
        assert!(!noted.basis().unwrap().holds());
    }

    /// What is read of everything can't be kept.
    #[test]
    fn vast() {
        let (map, counts) = (Map::default(), Arc::new(Counts::default()));
        let noted = Noted::new(&map, &counts);
        drop(noted.range(Bound::Unbounded, Bound::Unbounded, false));
        assert!(noted.basis().is_none());
        let noted = Noted::new(&map, &counts);
        for key in 0..=GROUPS_MAX {
            noted.get(&key.to_be_bytes()).unwrap();
        }
        assert!(noted.basis().is_none());
    }

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let octets = prop_oneof![Just(0_u8), Just(1), Just(254), Just(255), any::<u8>()];
        prop_oneof![
            collection::vec(octets.clone(), 0..40),
            collection::vec(prop_oneof![Just(0_u8), Just(255)], GROUP_OCTETS - 1..GROUP_OCTETS + 3),
        ]
    }

    fn bounds() -> impl Strategy<Value = Bound<Vec<u8>>> {
        prop_oneof![
            keys().prop_map(Bound::Included),
            keys().prop_map(Bound::Excluded),
            keys().prop_map(|key| prefix_end(&key)),
            Just(Bound::Unbounded),
        ]
    }

    proptest! {
        /// Where bounds are said to be within a group, every key between them is.
        #[test]
        fn groups(from in bounds(), to in bounds(), more in collection::vec(any::<u8>(), 0..3), key in keys()) {
            if let Some(beginning) = one_group(&from, &to) {
                let mut close = beginning.to_vec();
                close.extend(&more);
                let mut after = match prefix_end(beginning) {
                    Bound::Excluded(end) => end,
                    _ => vec![255; GROUP_OCTETS],
                };
                after.extend(&more);
                for key in [key, close, after] {
                    let is_between = match &from {
                        Bound::Included(from) => key >= *from,
                        Bound::Excluded(from) => key > *from,
                        Bound::Unbounded => true,
                    } && match &to {
                        Bound::Included(to) => key <= *to,
                        Bound::Excluded(to) => key < *to,
                        Bound::Unbounded => true,
                    };
                    if is_between {
                        prop_assert_eq!(Counts::group(&key), Counts::group(beginning));
                    }
                }
            }
        }
    }
}
