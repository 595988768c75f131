//! The witness: cosigns the checkpoints of other people's logs, so that none of them can show two histories (C2SP
//! tlog-witness, audit-log.md §9).
//!
//! It is the same program on another host, under other administrators. It knows the keys of the logs it watches, the last
//! checkpoint of each that it accepted, and its own key. It refuses to know what the logs are about: it opens no registry
//! and reads none of a registry's settings.
//!
//! | module | what it does |
//! |---|---|
//! | `state` | the last accepted checkpoint of each log, on disk before anything is signed; evidence of forks |
//! | `server` | `POST /add-checkpoint`, `GET /` |
//!
//! Invariant: a cosignature leaves this process only after the checkpoint it is for is durable, and only for a checkpoint
//! that extends the one that was durable before. One lock per log spans reading the state, writing it and signing; it is
//! never held while the network is waited for.

pub mod server;
pub mod state;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::audit::{
    Checkpoint, Cosigner, Hash, Note, Verifier, empty_root, parse_decimal, parse_hashes, verify_consistency,
};

use crate::clock;
use crate::witness::state::{Against, Kept, LogFile, StateDir, StateError, with_cosignature};

/// Octets of the longest request that is read.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// The most lines a consistency proof may have (C2SP tlog-witness).
const PROOF_LINES_MAX: usize = 63;

/// How far the clock may be behind the last cosignature of a log, seconds. Until it has caught up the time of that one is
/// stated again; further behind, the clock is wrong, and nothing is signed.
const CLOCK_BEHIND_MAX_S: u64 = 600;

/// An alarm that says nothing new is repeated no sooner …
const ALARM_AGAIN: Duration = Duration::from_secs(60);
/// … and one that does, no sooner than this.
const ALARM_NEW: Duration = Duration::from_secs(1);

/// A witness with its state open.
pub struct Witness {
    cosigner: Cosigner,
    /// By origin. The set never changes while the witness runs.
    logs: BTreeMap<String, Watched>,
    /// Held for its lock.
    _dir: StateDir,
}

/// A log that is watched.
struct Watched {
    /// One, or several while the log rotates its key.
    keys: Vec<Verifier>,
    file: LogFile,
    /// Held while a checkpoint is judged, made durable and cosigned.
    memory: Mutex<Memory>,
}

/// What is known of a log.
struct Memory {
    /// What was accepted last.
    kept: Option<Kept>,
    /// When each kind of alarm was raised last.
    told: BTreeMap<&'static str, Instant>,
}

/// What became of a request (C2SP tlog-witness, add-checkpoint).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 200: the cosignature line.
    Cosigned(String),
    /// 400: what can't be understood.
    Malformed(&'static str),
    /// 403: no signature by a known key of the log.
    UnknownKey,
    /// 404: no such log here.
    UnknownLog,
    /// 409: the request goes out from another size than this, the last one cosigned; or it has another root at this size.
    Conflict(u64),
    /// 422: the proof does not lead from the last cosigned checkpoint to this one.
    Inconsistent,
    /// 503: the checkpoint could not be made durable, so nothing was signed.
    NotRecorded,
    /// 503: the witness's clock is wrong, so nothing was signed.
    ClockBehind,
}

/// What the status page says of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The log's name.
    pub origin: String,
    /// Size of the last cosigned checkpoint, and when it was recorded, in milliseconds since the epoch; none if there is
    /// none yet.
    pub recorded: Option<(u64, i64)>,
}

impl Witness {
    /// Opens the state for these logs, making the directory if it is not there. Keys of one name are keys of one log.
    ///
    /// # Errors
    /// [`StateError`]: another process has it, it belongs to another witness, or it is not what a witness left.
    pub fn open(dir: &std::path::Path, keys: Vec<Verifier>, cosigner: Cosigner) -> Result<Self, StateError> {
        let dir = StateDir::open(dir, cosigner.verifier())?;
        let mut by_origin: BTreeMap<String, Vec<Verifier>> = BTreeMap::new();
        for key in keys {
            by_origin.entry(key.name().to_owned()).or_default().push(key);
        }
        let mut logs = BTreeMap::new();
        for (origin, keys) in by_origin {
            let file = dir.log_file(&origin)?;
            let kept = file.read(&keys, cosigner.verifier())?;
            match &kept {
                Some(kept) => tracing::info!(origin, size = kept.checkpoint.size, "watching a log"),
                // Whoever takes the state away makes the witness forget; that it begins anew must be seen.
                None => tracing::warn!(origin, "nothing is known of this log: its first checkpoint is taken on trust"),
            }
            logs.insert(origin, Watched { keys, file, memory: Mutex::new(Memory { kept, told: BTreeMap::new() }) });
        }
        Ok(Self { cosigner, logs, _dir: dir })
    }

    /// The public half of the key it cosigns with.
    pub fn vkey(&self) -> &Verifier {
        self.cosigner.verifier()
    }

    /// The logs, in the order of their names.
    pub fn logs(&self) -> Vec<LogState> {
        let state = |(origin, watched): (&String, &Watched)| {
            let memory = watched.lock();
            let recorded = memory.kept.as_ref().map(|kept| (kept.checkpoint.size, kept.recorded_at_ms));
            LogState { origin: origin.clone(), recorded }
        };
        self.logs.iter().map(state).collect()
    }

    /// Judges the body of a request, and cosigns its checkpoint if it extends the last one. Blocks: it syncs a file.
    pub fn add_checkpoint(&self, body: &[u8]) -> Verdict {
        let offer = match Offer::parse(body) {
            Ok(offer) => offer,
            Err(why) => return Verdict::Malformed(why),
        };
        let Some(watched) = self.logs.get(&offer.checkpoint.origin) else { return Verdict::UnknownLog };
        match offer.note.verify(&watched.keys) {
            Ok(_signatures) => {}
            Err(_unsigned_or_forged) => return Verdict::UnknownKey,
        }
        if offer.old > offer.checkpoint.size {
            return Verdict::Malformed("the old size is larger than the checkpoint's");
        }
        watched.judge(&offer, &self.cosigner)
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A panic between reading and replacing leaves what was there, which is what is durable.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log has signed the offer. From reading the state to the signature all is under the log's lock.
    fn judge(&self, offer: &Offer<'_>, cosigner: &Cosigner) -> Verdict {
        let mut memory = self.lock();
        let Memory { kept, told } = &mut *memory;
        let new = &offer.checkpoint;
        let (size, root) = kept.as_ref().map_or((0, empty_root()), |kept| (kept.checkpoint.size, kept.checkpoint.root));
        // Whatever it goes out from: two roots at one size, both signed by the log, are two histories.
        if let Some(kept) = kept.as_ref().filter(|_| new.size == size && new.root != root) {
            let evidence = self.file.keep_evidence(Against::Fork, kept, offer.note_text);
            if is_due(told, "fork", evidence.is_new()) {
                tracing::error!(
                    origin = new.origin, size, cosigned_root = %root, offered_root = %new.root, %evidence,
                    "FORK: the log signed two roots of one size; the second was not cosigned"
                );
            }
            return Verdict::Conflict(size);
        }
        if offer.old != size {
            return Verdict::Conflict(size);
        }
        if let Err(why) = verify_consistency(size, &root, new.size, &new.root, &offer.proof) {
            // The proof is not signed: a stranger may have spoilt it. The two notes tell, once one is proved or not; where
            // they say the same there is nothing to prove.
            if let Some(kept) = kept.as_ref().filter(|_| new.size != size) {
                let evidence = self.file.keep_evidence(Against::Unproved, kept, offer.note_text);
                if is_due(told, "unproved", evidence.is_new()) {
                    tracing::error!(
                        origin = new.origin, cosigned_size = size, offered_size = new.size, %why, %evidence,
                        "a checkpoint that the log signed was not proved to extend the last one; it was not cosigned. \
                         Unless the proof was spoilt on its way, the log was rewritten"
                    );
                }
            }
            return Verdict::Inconsistent;
        }
        let now_ms = clock::now_ms();
        let last_s = kept.as_ref().map_or(0, |kept| kept.cosigned_at_s);
        let Some(at_s) = time_to_state(now_ms, last_s) else {
            if is_due(told, "clock", false) {
                tracing::error!(
                    origin = new.origin,
                    now = clock::rfc3339(now_ms),
                    last_cosigned_at_s = last_s,
                    "the clock is more than 10 minutes behind the last cosignature, so nothing is cosigned; set it right"
                );
            }
            return Verdict::ClockBehind;
        };
        let line = cosigner.cosign(offer.note.text(), at_s);
        if kept.as_ref().is_none_or(|kept| kept.checkpoint != *new || kept.cosigned_at_s < at_s) {
            let note = with_cosignature(offer.note_text, &self.keys, cosigner.verifier(), &line);
            // Crash before this is durable: nothing was signed. After it: the log is told 409 and goes on from there.
            if let Err(error) = self.file.write(&note) {
                tracing::error!(%error, origin = new.origin, "a checkpoint can't be recorded, so it was not cosigned");
                return Verdict::NotRecorded;
            }
            *kept = Some(Kept { note, checkpoint: new.clone(), cosigned_at_s: at_s, recorded_at_ms: now_ms });
        }
        Verdict::Cosigned(line)
    }
}

/// Whether an alarm is to be raised now; notes that it was.
fn is_due(told: &mut BTreeMap<&'static str, Instant>, what: &'static str, is_new: bool) -> bool {
    let pause = if is_new { ALARM_NEW } else { ALARM_AGAIN };
    let due = told.get(what).is_none_or(|at| at.elapsed() >= pause);
    if due {
        told.insert(what, Instant::now());
    }
    due
}

/// The time that a cosignature states, seconds since the epoch: never before the last one's. None where the clock is wrong.
fn time_to_state(now_ms: i64, last_s: u64) -> Option<u64> {
    let now_s = u64::try_from(now_ms.div_euclid(clock::SECOND_MS)).ok()?;
    (now_s.saturating_add(CLOCK_BEHIND_MAX_S) >= last_s).then_some(now_s.max(last_s))
}

/// A request taken apart. Nothing in it is verified.
struct Offer<'a> {
    old: u64,
    proof: Vec<Hash>,
    note_text: &'a str,
    note: Note<'a>,
    checkpoint: Checkpoint,
}

impl<'a> Offer<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(body).ok().ok_or("the body is not UTF-8")?;
        let (head, note_text) = text.split_once("\n\n").ok_or("the body has no empty line before the checkpoint")?;
        let (old, proof) = head.split_once('\n').unwrap_or((head, ""));
        let old = old.strip_prefix("old ").and_then(parse_decimal).ok_or("the first line is not `old` and a size")?;
        let proof = match proof {
            "" => Vec::new(),
            lines => parse_hashes(&format!("{lines}\n"))
                .ok()
                .ok_or("a line of the proof is not a hash, or there are over 64")?,
        };
        if proof.len() > PROOF_LINES_MAX {
            return Err("the proof has more than 63 lines");
        }
        let note = Note::parse(note_text.as_bytes()).ok().ok_or("the checkpoint is not a signed note")?;
        let checkpoint = Checkpoint::parse(note.text()).ok().ok_or("the note is not a checkpoint of three lines")?;
        Ok(Self { old, proof, note_text, note, checkpoint })
    }
}

#[cfg(test)]
mod tests;
