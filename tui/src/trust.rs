//! What the console believes of the log, and why: keys, the pinned checkpoint, the right edge of the tree at it, leaf hashes
//! that no checkpoint covers yet, verified tiles, and the alarm. Pure, over `common::audit`: what must be fetched is asked
//! for, what must be kept is handed out. A failure to fetch is never an alarm.

mod alarm;
mod rotation;
mod said;
mod tiles;
mod witnesses;

use std::collections::{BTreeMap, VecDeque};

use common::audit::{
    Checkpoint, Frontier, Hash, KeyId, KeyType, Note, NoteError, ProofError, Receipt, TilePath, Verifier,
    verify_consistency,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::alarm::{Alarm, Breach, BreachKind};
pub use self::rotation::Rotation;
pub use self::said::{Checked, Said, UNSENT_MAX};
pub(crate) use self::tiles::Tiles;
pub use self::tiles::{Anchor, Judged, TILES_MAX, edge_paths};
use self::witnesses::Witnessing;
use crate::event::Moment;
use crate::tail::Held;

/// Leaf hashes that wait for a checkpoint.
pub const PENDING_MAX: usize = 65_536;
/// Without a covering checkpoint for so long, one is asked for; milliseconds.
pub const ASK_MS: u64 = 10_000;
/// Without a covering checkpoint for so long, the log is late.
pub const LATE_MS: u64 = 60_000;
/// Twice the daemon's heartbeat: without any entry for so long, the log is late.
pub const SILENT_MS: u64 = 2 * 15 * 60_000;
/// Tiles that are asked for at once.
pub const TILES_AT_ONCE: usize = 8;
/// Receipts that the stream must still honour.
const RECEIPTS_MAX: usize = 1_024;
/// Keys of a log: two while they are rotated, and what came before.
const KEYS_MAX: usize = 16;
/// Octets of a note that is kept as evidence where no key signed it.
const UNSIGNED_OCTETS_MAX: usize = 4_096;

/// What is kept of a log between sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The form of this file.
    pub version: u32,
    /// The daemon it was seen at.
    pub address: String,
    /// Verifier keys, the newest last.
    pub keys: Vec<String>,
    /// Whether somebody confirmed the first of them.
    pub confirmed: bool,
    /// The newest checkpoint that verified, as its signed note; empty before the first.
    pub note: String,
    /// When it was seen, in seconds since the epoch.
    pub seen_at: i64,
    /// What is wrong, until somebody acknowledges it.
    #[serde(default)]
    pub alarm: Option<Alarm>,
    /// What was acknowledged and the daemon does not know yet, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsent: Vec<Said>,
    /// What was unsent and is not any more: another console's file may still have it.
    #[serde(skip)]
    pub settled: Vec<String>,
    /// The last check of every entry there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_check: Option<Checked>,
}

impl Kept {
    /// The badge that this was left with: what was found wrong, or how far the log was verified and by whose key.
    pub fn badge(&self) -> String {
        let size: u64 = self.note.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0);
        match (&self.alarm, size.checked_sub(1)) {
            (Some(_), _) => "X BROKEN".to_owned(),
            (None, None) => String::new(),
            (None, Some(_)) if !self.confirmed => "? key".to_owned(),
            (None, Some(newest)) => format!("v {newest}"),
        }
    }
}

/// The form of [`Kept`] that is written.
pub const KEPT_VERSION: u32 = 1;

/// What follows from what came.
#[derive(Debug, Clone, PartialEq)]
pub enum Wants {
    /// The tiles of the right edge at a size; with `from`, the proof that the tree there begins with that of this size.
    Proof {
        /// The size.
        size: u64,
        /// The smaller size.
        from: Option<u64>,
    },
    /// Tiles, each to be checked up to the root.
    Tiles(Vec<TilePath>),
    /// The newest checkpoint.
    Checkpoint,
    /// What is kept has changed.
    Save,
    /// A check failed. It has become the alarm if there was none.
    Broken(Box<Breach>),
    /// Entries below this index are verified now.
    Verified(u64),
    /// How the log's key follows the ones that are known.
    Rotations,
    /// Another key is accepted from now on: a sentence.
    Followed(String),
}

/// A checkpoint that a pinned key signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    /// The note.
    pub note: String,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Which of the log's keys signed it.
    pub signers: Vec<KeyId>,
    /// Names of witnesses that cosigned it, of those that are known.
    pub witnesses: Vec<String>,
}

/// The badge of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Badge {
    /// Every entry up to this index is verified.
    Verified(u64),
    /// Newer entries than the newest verified checkpoint; up to this index they are verified.
    Waiting(Option<u64>),
    /// No covering checkpoint for too long, or too few witnesses.
    Late,
    /// The key was taken on first use and nobody confirmed it.
    Key,
    /// The log is not read.
    Off,
    /// A check failed.
    Broken,
}

/// What is believed.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The key that the settings name: it is never replaced by one that was taken on first use.
    configured: Option<Verifier>,
    witnesses: Vec<Verifier>,
    quorum: usize,
    keys: Vec<Verifier>,
    confirmed: bool,
    pin: Option<Signed>,
    pin_at: Moment,
    pin_seen_at: i64,
    /// The right edge at the pin; none until it was proved in this session.
    edge: Option<Frontier>,
    /// Leaf hashes from `pending_first` on.
    pending: VecDeque<Hash>,
    pending_first: u64,
    pending_since: Option<u64>,
    /// A checkpoint that covers entries which have not come yet.
    ahead: Option<Signed>,
    /// A checkpoint whose edge is asked for.
    proving: Option<(Signed, Option<u64>)>,
    tiles: Tiles,
    /// New keys that an entry named which no checkpoint covers yet.
    rotations: Vec<(u64, Verifier)>,
    /// How the log's key was followed to one that no entry of this session named.
    following: rotation::Following,
    /// What was acknowledged and is to be sent.
    unsent: Vec<Said>,
    settled: Vec<String>,
    full_check: Option<Checked>,
    receipts: BTreeMap<u64, Hash>,
    /// Entries that came while no edge was proved, or came again after they were let go: verified tiles must confirm them.
    unchecked: VecDeque<(u64, Hash)>,
    alarm: Option<Alarm>,
    /// Further failures since the alarm.
    pub further: u64,
    /// No proof is asked for any more until the alarm is acknowledged: the log does not extend what was pinned.
    stuck: bool,
    suspect: Option<Suspect>,
    /// A tile was not the tree's: no more are asked for until the alarm is acknowledged, for the next would be no better.
    bad_tiles: bool,
    /// Entries verified in this session.
    pub verified: u64,
    last_entry_ms: Option<u64>,
    /// When the newest checkpoint came, whatever it covered.
    pub checkpoint_at: Option<i64>,
    witnessing: Witnessing,
    /// The log is not read: no right, or none offered.
    pub off: bool,
    address: String,
    asked_at_size: u64,
}

/// Leaves of which one is not what was committed to.
#[derive(Debug, Clone)]
struct Suspect {
    note: String,
    first: u64,
    hashes: Vec<Hash>,
    size: u64,
}

impl Trust {
    /// What the settings and the last session say.
    pub fn new(
        address: &str,
        configured: Option<Verifier>,
        witnesses: Vec<Verifier>,
        quorum: usize,
        kept: Option<Kept>,
    ) -> Self {
        let mut trust = Self { address: address.to_owned(), configured, witnesses, quorum, ..Self::default() };
        if let Some(kept) = kept {
            trust.keys = kept.keys.iter().take(KEYS_MAX).filter_map(|key| key.parse().ok()).collect();
            trust.confirmed = kept.confirmed;
            trust.alarm = kept.alarm;
            (trust.unsent, trust.full_check) = (kept.unsent, kept.full_check);
            trust.pin_seen_at = kept.seen_at;
            trust.pin = trust.open(&kept.note).ok();
        }
        if let Some(key) = &trust.configured {
            if !trust.keys.contains(key) {
                // What was taken on first use does not stay beside a key that is set.
                trust.keys = vec![key.clone()];
                trust.pin = trust.pin.take().and_then(|pin| trust.open(&pin.note).ok());
            }
            trust.confirmed = true;
        }
        trust.stuck = false;
        trust
    }

    /// What is to be kept.
    pub fn kept(&self) -> Kept {
        Kept {
            version: KEPT_VERSION,
            address: self.address.clone(),
            keys: self.keys.iter().map(ToString::to_string).collect(),
            confirmed: self.confirmed && self.configured.is_none() || self.configured.is_some(),
            note: self.pin.as_ref().map(|pin| pin.note.clone()).unwrap_or_default(),
            seen_at: self.pin_seen_at,
            alarm: self.alarm.clone(),
            unsent: self.unsent.clone(),
            settled: self.settled.clone(),
            full_check: self.full_check.clone(),
        }
    }

    // ---- what can be seen -------------------------------------------------------------------------------------------

    /// The badge at a moment.
    pub fn badge(&self, now: Moment) -> Badge {
        if self.alarm.is_some() {
            return Badge::Broken;
        }
        if self.off {
            return Badge::Off;
        }
        let verified = self.edge.as_ref().and_then(|edge| edge.size().checked_sub(1));
        if self.is_late(now) {
            Badge::Late
        } else if !self.confirmed && !self.keys.is_empty() {
            Badge::Key
        } else {
            let is_settled = self.pending.is_empty() && self.proving.is_none() && self.unchecked.is_empty();
            match (verified, is_settled) {
                (Some(index), true) => Badge::Verified(index),
                (index, _) => Badge::Waiting(index),
            }
        }
    }

    fn is_late(&self, now: Moment) -> bool {
        let since = |ms: Option<u64>| ms.map_or(0, |ms| now.ms.saturating_sub(ms));
        since(self.pending_since) > LATE_MS || since(self.last_entry_ms) > SILENT_MS || self.is_unwitnessed(now)
    }

    /// When, from now, the badge may change by itself or a checkpoint must be asked for; milliseconds.
    pub fn due_in(&self, now: Moment) -> Option<u64> {
        let until = |since: Option<u64>, limit: u64| {
            let due = since?.saturating_add(limit + 1);
            (due > now.ms).then(|| due - now.ms)
        };
        let witnesses = self.witnesses_due().map(|(since, limit)| until(since, limit));
        [until(self.pending_since, ASK_MS), until(self.pending_since, LATE_MS), until(self.last_entry_ms, SILENT_MS)]
            .into_iter()
            .chain(witnesses)
            .flatten()
            .min()
    }

    /// The alarm, until it is acknowledged.
    pub fn alarm(&self) -> Option<&Alarm> {
        self.alarm.as_ref()
    }

    /// The alarm, to note where its evidence is.
    pub fn alarm_mut(&mut self) -> Option<&mut Alarm> {
        self.alarm.as_mut()
    }

    /// The newest checkpoint that verified.
    pub fn pin(&self) -> Option<&Signed> {
        self.pin.as_ref()
    }

    /// When it was seen, in seconds since the epoch.
    pub fn pin_seen_at(&self) -> i64 {
        self.pin_seen_at
    }

    /// How many entries are verified: all below.
    pub fn verified_size(&self) -> u64 {
        self.edge.as_ref().map_or(0, Frontier::size)
    }

    /// Entries that no checkpoint covers yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The keys that are accepted.
    pub fn keys(&self) -> &[Verifier] {
        &self.keys
    }

    /// The newest of the keys that signed the pinned checkpoint; before there is one, the newest that is known.
    pub fn pinned_key(&self) -> Option<&Verifier> {
        let signers = self.pin.as_ref().map(|pin| pin.signers.as_slice()).unwrap_or_default();
        self.keys.iter().rfind(|key| signers.contains(&key.id())).or(self.keys.last())
    }

    /// Witness keys, and how many must have cosigned.
    pub fn witnesses(&self) -> (&[Verifier], usize) {
        (&self.witnesses, self.quorum)
    }

    /// The size that enough witnesses cosigned.
    pub fn witnessed(&self) -> Option<u64> {
        self.witnessing.size
    }

    /// How the key is trusted.
    pub fn key_trust(&self) -> &'static str {
        match (&self.configured, self.confirmed, self.keys.is_empty()) {
            (Some(_), _, _) => "set in the configuration",
            (None, _, true) => "none yet",
            (None, true, false) => "taken on first use, confirmed",
            (None, false, false) => "taken on first use, NOT confirmed",
        }
    }

    /// Whether the key is set, or somebody compared it.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Whether no key is known: the daemon's own word is then the first use.
    pub fn wants_key(&self) -> bool {
        self.keys.is_empty()
    }

    /// Tiles that are held.
    pub fn tiles_held(&self) -> usize {
        self.tiles.len()
    }

    /// How a row of that index is marked.
    pub fn is_broken_from(&self) -> Option<u64> {
        self.alarm.as_ref().and_then(|alarm| alarm.index)
    }

    // ---- keys -------------------------------------------------------------------------------------------------------

    /// The keys that the daemon names, on first use.
    pub fn first_use(&mut self, vkeys: &str, out: &mut Vec<Wants>) {
        if self.keys.is_empty() {
            let keys = vkeys.lines().filter_map(|line| line.parse::<Verifier>().ok());
            self.keys = keys.filter(|key| key.kind() == KeyType::Ed25519).take(KEYS_MAX).collect();
            // The daemon names the newest first.
            self.keys.reverse();
            self.confirmed = false;
            if !self.keys.is_empty() {
                out.push(Wants::Save);
            }
        }
    }

    /// Somebody compared a key. Only that one is trusted: others that the daemon named beside it may be anybody's, and those
    /// that follow it prove that.
    pub fn confirm(&mut self, compared: &Verifier, out: &mut Vec<Wants>) -> bool {
        let news = !self.confirmed && self.keys.contains(compared);
        if news {
            self.keys.retain(|key| key == compared);
            self.confirmed = true;
            out.push(Wants::Save);
        }
        news
    }

    /// Somebody looked at the alarm. Where the log is not the one that was pinned, it is taken anew.
    pub fn acknowledge(&mut self, out: &mut Vec<Wants>) -> Option<Alarm> {
        let alarm = self.alarm.take()?;
        match alarm.kind {
            BreachKind::CutBack | BreachKind::Fork => self.pin = None,
            BreachKind::Key | BreachKind::Origin => {
                self.pin = None;
                self.keys = self.configured.iter().cloned().collect();
                self.confirmed = self.configured.is_some();
            }
            _ => {}
        }
        self.restart();
        self.further = 0;
        out.push(Wants::Save);
        Some(alarm)
    }

    /// Forgets what was seen in this session; what is pinned stays.
    pub fn restart(&mut self) {
        self.edge = None;
        self.pending.clear();
        self.pending_since = None;
        self.pending_first = 0;
        (self.ahead, self.proving, self.suspect) = (None, None, None);
        self.tiles = Tiles::default();
        self.rotations.clear();
        self.following = rotation::Following::default();
        self.unchecked.clear();
        self.witnessing = Witnessing::default();
        (self.stuck, self.bad_tiles) = (false, false);
    }

    // ---- checkpoints ------------------------------------------------------------------------------------------------

    fn open(&self, note: &str) -> Result<Signed, NoteError> {
        let pinned: Vec<Verifier> = self.keys.iter().chain(&self.witnesses).cloned().collect();
        let signed = Checkpoint::open(note.as_bytes(), &pinned)?;
        let signers = signed.signatures.iter().filter(|signature| signature.kind == KeyType::Ed25519);
        let signers = signers.map(|signature| signature.id).collect();
        let witnesses = signed.signatures.iter().filter(|signature| signature.kind == KeyType::CosignatureV1);
        let witnesses = witnesses.map(|signature| signature.name.clone()).collect();
        Ok(Signed { note: note.to_owned(), checkpoint: signed.checkpoint, signers, witnesses })
    }

    /// The newest checkpoint is asked for: what comes may not be smaller than what is known now.
    pub fn asking(&mut self) {
        self.asked_at_size = self.pin.as_ref().map_or(0, |pin| pin.checkpoint.size);
    }

    /// The answer to a question for the newest checkpoint. `Err` has the words for an answer that is no checkpoint at all:
    /// no word on the log.
    ///
    /// # Errors
    /// The words.
    pub fn offered(&mut self, note: &[u8], now: Moment, out: &mut Vec<Wants>) -> Result<(), String> {
        let text = String::from_utf8_lossy(note);
        let ours = self.keys.first().is_some_and(|key| text.contains(key.name())) || text.contains("\u{2014} ");
        if Note::parse(note).is_err() && !ours {
            return Err("the answer is no checkpoint; is it the log that answers?".to_owned());
        }
        let asked_at_size = self.asked_at_size;
        self.note(&text, asked_at_size, now, out);
        Ok(())
    }

    /// A checkpoint of the stream: all entries it covers have been brought.
    pub fn streamed(&mut self, note: &str, now: Moment, out: &mut Vec<Wants>) {
        let least = self.pin.as_ref().map_or(0, |pin| pin.checkpoint.size);
        self.note(note, least, now, out);
    }

    /// The size of a note that a pinned key signed.
    pub fn size_of(&self, note: &str) -> Option<u64> {
        self.open(note).ok().map(|signed| signed.checkpoint.size)
    }

    fn note(&mut self, note: &str, least: u64, now: Moment, out: &mut Vec<Wants>) {
        self.checkpoint_at = Some(now.wall_seconds);
        let signed = match self.open(note) {
            Ok(signed) => signed,
            Err(error) => {
                let breach = self.refuse(note, &error);
                if breach.kind == BreachKind::Key && self.asks_to_follow(note, least, out) {
                    return;
                }
                return self.raise(breach, now, out);
            }
        };
        let checkpoint = &signed.checkpoint;
        if let Some(pin) = &self.pin {
            if pin.checkpoint.origin != checkpoint.origin {
                let what = format!("the log was {} and calls itself {}", pin.checkpoint.origin, checkpoint.origin);
                let breach = self.two_notes(BreachKind::Origin, what, note);
                return self.raise(breach, now, out);
            }
            if checkpoint.size < least {
                let what =
                    format!("the log was cut back: it has {} entries and had {}", checkpoint.size, pin.checkpoint.size);
                self.stuck = true;
                let breach = self.two_notes(BreachKind::CutBack, what, note);
                return self.raise(breach, now, out);
            }
            if checkpoint.size == pin.checkpoint.size && checkpoint.root != pin.checkpoint.root {
                let what = format!("the log forked: two roots of {} entries, both signed", checkpoint.size);
                self.stuck = true;
                let breach = self.two_notes(BreachKind::Fork, what, note);
                return self.raise(breach, now, out);
            }
            if checkpoint.size < pin.checkpoint.size {
                // An answer that was overtaken by the stream.
                return;
            }
        }
        self.advance(signed, now, out);
    }

    /// Goes on to a signed checkpoint, as far as its entries have come.
    fn advance(&mut self, signed: Signed, now: Moment, out: &mut Vec<Wants>) {
        let size = signed.checkpoint.size;
        let Some(edge) = &self.edge else {
            if self.proving.is_none() && !self.stuck {
                let from = self.pin.as_ref().map(|pin| pin.checkpoint.size).filter(|from| *from > 0 && *from < size);
                out.push(Wants::Proof { size, from });
                self.proving = Some((signed, from));
            } else {
                self.ahead = Some(signed);
            }
            return;
        };
        let Some(more) = size.checked_sub(edge.size()) else { return };
        let have = usize::try_from(more).ok().filter(|more| *more <= self.pending.len());
        let Some(more) = have else {
            self.ahead = Some(signed);
            return;
        };
        let mut grown = edge.clone();
        for hash in self.pending.iter().take(more) {
            grown.append(*hash, |_, _, _| {});
        }
        if grown.root() != signed.checkpoint.root {
            return self.not_in_tree(&signed, more, now, out);
        }
        self.edge = Some(grown);
        self.pending.drain(..more);
        self.pending_first = size;
        self.pending_since = (!self.pending.is_empty()).then_some(now.ms);
        self.verified += more as u64;
        self.settled(signed, now, out);
    }

    /// A checkpoint verified: the pin moves.
    fn settled(&mut self, signed: Signed, now: Moment, out: &mut Vec<Wants>) {
        let size = signed.checkpoint.size;
        for (index, key) in std::mem::take(&mut self.rotations) {
            if index >= size {
                self.rotations.push((index, key));
            } else if let Some(told) = self.accept_key(key, index) {
                out.push(Wants::Followed(told));
            }
        }
        self.look_for_successors(&signed.note, out);
        self.more_to_witness(now);
        if self.quorum > 0 && signed.witnesses.len() >= self.quorum {
            self.witnessing.size = Some(size);
        }
        let moved = self.pin.as_ref().is_none_or(|pin| pin.note != signed.note);
        self.pin = Some(signed);
        (self.pin_at, self.pin_seen_at) = (now, now.wall_seconds);
        if self.unchecked.is_empty() {
            out.push(Wants::Verified(size));
        }
        if moved {
            out.push(Wants::Save);
        }
        if let Some(ahead) = self.ahead.take()
            && ahead.checkpoint.size > size
        {
            self.advance(ahead, now, out);
        }
    }

    /// The root over the leaves that came is not the one that was signed.
    fn not_in_tree(&mut self, signed: &Signed, more: usize, now: Moment, out: &mut Vec<Wants>) {
        let first = self.pending_first;
        let size = signed.checkpoint.size;
        let hashes: Vec<Hash> = self.pending.iter().take(more).copied().collect();
        let what = if more == 0 {
            format!("the log forked: two roots of {size} entries, both signed")
        } else {
            format!("of the entries {first} to {} not all are the ones the log committed to", size - 1)
        };
        let mut breach = self.two_notes(BreachKind::Entry, what, &signed.note);
        breach.index = Some(first);
        breach.evidence["received"] = json!(hashes.iter().map(ToString::to_string).take(4_096).collect::<Vec<_>>());
        breach.evidence["received_first"] = json!(first);
        self.edge = None;
        self.pending.drain(..more);
        self.pending_first = size;
        self.suspect = Some(Suspect { note: signed.note.clone(), first, hashes, size });
        self.raise(breach, now, out);
        // Which entry it is, the tiles of the signed tree tell.
        let numbers = first / 256..=size.saturating_sub(1) / 256;
        let tiles: Vec<TilePath> = numbers.take(4).filter_map(|number| tiles::path_at(0, number, size)).collect();
        if !tiles.is_empty() {
            out.push(Wants::Tiles(tiles));
        }
    }

    /// Tiles that tell which entry is not the one that was committed to.
    fn locate(&mut self, got: &[(TilePath, Vec<u8>)], now: Moment, out: &mut Vec<Wants>) {
        let Some(suspect) = &self.suspect else { return };
        for (path, octets) in got.iter().filter(|(path, _)| path.level() == 0) {
            let (hashes, _rest) = octets.as_chunks::<32>();
            for (index, expected) in (path.number() * 256..).zip(hashes) {
                let Some(at) = index.checked_sub(suspect.first).and_then(|at| usize::try_from(at).ok()) else {
                    continue;
                };
                let Some(received) = suspect.hashes.get(at).filter(|received| received.as_bytes() != expected) else {
                    continue;
                };
                let mut breach =
                    Breach::new(BreachKind::Entry, format!("entry {index} is not the one the log committed to"));
                breach.index = Some(index);
                breach.facts = vec![
                    (
                        "expected leaf".to_owned(),
                        format!("{}   from {path}, under checkpoint {}", Hash(*expected), suspect.size),
                    ),
                    ("received".to_owned(), format!("{received}   in the stream")),
                ];
                breach.evidence = json!({
                    "tile": path.to_string(), "expected": Hash(*expected).to_string(), "received": received.to_string(),
                    "size": suspect.size, "shown": suspect.note, "tile_octets": hex(octets), "pin": self.pin.as_ref().map(|pin| pin.note.clone()),
                });
                self.suspect = None;
                if let Some(alarm) = &mut self.alarm
                    && alarm.kind == BreachKind::Entry
                {
                    alarm.what.clone_from(&breach.what);
                    alarm.index = breach.index;
                    alarm.facts.clone_from(&breach.facts);
                    out.extend([Wants::Save, Wants::Broken(Box::new(breach))]);
                } else {
                    self.raise(breach, now, out);
                }
                return;
            }
        }
        self.suspect = None;
    }

    /// Words and evidence for a note that no pinned key signed well.
    fn refuse(&self, note: &str, error: &NoteError) -> Breach {
        let origin = self.keys.first().map(|key| key.name().to_owned()).unwrap_or_default();
        let said = note.lines().next().unwrap_or_default();
        let known: Vec<String> = self.keys.iter().map(|key| format!("{}+{}", key.name(), key.id())).collect();
        let signers: Vec<String> = Note::parse(note.as_bytes())
            .map(|note| note.signers().into_iter().map(|(name, id)| format!("{name}+{id}")).collect())
            .unwrap_or_default();
        let (kind, what) = match error {
            NoteError::NoKnownKey | NoteError::NoLogSignature { .. } if said != origin => {
                (BreachKind::Origin, format!("the log is {origin}, and a checkpoint calls itself {said:?}"))
            }
            NoteError::NoKnownKey | NoteError::NoLogSignature { .. } => {
                (BreachKind::Key, format!("a checkpoint of {origin} is signed by another key"))
            }
            other => (BreachKind::Signature, format!("a checkpoint is not accepted: {other}")),
        };
        let mut breach = Breach::new(kind, what);
        breach.facts = vec![
            ("known key".to_owned(), known.join(", ")),
            ("signed by".to_owned(), if signers.is_empty() { "nobody".to_owned() } else { signers.join(", ") }),
        ];
        let cut = note.floor_char_boundary(UNSIGNED_OCTETS_MAX);
        breach.evidence = json!({ "shown": &note[..cut], "pin": self.pin.as_ref().map(|pin| pin.note.clone()) });
        breach
    }

    /// A breach that two signed notes prove.
    fn two_notes(&self, kind: BreachKind, what: String, note: &str) -> Breach {
        let mut breach = Breach::new(kind, what);
        let root = |note: &str| note.lines().nth(2).unwrap_or_default().to_owned();
        if let Some(pin) = &self.pin {
            breach.facts.push(("pinned root".to_owned(), format!("{} at {}", root(&pin.note), pin.checkpoint.size)));
        }
        breach
            .facts
            .push(("shown root".to_owned(), format!("{} at {}", root(note), note.lines().nth(1).unwrap_or_default())));
        breach.evidence = json!({ "shown": note, "pin": self.pin.as_ref().map(|pin| pin.note.clone()) });
        breach
    }

    /// A check failed.
    pub fn raise(&mut self, breach: Breach, now: Moment, out: &mut Vec<Wants>) {
        if self.alarm.is_some() {
            self.further += 1;
            return;
        }
        let last_good = self.pin.as_ref().map(|pin| (pin.checkpoint.size, pin.checkpoint.root.to_string()));
        self.alarm = Some(Alarm {
            kind: breach.kind,
            what: breach.what.clone(),
            facts: breach.facts.clone(),
            index: breach.index,
            at: now.wall_seconds,
            evidence: None,
            last_good,
            last_good_at: self.pin_seen_at,
        });
        out.extend([Wants::Broken(Box::new(breach)), Wants::Save]);
    }

    // ---- proofs -----------------------------------------------------------------------------------------------------

    /// The proof for the checkpoint that is being proved: the tiles of its right edge, and the growth from the pin.
    pub fn proof(
        &mut self,
        size: u64,
        growth: Option<&[Hash]>,
        got: &[(TilePath, Vec<u8>)],
        now: Moment,
        out: &mut Vec<Wants>,
    ) {
        let Some((signed, from)) = self.proving.take_if(|(signed, _)| signed.checkpoint.size == size) else {
            // The edge at the pin, asked for to verify what has scrolled out of the ring.
            if let Some(pin) = self.pin.clone().filter(|pin| pin.checkpoint.size == size) {
                match Anchor::new(size, &pin.checkpoint.root, got) {
                    Ok(anchor) => {
                        self.tiles.set_anchor(anchor);
                        self.check(now, out);
                    }
                    Err(why) => {
                        let breach = self.bad_tile(&why, got);
                        self.raise(breach, now, out);
                    }
                }
            }
            return;
        };
        let checkpoint = &signed.checkpoint;
        if let Some(pin) = self.pin.clone().filter(|_| from.is_some()) {
            let known = &pin.checkpoint;
            let grows = verify_consistency(known.size, &known.root, size, &checkpoint.root, growth.unwrap_or_default());
            if let Err(error) = grows {
                self.stuck = true;
                let kind =
                    if matches!(error, ProofError::Shrinks { .. }) { BreachKind::CutBack } else { BreachKind::Fork };
                let what = format!("the log of {size} entries is not shown to extend that of {}: {error}", known.size);
                let mut breach = self.two_notes(kind, what, &signed.note);
                let hashes = growth.unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
                breach.evidence["consistency"] = json!(hashes);
                return self.raise(breach, now, out);
            }
        }
        match Anchor::new(size, &checkpoint.root, got) {
            Ok(anchor) => {
                self.edge = Some(anchor.edge().clone());
                self.tiles.set_anchor(anchor);
            }
            Err(why) => {
                let breach = self.bad_tile(&why, got);
                return self.raise(breach, now, out);
            }
        }
        // What came while the proof was on its way.
        let covered = usize::try_from(size.saturating_sub(self.pending_first)).unwrap_or(usize::MAX);
        if self.pending_first > size {
            // Entries in between were withheld: the next checkpoint is proved anew.
            self.edge = None;
        } else {
            // No edge was there to grow over them: the tiles of the tree that was proved have the word.
            let came = self.pending.drain(..covered.min(self.pending.len()));
            self.unchecked.extend((self.pending_first..).zip(came));
            self.pending_first = size;
            self.pending_since = (!self.pending.is_empty()).then_some(now.ms);
        }
        self.settled(signed, now, out);
        self.check(now, out);
    }

    /// The daemon says that it has no such proof, though it signed a tree of that size.
    pub fn proof_refused(&mut self, size: u64, why: &str, now: Moment, out: &mut Vec<Wants>) {
        let Some((signed, _)) = self.proving.take_if(|(signed, _)| signed.checkpoint.size == size) else { return };
        self.stuck = true;
        let what = format!("the log of {size} entries does not show that it extends what it was: {why}");
        let breach = self.two_notes(BreachKind::Withheld, what, &signed.note);
        self.raise(breach, now, out);
    }

    /// The proof that is waited for, to be asked for again after the network failed.
    pub fn proving(&self) -> Option<Wants> {
        self.proving.as_ref().map(|(signed, from)| Wants::Proof { size: signed.checkpoint.size, from: *from })
    }

    fn bad_tile(&self, why: &str, got: &[(TilePath, Vec<u8>)]) -> Breach {
        let mut breach = Breach::new(BreachKind::Tile, why.to_owned());
        let tiles = got.iter().map(|(path, octets)| json!({ "tile": path.to_string(), "octets": hex(octets) }));
        breach.evidence = json!({
            "tiles": tiles.collect::<Vec<_>>(), "pin": self.pin.as_ref().map(|pin| pin.note.clone()),
            "proving": self.proving.as_ref().map(|(signed, _)| signed.note.clone()),
        });
        breach
    }

    // ---- entries ----------------------------------------------------------------------------------------------------

    /// The next entry of the tail.
    pub fn entry(&mut self, entry: &Held, now: Moment, out: &mut Vec<Wants>) {
        self.last_entry_ms = Some(now.ms);
        let expected = self.pending_first + self.pending.len() as u64;
        if entry.index != expected || self.pending.len() == PENDING_MAX {
            // Behind what was withheld, or more than is held: the tree is proved anew at the next checkpoint.
            if entry.index != expected && !(self.edge.is_none() && self.pending.is_empty()) {
                self.edge = None;
            }
            if self.pending.len() == PENDING_MAX {
                self.edge = None;
                out.push(Wants::Checkpoint);
            }
            self.pending.clear();
            self.pending_first = entry.index;
        }
        self.pending.push_back(entry.hash);
        self.pending_since.get_or_insert(now.ms);
        if let Some(hash) = self.receipts.remove(&entry.index)
            && hash != entry.hash
        {
            let mut breach = Breach::new(
                BreachKind::Receipt,
                format!("entry {} is not the one that its receipt was given for", entry.index),
            );
            breach.index = Some(entry.index);
            breach.facts =
                vec![("receipt".to_owned(), hash.to_string()), ("received".to_owned(), entry.hash.to_string())];
            breach.evidence =
                json!({ "receipt": hash.to_string(), "received": entry.hash.to_string(), "leaf": hex(&entry.leaf) });
            self.raise(breach, now, out);
        }
        if entry.rotates
            && let Some(key) = rotation::named(entry.index, &entry.leaf)
            && self.keys.first().is_some_and(|known| known.name() == key.name())
        {
            self.rotations.push((entry.index, key));
        }
        if let Some(ahead) = self.ahead.take_if(|ahead| ahead.checkpoint.size == entry.index + 1) {
            self.advance(ahead, now, out);
        }
    }

    /// A receipt that came with the answer to a change: verified at once; the stream must bring the same leaf.
    ///
    /// # Errors
    /// Why it proves nothing; that is an alarm as well.
    pub fn receipt(
        &mut self,
        receipt: &Receipt,
        held: Option<Hash>,
        now: Moment,
        out: &mut Vec<Wants>,
    ) -> Result<u64, String> {
        if self.keys.is_empty() {
            return Err("no key of the log is known yet".to_owned());
        }
        let fail = |what: String, evidence: Value| {
            let mut breach = Breach::new(BreachKind::Receipt, what);
            breach.index = Some(receipt.index);
            breach.evidence = evidence;
            breach
        };
        let given = json!({ "receipt": receipt });
        match receipt.verify(&self.keys) {
            Ok(verified) => {
                if held.is_some_and(|held| held != verified.leaf_hash) {
                    let what = format!("entry {} is not the one that its receipt was given for", receipt.index);
                    self.raise(fail(what.clone(), given), now, out);
                    return Err(what);
                }
                if held.is_none() && receipt.index >= self.pending_first + self.pending.len() as u64 {
                    if self.receipts.len() == RECEIPTS_MAX {
                        self.receipts.pop_first();
                    }
                    self.receipts.insert(receipt.index, verified.leaf_hash);
                }
                Ok(receipt.index)
            }
            Err(error) => {
                let what = format!("the receipt for entry {} proves nothing: {error}", receipt.index);
                self.raise(fail(what.clone(), given), now, out);
                Err(what)
            }
        }
    }

    /// Ten seconds without a checkpoint: one is asked for.
    pub fn overdue(&self, now: Moment) -> bool {
        self.pending_since.is_some_and(|since| now.ms.saturating_sub(since) > ASK_MS)
    }

    // ---- what is read from the past ---------------------------------------------------------------------------------

    /// Whether the entry at an index has this leaf hash, by verified tiles.
    pub fn judge(&mut self, index: u64, hash: &Hash) -> Judged {
        if self.bad_tiles {
            return Judged::Unknown;
        }
        self.tiles.judge(index, hash, self.verified_size())
    }

    /// An entry that came again after it was let go.
    pub fn question(&mut self, entry: &Held, now: Moment, out: &mut Vec<Wants>) {
        if self.unchecked.len() < PENDING_MAX {
            self.unchecked.push_back((entry.index, entry.hash));
        }
        self.check(now, out);
    }

    /// Has verified tiles confirm what waits for it.
    fn check(&mut self, now: Moment, out: &mut Vec<Wants>) {
        let waiting = std::mem::take(&mut self.unchecked);
        if waiting.is_empty() || self.bad_tiles {
            return;
        }
        let mut needs: Vec<TilePath> = Vec::new();
        let mut beyond = None;
        for (index, hash) in waiting {
            match self.judge(index, &hash) {
                Judged::Verified => self.verified += 1,
                Judged::Wrong(expected) => self.wrong_entry(index, &hash, &expected, &[], now, out),
                Judged::Needs(paths) => {
                    needs.extend(paths);
                    self.unchecked.push_back((index, hash));
                }
                Judged::Beyond(size) => {
                    beyond = Some(size);
                    self.unchecked.push_back((index, hash));
                }
                Judged::Unknown => self.unchecked.push_back((index, hash)),
            }
        }
        needs.sort_by_key(|path| (path.level(), path.number()));
        needs.dedup();
        needs.truncate(TILES_AT_ONCE);
        if !needs.is_empty() {
            out.push(Wants::Tiles(needs));
        }
        if let Some(size) = beyond {
            out.push(Wants::Proof { size, from: None });
        }
        if self.unchecked.is_empty() {
            out.push(Wants::Verified(self.verified_size()));
        }
    }

    /// Tiles that were asked for.
    pub fn take_tiles(&mut self, got: &[(TilePath, Vec<u8>)], now: Moment, out: &mut Vec<Wants>) {
        self.locate(got, now, out);
        if let Err(why) = self.tiles.take(got) {
            let breach = self.bad_tile(&why, got);
            self.raise(breach, now, out);
            // What cannot be confirmed is not asked for again and again.
            self.bad_tiles = true;
            self.unchecked.clear();
            return;
        }
        self.check(now, out);
    }

    /// An entry of the past is not the one in the tree.
    pub fn wrong_entry(
        &mut self,
        index: u64,
        received: &Hash,
        expected: &Hash,
        leaf: &[u8],
        now: Moment,
        out: &mut Vec<Wants>,
    ) {
        let mut breach = Breach::new(BreachKind::Entry, format!("entry {index} is not the one the log committed to"));
        breach.index = Some(index);
        let size = self.tiles.anchor_size();
        breach.facts = vec![
            ("expected leaf".to_owned(), format!("{expected}   from tile/0/{}, under checkpoint {size}", index / 256)),
            ("received".to_owned(), received.to_string()),
        ];
        breach.evidence = json!({
            "expected": expected.to_string(), "received": received.to_string(), "leaf": hex(leaf),
            "pin": self.pin.as_ref().map(|pin| pin.note.clone()),
        });
        self.raise(breach, now, out);
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests;
