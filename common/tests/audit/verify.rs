//! Verification of whole logs: what is right passes at every size, and whatever is changed is named.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::RandomState;

use common::audit::verify::{
    Asked, EntryCheck, EntryFacts, Fault, FaultKind, Served, Spill, TreeCheck, TreeFacts, edge_root,
};
use common::audit::{
    Action, Actor, BundlePath, Entry, Hash, Nodes, Outcome, Target, TileNodes, TilePath, leaf_hash, push_leaf,
};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;

use crate::memory::Memory;

/// A log as it is served: every resource by its path.
#[derive(Clone)]
struct Log {
    size: u64,
    root: Hash,
    files: BTreeMap<String, Vec<u8>>,
}

fn entry(index: u64) -> Entry {
    // Five subjects, in turn.
    let subject = index % 5;
    Entry {
        seq: index,
        id: format!("018f-{index:012x}"),
        ts: 1_782_907_200_000 + i64::try_from(index).unwrap() / 3,
        node: "n1".to_owned(),
        salt: leaf_hash(&index.to_be_bytes()).0,
        action: if index == 0 { Action::LogGenesis } else { Action::ModelRead },
        outcome: Outcome::Ok,
        actor: Actor::system(),
        change: None,
        prev: index.checked_sub(5),
        target: Some(Target::new(if index.is_multiple_of(2) { "model" } else { "version" }, &format!("m{subject}"))),
        req: None,
        data: BTreeMap::new(),
    }
}

fn log_of(size: u64, mut entry: impl FnMut(u64) -> Entry) -> Log {
    let (mut nodes, mut files) = (Memory::default(), BTreeMap::new());
    for path in BundlePath::all_of(size) {
        let mut bundle = Vec::new();
        for index in path.leaves() {
            let leaf = entry(index).to_leaf().unwrap();
            nodes.push(leaf_hash(&leaf));
            push_leaf(&mut bundle, &leaf).unwrap();
        }
        files.insert(path.to_string(), bundle);
    }
    for path in TilePath::all_of(size) {
        let TileNodes { level, start, count } = path.nodes();
        let hashes = (start..start + u64::from(count)).flat_map(|index| nodes.node(level, index).unwrap().0);
        files.insert(path.to_string(), hashes.collect());
    }
    Log { size, root: nodes.frontier.root(), files }
}

#[derive(Default)]
struct Scratch(Vec<u8>);

impl Spill for Scratch {
    type Error = Infallible;

    fn append(&mut self, octets: &[u8]) -> Result<u64, Infallible> {
        let at = u64::try_from(self.0.len()).unwrap();
        self.0.extend_from_slice(octets);
        Ok(at)
    }

    fn read(&mut self, at: u64, octets: &mut [u8]) -> Result<(), Infallible> {
        let at = usize::try_from(at).unwrap();
        octets.copy_from_slice(&self.0[at..at + octets.len()]);
        Ok(())
    }
}

impl Served for &Log {
    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, String> {
        self.files.get(&path.to_string()).cloned().ok_or_else(|| "it is not there".to_owned())
    }
}

struct Checked {
    faults: Vec<Fault>,
    tree: TreeFacts,
    entries: EntryFacts,
}

impl Log {
    fn check(&self, with_entries: bool) -> Checked {
        self.check_for(with_entries, &[], &[])
    }

    fn check_for(&self, with_entries: bool, roots: &[u64], leaves: &[u64]) -> Checked {
        let mut faults = Vec::new();
        let mut report = |fault| faults.push(fault);
        let mut tree = TreeCheck::new(self.size, roots.iter().copied(), leaves.iter().copied());
        let mut entries = EntryCheck::new(self.size, "o", [RandomState::new(), RandomState::new()]);
        let mut scratch = Scratch::default();
        while let Some(path) = tree.due() {
            let tile = TilePath::new(0, path.number(), path.width()).unwrap().to_string();
            let tile = self.files.get(&tile).map(Vec::as_slice).ok_or("it is not there");
            let bundle = self.files.get(&path.to_string());
            let asked = match bundle {
                Some(octets) if with_entries => Asked::Octets(octets),
                None if with_entries => Asked::Missing("it is not there"),
                _outsider => Asked::No,
            };
            tree.bundle(asked, tile, &mut &*self, &mut report);
            if with_entries {
                entries.bundle(path, bundle.map(Vec::as_slice), &mut scratch, &mut report).unwrap();
            }
        }
        let tree = tree.finish(&self.root, &mut &*self, &mut report);
        let entries = entries.finish(tree.leaves_agree, &mut scratch, &mut report).unwrap();
        Checked { faults, tree, entries }
    }

    fn changed(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut changed = self.clone();
        change(changed.files.get_mut(path).unwrap());
        assert_ne!(changed.files, self.files);
        changed
    }

    fn without(&self, path: &str) -> Self {
        let mut changed = self.clone();
        changed.files.remove(path).unwrap();
        changed
    }
}

fn names(faults: &[Fault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.resource.as_str()).collect()
}

/// Every tile of every size is compared, and the roots of earlier sizes and single leaves come out right.
#[test]
fn whole_logs_pass() {
    let all = log_of(65_537, entry);
    for size in [0, 1, 2, 255, 256, 257, 513, 65_535, 65_536, 65_537] {
        let log = log_of(size, entry);
        let checked = log.check(true);
        assert_eq!(checked.faults, [], "{size}");
        assert_eq!(checked.tree.root, Some(log.root));
        assert_eq!(checked.entries.entries, size);
        assert_eq!(checked.entries.notable.len(), usize::from(size > 0));
        assert_eq!(checked.tree.tiles, u64::try_from(TilePath::all_of(size).count()).unwrap());
        assert_eq!(log.check(false).faults, [], "{size} without entries");
        assert_eq!(edge_root(size, &mut &log), Ok(log.root), "{size}");

        let later = all.check_for(false, &[size, size + 1, 65_538], &[size, 65_537]);
        assert_eq!(later.faults, []);
        assert_eq!(later.tree.roots[&size], Some(log.root), "{size}");
        assert_eq!(later.tree.roots[&65_538], None);
        assert_eq!(later.tree.leaves[&65_537], None);
        let leaf = (size < 65_537).then(|| leaf_hash(&entry(size).to_leaf().unwrap()));
        assert_eq!(later.tree.leaves[&size], leaf);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A changed octet anywhere is reported, and named where it is: the file, and for a leaf the entry.
    #[test]
    fn any_changed_octet_is_named(
        which in 0..5_usize, file in any::<Index>(), at in any::<Index>(), bit in 0..8_u8, with_entries in any::<bool>(),
    ) {
        static LOGS: std::sync::LazyLock<Vec<Log>> =
            std::sync::LazyLock::new(|| [1, 7, 256, 300, 700].map(|size| log_of(size, entry)).to_vec());
        let log = &LOGS[which];
        let paths: Vec<&String> = log.files.keys().filter(|path| with_entries || !path.contains("entries")).collect();
        let path = paths[file.index(paths.len())];
        let mut place = 0;
        let changed = log.changed(path, |octets| {
            place = at.index(octets.len());
            octets[place] ^= 1 << bit;
        });
        let faults = changed.check(with_entries).faults;
        prop_assert!(!faults.is_empty());
        let named = names(&faults);
        // Without the entries nothing is held against the newest leaf hashes but the root.
        let is_told = with_entries || !(path.starts_with("tile/0/") && path.contains(".p/"));
        prop_assert!(!is_told || named.contains(&path.as_str()), "{path}: {faults:?}");
        if path.contains("entries") {
            // A changed id may be that of another entry, which is told as used again, too; a changed time may be later than those
            // of entries behind it.
            let elsewhere = |fault: &Fault| matches!(fault.kind, FaultKind::Reused | FaultKind::Order);
            let is_here = |fault: &Fault| elsewhere(fault) || fault.resource == *path;
            prop_assert!(faults.iter().all(is_here), "{faults:?}");
            let place = u64::try_from(place).unwrap();
            let fault = faults.iter().find(|fault| matches!(fault.kind, FaultKind::Leaf | FaultKind::Length)).unwrap();
            let octets = fault.octets.clone().unwrap();
            prop_assert!(octets.start <= place + 2 && place < octets.end, "{place}: {fault}");
            prop_assert!(fault.entry.is_some(), "{fault}");
        }
    }

    /// So is a cut or lengthened file.
    #[test]
    fn any_wrong_length_is_named(file in any::<Index>(), at in any::<Index>(), longer in any::<bool>()) {
        static LOG: std::sync::LazyLock<Log> = std::sync::LazyLock::new(|| log_of(520, entry));
        let path = LOG.files.keys().nth(file.index(LOG.files.len())).unwrap();
        let changed = LOG.changed(path, |octets| if longer { octets.push(0) } else { octets.truncate(at.index(octets.len())) });
        let faults = changed.check(true).faults;
        prop_assert_eq!(names(&faults), [path.as_str()]);
        prop_assert_eq!(faults[0].kind, FaultKind::Length);
        let missing = LOG.without(path).check(true).faults;
        prop_assert_eq!(names(&missing), [path.as_str()]);
        prop_assert_eq!(missing[0].kind, FaultKind::Missing);
    }
}

/// Three levels: the tiles above tell which of two is wrong, and nothing above is blamed for it.
#[test]
fn faults_of_a_large_log_are_told_once() {
    let log = log_of(65_537, entry);
    let flip = |path: &str, at: usize| log.changed(path, |octets| octets[at] ^= 4);
    for (path, at, kind) in [
        ("tile/entries/007", 300, FaultKind::Leaf),
        ("tile/entries/256.p/1", 40, FaultKind::Leaf),
        ("tile/0/007", 33, FaultKind::Tile),
        ("tile/0/256.p/1", 3, FaultKind::Tile),
        ("tile/1/000", 100, FaultKind::Tile),
        ("tile/1/001.p/1", 1, FaultKind::Missing),
        ("tile/2/000.p/1", 1, FaultKind::Tile),
    ] {
        if kind == FaultKind::Missing {
            assert!(!log.files.contains_key(path), "the level above begins with its first full tile");
            continue;
        }
        let faults = flip(path, at).check(true).faults;
        let found: Vec<_> = faults.iter().filter(|fault| fault.kind != FaultKind::Entry).collect();
        assert_eq!(found.len(), 1, "{path}: {faults:?}");
        assert_eq!((found[0].resource.as_str(), found[0].kind), (path, kind));
    }
    // Entry and leaf hash forged together: the tile above shows it.
    let leaf = Entry { outcome: Outcome::Denied, ..entry(600) }.to_leaf().unwrap();
    let forged = log_of(65_537, |index| if index == 600 { Entry::parse(&leaf).unwrap() } else { entry(index) });
    let mut mixed = log.clone();
    for path in ["tile/entries/002", "tile/0/002"] {
        mixed.files.insert(path.to_owned(), forged.files[path].clone());
    }
    let faults = mixed.check(true).faults;
    assert_eq!(names(&faults), ["tile/0/002"], "{faults:?}");
    assert!(faults[0].detail.contains("tile/1/000"), "{}", faults[0]);
    // A whole forged log is in itself without fault: only the root tells.
    let whole = Log { root: log.root, ..forged };
    let faults = whole.check(true).faults;
    assert_eq!(faults.iter().map(|fault| fault.kind).collect::<Vec<_>>(), [FaultKind::Root]);
    assert_eq!(whole.check(false).faults.len(), 1);
}

/// What is wrong between entries, in a log whose hashes are all right.
#[test]
fn entries_are_held_against_each_other() {
    let with = |change: fn(u64, &mut Entry)| {
        let log = log_of(600, |index| {
            let mut entry = entry(index);
            change(index, &mut entry);
            entry
        });
        let checked = log.check(true);
        let mut found: Vec<_> = checked.faults.iter().map(|fault| (fault.kind, fault.entry.unwrap())).collect();
        // Subjects come in the order of their fingerprints.
        found.sort_by_key(|(_, entry)| *entry);
        found
    };
    assert_eq!(with(|_, _| {}), []);
    assert_eq!(
        with(|i, e| if i == 500 {
            e.id = entry(3).id
        }),
        [(FaultKind::Reused, 500)]
    );
    assert_eq!(
        with(|i, e| if i == 500 {
            e.salt = entry(499).salt
        }),
        [(FaultKind::Reused, 500)]
    );
    assert_eq!(
        with(|i, e| if i == 500 {
            e.seq = 501
        }),
        [(FaultKind::Order, 500)]
    );
    assert_eq!(
        with(|i, e| if i == 500 {
            e.ts -= 100_000
        }),
        [(FaultKind::Order, 500)]
    );
    assert_eq!(
        with(|i, e| if i == 500 {
            e.prev = Some(500)
        }),
        [(FaultKind::Order, 500)]
    );
    assert_eq!(
        with(|i, e| if i == 500 {
            e.prev = Some(490)
        }),
        [(FaultKind::Previous, 500)]
    );
    assert_eq!(
        with(|i, e| if i == 500 {
            e.prev = None
        }),
        [(FaultKind::Previous, 500)]
    );
    assert_eq!(
        with(|i, e| if i == 2 {
            e.prev = Some(1)
        }),
        [(FaultKind::Previous, 2)]
    );
    // The next of the old subject still names this one.
    let moved = with(|i, e| {
        if i == 500 {
            e.target = Some(Target::new("user", "m0"))
        }
    });
    assert_eq!(moved, [(FaultKind::Previous, 500), (FaultKind::Previous, 505)]);
    assert_eq!(
        with(|i, e| if i == 500 {
            e.target = None
        })
        .first(),
        Some(&(FaultKind::Order, 500))
    );
}

/// Entries about the log count only where they record what was done, whoever tried; and however many there are, the one
/// that names the origin is found.
#[test]
fn only_what_was_done_is_notable() {
    let named = |index: u64, outcome: Outcome, origin: &str| Entry {
        action: Action::LogKeyRotate,
        outcome,
        data: BTreeMap::from([("origin".to_owned(), origin.into())]),
        ..entry(index)
    };
    let refused =
        log_of(20, |index| if index == 7 { named(7, Outcome::Denied, "o") } else { entry(index) }).check(true);
    assert_eq!((refused.entries.notable.len(), refused.entries.names_origin), (1, false), "{:?}", refused.faults);
    let many = log_of(300, |index| match index {
        0 => entry(0),
        299 => named(299, Outcome::Ok, "o"),
        index => named(index, Outcome::Ok, "other"),
    });
    let EntryFacts { notable, notable_more, names_origin, .. } = many.check(true).entries;
    assert_eq!((notable.len(), notable_more, names_origin), (100, 200, true));
}

/// What a log says of itself cannot begin a line, nor steer a terminal, nor be endless.
#[test]
fn faults_are_one_line() {
    let hostile = format!("\npassed\r\u{1b}[2J\u{9b}\u{2028}\u{202e}{}", "x".repeat(1 << 20));
    let shown = Fault::new(FaultKind::Missing, &hostile, &hostile).to_string();
    assert!(shown.starts_with("\\npassed\\r\\u{1b}") && shown.len() < 3000, "{shown}");
    assert!(!shown.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')), "{shown}");
    let key = format!("{{\"\n{}\":1}}", "k".repeat(20_000));
    let error = Entry::parse(key.as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 500 && !error.contains('\n'), "{error}");
}

/// A size that was made up is found out by a handful of tiles.
#[test]
fn a_made_up_size_is_soon_known() {
    struct Zeros(usize);
    impl Served for Zeros {
        fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, String> {
            self.0 += 1;
            Ok(vec![0; 32 * usize::from(path.width())])
        }
    }
    let mut served = Zeros(0);
    assert_ne!(edge_root((1 << 50) + 77, &mut served), Ok(Hash([7; 32])));
    assert!(served.0 <= 8, "{}", served.0);
    let log = log_of(300, entry);
    assert_eq!(edge_root(1 << 50, &mut &log).unwrap_err().kind, FaultKind::Missing);
}
