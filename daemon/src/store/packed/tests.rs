//! The tree against a map, and readers beside a writer that splits and joins blocks.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sled::IVec;

use super::{Changes, PackedTree};
use crate::store::overlay::Kv as _;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// With small blocks, so that few pairs are many blocks.
fn tree(db: &sled::Db) -> PackedTree {
    PackedTree { octets_max: 128, ..PackedTree::open(db, b"view").unwrap() }
}

fn apply(tree: &PackedTree, changes: Changes) {
    tree.apply(changes).unwrap();
}

fn pairs(tree: &PackedTree, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, down: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = tree.range(from, to, down).map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
    pairs.collect::<Result<_, _>>().unwrap()
}

/// Fences and blocks fit together, and no block is larger than it may be but those of one pair.
fn assert_is_sound(tree: &PackedTree) {
    let mut lower = Vec::new();
    for item in tree.tree.iter() {
        let (fence, octets) = item.unwrap();
        let mut block = super::Opened::new(fence, octets).unwrap();
        assert_eq!(block.key, lower);
        let mut count = 0;
        while block.next().unwrap().is_some() {
            assert!(block.key >= lower && block.key.as_slice() < &*block.fence);
            count += 1;
        }
        assert!(count > 0 || block.fence == super::TOP);
        assert!(count < 2 || block.octets.len() <= tree.octets_max + 40, "{count} in {}", block.octets.len());
        lower = block.fence.to_vec();
    }
    assert!(lower.is_empty() || lower == super::TOP);
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        // Few, which are met again; many, alike; and such as are prefixes of each other.
        (0u8..40).prop_map(|number| vec![b'a', b'a', number]),
        (any::<u8>(), any::<u8>())
            .prop_map(|(one, other)| [b"space".as_slice(), &[one, other], b"/rest of it"].concat()),
        prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(254u8)], 0..5),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop_oneof![9 => 0usize..40, 1 => 0usize..400]).prop_map(|(octet, length)| vec![octet; length])
}

#[derive(Debug, Clone)]
enum Step {
    Change(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// Keys that follow each other.
    Append(u8, u8),
    /// All keys between two.
    Clear(Vec<u8>, Vec<u8>),
    /// What was taken goes to sled.
    Settle,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop::collection::vec((keys(), prop::option::weighted(0.6, value())), 1..60);
    let step = prop_oneof![
        8 => change.prop_map(Step::Change),
        2 => (any::<u8>(), 1u8..60).prop_map(|(from, count)| Step::Append(from, count)),
        2 => (keys(), keys()).prop_map(|(from, to)| Step::Clear(from, to)),
        4 => Just(Step::Settle),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..20)
}

fn bound(key: Vec<u8>, kind: u8) -> Bound<Vec<u8>> {
    match kind {
        0 => Bound::Included(key),
        1 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    }
}

/// A database that may have been closed a moment ago: its last thread lets go of the lock when it ends.
fn reopened(path: &Path) -> sled::Db {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match sled::Config::new().path(path).open() {
            Ok(db) => return db,
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && Instant::now() < until =>
            {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is put and deleted, the tree is the map, in both directions and between any bounds.
    #[test]
    fn the_tree_is_a_map(
        steps in steps(),
        ranges in prop::collection::vec((keys(), 0u8..3, keys(), 0u8..3), 8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let open = || reopened(dir.path());
        let mut db = open();
        let mut packed = tree(&db);
        let mut map = Map::new();
        for step in steps {
            let changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = match step {
                Step::Change(changes) => changes,
                Step::Append(from, count) => {
                    (0..count).map(|at| (vec![b's', b'q', b'e', from, at], Some(vec![at; 9]))).collect()
                }
                Step::Clear(from, to) => {
                    let cleared = map.keys().filter(|key| **key >= from && **key < to);
                    cleared.map(|key| (key.clone(), None)).collect()
                }
                Step::Settle => {
                    packed.settle(packed.pack().unwrap()).unwrap();
                    assert_is_sound(&packed);
                    prop_assert!(packed.is_settled());
                    Vec::new()
                }
                Step::Reopen => {
                    packed.settle(packed.pack().unwrap()).unwrap();
                    db.flush().unwrap();
                    drop((packed, db));
                    db = open();
                    packed = tree(&db);
                    continue;
                }
            };
            for (key, value) in &changes {
                match value {
                    Some(value) => map.insert(key.clone(), value.clone()),
                    None => map.remove(key),
                };
            }
            packed.take(changes.into_iter().map(|(key, value)| (key, value.map(IVec::from))).collect());
            for (key, kind_from, other, kind_to) in &ranges {
                prop_assert_eq!(packed.get(key).unwrap().map(|value| value.to_vec()), map.get(key).cloned());
                let (from, to) = (bound(key.clone(), *kind_from), bound(other.clone(), *kind_to));
                let is_within = |key: &Vec<u8>| super::is_within(key, &from, &to);
                let mut wanted: Vec<_> = map.clone().into_iter().filter(|(key, _value)| is_within(key)).collect();
                prop_assert_eq!(&pairs(&packed, from.clone(), to.clone(), false), &wanted);
                wanted.reverse();
                prop_assert_eq!(&pairs(&packed, from.clone(), to.clone(), true), &wanted);
            }
        }
        prop_assert_eq!(packed.is_empty().unwrap(), map.is_empty());
        let all: Vec<_> = map.clone().into_iter().collect();
        prop_assert_eq!(pairs(&packed, Bound::Unbounded, Bound::Unbounded, false), all);
        for (key, value) in map {
            let found = packed.get(&key).unwrap();
            prop_assert_eq!(found.as_deref(), Some(value.as_slice()));
        }
    }
}

/// A key above all fences is refused, and not lost.
#[test]
fn a_key_above_all() {
    let db = sled::Config::new().temporary(true).open().unwrap();
    let tree = tree(&db);
    assert_eq!(pairs(&tree, Bound::Included(vec![255]), Bound::Unbounded, false), []);
    assert_eq!(pairs(&tree, Bound::Unbounded, Bound::Included(vec![255]), true), []);
    assert!(tree.apply(Changes::from([(vec![255], Some(IVec::from(b"x")))])).is_err());
}

/// Keys in their order leave full blocks; at random, blocks have room and are still more than half full.
#[test]
fn how_full_blocks_are() {
    const KEYS: u32 = 4_000;
    let fill = |key: &dyn Fn(u32) -> Vec<u8>, per_batch: u32| {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let tree = PackedTree::open(&db, b"view").unwrap();
        for first in (0..KEYS).step_by(usize::try_from(per_batch).unwrap()) {
            let changes = (first..first + per_batch).map(|number| (key(number), Some(IVec::from(vec![7; 80]))));
            apply(&tree, changes.collect());
        }
        assert_is_sound(&tree);
        let octets: usize = tree.tree.iter().map(|item| item.unwrap().1.len()).sum();
        octets as f64 / (tree.tree.len() * tree.octets_max) as f64
    };
    let in_order = |number: u32| [b"in order".as_slice(), &number.to_be_bytes()].concat();
    let at_random = |number: u32| [b"at random".as_slice(), &number.wrapping_mul(0x9e37_79b9).to_be_bytes()].concat();
    for per_batch in [1, 5, 500] {
        let filled = fill(&in_order, per_batch);
        assert!(filled > 0.85, "{per_batch}: {filled}");
        let filled = fill(&at_random, per_batch);
        assert!(filled > 0.55, "{per_batch}: {filled}");
    }
    // The end of a sequence that others follow.
    let between = |number: u32| {
        if number.is_multiple_of(20) {
            at_random(number)
        } else {
            [b"at order/".as_slice(), &number.to_be_bytes()].concat()
        }
    };
    let filled = fill(&between, 1);
    assert!(filled > 0.7, "{filled}");
}

/// While blocks are split and joined, whoever reads meets every pair that stays once, in order, in either direction.
#[test]
fn readers_beside_a_writer() {
    const STAY: u32 = 400;
    let db = sled::Config::new().temporary(true).open().unwrap();
    let tree = tree(&db);
    let stays = |number: u32| [b"key ".as_slice(), &(number * 10).to_be_bytes()].concat();
    let goes = |number: u32, by: u32| [b"key ".as_slice(), &(number * 10 + by).to_be_bytes()].concat();
    apply(&tree, (0..STAY).map(|number| (stays(number), Some(IVec::from(b"stays")))).collect());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = [false, true, false, true]
            .into_iter()
            .map(|down| {
                let (tree, is_over) = (&tree, &is_over);
                scope.spawn(move || {
                    let mut walks = 0;
                    while !is_over.load(Ordering::Relaxed) || walks == 0 {
                        let met = pairs(tree, Bound::Unbounded, Bound::Unbounded, down);
                        let is_in_order =
                            |two: &[(Vec<u8>, Vec<u8>)]| (two[0].0 > two[1].0) == down && two[0].0 != two[1].0;
                        assert!(met.windows(2).all(is_in_order));
                        let mut stayed: Vec<_> = met.into_iter().filter(|(_key, value)| value == b"stays").collect();
                        if down {
                            stayed.reverse();
                        }
                        let wanted = (0..STAY).map(|number| (stays(number), b"stays".to_vec()));
                        assert!(stayed.into_iter().eq(wanted));
                        for number in (0..STAY).step_by(7) {
                            assert!(tree.get(&stays(number)).unwrap().is_some());
                        }
                        walks += 1;
                    }
                })
            })
            .collect();
        let mut seed = 1u32;
        for _ in 0..400 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let first = (seed >> 16) % STAY;
            let change = (seed & 0x400 == 0).then(|| IVec::from(vec![7; 30]));
            let some = (first..(first + 60).min(STAY)).flat_map(|number| (1..9).map(move |by| goes(number, by)));
            tree.take(some.map(|key| (key, change.clone())).collect());
            // What is read moves from memory to sled as well.
            if seed & 0x1800 == 0 {
                tree.settle(tree.pack().unwrap()).unwrap();
            }
            if readers.iter().any(|reader| reader.is_finished()) {
                break;
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    tree.settle(tree.pack().unwrap()).unwrap();
    assert_is_sound(&tree);
}
