//! The witness without its network: what it cosigns, what it refuses, what it remembers, and that no body upsets it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::{
    Checkpoint, Cosigner, Ed25519Signer, Frontier, Hash, Nodes, Signer, Verifier, consistency_proof, format_hashes,
    leaf_hash, root_at,
};
use proptest::collection::vec;
use proptest::prelude::{any, prop, prop_assert, proptest};
use tempfile::TempDir;

use super::state::{EVIDENCE_MAX, StateError};
use super::{Verdict, Witness, time_to_state};

const ORIGIN: &str = "registry.example/log";

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn cosigner() -> Cosigner {
    Cosigner::from_seed("witness.example/w1", &[2; 32]).unwrap()
}

fn open(dir: &Path) -> Result<Witness, StateError> {
    Witness::open(dir, vec![signer().verifier().clone()], cosigner())
}

/// A history: a tree in memory.
struct History(BTreeMap<(u8, u64), Hash>);

impl Nodes for History {
    type Error = ();

    fn node(&self, level: u8, index: u64) -> Result<Hash, ()> {
        self.0.get(&(level, index)).copied().ok_or(())
    }
}

impl History {
    /// So many leaves; histories of one name agree on those they share.
    fn new(name: &str, leaves: u64) -> Self {
        let (mut nodes, mut frontier) = (BTreeMap::new(), Frontier::new());
        for index in 0..leaves {
            frontier.append(leaf_hash(format!("{name} {index}").as_bytes()), |level, index, hash| {
                nodes.insert((level, index), hash);
            });
        }
        Self(nodes)
    }

    fn note(&self, size: u64) -> String {
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: root_at(size, self).unwrap() };
        checkpoint.sign(&[&signer()]).unwrap()
    }

    fn offer(&self, old: u64, size: u64) -> String {
        let proof = consistency_proof(old, size, self).unwrap();
        format!("old {old}\n{}\n{}", format_hashes(&proof), self.note(size))
    }
}

fn is_cosigned(witness: &Witness, offer: &str) -> bool {
    let Verdict::Cosigned(line) = witness.add_checkpoint(offer.as_bytes()) else { return false };
    let note = offer.split_once("\n\n").unwrap().1;
    let pinned: [Verifier; 2] = [signer().verifier().clone(), cosigner().verifier().clone()];
    let signed = Checkpoint::open(format!("{note}{line}").as_bytes(), &pinned).unwrap();
    assert!(signed.signatures[1].cosigned_at.unwrap() > 1_600_000_000);
    true
}

fn evidence(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("evidence")) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_growing_log_is_cosigned_also_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let history = History::new("a", 40);
    let witness = open(&state).unwrap();
    assert_eq!(witness.logs()[0].recorded, None);
    assert!(is_cosigned(&witness, &history.offer(0, 0)));
    assert!(is_cosigned(&witness, &history.offer(0, 7)));
    assert!(is_cosigned(&witness, &history.offer(7, 7)), "again");
    assert!(is_cosigned(&witness, &history.offer(7, 32)));
    drop(witness);
    let witness = open(&state).unwrap();
    assert_eq!(witness.logs()[0].recorded.unwrap().0, 32);
    for (old, size) in [(0, 33), (7, 33), (31, 33), (33, 33), (0, 7), (7, 31)] {
        let verdict = witness.add_checkpoint(history.offer(old, size).as_bytes());
        assert_eq!(verdict, Verdict::Conflict(32), "{old} {size}");
    }
    assert!(is_cosigned(&witness, &history.offer(32, 33)));
    assert!(evidence(&state).is_empty());
}

#[test]
fn a_second_history_is_not_cosigned_and_both_notes_are_kept() {
    let dir = TempDir::new().unwrap();
    let (ours, other) = (History::new("a", 40), History::new("b", 40));
    let witness = open(dir.path()).unwrap();
    assert!(is_cosigned(&witness, &ours.offer(0, 10)));

    // Another root at the size that was cosigned, whatever the request goes out from.
    for (old, size) in [(10, 10), (0, 10)] {
        assert_eq!(witness.add_checkpoint(other.offer(old, size).as_bytes()), Verdict::Conflict(10));
    }
    let kept = evidence(dir.path());
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].starts_with("registry.example%2Flog.fork-") && kept[0].ends_with(".cosigned"));
    let read = |name: &str| std::fs::read_to_string(dir.path().join("evidence").join(name)).unwrap();
    assert!(read(&kept[0]).starts_with(&ours.note(10)), "with the cosignature");
    assert_eq!(read(&kept[1]), other.note(10));

    // A larger tree that does not extend it.
    assert_eq!(witness.add_checkpoint(other.offer(10, 20).as_bytes()), Verdict::Inconsistent);
    assert_eq!(evidence(dir.path()).iter().filter(|name| name.contains(".unproved-")).count(), 2);
    // Ours goes on.
    assert!(is_cosigned(&witness, &ours.offer(10, 20)));

    // The genuine checkpoint with a spoilt proof says nothing against the log, and a later one says it once, whatever
    // strangers put below it.
    let spoil = |offer: String, junk: u8| {
        let line = format!("— x {}\n", STANDARD.encode([junk; 10]));
        offer.replacen("\n\n", &format!("\n{}\n\n", Hash([junk; 32])), 1) + &line
    };
    let before = evidence(dir.path());
    for junk in 0..8 {
        assert_eq!(witness.add_checkpoint(spoil(ours.offer(20, 20), junk).as_bytes()), Verdict::Inconsistent);
    }
    assert_eq!(evidence(dir.path()), before);
    for junk in 0..8 {
        assert_eq!(witness.add_checkpoint(spoil(ours.offer(20, 21), junk).as_bytes()), Verdict::Inconsistent);
    }
    assert_eq!(evidence(dir.path()).len(), before.len() + 2);
}

/// Evidence is bounded: of what is not proved the newest is kept, and of forks all that was.
#[test]
fn newer_evidence_takes_the_place_of_older() {
    let dir = TempDir::new().unwrap();
    let ours = History::new("a", 10);
    let witness = open(dir.path()).unwrap();
    assert!(is_cosigned(&witness, &ours.offer(0, 10)));
    assert_eq!(witness.add_checkpoint(History::new("b", 10).offer(10, 10).as_bytes()), Verdict::Conflict(10));
    let forks = || evidence(dir.path()).into_iter().filter(|name| name.contains(".fork-")).collect::<Vec<_>>();
    let first = forks();
    for size in 11..12 + 2 * EVIDENCE_MAX as u64 {
        let other = History::new("b", size);
        assert_eq!(witness.add_checkpoint(other.offer(10, size).as_bytes()), Verdict::Inconsistent);
        let offered = |name: &String| std::fs::read_to_string(dir.path().join("evidence").join(name)).unwrap();
        assert!(evidence(dir.path()).iter().any(|name| offered(name) == other.note(size)), "{size}");
    }
    assert_eq!(evidence(dir.path()).len(), 2 * EVIDENCE_MAX + first.len());
    assert_eq!(forks(), first);
}

/// Whatever strangers put below a note, and however much, the state can be read again.
#[test]
fn lines_of_strangers_do_not_spoil_the_state() {
    let dir = TempDir::new().unwrap();
    let history = History::new("a", 9);
    let false_line = cosigner().cosign("something else\n", 1);
    let offer = format!("{}{}", history.offer(0, 8), false_line.repeat(50) + &"— x AAAAAAAA\n".repeat(49));
    let witness = open(dir.path()).unwrap();
    assert!(matches!(witness.add_checkpoint(offer.as_bytes()), Verdict::Cosigned(_)));
    drop(witness);
    assert!(is_cosigned(&open(dir.path()).unwrap(), &history.offer(8, 9)));
}

/// The times of a log's cosignatures never go back, also over a restart; a clock that is far behind signs nothing.
#[test]
fn times_do_not_go_back() {
    let dir = TempDir::new().unwrap();
    let history = History::new("a", 9);
    drop(open(dir.path()).unwrap());
    let now_s = u64::try_from(crate::clock::now_ms() / crate::clock::SECOND_MS).unwrap();
    let keep = |at_s: u64| {
        let note = history.note(8);
        let line = cosigner().cosign(&format!("{}\n", note.split_once("\n\n").unwrap().0), at_s);
        std::fs::write(dir.path().join("registry.example%2Flog.checkpoint"), note + &line).unwrap();
    };
    keep(now_s + 3000);
    let verdict = open(dir.path()).unwrap().add_checkpoint(history.offer(8, 9).as_bytes());
    assert_eq!(verdict, Verdict::ClockBehind);
    keep(now_s + 300);
    let Verdict::Cosigned(line) = open(dir.path()).unwrap().add_checkpoint(history.offer(8, 9).as_bytes()) else {
        panic!("it was refused");
    };
    let pinned = [signer().verifier().clone(), cosigner().verifier().clone()];
    let signed = Checkpoint::open((history.note(9) + &line).as_bytes(), &pinned).unwrap();
    assert_eq!(signed.signatures[1].cosigned_at, Some(now_s + 300));

    assert_eq!(time_to_state(-1, 0), None);
    assert_eq!(time_to_state(7_999, 3), Some(7));
    assert_eq!(time_to_state(7_999, 607), Some(607));
    assert_eq!(time_to_state(7_999, 608), None);
}

#[test]
fn refusals() {
    let dir = TempDir::new().unwrap();
    let history = History::new("a", 20);
    let witness = open(dir.path()).unwrap();
    let malformed = |body: &str| matches!(witness.add_checkpoint(body.as_bytes()), Verdict::Malformed(_));
    let good = history.offer(0, 8);
    let note = history.note(8);
    for body in [
        "",
        "old 0",
        "old 0\n",
        "old 0\n\n",
        &note,
        &good.replacen("old 0", "old 00", 1),
        &good.replacen("old 0", "old +0", 1),
        &good.replacen("old 0", "old -1", 1),
        &good.replacen("old 0", "old  0", 1),
        &good.replacen("old 0", "Old 0", 1),
        &good.replacen("old 0", "old 0 ", 1),
        &good.replacen("old 0", "old 0\r", 1),
        &good.replacen("old 0", "old 18446744073709551616", 1),
        &good.replacen("old 0\n", "old 0\nAAAA\n", 1),
        &good.replacen("\n8\n", "\n08\n", 1),
        &good.replacen("\n8\n", "\n8\nextension\n", 1),
        &format!("old 0\n{}\n{note}", format!("{}\n", Hash([1; 32])).repeat(64)),
        &format!("old 0\n{}\n{note}", format!("{}\n", Hash([1; 32])).repeat(65)),
        &good[..good.len() - 1],
    ] {
        assert!(malformed(body), "{body:?}");
    }
    // The old size is larger than the checkpoint's.
    assert!(malformed(&good.replacen("old 0", "old 9", 1)));
    // From nothing there is no proof.
    let with_proof = good.replacen("old 0\n", &format!("old 0\n{}\n", Hash([1; 32])), 1);
    assert_eq!(witness.add_checkpoint(with_proof.as_bytes()), Verdict::Inconsistent);
    // 63 lines are read.
    let long = format!("old 0\n{}\n{note}", format!("{}\n", Hash([1; 32])).repeat(63));
    assert_eq!(witness.add_checkpoint(long.as_bytes()), Verdict::Inconsistent);

    let other_key = Ed25519Signer::from_seed(ORIGIN, &[9; 32]).unwrap();
    let other_log = Ed25519Signer::from_seed("other.example/log", &[1; 32]).unwrap();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 8, root: root_at(8, &history).unwrap() };
    let by = |signer: &Ed25519Signer, checkpoint: &Checkpoint| {
        witness.add_checkpoint(format!("old 0\n\n{}", checkpoint.sign(&[signer]).unwrap()).as_bytes())
    };
    assert_eq!(by(&other_key, &checkpoint), Verdict::UnknownKey);
    let elsewhere = Checkpoint { origin: "other.example/log".to_owned(), ..checkpoint };
    assert_eq!(by(&other_log, &elsewhere), Verdict::UnknownLog);
    let forged = good.replacen("\n8\n", "\n9\n", 1);
    assert_eq!(witness.add_checkpoint(forged.as_bytes()), Verdict::UnknownKey);
    assert_eq!(witness.logs()[0].recorded, None, "nothing was recorded");
    assert!(is_cosigned(&witness, &good));
}

#[test]
fn either_key_of_a_rotation_counts() {
    let dir = TempDir::new().unwrap();
    let history = History::new("a", 20);
    let new_key = Ed25519Signer::from_seed(ORIGIN, &[9; 32]).unwrap();
    let keys = || vec![signer().verifier().clone(), new_key.verifier().clone()];
    let witness = Witness::open(dir.path(), keys(), cosigner()).unwrap();
    assert!(is_cosigned(&witness, &history.offer(0, 5)));
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 8, root: root_at(8, &history).unwrap() };
    let proof = format_hashes(&consistency_proof(5, 8, &history).unwrap());
    let offer = format!("old 5\n{proof}\n{}", checkpoint.sign(&[&new_key]).unwrap());
    assert!(matches!(witness.add_checkpoint(offer.as_bytes()), Verdict::Cosigned(_)));
    drop(witness);
    // The state needs the key that signed it.
    assert!(matches!(open(dir.path()), Err(StateError::Unreadable { .. })));
    assert_eq!(Witness::open(dir.path(), keys(), cosigner()).unwrap().logs()[0].recorded.unwrap().0, 8);
}

#[test]
fn a_foreign_damaged_or_used_state_is_refused() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let witness = open(&state).unwrap();
    assert!(is_cosigned(&witness, &History::new("a", 20).offer(0, 8)));
    assert!(matches!(open(&state), Err(StateError::Locked { .. })));
    drop(witness);

    let other = Cosigner::from_seed("witness.example/w1", &[3; 32]).unwrap();
    let foreign = Witness::open(&state, vec![signer().verifier().clone()], other);
    assert!(matches!(foreign, Err(StateError::Foreign { .. })));

    let file = state.join("registry.example%2Flog.checkpoint");
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"nonsense", &b"x".repeat(100_000)] {
        std::fs::write(&file, damaged).unwrap();
        assert!(matches!(open(&state), Err(StateError::Unreadable { .. })));
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(open(&state).unwrap().logs()[0].recorded.unwrap().0, 8);

    std::fs::write(dir.path().join("something"), b"").unwrap();
    assert!(matches!(open(dir.path()), Err(StateError::NotAState { .. })));
    let long = Ed25519Signer::from_seed(&"/".repeat(100), &[1; 32]).unwrap();
    let long = Witness::open(&dir.path().join("new"), vec![long.verifier().clone()], cosigner());
    assert!(matches!(long, Err(StateError::LongName { .. })));
}

/// Two histories at once, from many threads: one of them wins, and whatever was cosigned is of that one.
#[test]
fn parallel_requests_never_have_two_histories_cosigned() {
    let dir = TempDir::new().unwrap();
    let witness = open(dir.path()).unwrap();
    let histories = [History::new("a", 40), History::new("b", 40)];
    let cosigned: Vec<(usize, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (witness, history) = (&witness, &histories[thread % 2]);
                scope.spawn(move || {
                    let mut cosigned = Vec::new();
                    for size in 1..40 {
                        let old = match witness.add_checkpoint(history.offer(0, size).as_bytes()) {
                            Verdict::Conflict(old) if old <= size => old,
                            Verdict::Cosigned(_) => {
                                cosigned.push((thread % 2, size));
                                continue;
                            }
                            _ => continue,
                        };
                        if is_cosigned(witness, &history.offer(old, size)) {
                            cosigned.push((thread % 2, size));
                        }
                    }
                    cosigned
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(!cosigned.is_empty());
    assert!(cosigned.iter().all(|(history, _)| *history == cosigned[0].0), "{cosigned:?}");
}

/// A checkpoint that can't be made durable is not cosigned, and what was known stays known.
#[test]
fn a_full_or_broken_disk_means_no_signature() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let history = History::new("a", 20);
    let witness = open(&state).unwrap();
    assert!(is_cosigned(&witness, &history.offer(0, 8)));
    let aside = dir.path().join("aside");
    std::fs::rename(&state, &aside).unwrap();
    // A file where the directory was: nothing can be written there, whoever runs the test.
    std::fs::write(&state, b"").unwrap();
    assert_eq!(witness.add_checkpoint(history.offer(8, 9).as_bytes()), Verdict::NotRecorded);
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(&aside, &state).unwrap();
    assert_eq!(witness.add_checkpoint(history.offer(9, 10).as_bytes()), Verdict::Conflict(8));
    assert!(is_cosigned(&witness, &history.offer(8, 9)));
}

proptest! {
    /// No body upsets the witness or makes it sign.
    #[test]
    fn hostile_bodies(body in vec(any::<u8>(), 0..600)) {
        let dir = TempDir::new().unwrap();
        let witness = open(dir.path()).unwrap();
        prop_assert!(matches!(witness.add_checkpoint(&body), Verdict::Malformed(_)));
    }

    /// A good body with octets changed is cosigned only where it still says the same: no signature covers the rest.
    #[test]
    fn damaged_bodies(at in any::<prop::sample::Index>(), mask in 1_u8..) {
        let dir = TempDir::new().unwrap();
        let history = History::new("a", 20);
        let witness = open(dir.path()).unwrap();
        prop_assert!(is_cosigned(&witness, &history.offer(0, 5)));
        let mut body = history.offer(5, 8).into_bytes();
        let at = at.index(body.len());
        body[at] ^= mask;
        let is_signed = matches!(witness.add_checkpoint(&body), Verdict::Cosigned(_));
        prop_assert!(!is_signed, "octet {at} was changed by {mask}");
    }
}
