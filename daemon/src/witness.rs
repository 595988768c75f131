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

use common::audit::{Checkpoint, Cosigner, Hash, Note, Verifier, empty_root, parse_hashes, verify_consistency};

use crate::clock;
use crate::witness::state::{Against, Kept, LogFile, StateDir, StateError};

/// Octets of the longest request that is read.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// The most lines a consistency proof may have (C2SP tlog-witness).
const PROOF_LINES_MAX: usize = 63;

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
    /// What was accepted last. Held while a checkpoint is judged, made durable and cosigned.
    kept: Mutex<Option<Kept>>,
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
            let kept = file.read(&keys)?;
            match &kept {
                Some(kept) => tracing::info!(origin, size = kept.checkpoint.size, "watching a log"),
                // Whoever takes the state away makes the witness forget; that it begins anew must be seen.
                None => tracing::warn!(origin, "nothing is known of this log: its first checkpoint is taken on trust"),
            }
            logs.insert(origin, Watched { keys, file, kept: Mutex::new(kept) });
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
            let kept = watched.lock();
            let recorded = kept.as_ref().map(|kept| (kept.checkpoint.size, kept.recorded_at_ms));
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
    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        // A panic between reading and replacing leaves what was there, which is what is durable.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log has signed the offer. From reading the state to the signature all is under the log's lock.
    fn judge(&self, offer: &Offer<'_>, cosigner: &Cosigner) -> Verdict {
        let mut kept = self.lock();
        let new = &offer.checkpoint;
        let (size, root) = kept.as_ref().map_or((0, empty_root()), |kept| (kept.checkpoint.size, kept.checkpoint.root));
        // Whatever it goes out from: two roots at one size, both signed by the log, are two histories.
        if let Some(kept) = kept.as_ref().filter(|_| new.size == size && new.root != root) {
            if let Some(evidence) = self.file.keep_evidence(Against::Fork, kept, offer.note_text) {
                tracing::error!(
                    origin = new.origin, size, cosigned_root = %root, offered_root = %new.root, evidence,
                    "FORK: the log signed two roots of one size; the second was not cosigned"
                );
            }
            return Verdict::Conflict(size);
        }
        if offer.old != size {
            return Verdict::Conflict(size);
        }
        if let Err(why) = verify_consistency(size, &root, new.size, &new.root, &offer.proof) {
            // The proof is not signed: a stranger may have spoilt it. The two notes tell, once one is proved or not.
            if let Some(kept) = kept.as_ref()
                && let Some(evidence) = self.file.keep_evidence(Against::Unproved, kept, offer.note_text)
            {
                tracing::error!(
                    origin = new.origin, cosigned_size = size, offered_size = new.size, %why, evidence,
                    "a checkpoint that the log signed was not proved to extend the last one; it was not cosigned. \
                     Unless the proof was spoilt on its way, the log was rewritten"
                );
            }
            return Verdict::Inconsistent;
        }
        let now_ms = clock::now_ms();
        if kept.as_ref().is_none_or(|kept| kept.checkpoint != *new) {
            // Crash before this is durable: nothing was signed. After it: the log is told 409 and goes on from there.
            if let Err(error) = self.file.write(offer.note_text) {
                tracing::error!(%error, origin = new.origin, "a checkpoint can't be recorded, so it was not cosigned");
                return Verdict::NotRecorded;
            }
            *kept = Some(Kept { note: offer.note_text.to_owned(), checkpoint: new.clone(), recorded_at_ms: now_ms });
        }
        let unix_s = u64::try_from(now_ms / clock::SECOND_MS).unwrap_or(0);
        Verdict::Cosigned(cosigner.cosign(offer.note.text(), unix_s))
    }
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
        let old = old.strip_prefix("old ").and_then(plain_decimal).ok_or("the first line is not `old` and a size")?;
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

/// A decimal number without a sign and without leading zeros.
pub(crate) fn plain_decimal(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|octet| octet.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
