//! Witnesses: that enough of them cosigned the history which is seen here. Their note lags behind the log's own, so it is
//! asked for beside the stream, and held against what was verified: it must be a part of the same history.

use common::audit::{Hash, verify_consistency};

use super::{BreachKind, LATE_MS, Signed, Trust, Wants};
use crate::event::Moment;

/// Milliseconds between two questions for the cosigned checkpoint.
const WITNESS_MS: u64 = 15_000;

/// What is known of the witnesses' work.
#[derive(Debug, Clone, Default)]
pub(super) struct Witnessing {
    /// The size that enough of them cosigned.
    pub(super) size: Option<u64>,
    /// When that became more, or when there was nothing more to cosign.
    since_ms: Option<u64>,
    /// When it was last asked for.
    asked_ms: Option<u64>,
    /// The checkpoint that the answer is held against.
    against: Option<Signed>,
}

impl Trust {
    /// The size against which the cosigned checkpoint is to be shown; none where it is not asked for now.
    pub fn wants_witnessed(&self, now: Moment) -> Option<u64> {
        let is_due = self.witnessing.asked_ms.is_none_or(|at| now.ms.saturating_sub(at) >= WITNESS_MS);
        self.lacks_witnesses().filter(|_| is_due && !self.stuck && self.witnessing.against.is_none())
    }

    /// It is asked for.
    pub fn asking_witnessed(&mut self, now: Moment) {
        self.witnessing.asked_ms = Some(now.ms);
        self.witnessing.against.clone_from(&self.pin);
    }

    /// No answer came.
    pub fn unanswered(&mut self) {
        self.witnessing.against = None;
    }

    /// The size of the pin, where not enough witnesses cosigned it.
    fn lacks_witnesses(&self) -> Option<u64> {
        let size = self.pin.as_ref().filter(|_| self.quorum > 0 && self.edge.is_some())?.checkpoint.size;
        self.witnessing.size.is_none_or(|cosigned| cosigned < size).then_some(size)
    }

    /// Whether witnesses are missing for so long that it must be said.
    pub(super) fn is_unwitnessed(&self, now: Moment) -> bool {
        self.lacks_witnesses().is_some()
            && self.witnessing.since_ms.is_some_and(|since| now.ms.saturating_sub(since) > LATE_MS)
    }

    /// When it is asked for again, or must be said.
    pub(super) fn witnesses_due(&self) -> [(Option<u64>, u64); 2] {
        let lacks = self.lacks_witnesses().is_some();
        [
            (self.witnessing.asked_ms.filter(|_| lacks), WITNESS_MS),
            (self.witnessing.since_ms.filter(|_| lacks), LATE_MS),
        ]
    }

    /// The pin is about to move: from then on there is something to cosign.
    pub(super) fn more_to_witness(&mut self, now: Moment) {
        if self.lacks_witnesses().is_none() {
            self.witnessing.since_ms = Some(now.ms);
        }
    }

    /// The answer: the cosigned note, and what shows that it and the checkpoint it was asked for are of one history. An
    /// empty note says that there is none yet.
    pub fn cosigned(&mut self, note: &[u8], growth: Option<&[Hash]>, now: Moment, out: &mut Vec<Wants>) {
        let Some(against) = self.witnessing.against.take().filter(|_| !note.is_empty()) else { return };
        let text = String::from_utf8_lossy(note);
        let signed = match self.open(&text) {
            Ok(signed) => signed,
            Err(error) => {
                let breach = self.refuse(&text, &error);
                return self.raise(breach, now, out);
            }
        };
        if signed.witnesses.len() < self.quorum {
            return;
        }
        let (ours, theirs) = (&against.checkpoint, &signed.checkpoint);
        let (first, then) = if ours.size <= theirs.size { (ours, theirs) } else { (theirs, ours) };
        let shown = growth.unwrap_or_default();
        if let Err(error) = verify_consistency(first.size, &first.root, then.size, &then.root, shown) {
            self.stuck = true;
            let what = format!(
                "the witnesses cosigned a log of {} entries that is not of the history seen here: {error}",
                theirs.size
            );
            let breach = self.two_notes(BreachKind::Fork, what, &text);
            return self.raise(breach, now, out);
        }
        if self.witnessing.size.is_none_or(|size| size < theirs.size) {
            self.witnessing.size = Some(theirs.size);
            self.witnessing.since_ms = Some(now.ms);
            if let Some(pin) = self.pin.as_mut().filter(|pin| pin.checkpoint.size <= theirs.size) {
                pin.witnesses = signed.witnesses;
            }
        }
    }
}
