//! Asking witnesses to cosign the log's checkpoints (audit-log.md §9, mode `background`).
//!
//! A task of its own, beside the faces: it takes the newest published checkpoint, at most every [`ROUND_EVERY`], asks each
//! witness that has not cosigned it, and keeps the note once its cosignatures are a quorum, in
//! `<data>/log/checkpoint.witnessed`. Nothing waits for it: commits and answers know nothing of witnesses.
//!
//! A witness that was asked before knows what the log was then. Where it says that this log does not extend that, either
//! the log was rolled back or rewritten, or the witness is at fault; a person must look. It is logged as ERROR and shown in
//! `/status` and `/metrics` until the witness cosigns again. That is a claim without a signature, which anyone on the way
//! can make, so readiness does not hang on it; on the kept note of an earlier run, which was signed, it does.
//!
//! Refuses to know the store; reads of the log go through the registry. How an exchange looks on the wire is `ask`'s.

pub mod ask;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::audit::{Checkpoint, Hash, NOTE_LEN_MAX, UnmetPolicy, Verifier, Witnessed, verify_consistency};
use common::tls::{Connector, Trust, TrustError};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::witness::{Address, Witnesses};
use crate::cosigning::ask::{Asked, Cosigned};
use crate::registry::Registry;
use crate::registry::access::{Actor, Caller};
use crate::registry::error::RegistryError;
use crate::store::PublishedCheckpoint;
use crate::{clock, durable, error_chain};

/// The least time between two rounds.
pub const ROUND_EVERY: Duration = Duration::from_secs(2);
/// A witness that failed is asked again after about so long, doubled with each failure …
pub const RETRY_FIRST: Duration = Duration::from_secs(2);
/// … up to this.
pub const RETRY_MAX: Duration = Duration::from_secs(300);
/// Below the data directory.
const NOTE_FILE: &str = "log/checkpoint.witnessed";

/// Why witnesses can't be asked.
#[derive(Debug, Error)]
pub enum CosigningError {
    /// The policy is for other logs, or for keys that this one has left behind.
    #[error(
        "the policy lists logs, and none of them by a key that this log signs with; add the line `log {vkey}`, or remove \
         all log lines. After a change of the log's key the old line is of no use, and each witness needs the new key too"
    )]
    OtherLogs {
        /// The log's key.
        vkey: String,
    },
    /// There is nobody to trust about the witnesses in TLS.
    #[error("witnesses at https:// can't be asked")]
    Trust(#[from] TrustError),
}

/// What there is to say, for whoever asks at any time.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The newest note that meets the policy.
    pub witnessed: Option<Arc<WitnessedNote>>,
    /// The witnesses, in the order of the policy.
    pub witnesses: Vec<WitnessState>,
    /// What the file of the last run says against the log, if anything. While it does it is left as it is: it is evidence.
    pub file_contradicts: Option<String>,
    /// Why the newest checkpoint does not meet the policy although all that were due have been asked.
    pub unmet: Option<String>,
    /// Exchanges that failed.
    pub failures: u64,
}

/// A checkpoint that meets the policy.
#[derive(Debug, PartialEq, Eq)]
pub struct WitnessedNote {
    /// The note, with the cosignatures.
    pub note: String,
    /// Entries it covers.
    pub size: u64,
    /// The earliest time the cosignatures state, seconds since the epoch; without any, when it was put together.
    pub at_s: u64,
}

/// What is known of a witness.
#[derive(Debug, Clone, Default)]
pub struct WitnessState {
    /// Its name in the policy.
    pub name: String,
    /// Size of the last checkpoint it cosigned, as far as it is known.
    pub size: Option<u64>,
    /// When it last cosigned, seconds since the epoch, as it says.
    pub cosigned_at_s: Option<u64>,
    /// Why the last exchange failed.
    pub error: Option<String>,
    /// Whether that speaks against the log.
    pub contradicts: bool,
}

impl State {
    /// All that speaks against the log, each a sentence.
    pub fn contradictions(&self) -> Vec<String> {
        let of_witness = |witness: &WitnessState| {
            let error = witness.error.as_ref().filter(|_| witness.contradicts)?;
            Some(format!("witness {}: {error}", witness.name))
        };
        self.file_contradicts.iter().cloned().chain(self.witnesses.iter().filter_map(of_witness)).collect()
    }
}

/// The task, ready to run.
pub struct Cosigning {
    registry: Arc<Registry>,
    caller: Caller,
    witnesses: Witnesses,
    /// The keys that sign now, the newest first. Each round begins with reading them: they change while this runs.
    log_keys: Vec<Verifier>,
    file: PathBuf,
    state: watch::Sender<State>,
    peers: Vec<Peer>,
    /// The way to those in TLS, where there are any.
    tls: Option<Connector>,
    /// Cosignature lines of `lines_of`, by index into the policy's witnesses.
    lines: BTreeMap<usize, String>,
    lines_of: Option<Arc<PublishedCheckpoint>>,
    /// The file could not be written the last time, which is told once.
    file_fails: bool,
}

/// What is to be known of a witness between rounds.
struct Peer {
    address: Address,
    key: Verifier,
    /// Size to ask from: of the last checkpoint it cosigned, else 0.
    old: u64,
    failures_in_a_row: u32,
    not_before: Option<Instant>,
}

impl Cosigning {
    /// Makes the task, and reads what the last run had kept.
    ///
    /// # Errors
    /// [`CosigningError`]: the policy is not one for this log.
    pub async fn open(registry: Arc<Registry>, witnesses: Witnesses, data_dir: &Path) -> Result<Self, CosigningError> {
        let caller = Caller { actor: Actor::system(), request: None };
        let log_keys = keys_of(&registry);
        let logs = witnesses.policy.logs();
        if !logs.is_empty() && !logs.iter().any(|log| log_keys.contains(&log.key)) {
            return Err(CosigningError::OtherLogs { vkey: registry.identity().vkey });
        }
        let known = witnesses.policy.witnesses();
        let peers = witnesses.reached.iter().filter_map(|address| {
            let key = known.get(address.witness)?.key.clone();
            Some(Peer { address: address.clone(), key, old: 0, failures_in_a_row: 0, not_before: None })
        });
        let states = witnesses.reached.iter().map(|address| WitnessState {
            name: known.get(address.witness).map(|witness| witness.name().into_owned()).unwrap_or_default(),
            ..WitnessState::default()
        });
        let state = State { witnesses: states.collect(), ..State::default() };
        let tls = if witnesses.reached.iter().any(|address| address.is_tls) {
            Some(Connector::new(&Trust { ca_file: witnesses.ca_file.clone(), pin: None })?)
        } else {
            None
        };
        let mut this = Self {
            peers: peers.collect(),
            tls,
            state: watch::Sender::new(state),
            file: data_dir.join(NOTE_FILE),
            registry,
            caller,
            witnesses,
            log_keys,
            lines: BTreeMap::new(),
            lines_of: None,
            file_fails: false,
        };
        this.warn_of_unlisted_key();
        this.take_up().await;
        Ok(this)
    }

    /// What there is to say; changes are told.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Reads the log's keys anew.
    fn follow_keys(&mut self) {
        let log_keys = keys_of(&self.registry);
        if log_keys != self.log_keys {
            self.log_keys = log_keys;
            self.warn_of_unlisted_key();
        }
    }

    /// While one key follows another, and the policy lists the old one only, there is still time to put it right.
    fn warn_of_unlisted_key(&self) {
        let logs = self.witnesses.policy.logs();
        if let [new, _leaving, ..] = self.log_keys.as_slice()
            && !logs.is_empty()
            && !logs.iter().any(|log| log.key == *new)
        {
            tracing::warn!(
                key = %new,
                "the log lines of the policy lack the log's new key; add `log` and this key, and start again, before the \
                 old key signs no more, for nothing is witnessed after that"
            );
        }
    }

    /// Reads the note of the last run. It must meet the policy of today, and the log must extend it.
    async fn take_up(&mut self) {
        let note = match read(&self.file) {
            Ok(Some(note)) => note,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, file = %self.file.display(), "the witnessed checkpoint can't be read");
                return;
            }
        };
        let witnessed = match self.witnesses.policy.satisfied_by(note.as_bytes(), &self.log_keys) {
            Ok(witnessed) => witnessed,
            Err(unmet) => {
                tracing::warn!(
                    cause = error_chain(&unmet), file = %self.file.display(),
                    "the witnessed checkpoint of an earlier run does not meet the policy of now; it is not used"
                );
                return;
            }
        };
        let checkpoint = &witnessed.signed.checkpoint;
        if let Err(why) = self.extends(checkpoint).await {
            tracing::error!(
                size = checkpoint.size, %why, file = %self.file.display(),
                "CONTRADICTION: witnesses cosigned a checkpoint that this log does not extend; it was rolled back or \
                 rewritten"
            );
            let told = format!(
                "the witnessed checkpoint of {} entries in {NOTE_FILE}, kept from an earlier run, is not of this log; \
                 nothing newer is kept until it has been moved away",
                checkpoint.size
            );
            self.state.send_modify(|state| state.file_contradicts = Some(told));
            return;
        }
        for peer in &mut self.peers {
            if witnessed.cosigned.iter().any(|(index, _)| *index == peer.address.witness) {
                peer.old = checkpoint.size;
            }
        }
        self.show(note, &witnessed);
    }

    /// Whether the published log begins with this checkpoint's.
    async fn extends(&self, old: &Checkpoint) -> Result<(), String> {
        let new = Arc::clone(&self.registry.checkpoints().borrow());
        let proof = if old.size == 0 || old.size > new.size {
            Vec::new()
        } else {
            self.growth(old.size, new.size).await.map_err(|error| error_chain(&error))?
        };
        verify_consistency(old.size, &old.root, new.size, &new.root, &proof).map_err(|error| error.to_string())
    }

    async fn growth(&self, old: u64, new: u64) -> Result<Vec<Hash>, RegistryError> {
        self.registry.log_consistency(&self.caller, old, new).await
    }

    /// Asks for ever; ends when the registry does. May be dropped at any time.
    pub async fn run(mut self) {
        let mut checkpoints = self.registry.checkpoints();
        loop {
            let newest = Arc::clone(&checkpoints.borrow_and_update());
            if newest.size > 0 {
                self.round(newest).await;
            }
            tokio::time::sleep(ROUND_EVERY).await;
            // A new checkpoint, or the time of somebody who has not cosigned this one.
            let due = self.peers.iter().filter(|peer| !self.lines.contains_key(&peer.address.witness));
            let due = due.filter_map(|peer| peer.not_before).min();
            // Or whether what speaks against the log has been moved away.
            let due = if self.state.borrow().file_contradicts.is_some() { Some(Instant::now()) } else { due };
            let waited = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = checkpoints.changed() => if changed.is_err() { return },
                () = waited => {}
            }
        }
    }

    /// Asks each witness that is due and has not cosigned this checkpoint.
    async fn round(&mut self, checkpoint: Arc<PublishedCheckpoint>) {
        self.follow_keys();
        let is_free = self.look_for_moved_file();
        if self.lines_of.as_ref() == Some(&checkpoint) {
            if is_free {
                self.keep(&checkpoint).await;
            }
        } else {
            self.lines.clear();
            self.lines_of = Some(Arc::clone(&checkpoint));
            if self.witnesses.policy.asks_nobody() {
                self.keep(&checkpoint).await;
            }
        }
        let now = Instant::now();
        let mut asking = FuturesUnordered::new();
        for (number, peer) in self.peers.iter().enumerate() {
            let is_due = peer.not_before.is_none_or(|at| at <= now);
            if is_due && !self.lines.contains_key(&peer.address.witness) {
                let (registry, caller, checkpoint) = (Arc::clone(&self.registry), &self.caller, &checkpoint);
                let (address, key, old) = (peer.address.clone(), peer.key.clone(), peer.old);
                let caller = caller.clone();
                let checkpoint = Arc::clone(checkpoint);
                let tls = self.tls.clone().filter(|_| address.is_tls);
                asking.push(async move {
                    let witness = ask::Witness { address: &address, key: &key, tls: tls.as_ref() };
                    (number, ask::cosign(&registry, &caller, &witness, &checkpoint, old).await)
                });
            }
        }
        while let Some((number, asked)) = asking.next().await {
            if self.heard(number, asked) {
                self.keep(&checkpoint).await;
            }
        }
        self.tell_unmet(&checkpoint);
    }

    /// True where the file that spoke against the log has just been found gone.
    fn look_for_moved_file(&self) -> bool {
        let is_gone = || matches!(self.file.try_exists(), Ok(false));
        if self.state.borrow().file_contradicts.is_none() || !is_gone() {
            return false;
        }
        tracing::warn!(
            file = %self.file.display(),
            "the witnessed checkpoint that spoke against this log was moved away; newer ones are kept again"
        );
        self.state.send_modify(|state| state.file_contradicts = None);
        true
    }

    /// Shows, at the end of a round, what the checkpoint lacks. Who did not cosign has been told already; that the policy
    /// does not know the log any more is told here, once.
    fn tell_unmet(&self, checkpoint: &PublishedCheckpoint) {
        let unmet = self.witnesses.policy.satisfied_by(self.note(checkpoint).as_bytes(), &self.log_keys).err();
        let told = unmet.as_ref().map(|unmet| error_chain(unmet));
        if self.state.borrow().unmet == told {
            return;
        }
        if let (Some(UnmetPolicy::Note(_)), Some(cause)) = (&unmet, &told) {
            tracing::error!(
                cause,
                key = self.registry.identity().vkey,
                "this log's checkpoints do not meet the policy, so nothing newer is witnessed; where it has log lines, \
                 one must have the log's key: correct the policy and start again"
            );
        }
        self.state.send_modify(|state| state.unmet = told);
    }

    /// The checkpoint with the cosignatures so far.
    fn note(&self, checkpoint: &PublishedCheckpoint) -> String {
        std::iter::once(checkpoint.note.as_str()).chain(self.lines.values().map(String::as_str)).collect()
    }

    /// Notes what became of an exchange. True where there is a new cosignature.
    fn heard(&mut self, number: usize, asked: Asked) -> bool {
        let Some(peer) = self.peers.get_mut(number) else { return false };
        let (error, contradicts, is_new) = match asked.result {
            Ok(Cosigned { line, at_s }) => {
                peer.failures_in_a_row = 0;
                peer.not_before = None;
                self.lines.insert(peer.address.witness, line);
                self.state.send_modify(|state| {
                    if let Some(known) = state.witnesses.get_mut(number) {
                        known.cosigned_at_s = Some(at_s);
                    }
                });
                (None, false, true)
            }
            Err(trouble) => {
                peer.failures_in_a_row = peer.failures_in_a_row.saturating_add(1);
                peer.not_before = Some(Instant::now() + pause(peer.failures_in_a_row));
                let contradicts = trouble.contradicts();
                (Some(trouble.to_string()), contradicts, false)
            }
        };
        // What a witness says that contradicts us is no size to go on from.
        if let Some(size) = asked.size.filter(|_| !contradicts) {
            peer.old = size;
        }
        self.state.send_modify(|state| {
            state.failures += u64::from(error.is_some());
            let Some(known) = state.witnesses.get_mut(number) else { return };
            if asked.size.is_some() {
                known.size = asked.size;
            }
            let witness = &known.name;
            match (&error, &known.error) {
                (Some(error), before) if before.as_ref() != Some(error) && contradicts => tracing::error!(
                    witness,
                    error,
                    "CONTRADICTION: a witness knows another history of this log; it was rolled back or rewritten, or \
                     the witness is at fault"
                ),
                (Some(error), before) if before.as_ref() != Some(error) => {
                    tracing::warn!(witness, error, "a witness did not cosign; it is asked again");
                }
                (None, Some(_before)) => tracing::info!(witness, "a witness cosigns again"),
                _ => {}
            }
            known.error = error;
            known.contradicts = contradicts;
        });
        is_new
    }

    /// Keeps the checkpoint with the cosignatures so far, if they are a quorum.
    async fn keep(&mut self, checkpoint: &PublishedCheckpoint) {
        if self.state.borrow().file_contradicts.is_some() {
            return;
        }
        let note = self.note(checkpoint);
        let Ok(witnessed) = self.witnesses.policy.satisfied_by(note.as_bytes(), &self.log_keys) else { return };
        let (file, octets) = (self.file.clone(), note.clone().into_bytes());
        let written =
            tokio::task::spawn_blocking(move || durable::write_file(&file, &octets, durable::MODE_FILE)).await;
        match written.map_err(io::Error::other).flatten() {
            Ok(()) => {
                self.file_fails = false;
                self.show(note, &witnessed);
            }
            Err(error) => {
                // What would not survive a restart is not shown: nobody should be able to see it go back.
                if !std::mem::replace(&mut self.file_fails, true) {
                    tracing::error!(%error, file = %self.file.display(), "a witnessed checkpoint can't be kept");
                }
            }
        }
    }

    fn show(&self, note: String, witnessed: &Witnessed) {
        let now_s = u64::try_from(clock::now_ms() / clock::SECOND_MS).unwrap_or(0);
        let at_s = witnessed.cosigned.iter().map(|(_, at_s)| *at_s).min().unwrap_or(now_s);
        let shown = Arc::new(WitnessedNote { note, size: witnessed.signed.checkpoint.size, at_s });
        self.state.send_modify(|state| state.witnessed = Some(shown));
    }
}

/// The keys that the log signs with now, the newest first, and with it the one that is leaving.
fn keys_of(registry: &Registry) -> Vec<Verifier> {
    registry.identity().vkeys.iter().filter_map(|vkey| vkey.parse().ok()).collect()
}

/// The note in a file; none if there is none.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(NOTE_LEN_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// How long a witness that failed so often is left alone: doubled each time, and between half and all of it, so that the
/// registries of one witness do not come back together.
fn pause(failures_in_a_row: u32) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << failures_in_a_row.saturating_sub(1).min(16));
    let most = doubled.min(RETRY_MAX);
    let mut random = [0; 2];
    // Without randomness everyone waits the longest.
    let share = if getrandom::fill(&mut random).is_ok() { u32::from(u16::from_be_bytes(random)) } else { 0xffff };
    most / 2 + (most / 2).mul_f64(f64::from(share) / 65536.0)
}

#[cfg(test)]
mod tests {
    use super::{RETRY_FIRST, RETRY_MAX, pause};

    /// It grows to its bound, never beyond, and never below half.
    #[test]
    fn pauses() {
        for (failures, most) in
            [(1, RETRY_FIRST), (2, 2 * RETRY_FIRST), (8, 128 * RETRY_FIRST), (9, RETRY_MAX), (u32::MAX, RETRY_MAX)]
        {
            for _ in 0..100 {
                let pause = pause(failures);
                assert!(pause >= most / 2 && pause <= most, "{failures}: {pause:?}");
            }
        }
        assert!((0..100).any(|_| pause(5) != pause(5)), "it is random");
    }
}
