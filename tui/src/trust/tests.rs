//! What the console believes of a log, and what it does not, by properties.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use common::audit::{
    Action, Actor, Checkpoint, Ed25519Signer, Entry, Frontier, Hash, Nodes, Outcome, Receipt, Signer, TilePath,
    TlogProof, consistency_proof, inclusion_proof, leaf_hash, root_at,
};
use proptest::prelude::{any, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::tiles::edge_paths;
use super::{Badge, BreachKind, Judged, Kept, LATE_MS, Trust, Wants};
use crate::event::Moment;
use crate::tail::Held;

pub(crate) const ORIGIN: &str = "registry.example/log";

/// The leaf of an entry with some content.
pub(crate) fn leaf(index: u64, content: &str) -> Vec<u8> {
    entry(index, content).to_leaf().unwrap()
}

fn entry(index: u64, content: &str) -> Entry {
    let mut salt = [7; 32];
    salt[..8].copy_from_slice(&index.to_be_bytes());
    Entry {
        seq: index,
        id: format!("id-{index}"),
        ts: 1_784_721_791_000 + i64::try_from(index).unwrap_or(0) % 1_000_000_000,
        node: "n".into(),
        salt,
        action: Action::ModelRead,
        outcome: Outcome::Ok,
        actor: Actor::system(),
        change: None,
        prev: None,
        target: None,
        req: None,
        data: [("c".to_owned(), content.into())].into(),
    }
}

/// A log in memory.
pub(crate) struct Log {
    pub(crate) leaves: Vec<Vec<u8>>,
    signer: Ed25519Signer,
    frontier: Frontier,
    levels: Vec<Vec<Hash>>,
    /// What it tells of keys that followed.
    rotations: Vec<super::Rotation>,
}

impl Nodes for Log {
    type Error = ();
    fn node(&self, level: u8, index: u64) -> Result<Hash, ()> {
        self.levels
            .get(usize::from(level))
            .and_then(|nodes| nodes.get(usize::try_from(index).unwrap()))
            .copied()
            .ok_or(())
    }
}

impl Log {
    pub(crate) fn new(size: u64, seed: u8) -> Self {
        let signer = Ed25519Signer::from_seed(ORIGIN, &[seed; 32]).unwrap();
        let levels = vec![Vec::new(); 64];
        let mut log = Self { leaves: Vec::new(), signer, frontier: Frontier::new(), levels, rotations: Vec::new() };
        for index in 0..size {
            log.push(leaf(index, ""));
        }
        log
    }

    pub(crate) fn push(&mut self, leaf: Vec<u8>) {
        let levels = &mut self.levels;
        self.frontier.append(leaf_hash(&leaf), |level, _, hash| levels[usize::from(level)].push(hash));
        self.leaves.push(leaf);
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn key(&self) -> String {
        self.signer.verifier().to_string()
    }

    pub(crate) fn note(&self, size: u64) -> String {
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: root_at(size, self).unwrap() };
        checkpoint.sign(&[&self.signer]).unwrap()
    }

    pub(crate) fn tile(&self, path: TilePath) -> Vec<u8> {
        let nodes = path.nodes();
        let nodes =
            (nodes.start..nodes.start + u64::from(nodes.count)).map(|index| self.node(nodes.level, index).unwrap());
        nodes.flat_map(|hash| *hash.as_bytes()).collect()
    }

    pub(crate) fn edge(&self, size: u64) -> Vec<(TilePath, Vec<u8>)> {
        edge_paths(size).into_iter().map(|path| (path, self.tile(path))).collect()
    }

    pub(crate) fn receipt(&self, index: u64) -> Receipt {
        let path = inclusion_proof(index, self.size(), self).unwrap();
        let leaf = &self.leaves[usize::try_from(index).unwrap()];
        Receipt::new(ORIGIN, leaf, &TlogProof { index, path, checkpoint: self.note(self.size()) })
    }
}

pub(crate) fn at(ms: u64) -> Moment {
    Moment { ms, wall_seconds: i64::try_from(ms / 1000).unwrap() }
}

/// A console that fetches what is wanted from a log as it is.
struct Console {
    trust: Trust,
    broken: Vec<BreachKind>,
    fetched: usize,
}

impl Console {
    fn new(log: &Log, kept: Option<Kept>) -> Self {
        Self { trust: Trust::new("h", Some(log.key().parse().unwrap()), vec![], 0, kept), broken: vec![], fetched: 0 }
    }

    fn serve(&mut self, log: &Log, wants: Vec<Wants>) {
        let mut wants: std::collections::VecDeque<Wants> = wants.into();
        while let Some(want) = wants.pop_front() {
            let mut out = Vec::new();
            match want {
                Wants::Proof { size, from } => {
                    self.fetched += 1;
                    let growth = from.map(|from| consistency_proof(from, size, log).unwrap());
                    self.trust.proof(size, growth.as_deref(), &log.edge(size), at(0), &mut out);
                }
                Wants::Tiles(paths) => {
                    self.fetched += paths.len();
                    let got: Vec<_> = paths.into_iter().map(|path| (path, log.tile(path))).collect();
                    self.trust.take_tiles(&got, at(0), &mut out);
                }
                Wants::Checkpoint => self.trust.streamed(&log.note(log.size()), at(0), &mut out),
                Wants::Broken(breach) => self.broken.push(breach.kind),
                Wants::Rotations => self.trust.rotated(&log.rotations, at(0), &mut out),
                Wants::Save | Wants::Verified(_) | Wants::Followed(_) => {}
            }
            wants.extend(out);
        }
    }

    fn open(&mut self, log: &Log, size: u64) {
        let mut out = Vec::new();
        self.trust.asking();
        self.trust.offered(log.note(size).as_bytes(), at(0), &mut out).unwrap();
        self.serve(log, out);
    }

    fn entries(&mut self, log: &Log, range: std::ops::Range<u64>) {
        for index in range {
            self.entry(log, index, log.leaves[usize::try_from(index).unwrap()].clone());
        }
    }

    fn entry(&mut self, log: &Log, index: u64, leaf: Vec<u8>) {
        let mut out = Vec::new();
        self.trust.entry(&Held::new(index, leaf), at(0), &mut out);
        self.serve(log, out);
    }

    fn checkpoint(&mut self, log: &Log, note: &str) {
        let mut out = Vec::new();
        self.trust.streamed(note, at(0), &mut out);
        self.serve(log, out);
    }

    fn judge(&mut self, log: &Log, index: u64, hash: &Hash) -> Judged {
        for _ in 0..4 {
            match self.trust.judge(index, hash) {
                Judged::Needs(paths) => self.serve(log, vec![Wants::Tiles(paths)]),
                Judged::Beyond(size) => self.serve(log, vec![Wants::Proof { size, from: None }]),
                told => return told,
            }
        }
        panic!("tiles do not lead anywhere")
    }
}

/// From the opening on: the edge is proved, entries wait, checkpoints verify them, the pin moves.
#[test]
fn all_in_order() {
    let mut log = Log::new(700, 1);
    let mut console = Console::new(&log, None);
    console.open(&log, 700);
    assert_eq!(console.trust.badge(at(0)), Badge::Verified(699));
    assert_eq!(console.fetched, 1);
    for index in 700..1_000 {
        log.push(leaf(index, "x"));
    }
    console.entries(&log, 700..990);
    assert_eq!((console.trust.badge(at(0)), console.trust.pending()), (Badge::Waiting(Some(699)), 290));
    console.checkpoint(&log, &log.note(980));
    assert_eq!((console.trust.verified_size(), console.trust.pending()), (980, 10));
    // One that covers what has not come waits for it.
    console.checkpoint(&log, &log.note(1_000));
    assert_eq!(console.trust.verified_size(), 980);
    console.entries(&log, 990..1_000);
    assert_eq!((console.trust.badge(at(0)), console.broken.len()), (Badge::Verified(999), 0));
    assert_eq!(console.trust.pin().unwrap().note, log.note(1_000));
    // What was read from the past is in the tree, or is not.
    for index in [0, 255, 256, 512, 699, 700, 768, 999] {
        let hash = leaf_hash(&log.leaves[usize::try_from(index).unwrap()]);
        assert_eq!(console.judge(&log, index, &hash), Judged::Verified, "{index}");
        assert_eq!(console.judge(&log, index, &leaf_hash(b"")), Judged::Wrong(hash));
    }
}

/// The next session must find a log that extends the pinned one: a fork, a cut, another key and another root are noticed.
#[test]
fn between_sessions() {
    let log = Log::new(600, 1);
    let mut console = Console::new(&log, None);
    console.open(&log, 500);
    let kept = console.trust.kept();
    assert_eq!(serde_json::from_str::<Kept>(&serde_json::to_string(&kept).unwrap()).unwrap(), kept);

    let mut again = Console::new(&log, Some(kept.clone()));
    again.open(&log, 600);
    assert_eq!((again.trust.badge(at(0)), again.fetched), (Badge::Verified(599), 1));

    let mut forked = Log::new(300, 1);
    for index in 300..600 {
        forked.push(leaf(index, "rewritten"));
    }
    for (other, size, kind) in [
        (&forked, 600, BreachKind::Fork),
        (&forked, 500, BreachKind::Fork),
        (&log, 499, BreachKind::CutBack),
        (&Log::new(600, 2), 600, BreachKind::Key),
    ] {
        let mut console = Console::new(&log, Some(kept.clone()));
        console.open(other, size);
        assert_eq!(console.broken, [kind], "{size}");
        assert_eq!(console.trust.badge(at(0)), Badge::Broken);
        // It survives a restart and good checkpoints.
        let mut later = Console::new(&log, Some(console.trust.kept()));
        later.open(&log, 600);
        assert_eq!(later.trust.badge(at(0)), Badge::Broken);
        let mut out = Vec::new();
        assert_eq!(later.trust.acknowledge(&mut out).unwrap().kind, kind);
        assert!(out.contains(&Wants::Save));
        later.open(&log, 600);
        assert_eq!(later.trust.badge(at(0)), Badge::Verified(599));
    }
}

/// How fast entries of the stream are verified, and that what is held does not grow: a measurement, not a check.
#[test]
#[ignore = "a measurement: run it by hand in an optimized build"]
fn measured() {
    let mut log = Log::new(3, 1);
    for index in 3..200_003 {
        log.push(leaf(index, "some text that an entry has, of about the usual length of a name and a reason"));
    }
    let notes: Vec<String> = (1..=200).map(|step| log.note(3 + step * 1_000)).collect();
    let leaves = log.leaves.clone();
    let mut console = Console::new(&log, None);
    console.open(&log, 3);
    let mut tail = crate::tail::Tail::default();
    tail.begin(3);
    let began = std::time::Instant::now();
    let mut notes = notes.iter();
    for (index, leaf) in (0..).zip(leaves).skip(3) {
        let mut told = Vec::new();
        tail.take(crate::tail::Input::Entry { index, leaf }, &mut told);
        for told in told {
            if let crate::tail::Told::Accept(held) = told {
                console.trust.entry(&held, at(0), &mut vec![]);
            }
        }
        if (index - 2) % 1_000 == 0 {
            console.trust.streamed(notes.next().unwrap(), at(0), &mut vec![]);
        }
    }
    let took = began.elapsed();
    assert_eq!(console.trust.verified_size(), 200_003);
    println!("200000 entries in {took:?}: {} a second", 200_000_000 / took.as_millis().max(1));
}

/// Without a configured key the first is taken, shown as such, and confirmed by a person.
#[test]
fn first_use() {
    let log = Log::new(5, 1);
    let mut trust = Trust::new("h", None, vec![], 0, None);
    let mut out = Vec::new();
    trust.first_use(&format!("{}\n", log.key()), &mut out);
    trust.first_use(&format!("{}\n", Log::new(1, 2).key()), &mut out);
    assert_eq!(trust.keys().len(), 1);
    let mut console = Console { trust, broken: vec![], fetched: 0 };
    console.open(&log, 5);
    assert_eq!(console.trust.badge(at(0)), Badge::Key);
    assert_eq!(console.trust.kept().badge(), "? key");
    let key = console.trust.pinned_key().unwrap().clone();
    assert!(console.trust.confirm(&key, &mut out));
    assert_eq!((console.trust.badge(at(0)), console.trust.kept().badge().as_str()), (Badge::Verified(4), "v 4"));
    let again = Trust::new("h", None, vec![], 0, Some(console.trust.kept()));
    assert_eq!(again.key_trust(), "taken on first use, confirmed");
    // A key of the settings is never the one that was taken.
    let set = Trust::new("h", Some(Log::new(1, 2).key().parse().unwrap()), vec![], 0, Some(console.trust.kept()));
    assert_eq!((set.keys()[0].to_string(), set.pin().is_none()), (Log::new(1, 2).key(), true));
}

/// Of several keys that a daemon names at first, only the one that was compared is trusted.
#[test]
fn one_key_is_compared() {
    let (log, other) = (Log::new(5, 1), Log::new(5, 2));
    let mut trust = Trust::new("h", None, vec![], 0, None);
    trust.first_use(&format!("{}\n{}\n", other.key(), log.key()), &mut Vec::new());
    assert_eq!(trust.keys().len(), 2);
    assert!(!trust.confirm(&Log::new(5, 3).key().parse().unwrap(), &mut Vec::new()), "nobody named it");
    assert!(trust.confirm(&log.key().parse().unwrap(), &mut Vec::new()));
    assert_eq!(trust.keys().iter().map(ToString::to_string).collect::<Vec<_>>(), [log.key()]);
}

/// Which badge a key has, in every case: none known yet, taken on first use and not compared, compared, set; and what outranks it.
#[test]
fn badge_of_the_key() {
    let log = Log::new(5, 1);
    let key = || log.key().parse().unwrap();
    let opened = |trust: Trust| {
        let mut console = Console { trust, broken: vec![], fetched: 0 };
        console.open(&log, 5);
        console.trust
    };
    let first_use = |mut trust: Trust| {
        trust.first_use(&log.key(), &mut Vec::new());
        trust
    };
    let fresh = |kept| Trust::new("h", None, vec![], 0, kept);
    // No key is known: nothing is said of one.
    assert_eq!(fresh(None).badge(at(0)), Badge::Waiting(None));
    // Taken on first use: from that moment on, before anything is verified and after, and in the sessions that follow.
    assert_eq!(first_use(fresh(None)).badge(at(0)), Badge::Key);
    let taken = opened(first_use(fresh(None)));
    assert_eq!(taken.badge(at(0)), Badge::Key);
    let again = opened(fresh(Some(taken.kept())));
    assert_eq!(again.badge(at(0)), Badge::Key);
    // What has not come in time is said before that.
    let mut late = opened(fresh(Some(taken.kept())));
    late.entry(&Held::new(5, leaf(5, "")), at(0), &mut Vec::new());
    assert_eq!((late.badge(at(0)), late.badge(at(LATE_MS + 1))), (Badge::Key, Badge::Late));
    // Compared: at once, and from then on.
    let mut compared = again;
    assert!(compared.confirm(&key(), &mut Vec::new()));
    assert_eq!(compared.badge(at(0)), Badge::Verified(4));
    let kept = compared.kept();
    assert_eq!(opened(fresh(Some(kept.clone()))).badge(at(0)), Badge::Verified(4));
    // A pin that can't be read takes nothing from the key.
    assert_eq!(opened(fresh(Some(Kept { note: String::new(), ..kept }))).badge(at(0)), Badge::Verified(4));
    // Set: it was compared by whoever set it, whatever was taken before.
    for kept in [None, Some(taken.kept())] {
        assert_eq!(opened(Trust::new("h", Some(key()), vec![], 0, kept)).badge(at(0)), Badge::Verified(4));
    }
}

/// A new key is accepted once a checkpoint by the old one covers the entry that names it, and not before.
#[test]
fn rotation() {
    let (mut log, new) = (Log::new(5, 1), Log::new(1, 2));
    let mut console = Console::new(&log, None);
    console.open(&log, 5);
    let mut rotate = entry(5, "");
    rotate.action = Action::LogKeyRotate;
    rotate.data = [("vkey".to_owned(), new.key().into())].into();
    log.push(rotate.to_leaf().unwrap());
    console.entries(&log, 5..6);
    assert_eq!(console.trust.keys().len(), 1);
    console.checkpoint(&log, &log.note(6));
    assert_eq!(console.trust.keys().len(), 2);
    let by_new =
        Checkpoint { origin: ORIGIN.into(), size: 6, root: root_at(6, &log).unwrap() }.sign(&[&new.signer]).unwrap();
    console.checkpoint(&log, &by_new);
    assert_eq!(console.broken, []);
}

fn rotating(index: u64, to: &Log) -> Vec<u8> {
    let mut rotate = entry(index, "");
    rotate.action = Action::LogKeyRotate;
    rotate.data = [("vkey".to_owned(), to.key().into())].into();
    rotate.to_leaf().unwrap()
}

impl Log {
    /// The same log, signed by another key; the entry at `index` names it, and the old key's last word covers `size`.
    fn rotate(&mut self, index: u64, size: u64, new: &Self) {
        let path = inclusion_proof(index, size, self).unwrap();
        let leaf = self.leaves[usize::try_from(index).unwrap()].clone();
        self.rotations.push(super::Rotation { index, leaf, note: self.note(size), path });
        self.signer = Ed25519Signer::parse(&new.signer.to_secret()).unwrap();
    }
}

/// Keys that were rotated while nobody looked are followed from one to the next; each must be named in a tree that the one
/// before signed. What is not linked is an alarm with both values.
#[test]
fn rotated_while_away() {
    let (second, third) = (Log::new(1, 2), Log::new(1, 3));
    let mut log = Log::new(5, 1);
    let mut console = Console::new(&log, None);
    console.open(&log, 5);
    let kept = console.trust.kept();
    let first_key = log.key();
    let console_of = |log: &Log| {
        let mut trust = Trust::new("h", Some(first_key.parse().unwrap()), vec![], 0, Some(kept.clone()));
        let mut out = Vec::new();
        trust.asking();
        trust.offered(log.note(log.size()).as_bytes(), at(0), &mut out).unwrap();
        let mut console = Console { trust, broken: vec![], fetched: 0 };
        console.serve(log, out);
        console
    };
    log.push(rotating(5, &second));
    log.push(leaf(6, "x"));
    log.rotate(5, 7, &second);
    log.push(rotating(7, &third));
    log.push(leaf(8, "x"));
    log.rotate(7, 9, &third);
    let console = console_of(&log);
    assert_eq!((console.broken.as_slice(), console.trust.keys().len()), (&[][..], 3));
    assert_eq!(console.trust.badge(at(0)), Badge::Verified(8));
    // The chain with a link left out, a link to another entry, a path that leads elsewhere, or a note by the new key.
    let good = log.rotations.clone();
    type Spoil = fn(&mut Vec<super::Rotation>);
    let spoils: [Spoil; 5] = [
        |links| drop(links.remove(0)),
        |links| links[0].index = 6,
        |links| links[1].path[0].0[0] ^= 1,
        |links| links[1].leaf = leaf(7, "x"),
        |links| links.clear(),
    ];
    for spoil in spoils {
        log.rotations.clone_from(&good);
        spoil(&mut log.rotations);
        let console = console_of(&log);
        assert_eq!(console.broken, [BreachKind::Key], "{:?}", log.rotations);
        let alarm = console.trust.alarm().unwrap();
        assert!(alarm.facts.iter().any(|(label, value)| label == "known key" && !value.is_empty()), "{alarm:?}");
        assert!(alarm.facts.iter().any(|(label, value)| label == "signed by" && value.contains('+')), "{alarm:?}");
    }
}

/// While both keys sign, the new one is followed too, so that the end of the overlap is no alarm.
#[test]
fn rotated_and_both_sign() {
    let new = Log::new(1, 2);
    let mut log = Log::new(5, 1);
    log.push(rotating(5, &new));
    log.push(leaf(6, "x"));
    let mut trust = Trust::new("h", Some(log.key().parse().unwrap()), vec![], 0, None);
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 7, root: root_at(7, &log).unwrap() };
    let both = checkpoint.sign(&[&new.signer, &log.signer]).unwrap();
    let path = inclusion_proof(5, 7, &log).unwrap();
    log.rotations = vec![super::Rotation { index: 5, leaf: log.leaves[5].clone(), note: both.clone(), path }];
    let mut out = Vec::new();
    trust.offered(both.as_bytes(), at(0), &mut out).unwrap();
    let mut console = Console { trust, broken: vec![], fetched: 0 };
    console.serve(&log, out);
    assert_eq!((console.trust.keys().len(), console.broken.len()), (2, 0));
    console.checkpoint(&log, &checkpoint.sign(&[&new.signer]).unwrap());
    assert_eq!(console.broken, []);
    assert_eq!(console.trust.pinned_key().unwrap().to_string(), new.key());
}

/// Whoever first sees a log while its key is rotated is shown the newest, which the daemon names first, and not the one that
/// leaves.
#[test]
fn first_use_while_both_sign() {
    let (old, new) = (Log::new(5, 1), Log::new(5, 2));
    let mut trust = Trust::new("h", None, vec![], 0, None);
    trust.first_use(&format!("{}\n{}\n", new.key(), old.key()), &mut Vec::new());
    assert_eq!(trust.pinned_key().unwrap().to_string(), new.key());
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 5, root: root_at(5, &old).unwrap() };
    let mut kept = trust.kept();
    for (note, key) in [
        (checkpoint.sign(&[&new.signer, &old.signer]).unwrap(), new.key()),
        (checkpoint.sign(&[&old.signer]).unwrap(), old.key()),
    ] {
        kept.note = note;
        let trust = Trust::new("h", None, vec![], 0, Some(kept.clone()));
        assert_eq!(trust.pinned_key().unwrap().to_string(), key);
    }
}

/// A check that finds something is an alarm; one of everything is kept, and what was acknowledged is, until it is sent.
#[test]
fn checks_and_acknowledgements() {
    let log = Log::new(5, 1);
    let mut console = Console::new(&log, None);
    let mut out = Vec::new();
    let good = super::Checked { from: 0, to: 5, size: 5, root: "r".into(), at: 7, faults: 0, first_fault: None };
    console.trust.checked(&good, at(0), &mut out);
    assert_eq!(console.trust.badge(at(0)), Badge::Waiting(None));
    let bad = super::Checked {
        from: 1,
        faults: 2,
        first_fault: Some((BreachKind::Entry, "entry 3 is another".into(), Some(3))),
        ..good.clone()
    };
    console.trust.checked(&bad, at(0), &mut out);
    let alarm = console.trust.acknowledge(&mut out).unwrap();
    assert_eq!((alarm.kind, alarm.index), (BreachKind::Entry, Some(3)));
    assert!(alarm.what.contains("1 faults more"), "{}", alarm.what);
    console.trust.to_send(super::Said::new(&alarm, "known", "eve", "key-1".into()));
    let kept = console.trust.kept();
    assert_eq!((kept.full_check.as_ref(), kept.unsent[0].kind.as_str()), (Some(&good), "entry"));
    let mut again = Trust::new("h", None, vec![], 0, Some(kept));
    assert_eq!(again.unsent_by("bob"), None);
    assert_eq!(again.unsent_by("eve").map(|said| said.reason.as_str()), Some("known"));
    out.clear();
    again.sent("key-1", &mut out);
    assert_eq!((again.unsent(), out.as_slice()), (0, &[Wants::Save][..]));
    assert_eq!(again.kept().settled, ["key-1"]);
}

/// What is late is said; a network that brings nothing is not broken.
#[test]
fn late() {
    let mut log = Log::new(5, 1);
    let mut console = Console::new(&log, None);
    console.open(&log, 5);
    log.push(leaf(5, ""));
    console.entries(&log, 5..6);
    assert!(console.trust.overdue(at(11_000)) && !console.trust.overdue(at(9_000)));
    assert_eq!(console.trust.badge(at(LATE_MS)), Badge::Waiting(Some(4)));
    assert_eq!(console.trust.badge(at(LATE_MS + 1)), Badge::Late);
    console.checkpoint(&log, &log.note(6));
    assert_eq!(console.trust.badge(at(LATE_MS + 1)), Badge::Verified(5));
    assert_eq!(console.trust.badge(at(super::SILENT_MS + 1)), Badge::Late);
    assert!(console.trust.offered(b"<html>sign in</html>", at(0), &mut vec![]).is_err());
    assert_eq!(console.broken, []);
}

/// A receipt must verify, and the stream must bring its leaf.
#[test]
fn receipts() {
    let mut log = Log::new(5, 1);
    let mut console = Console::new(&log, None);
    console.open(&log, 5);
    log.push(leaf(5, "mine"));
    let receipt = log.receipt(5);
    assert_eq!(console.trust.receipt(&receipt, None, at(0), &mut vec![]), Ok(5));
    console.entry(&log, 5, leaf(5, "mine"));
    assert_eq!(console.broken, []);
    log.push(leaf(6, "mine"));
    assert_eq!(console.trust.receipt(&log.receipt(6), None, at(0), &mut vec![]), Ok(6));
    console.entry(&log, 6, leaf(6, "not mine"));
    assert_eq!(console.broken, [BreachKind::Receipt]);
    let mut forged = receipt;
    forged.index = 4;
    let mut fresh = Console::new(&log, None);
    assert!(fresh.trust.receipt(&forged, None, at(0), &mut vec![]).is_err());
    assert_eq!(fresh.trust.badge(at(0)), Badge::Broken);
}

/// The entry that is not the one in the tree is found and named.
#[test]
fn located() {
    let mut log = Log::new(300, 1);
    let mut console = Console::new(&log, None);
    console.open(&log, 300);
    for index in 300..700 {
        log.push(leaf(index, ""));
    }
    for index in 300..700 {
        let content = if index == 640 { "forged" } else { "" };
        console.entry(&log, index, leaf(index, content));
    }
    console.checkpoint(&log, &log.note(700));
    assert_eq!(console.trust.alarm().unwrap().what, "entry 640 is not the one the log committed to");
    assert_eq!(console.trust.alarm().unwrap().index, Some(640));
    // The tail goes on, and what comes behind is verified from the tree as it is signed.
    log.push(leaf(700, ""));
    console.entries(&log, 700..701);
    console.checkpoint(&log, &log.note(701));
    assert_eq!((console.trust.verified_size(), console.trust.badge(at(0))), (701, Badge::Broken));
}

proptest! {
    /// Any single octet changed in what verification rests on is noticed: leaf of the stream, note, tile, growth.
    #[test]
    fn any_octet(place in any::<proptest::sample::Index>(), bit in 0..8_u32, what in 0..5_u8, size in 2..600_u64) {
        let mut log = Log::new(size, 1);
        let mut console = Console::new(&log, None);
        console.open(&log, size / 2 + 1);
        let kept = console.trust.kept();
        let flip = |octets: &mut Vec<u8>| { let at = place.index(octets.len()); octets[at] ^= 1 << bit; };
        let mut out = Vec::new();
        match what {
            0 => {
                let begun = size / 2 + 1;
                // With an edge to grow, or after it was lost: then the tiles have the word.
                let skips = begun + u64::from(bit % 2);
                console.entries(&log, skips.min(size)..size);
                log.push(leaf(size, "x"));
                let mut octets = leaf(size, "x");
                flip(&mut octets);
                // The reducer calls what is malformed broken already.
                let held = Held::new(size, octets);
                let malformed = held.malformed.is_some();
                console.trust.entry(&held, at(0), &mut out);
                console.serve(&log, out);
                console.checkpoint(&log, &log.note(size + 1));
                prop_assert!(malformed || console.trust.alarm().is_some());
                prop_assert!(console.trust.alarm().is_some());
            }
            1 => {
                let mut note = log.note(size).into_bytes();
                flip(&mut note);
                let note = String::from_utf8_lossy(&note).into_owned();
                console.trust.streamed(&note, at(0), &mut out);
                console.serve(&log, out);
                // The two spare bits of base64 say nothing, and are refused.
                prop_assert!(console.trust.alarm().is_some());
            }
            2 => {
                let mut again = Console::new(&log, None);
                again.trust.offered(log.note(size).as_bytes(), at(0), &mut out).unwrap();
                let mut tiles = log.edge(size);
                let which = place.index(tiles.len());
                flip(&mut tiles[which].1);
                again.trust.proof(size, None, &tiles, at(0), &mut out);
                prop_assert!(again.trust.alarm().is_some());
                prop_assert_eq!(again.trust.verified_size(), 0);
            }
            3 if size > size / 2 + 1 => {
                let mut again = Console::new(&log, Some(kept));
                let from = size / 2 + 1;
                again.trust.offered(log.note(size).as_bytes(), at(0), &mut out).unwrap();
                let mut growth = consistency_proof(from, size, &log).unwrap();
                let which = place.index(growth.len());
                growth[which].0[place.index(32)] ^= 1 << bit;
                again.trust.proof(size, Some(&growth), &log.edge(size), at(0), &mut out);
                prop_assert!(again.trust.alarm().is_some());
            }
            _ => {
                console.open(&log, size);
                let index = place.index(usize::try_from(size).unwrap());
                let hash = leaf_hash(&log.leaves[index]);
                if let Judged::Needs(paths) = console.trust.judge(index as u64, &hash) {
                    let mut got: Vec<_> = paths.into_iter().map(|path| (path, log.tile(path))).collect();
                    let which = place.index(got.len());
                    flip(&mut got[which].1);
                    console.trust.take_tiles(&got, at(0), &mut out);
                    prop_assert!(console.trust.alarm().is_some());
                }
            }
        }
    }
}
