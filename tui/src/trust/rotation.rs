//! A log's key that follows another (audit-log.md §10): which entry named it, and that this entry is in a tree which a key
//! that is known signed. What the daemon serves as its keys is never believed; an entry is, once that is shown.

use common::audit::{Action, Checkpoint, Entry, Hash, KeyType, Note, Outcome, Verifier, leaf_hash, verify_inclusion};

use super::{Breach, BreachKind, KEYS_MAX, Trust, Wants};
use crate::event::Moment;

/// How often it is asked in one session which keys followed: each time entries are read.
const ASKED_MAX: u32 = 4;

/// An entry that names a key, and what shows that the key before it signed a tree with that entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Where the entry stands.
    pub index: u64,
    /// Its exact octets.
    pub leaf: Vec<u8>,
    /// A checkpoint that the key before signed.
    pub note: String,
    /// The path from the entry to that checkpoint's root.
    pub path: Vec<Hash>,
}

/// What is under way about keys that follow.
#[derive(Debug, Clone, Default)]
pub(super) struct Following {
    asked: u32,
    /// It is being asked.
    waits: bool,
    /// A note that no known key signed, with the least size it may have: judged once the keys are known.
    note: Option<(String, u64)>,
}

/// The key that an entry names, if what it records was done there.
pub(super) fn named(index: u64, leaf: &[u8]) -> Option<Verifier> {
    let entry = Entry::parse(leaf).ok()?;
    let is_rotation = entry.action == Action::LogKeyRotate && entry.outcome == Outcome::Ok && entry.seq == index;
    let key: Verifier = entry.data.get("vkey").filter(|_| is_rotation)?.as_str()?.parse().ok()?;
    (key.kind() == KeyType::Ed25519).then_some(key)
}

impl Trust {
    /// Accepts a key that an entry in a verified tree names; the sentence, where that is news.
    pub(super) fn accept_key(&mut self, key: Verifier, index: u64) -> Option<String> {
        let before = self.keys.last()?.id();
        if self.keys.contains(&key) || self.keys.first().is_some_and(|first| first.name() != key.name()) {
            return None;
        }
        if self.keys.len() == KEYS_MAX {
            // The first is the one that a person confirmed.
            self.keys.remove(1);
        }
        let told = format!(
            "the log\u{2019}s key {before} was followed by {}: entry {index} says so, and {before} signed it",
            key.id()
        );
        self.keys.push(key);
        Some(told)
    }

    /// A note that no known key signed, though it bears the log's name: whether the key was rotated is asked first. False
    /// where that was asked often enough.
    pub(super) fn asks_to_follow(&mut self, note: &str, least: u64, out: &mut Vec<Wants>) -> bool {
        if self.alarm.is_some() || (!self.following.waits && self.following.asked >= ASKED_MAX) {
            return false;
        }
        self.following.note = Some((note.to_owned(), least));
        self.ask_to_follow(out);
        true
    }

    /// A verified note that other keys of the log's name signed as well: they may be followed while the old one still signs.
    pub(super) fn look_for_successors(&mut self, note: &str, out: &mut Vec<Wants>) {
        let Some(name) = self.keys.first().map(|key| key.name().to_owned()) else { return };
        let is_known = |id| self.keys.iter().any(|key| key.id() == id);
        let others = Note::parse(note.as_bytes())
            .is_ok_and(|note| note.signers().iter().any(|(signer, id)| *signer == name && !is_known(*id)));
        if others && self.following.asked == 0 {
            self.ask_to_follow(out);
        }
    }

    fn ask_to_follow(&mut self, out: &mut Vec<Wants>) {
        if !std::mem::replace(&mut self.following.waits, true) {
            self.following.asked += 1;
            out.push(Wants::Rotations);
        }
    }

    /// Whether the console waits to be told how the key was followed.
    pub fn is_following(&self) -> bool {
        self.following.waits
    }

    /// The entries that name keys, oldest first. Each counts if a key that is known by then signed a tree it is in. What
    /// waited for them is judged now.
    pub fn rotated(&mut self, rotations: &[Rotation], now: Moment, out: &mut Vec<Wants>) {
        self.following.waits = false;
        let mut news = false;
        for rotation in rotations {
            if let Some(told) = self.follow(rotation) {
                news = true;
                out.push(Wants::Followed(told));
            }
        }
        if news {
            out.push(Wants::Save);
        }
        let Some((note, least)) = self.following.note.take() else { return };
        match self.open(&note) {
            Ok(_) => self.note(&note, least, now, out),
            Err(error) => {
                let mut breach = self.refuse(&note, &error);
                breach.what.push_str(", and no entry in a tree that the known key signed names it");
                self.raise(breach, now, out);
            }
        }
    }

    /// The daemon does not tell how the key was followed.
    pub fn rotations_refused(&mut self, why: &str, now: Moment, out: &mut Vec<Wants>) {
        self.following.waits = false;
        let Some((note, _)) = self.following.note.take() else { return };
        let what = format!("a checkpoint is signed by another key, and how that followed is not shown: {why}");
        let mut breach = match self.open(&note) {
            Ok(_) => return,
            Err(error) => self.refuse(&note, &error),
        };
        (breach.kind, breach.what) = (BreachKind::Key, what);
        let breach: Breach = breach;
        self.raise(breach, now, out);
    }

    fn follow(&mut self, rotation: &Rotation) -> Option<String> {
        let key = named(rotation.index, &rotation.leaf)?;
        let signed = Checkpoint::open(rotation.note.as_bytes(), &self.keys).ok()?;
        let Checkpoint { size, root, .. } = &signed.checkpoint;
        verify_inclusion(&leaf_hash(&rotation.leaf), rotation.index, *size, &rotation.path, root).ok()?;
        self.accept_key(key, rotation.index)
    }
}
